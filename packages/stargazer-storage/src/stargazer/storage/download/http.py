"""The HTTP client: sends every request, follows redirects it was told to, waits and tries again, shows no secrets."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from http import HTTPStatus
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from attrs import frozen
from stargazer.assets import StorageError
from stargazer.assets.addresses import without_secrets
from stargazer.storage.download.reach import OutOfReach, Reach, is_loopback

if TYPE_CHECKING:
    import requests

__all__ = ["Backoff", "Body", "FileProgress", "Pace", "Patience", "Progress", "Refused", "SourceError",
           "Speed", "Unavailable", "is_safe", "may_pass", "open_url", "parse_url", "read_all", "refusal",
           "retry_after", "send", "without_secrets"]  # fmt: skip

CONNECT_SECONDS = 20.0
SILENT_SECONDS = 60.0
"""Without a byte."""

SPEED_SECONDS = 60.0
LEAST_RATE = 4096
"""Bytes per second, on average over SPEED_SECONDS of waiting for them."""

PIECE = 1 << 18
MOST_REDIRECTS = 5

_PASSING = frozenset({408, 409, 423, 425, 429, 460})  # 460 is TUS's checksum mismatch
_REDIRECTS = {301, 302, 303, 307, 308}
_COMPRESSED = (".gz", ".bgz", ".tgz", ".bz2", ".xz", ".zst")
_SLOWEST = 2.0  # seconds between requests, at most: half the rate of Pinata's free plan (60 a minute)

_FAILURES = {
    "ProxyError": "cannot be reached: the proxy refuses (HTTP_PROXY, HTTPS_PROXY)",
    "SSLError": "cannot be trusted: no valid TLS certificate",
    "NewConnectionError": "cannot be reached",
    "NameResolutionError": "cannot be reached: no such host, or no network",
    "InvalidURL": "the address or its token is malformed",
    "InvalidProxyURL": "the address or its token is malformed",
    "InvalidHeader": "the address or its token is malformed",
}
"""What does not pass, by the errors of requests and urllib3."""

Progress = Callable[[int, int | None], object]
"""Told the bytes that are done, and those in all where known."""

FileProgress = Callable[[str, int, int | None], object]
"""The same of one of several files: told its name first."""


class SourceError(StorageError):
    """What was asked for is not given: the text says why, after the name of who was asked, and shows no secret.

    Attributes:
        passing: another try may go better.
        wait: seconds that were asked for before that, if any.
        status: the HTTP status of the answer, 0 if there was none.
    """

    def __init__(
        self, text: str, *, passing: bool = False, wait: float | None = None, status: int = 0
    ) -> None:
        super().__init__(text)
        self.passing, self.wait, self.status = passing, wait, status


class Unavailable(StorageError):
    """A service cannot be reached or is overloaded: it passes, and nothing is lost by trying again later."""


class Refused(StorageError):
    """A service said no: trying the same again is no use.

    Attributes:
        status: the HTTP status of the answer.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


# waiting


@frozen
class Patience:
    """How often and for how long to try.

    Attributes:
        attempts: in a row without progress.
        seconds: spent waiting between them, in all.
        longest: seconds of one wait, also if more are asked for.
        first: seconds of the first wait, at most.
    """

    attempts: int = 7
    seconds: float = 180.0
    longest: float = 60.0
    first: float = 0.5


class Backoff:
    """Waits between attempts: twice as long each time, with jitter, or as long as is asked.

    Args:
        what: begins the text of the error in the end: "Pinata cannot list files".
    """

    def __init__(self, what: str, patience: Patience, sleep: Callable[[float], object]) -> None:
        self._what, self._patience, self._sleep = what, patience, sleep
        self.progressed()

    def progressed(self) -> None:
        """Something was achieved: be as patient as in the beginning."""
        self._failures, self._waited = 0, 0.0

    def again(self, failure: SourceError) -> None:
        """Wait before the next attempt.

        Raises:
            Unavailable: there has been enough waiting.
        """
        self._failures += 1
        wait = self._patience.first * 2 ** (self._failures - 1) * random.uniform(0.5, 1.0)
        if failure.wait is not None:
            wait = max(wait, failure.wait + random.uniform(0.0, 0.5))
        wait = min(wait, self._patience.longest)
        if self._failures >= self._patience.attempts or self._waited + wait > self._patience.seconds:
            times = "once" if self._failures == 1 else f"{self._failures} times"
            raise Unavailable(f"{self._what} now: {failure} (tried {times}). Try again later.") from None
        self._waited += wait
        self._sleep(wait)


