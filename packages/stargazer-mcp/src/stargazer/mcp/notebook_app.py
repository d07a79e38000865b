"""Serves notebooks as apps: their code is shown and cannot be changed, and each page has a session of its own."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import marimo
import uvicorn
from stargazer.mcp.notebook_guard import HEALTH, Guard, with_headers
from stargazer.mcp.notebook_index import NOTEBOOKS, index_page, list_notebooks
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Scope

__all__ = ["make_app", "serve_app"]

CLOSING = 1  # seconds for answers that are under way when it ends
IDLE = 300  # seconds for which a connection is kept


def make_app(folder: Path, token: str, port: int, only: Collection[str] = ()) -> ASGIApp:
    """The app: an index at `/`, the notebooks below `/notebooks`, and `/health`, which needs no token.

    Args:
        folder: that of the notebooks; what comes into it later is served too.
        token: who may use it.
        port: where it is served.
        only: names of notebooks, without `.py`, if not all are to be served.
    """
    made: list[Any] = []

    def remember(app: Any) -> Any:
        made.append(app)
        return app

    def is_served(path: str, scope: Scope) -> bool:
        served = {each.name for each in list_notebooks(folder, only) if not each.problem}
        if path in served:
            return True
        # marimo would rather run a file of this very name, which nobody listed
        return not (folder / f"{path}.py").exists() and any(path.startswith(f"{name}/") for name in served)

    async def index(request: Request) -> Response:
        return with_headers(index_page(list_notebooks(folder, only)))

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "healthy"})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        for each in made:
            await each.state.session_manager.shutdown()

    apps = marimo.create_asgi_app(quiet=True, include_code=True).with_dynamic_directory(
        path=NOTEBOOKS, directory=str(folder), validate_callback=is_served, middleware=[remember]
    )
    return Starlette(
        routes=[Route("/", index), Route(HEALTH, health), Mount("/", apps.build())],
        middleware=[Middleware(Guard, token=token, port=port)],
        lifespan=lifespan,
    )


def serve_app(
    folder: Path, token: str, listener: socket.socket, only: Collection[str], ready: Callable[[], None]
) -> None:
    """Serve until a signal comes; then sessions end, and the signal has its usual effect.

    Args:
        listener: where requests come in.
        ready: called when they are taken.
    """
    app = make_app(folder, token, listener.getsockname()[1], only)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="on", timeout_keep_alive=IDLE,
        ws_ping_interval=1, ws_ping_timeout=60, timeout_graceful_shutdown=CLOSING,
    )  # fmt: skip

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    Announced(config).run(sockets=[listener])
