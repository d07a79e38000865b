"""HTTP as downloads need it: ranges checked, redirects followed one by one, limits in time, no secrets in errors."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from attrs import frozen
from stargazer.assets import StorageError
from stargazer.assets.addresses import without_secrets

if TYPE_CHECKING:
    import requests

__all__ = [
    "Body",
    "Follow",
    "Pace",
    "SourceError",
    "anywhere",
    "is_loopback",
    "never",
    "open_url",
    "parse_url",
    "same_site",
    "without_secrets",
]

CONNECT_SECONDS = 20.0
SILENT_SECONDS = 60.0
"""Without a byte."""

PACE_SECONDS = 60.0
LEAST_RATE = 4096
"""Bytes per second, on average over PACE_SECONDS of waiting for them."""

PIECE = 1 << 18
MOST_REDIRECTS = 5
MOST_PATIENCE = 60.0

_PASSING = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_COMPRESSED = (".gz", ".bgz", ".tgz", ".bz2", ".xz", ".zst")


Follow = Callable[[SplitResult, SplitResult], str]
"""Judges a redirect from the address first asked: why not to follow it, or nothing."""


class SourceError(StorageError):
    """A source does not give the bytes: the text says why, and never what is secret about it.

    Attributes:
        passing: another try may go better.
        wait: seconds that the source asks for before that.
    """

    def __init__(self, text: str, *, passing: bool = False, wait: float = 0.0) -> None:
        super().__init__(text)
        self.passing, self.wait = passing, wait


@frozen
class Body:
    """Bytes on their way, not verified by anybody."""

    start: int
    """The offset in the file of the first byte that comes: the one asked for, or 0."""
    size: int | None
    """Bytes of the whole file, where the source says so."""
    pieces: Iterator[bytes]


class Pace:
    """How fast bytes come: at least LEAST_RATE on average over every PACE_SECONDS of waiting for them.

    Args:
        seconds, rate, clock: other ones, for tests.
    """

    def __init__(
        self,
        seconds: float | None = None,
        rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = PACE_SECONDS if seconds is None else seconds
        self.rate = LEAST_RATE if rate is None else rate
        self._clock = clock
        self.waited, self.got = 0.0, 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within a `with` block, however it ends."""
        began = self._clock()
        try:
            yield
        finally:
            self.waited += self._clock() - began

    def is_too_slow(self) -> bool:
        """Whether the bytes that came were too few for the time; a window in which they were enough is over."""
        if self.waited < self.seconds:
            return False
        if self.got < self.rate * self.waited:
            return True
        self.waited, self.got = 0.0, 0
        return False

    def failure(self) -> SourceError:
        """What a source that is too slow does, in words."""
        return SourceError(f"is too slow: {self.got:,} bytes in {self.waited:.0f} s", passing=True)


@contextlib.contextmanager
def open_url(
    url: str, *, offset: int = 0, headers: Mapping[str, str] | None = None, follow: Follow | None = None
) -> Iterator[Body]:
    """The bytes behind a URL from an offset on, or from 0 where the server gives nothing else.

    Args:
        url: http or https; secrets in it are never shown.
        offset: the first byte wanted.
        headers: sent to this host only, never to where it redirects.
        follow: judges redirects; `anywhere` if None.

    Raises:
        SourceError: no connection, another answer than asked for, or (from `pieces`) a body that is cut or too slow.
    """
    response = _get(url, offset, dict(headers or {}), follow or anywhere)
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
        whole = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        response.close()
        if whole and int(whole[1]) == offset:
            yield Body(offset, offset, iter(()))
            return
        offset = 0
        response = _get(url, 0, dict(headers or {}), follow or anywhere)
    with response:
        start, size = _extent(response, offset)
        _check_encoding(response)
        with contextlib.closing(_pieces(response)) as pieces:
            yield Body(start, size, pieces)


def _get(url: str, offset: int, headers: dict[str, str], follow: Follow) -> requests.Response:
    """The answer after redirects: its status is 200, 206 or 416."""
    first = here = _split(url)
    for _ in range(MOST_REDIRECTS + 1):
        sent = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        if here[:2] == first[:2]:
            sent |= headers
        response = _ask(urlunsplit(here), sent)
        if response.status_code not in _REDIRECTS:
            break
        response.close()
        there = _split(urljoin(urlunsplit(here), response.headers.get("Location", "")), "redirects to")
        why = never(first, here, there) or follow(first, there)
        if why:
            raise SourceError(f"redirects to {without_secrets(urlunsplit(there))!r}, {why}: not followed")
        here = there
    else:
        raise SourceError(f"redirects more than {MOST_REDIRECTS} times")
    status = response.status_code
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return response
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
        return response
    response.close()
    raise SourceError(
        f"answered {_status(status)}", passing=status in _PASSING, wait=_patience(response.headers)
    )


