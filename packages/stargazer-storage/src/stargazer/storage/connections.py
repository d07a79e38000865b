"""Connections for downloads: one session per thread, without cookies, and headers that must end in time."""

from __future__ import annotations

import os
import socket
import threading
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from urllib3 import HTTPResponse, PoolManager

__all__ = ["HEADERS_SECONDS", "session"]

HEADERS_SECONDS = 150.0
"""From the request to the end of the answer's headers; an IPFS gateway may search a block for two minutes."""

_sessions = threading.local()


def session() -> requests.Session:
    """This thread's session, made at first use and again in a forked child."""
    if getattr(_sessions, "pid", None) != os.getpid():
        made = requests.Session()
        made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            made.mount(scheme, _Adapter())
        _sessions.session, _sessions.pid = made, os.getpid()
    found: requests.Session = _sessions.session
    return found


def _cut(connected: socket.socket, late: threading.Event) -> None:
    """Wake whoever waits for this connection; of a TLS one the socket below it, which is safe from another thread."""
    late.set()
    try:
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
    except OSError:
        return


class _HeadersInTime(HTTPConnection):
    """A read timeout counts from byte to byte: one that trickles in would hold us for days."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        if self.sock is None:
            return super().getresponse()
        late = threading.Event()
        timer = threading.Timer(HEADERS_SECONDS, _cut, [self.sock, late])
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()
        except Exception:
            if late.is_set():  # it was we who broke the connection
                raise TimeoutError("the headers do not end") from None
            raise
        finally:
            timer.cancel()
        if late.is_set():  # half a head reads like a whole one
            response.close()
            raise TimeoutError("the headers do not end")
        return response


class _TlsHeadersInTime(_HeadersInTime, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _HeadersInTime


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsHeadersInTime


class _Adapter(HTTPAdapter):
    """No retries of its own: the caller knows what has arrived."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        _limit(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **options)
        _limit(manager)
        return manager


def _limit(manager: PoolManager) -> None:
    if "https" in manager.pool_classes_by_scheme and "SOCKS" not in type(manager).__name__:
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
