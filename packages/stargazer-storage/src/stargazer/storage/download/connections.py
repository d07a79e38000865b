"""HTTP connections: a session per thread, no cookies, answers that come to an end, logs without secrets."""

from __future__ import annotations

import http.client
import io
import logging
import os
import socket
import threading
import time
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from stargazer.assets.addresses import hidden
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

if TYPE_CHECKING:
    from stargazer.storage.download.reach import Reach

__all__ = ["session"]

MOST_BYTES = 1 << 20
"""Of the head of an answer, interim answers included, or around one piece of its body."""

_sessions = threading.local()


def session(reach: Reach | None = None) -> requests.Session:
    """This thread's session, made at first use and again in a forked child.

    Args:
        reach: what it may ask, if not everything; such a session uses no proxy and no password file (.netrc).
    """
    if getattr(_sessions, "pid", None) != os.getpid():
        for name in ("urllib3.connection", "urllib3.connectionpool"):
            logging.getLogger(name).addFilter(_without_secrets)
        _sessions.made, _sessions.pid = {}, os.getpid()
    made: dict[Reach | None, requests.Session] = _sessions.made
    if reach not in made:
        made[reach] = _new_session(reach)
    return made[reach]


def _new_session(reach: Reach | None) -> requests.Session:
    made = requests.Session()
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    if reach is not None:
        made.trust_env = False
        made.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter(reach))
    return made


def _without_secrets(record: logging.LogRecord) -> bool:
    """Keep addresses out of what urllib3 logs, whoever listens."""
    record.msg, record.args, record.exc_info = hidden(record.getMessage()), (), None
    return True


class _Reader(io.RawIOBase):
    """The bytes of a socket, whose timeout counts from byte to byte: here it also counts for a whole step.

    A step is the head of an answer, or a piece of its body with the chunk sizes, extensions and trailers around it.
    From its first byte on it may take no longer than the timeout, and it has MOST_BYTES at most.
    """

    def __init__(self, connected: socket.socket, raw: io.RawIOBase) -> None:
        self._raw, self._seconds = raw, connected.gettimeout() or 0.0
        self._count, self._began = 0, 0.0

    def begin(self) -> None:
        """The next step."""
        self._count, self._began = 0, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._began and time.monotonic() - self._began > self._seconds:
            raise TimeoutError("it trickles")
        if self._count > MOST_BYTES:
            raise http.client.HTTPException("it does not end")
        count = self._raw.readinto(buffer)
        self._count += count or 0
        self._began = self._began or time.monotonic()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that cannot trickle on, or go on without end, where http.client waits for the end of something."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._reader = _Reader(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._reader)

    def read1(self, n: int = -1) -> bytes:
        self._reader.begin()
        return super().read1(n)


class _Pinned(HTTPConnection):
    """Goes before a connection class of urllib3: connects to addresses that were judged, and to no others."""

    reach: Reach

    def _new_conn(self) -> socket.socket:
        host = self._dns_host
        failure: Exception = NewConnectionError(self, "no address")
        try:
            addresses = self.reach.addresses(host, self.port or 0)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        for address in addresses:
            self._dns_host = address  # of which the certificate is not: its host is read later
            try:
                return super()._new_conn()
            except (NewConnectionError, ConnectTimeoutError) as error:
                failure = error
            finally:
                self._dns_host = host
        raise failure


class _Adapter(HTTPAdapter):
    """No retries of its own: the caller knows what has arrived."""

    def __init__(self, reach: Reach | None) -> None:
        super().__init__()
        self._reach = reach

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        if pool.ConnectionCls.response_class is not _Response:
            bases = (pool.ConnectionCls,) if self._reach is None else (_Pinned, pool.ConnectionCls)
            pool.ConnectionCls = type(
                "Connection", bases, {"response_class": _Response, "reach": self._reach}
            )
        return pool
