"""A web server on loopback that serves one file, and misbehaves as it is told: request by request."""

from __future__ import annotations

import contextlib
import http.server
import re
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Answer", "Host", "Request", "cut_after", "status", "whole"]


class Request(http.server.BaseHTTPRequestHandler):
    """One request, with what a misbehaviour needs to answer it."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    host: Host

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        self.start = int(asked[1]) if asked else 0
        self.host.paths.append(self.path)
        self.host.starts.append(self.start)
        self.host.headers.append(dict(self.headers))
        with self.host.lock:
            answer = self.host.script.pop(0) if self.host.script else self.host.then
        with contextlib.suppress(OSError):
            answer(self)

    def begin(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def begin_rest(self, **headers: str) -> bytes:
        """The right head of the answer; returns the body that belongs to it."""
        content = self.host.content
        if self.start and self.start >= len(content):
            self.begin(416, 0, Content_Range=f"bytes */{len(content)}")
            return b""
        if self.start:
            headers["Content_Range"] = f"bytes {self.start}-{len(content) - 1}/{len(content)}"
        self.begin(206 if self.start else 200, len(content) - self.start, **headers)
        return content[self.start :]

    def send(self, data: bytes) -> None:
        self.host.sent += len(data)  # first: who receives the bytes may look at the count at once
        self.wfile.write(data)

    def hang_up(self) -> None:
        self.close_connection = True

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client hung up
            super().handle()

    def log_message(self, *args: Any) -> None: ...


Answer = Callable[[Request], None]


def whole(request: Request) -> None:
    """As it should be, ranges included."""
    request.send(request.begin_rest())


def cut_after(count: int) -> Answer:
    """Drop the connection after so many bytes."""

    def answer(request: Request) -> None:
        request.send(request.begin_rest()[:count])
        request.hang_up()

    return answer


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """This status, whatever was asked."""

    def answer(request: Request) -> None:
        request.begin(code, len(body), **headers)
        request.send(body)

    return answer


class Host:
    """A server: `script` is answered first, then `then` for ever."""

    def __init__(
        self, content: bytes = b"", then: Answer = whole, script: list[Answer] | None = None
    ) -> None:
        self.content, self.then, self.script = content, then, list(script or [])
        self.lock = threading.Lock()
        self.paths: list[str] = []
        self.starts: list[int] = []
        self.headers: list[dict[str, str]] = []
        self.sent = 0
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (Request,), {"host": self})
        )
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_until(self, met: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < deadline, "it did not come to that"
            time.sleep(0.01)
