"""`stargazer serve`: serves MCP over standard input and output."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

from stargazer.mcp.cli.console import Parser

__all__ = ["serve"]


def serve(argv: Sequence[str]) -> None:
    """Serve until the client hangs up, and what it has asked for is answered."""
    parser = Parser(
        "serve",
        "",
        "Serve MCP over stdio: for agents, which start this command themselves.",
        "  claude mcp add stargazer -- stargazer serve",
    )
    words = parser.sort(argv)
    parser.no_words(words, "serve takes no words")
    if sys.stdin is None or sys.stdout is None:
        parser.error("serve needs standard input and output: an agent's client gives it pipes")
    import asyncio

    from stargazer.mcp.wire import guarded_stdio

    with guarded_stdio():
        asyncio.run(_serve())


async def _serve() -> None:
    """Serve; signals end it between two steps of the event loop, where no task takes them for errors of its own."""
    import asyncio

    from stargazer.mcp.server import make_server

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, sys.exit, 128 + signal.SIGTERM)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGINT, signal.default_int_handler, signal.SIGINT, None)
    # errors are answers: they are not told on stderr too
    level = "WARNING" if os.environ.get("STARGAZER_DEBUG") else "CRITICAL"
    logging.getLogger("mcp").setLevel(level)
    await make_server().run_async("stdio", show_banner=False, log_level=level)
