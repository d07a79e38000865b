"""Pinata's v3 API: an account's files by id, listings, changes, links to private files; what Pinata refuses."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar
from urllib.parse import quote

import attrs
import requests
from requests.auth import AuthBase
from stargazer.assets import ConfigurationError, IpFile, record_id
from stargazer.storage.download.http import (
    Backoff,
    Pace,
    Patience,
    Refused,
    SourceError,
    Unavailable,
    is_safe,
    may_pass,
    parse_url,
    read_all,
    retry_after,
    send,
)

__all__ = ["LEDGER", "PENDING", "Answer", "Patience", "PinataApi", "PinataFile", "Refused", "Unavailable",
           "network_of", "origin"]  # fmt: skip

T = TypeVar("T")

PENDING = "pending"
"""The CID of a file that Pinata has not added to IPFS yet."""

LEDGER = "ledger"
"""The key under which the account says whose word a provenance document is: `own` or `foreign`."""

_ANSWER_BYTES = 64 << 20
_PAGE = 1000
_LINK_SECONDS = 3600
_SHOWN = 300

_TOKEN = re.compile(r"eyJ[\w-]{5,}(?:\.[\w-]*)*|(?i:bearer)\s+[^\s\"',}]+|(?<=https://)[^\s/\"'@]+@")
_QUERY = re.compile(r"\?[^\s\"'<>]*=[^\s\"'<>]*")
_ADVICE = {
    401: ". Check PINATA_JWT",
    403: ". Check what PINATA_JWT's key may do",
    402: ". Check the account's plan",
}


@attrs.frozen(kw_only=True)
class PinataFile:
    """One record of a Pinata account. Several may share a CID.

    Attributes:
        id: the record's name in the account.
        cid: of the bytes; "pending" while Pinata has not computed it.
        name: as given to the upload.
        size: as Pinata counts: the bytes of the file, or those of its blocks, which are a little more.
        keyvalues: flat metadata.
        public: whether it is on the public network.
        created_at: ISO 8601.
        is_duplicate: of an upload, whether the service had such bytes before.
    """

    id: str
    cid: str
    name: str = ""
    size: int = 0
    keyvalues: Mapping[str, str] = attrs.field(factory=dict)
    public: bool = False
    created_at: str = ""
    is_duplicate: bool = attrs.field(default=False, eq=False)

    @classmethod
    def parse(cls, data: Any, public: bool) -> Self:
        """A file from an answer's `data`; `public` counts where the answer does not name the network.

        Source: the SDK's FileListItem and UploadResponse (PinataCloud/pinata, src/core/types); keyvalues can be
        null there.

        Raises:
            ValueError: it is no file.
        """
        said = data if isinstance(data, dict) else {}
        id, cid, size, pairs = (said.get(key) for key in ("id", "cid", "size", "keyvalues"))
        if not (isinstance(id, str) and id and isinstance(cid, str) and cid):
            raise ValueError("no id or no CID")
        return cls(
            id=id,
            cid=cid,
            name=_text(said.get("name")),
            size=size if isinstance(size, int) else 0,
            keyvalues={key: _text(value) for key, value in pairs.items()} if isinstance(pairs, dict) else {},
            public={"public": True, "private": False}.get(_text(said.get("network")), public),
            created_at=_text(said.get("created_at")),
            is_duplicate=said.get("is_duplicate") is True,
        )

    def as_record(self) -> IpFile:
        """The file as a record: the same bytes and metadata are the same record on both sides."""
        pairs = dict(self.keyvalues)
        if pairs.get("asset") == "provenance":
            pairs.pop(LEDGER, None)
        return IpFile(
            id=record_id(self.cid, pairs),
            cid=self.cid,
            name=self.name,
            size=self.size,
            keyvalues=pairs,
            public=self.public,
            created_at=self.created_at,
        )


@attrs.frozen
class Answer:
    """An answer below 300, read to its end."""

    headers: Any = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)

    def data(self) -> Any:
        """The `data` of the JSON object that it holds.

        Raises:
            SourceError: it holds something else, such as the web page of a portal that wants a login.
        """
        with contextlib.suppress(ValueError):
            document = json.loads(self.body)
            if isinstance(document, dict):
                return document.get("data")
        kind = self.headers.get("Content-Type", "").split(";")[0] or "something"
        raise SourceError(
            f"it answered {kind} that is not a JSON object; is there a proxy or a login page?", passing=True
        )

    def file(self, public: bool) -> PinataFile:
        """The file that it describes.

        Raises:
            SourceError: it describes none.
        """
        try:
            return PinataFile.parse(self.data(), public)
        except ValueError as error:
            raise SourceError(f"its answer describes no file ({error})", passing=True) from None


class _Missing(Refused):
    """The service has no such thing."""


class PinataApi:
    """A Pinata account, and the key to it, which is told to Pinata's two hosts and to nobody else.

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
        patience: Patience | None = None,
    ) -> None:
        jwt = jwt.strip()
        if not jwt or not jwt.isascii() or not jwt.isprintable() or " " in jwt:
            raise ConfigurationError("PINATA_JWT is no token: expected one line of letters, digits and dots")
        for url in (api, uploads):
            if not is_safe(url):
                raise ConfigurationError(
                    f"{url!r} is no address to tell a key: expected https://HOST (http only on this machine)"
                )
        self.api, self.uploads = api.rstrip("/"), uploads.rstrip("/")
        self.sleep, self.pace = sleep, Pace(sleep)
        self.patience, self._key = patience or Patience(), _Key(jwt)
        self._origins = {origin(self.api), origin(self.uploads)}

    def files(
        self, *, public: bool, keyvalues: Mapping[str, str] | None = None, cid: str = ""
    ) -> Iterator[PinataFile]:
        """The files of one network, oldest first, that have every one of these keyvalues, and this CID.

        Every page is fetched, and what does not fit is left out here too: a filter that the service does not know
        it ignores. (The SDK sends `keyvalues[key]`, the OpenAPI page says `metadata[key]`.) Files whose CID is
        still pending are left out.
        """
        path, wanted = f"/v3/files/{network_of(public)}", keyvalues or {}
        query = {f"keyvalues[{key}]": value for key, value in wanted.items()}
        query |= {"cid": cid} if cid else {}
        query |= {"order": "ASC", "limit": str(_PAGE)}
        tokens: set[str] = set()
        while True:
            page = self._call("list files", "GET", path, Answer.data, params=query)
            if not isinstance(page, dict) or not isinstance(rows := page.get("files"), list | None):
                raise Unavailable("Pinata's listing lists no files: try again later")
            for row in rows or []:
                try:
                    file = PinataFile.parse(row, public)
                except ValueError:  # one bad row breaks no query
                    continue
                fits = cid in ("", file.cid) and wanted.items() <= file.keyvalues.items()
                if fits and file.cid != PENDING:
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
        with contextlib.suppress(_Missing):
            return self._call("show a file", "GET", _path(id, public), lambda answer: answer.file(public))
        return None

    def update(self, id: str, *, public: bool, keyvalues: Mapping[str, str | None]) -> PinataFile:
        """Merge keyvalues into a file's; None deletes one.

        Source: the SDK's updateFile (PUT merges; it refuses an empty change).
        """
        return self._call(
            "update a file",
            "PUT",
            _path(id, public),
            lambda answer: answer.file(public),
            json={"keyvalues": dict(keyvalues)},
        )

    def delete(self, id: str, *, public: bool) -> None:
        """Remove one file by its id; one that is not there any more is fine."""
        with contextlib.suppress(_Missing):
            self._call("delete a file", "DELETE", _path(id, public), lambda _: None)

    def private_link(self, url: str) -> str:
        """A signed link to a private file, good for an hour: `url` is https://GATEWAY/files/CID. Secret; never log it.

        Source: docs.pinata.cloud/api-reference/endpoint/get-signed-url, and the SDK's createAccessLink.
        """
        order = {"url": url, "date": int(time.time()), "expires": _LINK_SECONDS, "method": "GET"}
        link = self._call("sign a link", "POST", "/v3/files/private/download_link", Answer.data, json=order)
        if isinstance(link, str) and origin(link):
            return link
        raise Unavailable("Pinata's answer to a request for a signed link has no link: try again later")

    def gateway(self) -> str:
        """The host of the account's own gateway.

        Source: docs.pinata.cloud/api-reference/endpoint/ipfs/list-gateways (`domain` without .mypinata.cloud).
        Pinata's own command line asks at /v3/ipfs/gateways.
        """
        try:
            found = self._call("list gateways", "GET", "/v3/gateways", Answer.data)
        except _Missing:
            found = self._call("list gateways", "GET", "/v3/ipfs/gateways", Answer.data)
        match found:
            case {"rows": [{"domain": str(domain)}, *_]} if domain:
                return domain if "." in domain else f"{domain}.mypinata.cloud"
        raise Refused(
            "the Pinata account has no gateway of its own, which private files need: "
            "make one at https://app.pinata.cloud/gateway, or set PINATA_GATEWAY"
        )

    # how

    def _call(self, what: str, method: str, path: str, read: Callable[[Answer], T], **parts: Any) -> T:
        """What is read of the answer to a request that may be repeated; `what` names it: "list files"."""
        backoff = self.backoff(what)
        while True:
            try:
                return read(self.once(what, method, self.api + path, **parts))
            except SourceError as failure:
                backoff.again(failure)

    def backoff(self, what: str) -> Backoff:
        """What waits between attempts to do `what`."""
        return Backoff(f"Pinata cannot {what}", self.patience, self.sleep)

    def once(
        self, what: str, method: str, url: str, headers: Mapping[str, str] | None = None, **parts: Any
    ) -> Answer:
        """One attempt; arguments as of http.send().

        Raises:
            SourceError: it failed in a way that may pass.
            Refused: it answered no, or the URL is on neither host.
        """
        if origin(url) not in self._origins:
            raise Refused(f"Pinata's key is for {self.api} and {self.uploads} only, not for {origin(url)}")
        self.pace.wait()
        try:
            response = send(method, url, headers or {}, auth=self._key, **parts)
            body = read_all(response, _ANSWER_BYTES)
        except SourceError as error:
            hint = "; is there a network?" if "reached" in str(error) else ""
            raise SourceError(f"it {error}{hint}", passing=True) from None
        status = response.status_code
        if status < 300:
            self.pace.accepted()
            return Answer(response.headers, body)
        if status < 400:
            target = origin(response.headers.get("Location", ""))
            raise Refused(
                f"Pinata did not {what}: {status}, a redirect to {target or 'nowhere'}, which is not followed",
                status,
            )
        reason = f"{status} {self.clean(_said(body))}".strip()
        if may_pass(status):
            wait = retry_after(response.headers.get("Retry-After", ""))
            if status == 429:
                self.pace.slower(min(wait or 0.0, self.patience.longest))
            raise SourceError(reason, passing=True, wait=wait, status=status)
        kind = _Missing if status == 404 else Refused
        raise kind(f"Pinata did not {what}: {reason}{_ADVICE.get(status, '')}", status)

    def clean(self, text: str) -> str:
        """Text of the service's without anything that is or looks like a secret, on one line."""
        text = _QUERY.sub("?***", _TOKEN.sub("***", text.replace(self._key.jwt, "***")))
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


@attrs.frozen
class _Key(AuthBase):
    """Puts the key on a request; auth given so also keeps requests from looking into ~/.netrc."""

    jwt: str = attrs.field(repr=False)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.jwt}"
        return request


def origin(url: str) -> str:
    """Scheme, host and port of an http or https URL; empty if it is none."""
    parts = parse_url(url)
    if parts is None or parts.hostname is None:
        return ""
    shown = "" if parts.port in (None, {"https": 443, "http": 80}[parts.scheme]) else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{shown}"


def network_of(public: bool) -> str:
    """The name of a network in the API."""
    return "public" if public else "private"


def _path(id: str, public: bool) -> str:
    return f"/v3/files/{network_of(public)}/{quote(id, safe='')}"


def _said(body: bytes) -> str:
    """The reason in an error's body: {"error": {"reason", "details"}}, {"error"}, {"message"}, or plain text."""
    text = body[: 1 << 16].decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except ValueError:
        return "" if "<html" in text.lower() else text
    while isinstance(said, dict):
        said = next((said[key] for key in ("error", "details", "reason", "message") if said.get(key)), None)
    return said if isinstance(said, str) and said else text


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