def _ask(url: str, headers: dict[str, str]) -> requests.Response:
    import requests
    import urllib3
    from stargazer.storage.download.connections import session

    try:
        return session().get(
            url,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT_SECONDS, SILENT_SECONDS),
        )
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        failure = _failure(error, "gave no answer in time")
    raise failure  # here, so that the error with the full address in it is no context of ours


def _split(url: str, what: str = "the address is") -> SplitResult:
    parts = parse_url(url)
    if parts is None:
        raise SourceError(f"{what} no http or https URL")
    return parts


def _extent(response: requests.Response, offset: int) -> tuple[int, int | None]:
    """The offset of an answer's first byte and the size of the whole file."""
    if response.status_code == HTTPStatus.OK:
        length = response.headers.get("Content-Length", "")
        chunked = "Transfer-Encoding" in response.headers
        return 0, int(length) if re.fullmatch(r"[0-9]{1,18}", length) and not chunked else None
    said = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", said)
    if not offset or found is None or int(found[1]) != offset:
        asked = f"from byte {offset}" if offset else "the whole file"
        raise SourceError(f"sent another part ({said[:60]!r}) than asked for ({asked})")
    return offset, None if found[3] == "*" else int(found[3])


def _check_encoding(response: requests.Response) -> None:
    """Refuse what was compressed on its way; servers also call a .gz file that, as it is."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity") and not urlsplit(response.url).path.endswith(_COMPRESSED):
        raise SourceError(f"sent the file compressed ({coding[:20]!r}), which was not asked for")


def _pieces(response: requests.Response) -> Generator[bytes, None, None]:
    import urllib3
    from stargazer.storage.download.connections import Watch

    pace = Pace()
    with Watch(response, pace.seconds) as watch:
        while True:
            try:
                with pace.waiting(), watch.reading():
                    piece = response.raw.read1(PIECE, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                failure = (
                    pace.failure()
                    if watch.late
                    else _failure(error, f"sent nothing for {SILENT_SECONDS:.0f} s")
                )
            else:
                pace.got += len(piece)
                if watch.late:
                    failure = pace.failure()
                elif not piece:
                    return
                else:
                    yield piece
                    if not pace.is_too_slow():
                        continue
                    failure = pace.failure()
            raise failure


def _failure(error: BaseException, late: str) -> SourceError:
    """What a failed request comes to, in words that hold nothing of the request."""
    import requests
    import urllib3

    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
        if isinstance(error, requests.ConnectTimeout | urllib3.exceptions.ConnectTimeoutError):
            return SourceError(f"does not answer within {CONNECT_SECONDS:.0f} s", passing=True)
        return SourceError(late, passing=True)
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return SourceError("cannot be trusted: no valid TLS certificate")
    if isinstance(error, requests.exceptions.ProxyError):
        return SourceError("cannot be reached: the proxy refuses (HTTP_PROXY, HTTPS_PROXY)")
    if isinstance(error, requests.ConnectionError) and "NewConnectionError" in repr(error):
        return SourceError("cannot be reached")
    if isinstance(error, requests.ConnectionError) and "NameResolutionError" in repr(error):
        return SourceError("cannot be reached: no such host, or no network")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader):
        return SourceError("the address or its token is malformed")
    return SourceError("broke the connection", passing=True)


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _patience(headers: Mapping[str, str]) -> float:
    """The seconds of Retry-After, at most a minute; dates count as none."""
    asked = headers.get("Retry-After", "")
    return min(float(asked), MOST_PATIENCE) if re.fullmatch(r"[0-9]{1,6}", asked) else 0.0


# addresses, and where a redirect may lead


def same_site(first: SplitResult, there: SplitResult) -> str:
    """Follow to the same host or its subdomains, on the same port or from http to https."""
    host, target = first.hostname or "", there.hostname or ""
    if target != host and not target.endswith(f".{host}"):
        return "another site"
    upgraded = (first.scheme, there.scheme) == ("http", "https")
    if there.port != first.port and not (upgraded and there.port in (None, 443)):
        return "another port"
    return ""


def anywhere(first: SplitResult, there: SplitResult) -> str:
    """Follow to any public host, and from a private one to private ones."""
    if _is_private(there.hostname or "") and not _is_private(first.hostname or ""):
        return "an address of a private network"
    return ""


def parse_url(url: str) -> SplitResult | None:
    """The parts of an http or https URL; None if it is none."""
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if fit and not re.search(r"[\x00-\x20\x7f]", url) else None


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def never(first: SplitResult, here: SplitResult, there: SplitResult) -> str:
    """What no redirect may do, whoever asked."""
    if "https" in (first.scheme, here.scheme) and there.scheme != "https":
        return "without encryption"
    if there.username is not None or there.password is not None:
        return "with credentials"
    return anywhere(first, there)


def _is_private(host: str) -> bool:
    """Whether a host is, or is resolved to, an address that the public cannot reach."""
    if is_loopback(host):
        return True
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return any(not ipaddress.ip_address(address.partition("%")[0]).is_global for address in found)
