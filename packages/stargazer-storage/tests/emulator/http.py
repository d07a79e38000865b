"""An HTTP/1.1 server on loopback that logs every request by the byte and misbehaves exactly as it is told to.

The standard library only, and nothing of Stargazer: what is tested must not help to test itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .answers import PIECE, Answer
from .faults import Exchange, Fault, Faults

__all__ = ["FaultyServer", "Request"]


class Dropped(Exception):
    """The connection ends here, by a fault or by the client."""


class Request:
    """What a route gets: the parsed request, and its body as a stream that counts."""

    def __init__(self, handler: _Handler, exchange: Exchange, fault: Fault) -> None:
        self.exchange, self.method, self.headers = exchange, exchange.method, exchange.headers
        parts = urlsplit(exchange.target)
        self.path = unquote(parts.path)
        self.query = parse_qsl(parts.query, keep_blank_values=True)
        self._source, self._fault = handler.rfile, fault
        self._stopping = handler.server.owner.stopping
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self._left = 0 if self._chunked else int(self.headers.get("content-length") or 0)
        self.length = None if self._chunked else self._left

    def read(self, size: int = PIECE) -> bytes:
        """At most `size` bytes of the body; empty at its end."""
        if self._chunked and self._left == 0:
            self._left = int(self._source.readline().split(b";")[0] or b"0", 16)
            if self._left == 0:
                self._chunked = False
                while self._source.readline().strip():
                    pass
        size = min(size, self._left)
        for limit in (self._fault.cut_request, self._fault.stall_request):
            if limit is not None:
                size = min(size, limit - self.exchange.received)
        if size <= 0 < self._left:
            if self._fault.cut_request is None:
                self._stopping.wait()
            raise Dropped
        if size == 0:
            return b""
        piece = self._source.read1(size)
        if not piece:
            raise Dropped
        self._left -= len(piece)
        self.exchange.received += len(piece)
        if self._chunked and self._left == 0:
            self._source.readline()
        return piece

    def body(self, limit: int = 1 << 20) -> bytes:
        """The whole body, which must be small."""
        content = bytearray()
        while piece := self.read():
            content += piece
            if len(content) > limit:
                raise Dropped
        return bytes(content)

    def drain(self) -> None:
        """Read what is left and forget it, so that the client gets to read its answer."""
        while self.read():
            pass


class FaultyServer:
    """A server thread of its own on loopback: `route(request)` answers, `faults` spoil, `log` remembers."""

    def __init__(
        self,
        name: str,
        route: Callable[[Request], Answer],
        faults: Faults,
        log: list[Exchange],
        port: int = 0,
    ) -> None:
        self.name, self.route, self.faults, self.log, self.port = name, route, faults, log, port
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.stopping.clear()
        self._server = _Server(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name=self.name, daemon=True).start()

    def stop(self) -> None:
        """Stop at once, like a machine that loses its power: open connections are dropped."""
        if self._server is None:
            return
        self.stopping.set()
        self._server.shutdown()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._server = None

    def wait_for_ends(self, seconds: float = 30) -> None:
        """Wait until no connection is open: what a killed client had sent is dealt with then."""
        deadline = time.monotonic() + seconds
        while self._open:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: {len(self._open)} connections are still open")
            time.sleep(0.01)

    def begin(self, exchange: Exchange) -> Fault:
        """Log a request and choose its fault."""
        self.log.append(exchange)
        return self.faults.take(self.name, f"{exchange.method} {exchange.target}")

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: FaultyServer) -> None:
        self.owner = owner
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Errors of connections were expected; any other is the equipment's own, and is kept for its owner."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "faulty"
    disable_nagle_algorithm = True
    timeout = 120
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.owner.opened(self.connection)

    def finish(self) -> None:
        self.server.owner.closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *args: Any) -> None:
        """Nothing: the log is in memory."""

    def _handle(self) -> None:
        owner = self.server.owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        exchange = Exchange(owner.name, self.command, self.path, headers)
        fault = owner.begin(exchange)
        request = Request(self, exchange, fault)
        try:
            answer = _made_up(fault, self.path) if fault.refuses else owner.route(request)
            request.drain()
            if fault.lost or (fault.delay and owner.stopping.wait(fault.delay)):
                raise Dropped
            self._send(answer, exchange, fault)
        except (Dropped, OSError):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        except Exception as error:
            owner.errors.append(error)
            self.close_connection = True
            raise

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle  # noqa: N815

    def _send(self, answer: Answer, exchange: Exchange, fault: Fault) -> None:
        if fault.patch:
            value = json.loads(answer.body)
            value["data"].update(fault.patch)
            answer = dataclasses.replace(answer, body=json.dumps(value).encode())
        headers = dict(answer.headers)
        if fault.lie and "Content-Range" in headers:
            span, _, total = headers["Content-Range"].rpartition("/")
            headers["Content-Range"] = f"{span}/{int(total) + fault.lie}"
        headers |= fault.headers
        if answer.status not in (204, 304):
            headers["Content-Length"] = str(answer.size + fault.lie)
        exchange.status = answer.status
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and answer.status not in (204, 304):
            for piece in _spoiled(answer, fault):
                self._send_piece(piece, exchange, fault)
        if fault.lie:
            raise Dropped

    def _send_piece(self, piece: bytes, exchange: Exchange, fault: Fault) -> None:
        rest = memoryview(piece)
        while rest:
            if self.server.owner.stopping.is_set():
                raise Dropped
            size = len(rest)
            if fault.cut_answer is not None:
                size = min(size, fault.cut_answer - exchange.sent)
            if fault.drip:
                full_speed = fault.drip_after - exchange.sent
                size = min(size, full_speed) if full_speed > 0 else min(size, 1)
                if full_speed <= 0 and self.server.owner.stopping.wait(fault.drip):
                    raise Dropped
            if size <= 0:
                raise Dropped
            self.wfile.write(rest[:size])
            exchange.sent += size
            rest = rest[size:]
        if fault.cut_answer is not None and exchange.sent >= fault.cut_answer:
            raise Dropped


def _made_up(fault: Fault, target: str) -> Answer:
    if fault.redirect:
        return Answer(fault.status or 302, {"Location": fault.redirect.replace("{target}", target)})
    if fault.html:
        page = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in.</body></html>"
        return Answer(fault.status or 200, {"Content-Type": "text/html; charset=utf-8"}, page)
    return Answer(
        fault.status or 200, {"Content-Type": "text/plain"}, fault.body.encode() or b"made to fail\n"
    )


def _spoiled(answer: Answer, fault: Fault) -> Iterator[bytes]:
    at = answer.start
    for piece in answer.pieces():
        if fault.corrupt is not None and at <= fault.corrupt < at + len(piece):
            spoiled = bytearray(piece)
            spoiled[fault.corrupt - at] ^= 0x01
            piece = bytes(spoiled)
        at += len(piece)
        yield piece
