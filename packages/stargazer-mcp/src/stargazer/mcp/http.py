"""Serves MCP over HTTP: which requests are taken, judged as strictly as lines of stdio, and an end that answers all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import uvicorn
from fastmcp import FastMCP
from stargazer.mcp.messages import LINE, Refused, read_message
from stargazer.mcp.wire import ENDLESS
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["PATH", "serve_http"]

PATH = "/mcp"
GRACE = 60.0  # seconds for answers after SIGTERM; get_run waits for 50
CLOSING = 1  # seconds more for streams that have no end
FAR = 16 * LINE  # bytes of a body that is refused, which are read all the same
SIZE_REFUSED, NOT_NOW, BAD = 413, 503, 400


async def serve_http(server: FastMCP, listener: socket.socket, *, hosts: Sequence[str] = ()) -> int:
    """Serve until a signal comes, then answer what was asked for; a second signal ends it at once.

    Args:
        server: what is served, with its `auth`.
        listener: where requests come in.
        hosts: names by which clients may call this machine, beside those of loopback and the address of the socket.

    Returns:
        The number of the signal.
    """
    door = Door()
    app = server.http_app(
        path=PATH,
        middleware=[Middleware(Judge, door=door, authenticated=server.auth is not None)],
        host_origin_protection=True,
        allowed_hosts=list(hosts),
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=CLOSING,
    )
    running = Unsignalled(config)
    signals: list[int] = []
    ending: list[asyncio.Task[None]] = []

    async def end() -> None:
        await door.closed(GRACE)
        running.should_exit = True

    def received(number: int) -> None:
        signals.append(number)
        if len(signals) == 1:
            ending.append(asyncio.create_task(end()))
        else:
            running.should_exit = running.force_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, received, number)
    await running.serve(sockets=[listener])
    return signals[0] if signals else 0


class Unsignalled(uvicorn.Server):
    """A server that leaves signals to who runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


class Door:
    """Counts the requests that have to be answered, and refuses new ones once it is closed."""

    def __init__(self) -> None:
        self.is_closed = False
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """A request that has to be answered."""
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def closed(self, seconds: float) -> None:
        """Refuse new requests, and wait until the others are answered, for so many seconds at most."""
        self.is_closed = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)


class Judge:
    """Refuses messages that could not come by stdio either, before the SDK reads them.

    Args:
        app: what takes the others.
        door: counts them.
        authenticated: whether requests need a token; what comes without one is not read.
    """

    def __init__(self, app: ASGIApp, door: Door, authenticated: bool):
        self._app, self._door, self._authenticated = app, door, authenticated

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._door.is_closed:
            response = _refusal(NOT_NOW, "this server is about to end: ask again in a moment")
            response.headers["Retry-After"] = "5"
            await response(scope, receive, send)
        elif scope["method"] != "POST" or (self._authenticated and not scope["user"].is_authenticated):
            await self._app(scope, receive, send)
        else:
            await self._judge(scope, receive, send)

    async def _judge(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(scope, receive)
        if body is None:  # the client has gone
            return
        if len(body) > LINE:
            await _refusal(SIZE_REFUSED, f"a message has {LINE:,} bytes at most")(scope, receive, send)
            return
        try:
            message = read_message(body)
        except Refused as refused:
            response = _json(BAD, refused.answers[0]) if refused.answers else Response(status_code=BAD)
            await response(scope, receive, send)
            return
        replay: list[Message] = [{"type": "http.request", "body": message.line, "more_body": False}]

        async def again() -> Message:
            return replay.pop() if replay else await receive()

        if message.method in ENDLESS:
            await self._app(scope, again, send)
            return
        with self._door.inside():
            await self._app(scope, again, send)


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """The body of a request, of a longer one than is taken as much as shows that; None if it does not come.

    What is refused is read to its end too, unless that is far: who still sends when the connection is closed may never
    see why.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > FAR:
            return bytes(LINE + 1)
    body, size = bytearray(), 0
    while size <= FAR:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        size += len(part)
        body += part[: LINE + 1 - len(body)]
        if not message.get("more_body"):
            break
    return bytes(body)


def _refusal(status: int, problem: str) -> Response:
    return _json(status, Refused(-32600, problem).answers[0])


def _json(status: int, answer: dict[str, Any]) -> Response:
    return Response(
        json.dumps(answer), status, media_type="application/json", headers={"Connection": "close"}
    )
