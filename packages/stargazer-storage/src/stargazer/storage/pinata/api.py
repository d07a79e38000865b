"""Pinata's v3 API: files by id, links to private ones, and uploads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from stargazer.assets import ConfigurationError
from stargazer.storage.pinata.files import PENDING, PinataFile, network_of
from stargazer.storage.pinata.limits import check_keyvalues
from stargazer.storage.pinata.retrying import PATIENCE, Patience, Refused, Unavailable
from stargazer.storage.pinata.service import Service, is_safe, origin
from stargazer.storage.pinata.uploads import upload

__all__ = ["PinataApi", "PinataFile"]

_PAGE = 1000
_LINK_SECONDS = 3600


class PinataApi:
    """A Pinata account.

        >>> pinata = PinataApi(jwt)
        >>> for file in pinata.files(public=False, keyvalues={"asset": "reference"}):
        ...     print(file.cid, file.name)

    All methods block, may be called from any thread, and raise:
        Unavailable: the service cannot be reached, or is overloaded, for as long as `patience` lasts.
        Refused: the service said no, and why.

    Source of what is sent: the SDK (github.com/PinataCloud/pinata, src/core/functions) and the OpenAPI pages of
    docs.pinata.cloud/api-reference; where they differ the SDK counts.
    """

    def __init__(
        self,
        jwt: str,
        *,
        api: str = "https://api.pinata.cloud",
        uploads: str = "https://uploads.pinata.cloud",
        sleep: Callable[[float], object] = time.sleep,
        patience: Patience = PATIENCE,
    ) -> None:
        jwt = jwt.strip()
        if not jwt or not jwt.isascii() or not jwt.isprintable() or " " in jwt:
            raise ConfigurationError("PINATA_JWT is no token: expected one line of letters, digits and dots")
        for url in (api, uploads):
            if not is_safe(url):
                raise ConfigurationError(
                    f"{url!r} is no address to tell a key: expected https://HOST (http only on this machine)"
                )
        self.service = Service(jwt, api=api, uploads=uploads, sleep=sleep, patience=patience)

    def __repr__(self) -> str:
        return f"PinataApi('***', api={self.service.api!r}, uploads={self.service.uploads!r})"

    def check(self) -> None:
        """Whether the service is there and takes the key. Source: docs.pinata.cloud/api-reference."""
        self.service.call("check the key", "GET", "/data/testAuthentication")

    def files(
        self, *, public: bool, keyvalues: Mapping[str, str] | None = None, cid: str = ""
    ) -> Iterator[PinataFile]:
        """The files of one network, oldest first, that have every one of these keyvalues, and this CID.

        Every page is fetched, and what does not fit is left out here too: a filter that the service does not know
        it ignores. (The SDK sends `keyvalues[key]`, the OpenAPI page says `metadata[key]`.) Files whose CID is
        still pending are left out.
        """
        wanted = dict(keyvalues or {})
        query = {f"keyvalues[{key}]": value for key, value in wanted.items()}
        if cid:
            query["cid"] = cid
        query |= {"order": "ASC", "limit": str(_PAGE)}
        seen: set[str] = set()
        tokens: set[str] = set()
        while True:
            answer = self.service.call(
                "list files", "GET", f"/v3/files/{network_of(public)}", params=dict(query)
            )
            page = answer.get("data")
            rows = page.get("files") if isinstance(page, dict) else None
            if not isinstance(page, dict) or not isinstance(rows, list | None):
                raise Unavailable("Pinata's listing lists no files: try again later")
            for row in rows or []:
                file = _parsed(row, public)
                if file is None or file.id in seen or file.cid == PENDING or (cid and file.cid != cid):
                    continue
                seen.add(file.id)
                if all(file.keyvalues.get(key) == value for key, value in wanted.items()):
                    yield file
            token = page.get("next_page_token")
            if not token:
                return
            if not isinstance(token, str) or token in tokens:
                raise Unavailable("Pinata's listing does not end: it repeats a page. Try again later")
            tokens.add(token)
            query["pageToken"] = token

    def file(self, id: str, *, public: bool) -> PinataFile | None:
        """One file by its id, None if there is none."""
        try:
            answer = self.service.call("show a file", "GET", _path(id, public))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return _file(answer, public)

    def update(self, id: str, *, public: bool, keyvalues: Mapping[str, str | None]) -> PinataFile:
        """Merge keyvalues into a file's; None deletes one.

        Source: the SDK's updateFile (PUT merges; it refuses an empty change, which therefore is not sent).

        Raises:
            InvalidAssetError: more than 10, or one that is not text.
        """
        check_keyvalues({key: value for key, value in keyvalues.items() if value is not None})
        if not keyvalues:
            file = self.file(id, public=public)
            if file is None:
                raise Refused(f"Pinata has no {network_of(public)} file with the id {id!r}", 404)
            return file
        change = {"keyvalues": dict(keyvalues)}
        return _file(self.service.call("update a file", "PUT", _path(id, public), json=change), public)

    def delete(self, id: str, *, public: bool) -> None:
        """Remove one file by its id; one that is not there any more is fine."""
        try:
            self.service.send("delete a file", "DELETE", _path(id, public))
        except Refused as refused:
            if refused.status != 404:
                raise

    def private_link(self, url: str) -> str:
        """A signed link to a private file, good for an hour: `url` is https://GATEWAY/files/CID. Secret; never log it.

        Source: docs.pinata.cloud/api-reference/endpoint/get-signed-url, and the SDK's createAccessLink.
        """
        order = {"url": url, "date": int(time.time()), "expires": _LINK_SECONDS, "method": "GET"}
        answer = self.service.call("sign a link", "POST", "/v3/files/private/download_link", json=order)
        link = answer.get("data")
        if not isinstance(link, str) or not origin(link).startswith(("https://", "http://")):
            raise Unavailable("Pinata's answer to a request for a signed link has no link: try again later")
        return link

    def gateway(self) -> str:
        """The host of the account's own gateway.

        Source: docs.pinata.cloud/api-reference/endpoint/ipfs/list-gateways (`domain` without .mypinata.cloud).
        Pinata's own command line asks at /v3/ipfs/gateways.
        """
        try:
            answer = self.service.call("list gateways", "GET", "/v3/gateways")
        except Refused as refused:
            if refused.status != 404:
                raise
            answer = self.service.call("list gateways", "GET", "/v3/ipfs/gateways")
        data = answer.get("data")
        rows = data.get("rows") if isinstance(data, dict) else None
        for row in rows if isinstance(rows, list) else []:
            domain = row.get("domain") if isinstance(row, dict) else None
            if isinstance(domain, str) and domain:
                return domain if "." in domain else f"{domain}.mypinata.cloud"
        raise Refused(
            "the Pinata account has no gateway of its own, which private files need: "
            "make one at https://app.pinata.cloud/gateway, or set PINATA_GATEWAY"
        )

    def upload(
        self,
        path: str | os.PathLike[str],
        *,
        cid: str,
        name: str,
        keyvalues: Mapping[str, str],
        public: bool,
        url: str = "",
        on_url: Callable[[str], object] | None = None,
        progress: Callable[[int, int | None], object] | None = None,
    ) -> PinataFile:
        """Upload a file whose CID was computed here, in bounded memory; see `uploads.upload`."""
        return upload(
            self,
            path,
            cid=cid,
            name=name,
            keyvalues=keyvalues,
            public=public,
            url=url,
            on_url=on_url,
            progress=progress,
        )


def _path(id: str, public: bool) -> str:
    return f"/v3/files/{network_of(public)}/{quote(id, safe='')}"


def _parsed(row: Any, public: bool) -> PinataFile | None:
    """A row of a listing; one bad row breaks no query."""
    try:
        return PinataFile.parse(row, public)
    except ValueError:
        return None


def _file(answer: Mapping[str, Any], public: bool) -> PinataFile:
    try:
        return PinataFile.parse(answer.get("data"), public)
    except ValueError as error:
        raise Unavailable(f"Pinata's answer describes no file ({error}): try again later") from None
