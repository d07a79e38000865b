"""Pinata's v3 API: an account's files by id, listings, changes, links to private files; what Pinata refuses."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote

import attrs
import requests
from requests.auth import AuthBase
from stargazer.assets import (
    MAX_KEYVALUES,
    ConfigurationError,
    InvalidAssetError,
    IpFile,
    StorageError,
    record_id,
)
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

__all__ = ["LEDGER", "MAX_FILE_SIZE", "PENDING", "Answer", "Patience", "PinataApi", "PinataFile",
           "Refused", "Unavailable", "check", "check_keyvalues", "network_of", "origin"]  # fmt: skip

PENDING = "pending"
"""The CID of a file that Pinata has not added to IPFS yet."""

MAX_FILE_SIZE = 25_000_000_000
"""Bytes of one file. Source: docs.pinata.cloud/account-management/limits, 25 GB."""

PATIENCE = Patience()
"""That of a command somebody waits for: about a minute when nothing answers."""

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
    """

    id: str
    cid: str
    name: str = ""
    size: int = 0
    keyvalues: Mapping[str, str] = attrs.field(factory=dict)
    public: bool = False
    created_at: str = ""

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

    status: int
    headers: Any = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)

    def document(self) -> dict[str, Any]:
        """The JSON object it holds.

        Raises:
            SourceError: it holds something else, such as the web page of a portal that wants a login.
        """
        with contextlib.suppress(ValueError):
            document = json.loads(self.body)
            if isinstance(document, dict):
                return document
        kind = self.headers.get("Content-Type", "").split(";")[0] or "something"
        raise SourceError(
            f"it answered {kind} that is not a JSON object; is there a proxy or a login page?", passing=True
        )


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
        self.api, self.uploads = api.rstrip("/"), uploads.rstrip("/")
        self.sleep, self.pace = sleep, Pace(sleep)
        self._patience, self._key = patience, _Key(jwt)
        self._origins = {origin(self.api), origin(self.uploads)}

    def __repr__(self) -> str:
        return f"PinataApi('***', api={self.api!r}, uploads={self.uploads!r})"

    def check(self) -> None:
        """Whether the service is there and takes the key. Source: docs.pinata.cloud/api-reference."""
        self._call("check the key", "GET", "/data/testAuthentication")

    def files(
        self, *, public: bool, keyvalues: Mapping[str, str] | None = None, cid: str = ""
    ) -> Iterator[PinataFile]:
        """The files of one network, oldest first, that have every one of these keyvalues, and this CID.

        Every page is fetched, and what does not fit is left out here too: a filter that the service does not know
        it ignores. (The SDK sends `keyvalues[key]`, the OpenAPI page says `metadata[key]`.) Files whose CID is
        still pending are left out.
        """
        wanted = keyvalues or {}
        query = {f"keyvalues[{key}]": value for key, value in wanted.items()}
        query |= {"cid": cid} if cid else {}
        query |= {"order": "ASC", "limit": str(_PAGE)}
        seen: set[str] = set()
        tokens: set[str] = set()
        while True:
            page = self._call("list files", "GET", f"/v3/files/{network_of(public)}", params=query).get(
                "data"
            )
            if not isinstance(page, dict) or not isinstance(rows := page.get("files"), list | None):
                raise Unavailable("Pinata's listing lists no files: try again later")
            for row in rows or []:
                try:
                    file = PinataFile.parse(row, public)
                except ValueError:  # one bad row breaks no query
                    continue
                fits = cid in ("", file.cid) and wanted.items() <= file.keyvalues.items()
                if fits and file.cid != PENDING and file.id not in seen:
                    seen.add(file.id)
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
            return _file(self._call("show a file", "GET", _path(id, public)), public)
        return None

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
        return _file(self._call("update a file", "PUT", _path(id, public), json=change), public)

    def delete(self, id: str, *, public: bool) -> None:
        """Remove one file by its id; one that is not there any more is fine."""
        with contextlib.suppress(_Missing):
            self._call("delete a file", "DELETE", _path(id, public), read=lambda _: {})

    def private_link(self, url: str) -> str:
        """A signed link to a private file, good for an hour: `url` is https://GATEWAY/files/CID. Secret; never log it.

        Source: docs.pinata.cloud/api-reference/endpoint/get-signed-url, and the SDK's createAccessLink.
        """
        order = {"url": url, "date": int(time.time()), "expires": _LINK_SECONDS, "method": "GET"}
        answer = self._call("sign a link", "POST", "/v3/files/private/download_link", json=order)
        match answer.get("data"):
            case str(link) if origin(link):
                return link
        raise Unavailable("Pinata's answer to a request for a signed link has no link: try again later")

    def gateway(self) -> str:
        """The host of the account's own gateway.

        Source: docs.pinata.cloud/api-reference/endpoint/ipfs/list-gateways (`domain` without .mypinata.cloud).
        Pinata's own command line asks at /v3/ipfs/gateways.
        """
        answer: Mapping[str, Any] | None = None
        with contextlib.suppress(_Missing):
            answer = self._call("list gateways", "GET", "/v3/gateways")
        if answer is None:
            answer = self._call("list gateways", "GET", "/v3/ipfs/gateways")
        match answer.get("data"):
            case {"rows": [*rows]}:
                for row in rows:
                    match row:
                        case {"domain": str(domain)} if domain:
                            return domain if "." in domain else f"{domain}.mypinata.cloud"
        raise Refused(
            "the Pinata account has no gateway of its own, which private files need: "
            "make one at https://app.pinata.cloud/gateway, or set PINATA_GATEWAY"
        )

    # how

    def _call(
        self,
        what: str,
        method: str,
        path: str,
        read: Callable[[Answer], dict[str, Any]] = Answer.document,
        **parts: Any,
    ) -> dict[str, Any]:
        """What is read of the answer to a request that may be repeated; `what` names it: "list files"."""
        backoff = self.backoff(what)
        while True:
            try:
                return read(self.once(what, method, self.api + path, **parts))
            except SourceError as failure:
                backoff.again(failure)

    def backoff(self, what: str) -> Backoff:
        """What waits between attempts to do `what`."""
        return Backoff(f"Pinata cannot {what}", self._patience, self.sleep)

    def once(
        self,
        what: str,
        method: str,
        url: str,
        *,
        timeout: tuple[float, float] | None = None,
        headers: Mapping[str, str] | None = None,
        **parts: Any,
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
            response = send(method, url, headers or {}, timeout, auth=self._key, **parts)
            body = read_all(response, _ANSWER_BYTES)
        except SourceError as error:
            hint = "; is there a network?" if "reached" in str(error) else ""
            raise SourceError(f"it {error}{hint}", passing=True) from None
        return self._judged(what, response, body)

    def _judged(self, what: str, response: requests.Response, body: bytes) -> Answer:
        status = response.status_code
        if status < 300:
            self.pace.accepted()
            return Answer(status, response.headers, body)
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
                self.pace.slower(min(wait or 0.0, self._patience.longest))
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


def check(size: int, keyvalues: Mapping[str, object], name: str = "") -> None:
    """Whether Pinata takes a file of `size` bytes with this metadata and this name.

    Raises:
        InvalidAssetError: more than 10 keyvalues, one that is not text, or a name that is not.
        StorageError: more than 25 GB.
    """
    check_keyvalues(keyvalues)
    if not _is_text(name) or re.search(r"[\x00-\x1f\x7f]", name):
        raise InvalidAssetError(f"name {name!r} is not text that Pinata takes: rename the file")
    if size > MAX_FILE_SIZE:
        raise StorageError(
            f"{name or 'the file'!r} has {size:,} bytes, Pinata takes at most {MAX_FILE_SIZE:,}: "
            "compress it, or split it into several files"
        )


def check_keyvalues(keyvalues: Mapping[str, object]) -> None:
    """Whether Pinata takes these keyvalues. Source: docs.pinata.cloud/files/key-values, "up to 10 key-value pairs".

    Raises:
        InvalidAssetError: more than 10, or a key or value that is not text.
    """
    if len(keyvalues) > MAX_KEYVALUES:
        raise InvalidAssetError(
            f"{len(keyvalues)} keyvalues, Pinata takes at most {MAX_KEYVALUES}: "
            f"{', '.join(sorted(map(str, keyvalues)))}"
        )
    for key, value in keyvalues.items():
        if not _is_text(key) or not key:
            raise InvalidAssetError(f"{key!r} is not a key that Pinata takes: expected text")
        if not _is_text(value):
            raise InvalidAssetError(f"{key} is {value!r}, expected text: Pinata's keyvalues are strings")


def _path(id: str, public: bool) -> str:
    return f"/v3/files/{network_of(public)}/{quote(id, safe='')}"


def _file(answer: Mapping[str, Any], public: bool) -> PinataFile:
    try:
        return PinataFile.parse(answer.get("data"), public)
    except ValueError as error:
        raise Unavailable(f"Pinata's answer describes no file ({error}): try again later") from None


def _said(body: bytes) -> str:
    """The reason in an error's body: {"error": {"reason", "details"}}, {"error"}, {"message"}, or plain text."""
    text = body[: 1 << 16].decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except ValueError:
        return "" if "<html" in text.lower() else text
    for key in ("error", "message", "details", "reason"):
        if isinstance(said, dict) and said.get(key):
            inner = said[key]
            if isinstance(inner, dict):
                inner = inner.get("details") or inner.get("reason") or inner.get("message") or inner
            return str(inner)
    return text


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _is_text(value: object) -> bool:
    """Whether a value is text that UTF-8 can hold, which not every file name is."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)
