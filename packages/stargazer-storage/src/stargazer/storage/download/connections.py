"""HTTP connections: a session per thread, no cookies, answers whose headers must end in time, logs without secrets."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Self

import requests
from requests.adapters import HTTPAdapter
from stargazer.assets.addresses import hidden
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

__all__ = ["HEADERS_SECONDS", "Watch", "session"]

HEADERS_SECONDS = 150.0
"""From the request to the end of the answer's headers; an IPFS gateway may search a block for two minutes."""

# seconds without a byte; who waits longer, as for the answer to an upload, does so for its headers
_ORDINARY = 60.0
_LONGEST_LINE = 65536  # bytes, as http.client has it

MOST_LINES = 100
"""Interim answers before an answer, and lines of its trailer; http.client limits headers to as many, of 64 KiB."""

_sessions = threading.local()


def session() -> requests.Session:
    """This thread's session, made at first use and again in a forked child."""
    if getattr(_sessions, "pid", None) != os.getpid():
        made = requests.Session()
        for name in ("urllib3.connection", "urllib3.connectionpool"):
            logging.getLogger(name).addFilter(_without_secrets)
        made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            made.mount(scheme, _Adapter())
        _sessions.session, _sessions.pid = made, os.getpid()
    found: requests.Session = _sessions.session
    return found


def _without_secrets(record: logging.LogRecord) -> bool:
    """Keep addresses out of what urllib3 logs, whoever listens."""
    record.msg, record.args, record.exc_info = hidden(record.getMessage()), (), None
    return True


class Watch:
    """Cuts a connection on which one step takes too long: a timeout counts from byte to byte, and those may trickle in.

    Args:
        connected: the connection's socket; None for one that cannot be cut.
        seconds: for one step.

    Attributes:
        late: it was cut.
    """

    def __init__(self, connected: socket.socket | None, seconds: float) -> None:
        self._connected, self._seconds = connected, seconds
        self._over = threading.Event()
        self._began: float | None = None
        self.late = False

    def __enter__(self) -> Self:
        if self._connected is not None:
            self._thread = threading.Thread(target=self._run, name="stargazer-watch", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._connected is not None:
            self._thread.join()

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """One step, within a `with` block."""
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._began = None

    def _run(self) -> None:
        assert self._connected is not None
        left = self._seconds
        while not self._over.wait(left):
            began = self._began
            left = self._seconds if began is None else began + self._seconds - time.monotonic()
            if left <= 0:
                self.late = True
                with contextlib.suppress(OSError):
                    # of a TLS one the socket below it: safe from another thread
                    socket.socket.shutdown(self._connected, socket.SHUT_RDWR)
                return


class _Response(http.client.HTTPResponse):
    """An answer whose head and trailer are bounded; what http.client itself does not bound."""

    _heads = 0

    def _read_status(self) -> tuple[str, int, str]:
        self._heads += 1
        if self._heads > MOST_LINES:
            raise http.client.HTTPException("only interim answers come")
        status: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
        return status

    def _read_and_discard_trailer(self) -> None:
        for _ in range(MOST_LINES):
            line = self.fp.readline(_LONGEST_LINE + 1)
            if len(line) > _LONGEST_LINE:
                break
            if line in (b"\r\n", b"\n", b""):
                return
        raise http.client.HTTPException("the trailer does not end")


class _HeadersInTime(HTTPConnection):
    response_class = _Response

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        connected, silent = self.sock, self.timeout if isinstance(self.timeout, float) else 0.0
        seconds = max(HEADERS_SECONDS, silent) if silent > _ORDINARY else HEADERS_SECONDS
        with Watch(connected, seconds) as watch, watch.step():
            try:
                response = super().getresponse()
            except Exception:
                if watch.late:  # it was we who broke the connection
                    raise TimeoutError("the headers do not end") from None
                raise
        if watch.late:  # half a head reads like a whole one
            response.close()
            raise TimeoutError("the headers do not end")
        response.connected = connected  # type: ignore[attr-defined]
        return response


class _TlsHeadersInTime(_HeadersInTime, HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    """No retries of its own: the caller knows what has arrived."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        if "SOCKS" not in type(pool).__name__:
            pool.ConnectionCls = _TlsHeadersInTime if pool.scheme == "https" else _HeadersInTime
        return pool
