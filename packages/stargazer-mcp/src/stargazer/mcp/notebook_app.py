"""Serves notebooks as apps: their code is shown and cannot be changed, and each page has a session of its own."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any

import marimo
import uvicorn
from marimo._runtime.virtual_file import virtual_file
from stargazer.mcp.notebook_guard import HEALTH, Guard, Tickets, with_headers
from stargazer.mcp.notebook_index import NOTEBOOKS, find_listed, index_page, list_notebooks
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Scope

__all__ = ["make_app", "serve_app"]

UNUSED = ("public", "sse")
"""Addresses of marimo's below a notebook: files beside it, and what a link on any site would start."""
LOADED = ("flyte", "stargazer.workflows.notebook.app", "altair")
"""What most notebooks import: loaded before there is a session, so that none waits, and no two load it at one time."""
CLOSING = 1  # seconds for answers that are under way when it ends
IDLE = 300  # seconds for which a connection is kept


def make_app(folder: Path, tickets: Tickets, port: int, only: Collection[str] = ()) -> ASGIApp:
    """The app: an index at `/`, the notebooks below `/notebooks`, and `/health`, which needs no token.

    Args:
        folder: that of the notebooks; what comes into it later is served too.
        tickets: who may use it.
        port: where it is served.
        only: names of notebooks, without `.py`, if not all are to be served.
    """
    made: list[Any] = []

    def remember(app: Any) -> Any:
        made.append(app)
        return app

    def is_served(path: str, scope: Scope) -> bool:
        parts = path.removesuffix("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            return False
        names = ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
        try:  # what marimo would run, with this suffix or another one: the longest that there is
            name = next(
                name for name in names if _exists(folder / f"{name}.py", (folder / name).with_suffix(".py"))
            )
        except (StopIteration, OSError, ValueError):
            return False
        if any(part in UNUSED for part in parts[name.count("/") + 1 :]):
            return False
        listed = find_listed(folder, name, only)
        return listed is not None and not listed.problem

    async def index(request: Request) -> Response:
        return with_headers(index_page(list_notebooks(folder, only)))

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "healthy"})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        for each in made:
            await each.state.session_manager.shutdown()

    # names of files that a session makes are no secret otherwise: all sessions draw them from one generator
    virtual_file.random = random.SystemRandom()  # type: ignore[assignment, attr-defined]
    apps = marimo.create_asgi_app(quiet=True, include_code=True).with_dynamic_directory(
        path=NOTEBOOKS, directory=str(folder), validate_callback=is_served, middleware=[remember]
    )
    return Starlette(
        routes=[Route("/", index), Route(HEALTH, health), Mount("/", apps.build())],
        middleware=[Middleware(Guard, tickets=tickets, port=port)],
        lifespan=lifespan,
    )


def _exists(*paths: Path) -> bool:
    return any(path.exists() for path in paths)


def serve_app(
    folder: Path, tickets: Tickets, listener: socket.socket, only: Collection[str], ready: Callable[[], None]
) -> None:
    """Serve until a signal comes; then sessions end, and the signal has its usual effect.

    Args:
        listener: where requests come in.
        ready: called when they are taken.
    """
    for name in LOADED:
        import_module(name)
    app = make_app(folder, tickets, listener.getsockname()[1], only)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="on", timeout_keep_alive=IDLE,
        ws_ping_interval=1, ws_ping_timeout=60, timeout_graceful_shutdown=CLOSING,
    )  # fmt: skip

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    Announced(config).run(sockets=[listener])
