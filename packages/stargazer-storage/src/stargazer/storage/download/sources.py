"""Where bytes may come from: IPFS gateways, mirrors and files of this machine, none of them trusted."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import RawIOBase
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit, urlunsplit

from attrs import field, frozen
from stargazer.assets import InvalidAssetError
from stargazer.storage.cid import READ
from stargazer.storage.download.http import Body, SourceError, is_safe, open_url, parse_url, without_secrets
from stargazer.storage.download.reach import Reach

__all__ = ["Gateway", "LocalFile", "Mirror", "Source", "file_name", "source_of"]

_PIECE = 4 << 20
_CID_SEGMENT = re.compile(r"(?P<base>.*)/ipfs/(?P<cid>Qm[1-9A-HJ-NP-Za-km-z]{44}|b[a-z2-7]{20,})/?")
_TOKEN_HEADER = "x-pinata-gateway-token"
_TOKEN_PARAMETER = "pinataGatewayToken"


class Source(Protocol):
    """Somebody who may have the bytes of a CID."""

    @property
    def name(self) -> str:
        """What errors call it: no credentials, no query, nothing signed."""

    def open(self, cid: str, offset: int) -> AbstractContextManager[Body]:
        """The file's bytes from `offset` on, or from 0.

        Raises:
            SourceError: it does not give them.
        """


def _checked(url: str) -> SplitResult:
    parts = parse_url(url)
    if parts is None:
        raise InvalidAssetError("an address is no http or https URL, or has blanks in it: check the spelling")
    return parts


def _gateway_base(url: str) -> str:
    parts = _checked(url if "://" in url else f"https://{url}")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/").removesuffix("/ipfs"), "", ""))


@frozen
class Gateway:
    """An IPFS gateway: `<base>/ipfs/<cid>`.

    The token of a Pinata gateway is sent to that host alone, and only encrypted (or on this machine).
    """

    base_url: str = field(converter=_gateway_base, repr=lambda url: repr(without_secrets(url)))
    token: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The gateway's address."""
        return without_secrets(self.base_url)

    def open(self, cid: str, offset: int) -> AbstractContextManager[Body]:
        """The file's bytes; redirects stay on the gateway's host and its subdomains."""
        headers = {_TOKEN_HEADER: self.token} if self.token and is_safe(self.base_url) else {}
        return open_url(f"{self.base_url}/ipfs/{cid}", offset=offset, headers=headers, same=True)


@frozen
class Mirror:
    """One file behind an http or https URL, whatever CID is asked of it.

    Attributes:
        reach: what may be asked for it, if not everything.
    """

    url: str = field(repr=lambda url: repr(without_secrets(url)), validator=lambda _, __, url: _checked(url))
    reach: Reach | None = None

    @property
    def name(self) -> str:
        """The URL without credentials, query and fragment."""
        return without_secrets(self.url)

    def open(self, cid: str, offset: int) -> AbstractContextManager[Body]:
        """The file's bytes; redirects may lead to other hosts, but not out of https or into a private network."""
        return open_url(self.url, offset=offset, reach=self.reach)


@frozen
class LocalFile:
    """A file of this machine."""

    path: Path = field(converter=Path)

    @property
    def name(self) -> str:
        """The path."""
        return os.fspath(self.path)

    @contextlib.contextmanager
    def open(self, cid: str, offset: int) -> Iterator[Body]:
        """The file's bytes."""
        try:
            fd = os.open(self.path, READ)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SourceError(f"cannot be read: {reason.lower()}") from None
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise SourceError("is not a regular file")
        with open(fd, "rb", buffering=0) as file:
            start = offset if offset <= status.st_size else 0
            file.seek(start)
            yield Body(start, status.st_size, _pieces(file))


def _pieces(file: RawIOBase) -> Iterator[bytes]:
    try:
        while piece := file.read(_PIECE):
            yield piece
    except OSError as error:
        raise SourceError(f"cannot be read: {(error.strerror or str(error)).lower()}") from None


def source_of(url: str) -> Source:
    """The source that a URL or a path of a manifest means.

    `.../ipfs/<cid>` is a gateway, other http and https URLs are mirrors, `file:` URLs and paths local files.

    Raises:
        InvalidAssetError: it is none of these.
    """
    scheme = url.partition(":")[0].lower() if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", url) else ""
    if scheme in ("http", "https"):
        parts = _checked(url)
        found = _CID_SEGMENT.fullmatch(parts.path)
        if found is None:
            return Mirror(url)
        token = parse_qs(parts.query).get(_TOKEN_PARAMETER, [""])[0]
        return Gateway(urlunsplit((parts.scheme, parts.netloc, found["base"], "", "")), token)
    if scheme == "file":
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise InvalidAssetError(f"{url!r} names a file of another machine: expected file:///path")
        return LocalFile(Path(unquote(parts.path)))
    if not url or "\0" in url or (scheme and "://" in url):
        raise InvalidAssetError(
            f"{without_secrets(url)!r} is no source: expected http://, https://, file:// or a path"
        )
    return LocalFile(Path(url))


def file_name(url: str) -> str:
    """The file name in a URL.

    Raises:
        InvalidAssetError: it has none.
    """
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or name in (".", "..") or re.search(r"[\x00-\x1f]", name):
        raise InvalidAssetError(f"{without_secrets(url)!r} names no file: give the URL of the file itself")
    return name