class Pace:
    """Keeps all threads below a service's rate once it complained, and speeds up again while it does not.

    Attributes:
        interval: seconds between two requests.
    """

    def __init__(self, sleep: Callable[[float], object]) -> None:
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next, self.interval = 0.0, 0.0

    def wait(self) -> None:
        """Wait for this request's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self.interval
        if turn > now:
            self._sleep(turn - now)

    def slower(self, seconds: float) -> None:
        """The service said 429: nobody asks for so many seconds, and then more slowly."""
        with self._lock:
            self.interval = min(_SLOWEST, max(0.25, 2 * self.interval))
            self._next = max(self._next, time.monotonic() + seconds)

    def accepted(self) -> None:
        """A request was let through: twenty of them nearly double the pace."""
        with self._lock:
            self.interval = 0.97 * self.interval if self.interval > 0.1 else 0.0


def may_pass(status: int) -> bool:
    """Whether an HTTP status may be another one the next time."""
    return status in _PASSING or status >= 500


def retry_after(text: str) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or an HTTP date; None if it says nothing usable.

    Source: RFC 9110, section 10.2.3.
    """
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    with contextlib.suppress(InvalidHeader, ValueError, OverflowError):
        return Retry().parse_retry_after(text[:64])
    return None


class Speed:
    """How fast bytes come: at least LEAST_RATE on average over every SPEED_SECONDS of waiting for them."""

    def __init__(self) -> None:
        self._waited, self._got = 0.0, 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within a `with` block, however it ends."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - began

    def counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces; the time until each comes is counted, and what it brings.

        Raises:
            SourceError: as check().
        """
        while True:
            with self.waiting():
                piece = next(pieces, None)
            if piece is None:
                return
            self._got += len(piece)
            yield piece
            self.check()

    def check(self) -> None:
        """Begin a new window of time when one is over in which the bytes were enough.

        Raises:
            SourceError: they were not.
        """
        if self._waited >= SPEED_SECONDS:
            if self._got < LEAST_RATE * self._waited:
                raise SourceError(f"is too slow: {self._got:,} bytes in {self._waited:.0f} s", passing=True)
            self._waited, self._got = 0.0, 0


# requests and answers


def send(
    method: str,
    url: str,
    headers: Mapping[str, str],
    timeout: tuple[float, float] | None = None,
    reach: Reach | None = None,
    **parts: Any,
) -> requests.Response:
    """The answer to one request as far as its headers: not followed, not decompressed, not read.

    Args:
        timeout: seconds to connect, and without a byte; CONNECT_SECONDS and SILENT_SECONDS if None.
        reach: what may be asked, if not everything.
        parts: `auth`, `data`, `json`, `params` as of requests.

    Raises:
        SourceError: there is none. What an iterable in `data` raises passes unchanged, unless it is an OSError.
    """
    import urllib3
    from stargazer.storage.download.connections import session

    try:
        return session(reach).request(
            method,
            url,
            headers={"Accept-Encoding": "identity", **headers},
            stream=True,
            allow_redirects=False,
            timeout=timeout or (CONNECT_SECONDS, SILENT_SECONDS),
            **parts,
        )
    except OutOfReach as error:
        failure = SourceError(str(error))
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # requests' are OSErrors
        failure = _failure(error, "gave no answer in time")
    raise failure  # here, so that the error with the full address and its headers in it is no context of ours


def read_all(response: requests.Response, most: int) -> bytes:
    """An answer's body.

    Raises:
        SourceError: it is cut, too slow, or longer than `most` bytes.
    """
    body = bytearray()
    with response, contextlib.closing(_pieces(response)) as pieces:
        for piece in pieces:
            body += piece
            if len(body) > most:
                raise SourceError("gives an answer that does not end", passing=True)
    return bytes(body)


@frozen
class Body:
    """Bytes on their way, not verified by anybody.

    Attributes:
        start: the offset in the file of the first byte that comes: the one asked for, or 0.
        size: bytes of the whole file, where the source says so.
        pieces: the bytes.
    """

    start: int
    size: int | None
    pieces: Iterator[bytes]


@contextlib.contextmanager
def open_url(
    url: str,
    *,
    offset: int = 0,
    headers: Mapping[str, str] | None = None,
    same: bool = False,
    reach: Reach | None = None,
) -> Iterator[Body]:
    """The bytes behind a URL from an offset on, or from 0 where the server gives nothing else.

    Args:
        url: http or https; secrets in it are never shown.
        offset: the first byte wanted.
        headers: sent to this host only, never to where it redirects.
        same: follow redirects to the same site only.
        reach: what may be asked, if not everything; redirects included.

    Raises:
        SourceError: no connection, another answer than asked for, or (from `pieces`) a body that is cut or too slow.
    """
    response = _get(url, offset, headers or {}, same, reach)
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        response.close()
        if response.headers.get("Content-Range") == f"bytes */{offset}":
            yield Body(offset, offset, iter(()))
            return
        response = _get(url, 0, headers or {}, same, reach)
    with response:
        start, size = _extent(response, offset)
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        # servers also call a .gz file compressed that comes as it is
        if coding not in ("", "identity") and not urlsplit(response.url).path.endswith(_COMPRESSED):
            raise SourceError(f"sent the file compressed ({coding[:20]!r}), which was not asked for")
        with contextlib.closing(_pieces(response)) as pieces:
            yield Body(start, size, pieces)


def _get(
    url: str, offset: int, headers: Mapping[str, str], same: bool, reach: Reach | None
) -> requests.Response:
    """The answer after redirects: its status is 200, 206 or, for an offset, 416."""
    first = here = urlsplit(url)
    if reach and (why := reach.refusal(here)):
        raise SourceError(f"is {why}")
    for _ in range(MOST_REDIRECTS + 1):
        sent = {"Range": f"bytes={offset}-"} if offset else {}
        if here[:2] == first[:2]:
            sent |= headers
        response = send("GET", urlunsplit(here), sent, reach=reach)
        if response.status_code not in _REDIRECTS:
            break
        response.close()
        there = parse_url(urljoin(urlunsplit(here), response.headers.get("Location", "")))
        if there is None:
            raise SourceError("redirects to no http or https URL")
        if why := refusal(first, here, there, same=same) or (reach.refusal(there) if reach else ""):
            raise SourceError(f"redirects to {without_secrets(urlunsplit(there))!r}, {why}: not followed")
        here = there
    else:
        raise SourceError(f"redirects more than {MOST_REDIRECTS} times")
    status = response.status_code
    if status in (200, 206) or (status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset):
        return response
    response.close()
    raise SourceError(
        f"answered {status} {responses.get(status, '')}".rstrip(),
        passing=may_pass(status),
        wait=retry_after(response.headers.get("Retry-After", "")),
        status=status,
    )


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


def _pieces(response: requests.Response) -> Generator[bytes, None, None]:
    import urllib3

    read = functools.partial(response.raw.read1, PIECE, decode_content=False)
    try:
        yield from Speed().counted(iter(read, b""))
        return
    except SourceError:
        raise
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        failure = _failure(error, f"sent nothing for {SILENT_SECONDS:.0f} s")
    raise failure


def _failure(error: BaseException, late: str) -> SourceError:
    """What a failed request comes to, in words that hold nothing of the request."""
    cause = error.args[0] if error.args else None  # requests wraps urllib3's error, and that the reason
    kinds = {type(item).__name__ for item in (error, cause, getattr(cause, "reason", None))}
    for kind, text in _FAILURES.items():
        if kind in kinds:
            return SourceError(text)
    if not kinds.isdisjoint(("ConnectTimeout", "ConnectTimeoutError")):
        return SourceError(f"does not answer within {CONNECT_SECONDS:.0f} s", passing=True)
    is_late = not kinds.isdisjoint(("ReadTimeout", "ReadTimeoutError", "TimeoutError"))
    return SourceError(late if is_late else "broke the connection", passing=True)


# addresses, and where a redirect may lead


def refusal(first: SplitResult, here: SplitResult, there: SplitResult, *, same: bool) -> str:
    """Why not to follow a redirect; empty if there is no reason.

    Args:
        first: was asked first; from a public host no redirect leads to a private one.
        here: redirects.
        same: stay on the first host and its subdomains, and on its port but from http to https.
    """
    if "https" in (first.scheme, here.scheme) and there.scheme != "https":
        return "without encryption"
    if there.username is not None or there.password is not None:
        return "with credentials"
    host, target = first.hostname or "", there.hostname or ""
    if _is_private(target) and not _is_private(host):
        return "an address of a private network"
    if same and target != host and not target.endswith(f".{host}"):
        return "another site"
    upgraded = (first.scheme, there.scheme) == ("http", "https") and there.port in (None, 443)
    return "another port" if same and there.port != first.port and not upgraded else ""


def parse_url(url: str) -> SplitResult | None:
    """The parts of an http or https URL; None if it is none."""
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if fit and not re.search(r"[\x00-\x20\x7f]", url) else None


def is_safe(url: str) -> bool:
    """Whether what is sent to a URL is read by nobody on the way: by https, or to this machine."""
    parts = parse_url(url)
    return parts is not None and (parts.scheme == "https" or is_loopback(parts.hostname or ""))


def _is_private(host: str) -> bool:
    """Whether a host is, or is resolved to, an address that the public cannot reach."""
    if is_loopback(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(not ipaddress.ip_address(entry[4][0]).is_global for entry in found)
