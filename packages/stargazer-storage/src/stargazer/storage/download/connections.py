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
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from stargazer.assets.addresses import hidden

__all__ = ["session"]

MOST_BYTES = 1 << 20
"""Of the head of an answer, interim answers included, or around one piece of its body."""

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


class _Adapter(HTTPAdapter):
    """No retries of its own: the caller knows what has arrived."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        if pool.ConnectionCls.response_class is not _Response:
            pool.ConnectionCls = type("Connection", (pool.ConnectionCls,), {"response_class": _Response})
        return pool
