"""`stargazer serve`: the MCP server over stdio."""

from __future__ import annotations

from collections.abc import Sequence

from stargazer.mcp.cli.words import Parser

__all__ = ["serve"]


def serve(argv: Sequence[str]) -> int:
    """Serve until the client hangs up."""
    parser = Parser(
        "serve",
        "",
        "Serve MCP over stdio: for agents, which start this command themselves.",
        "  claude mcp add stargazer -- stargazer serve",
    )
    words = parser.sort(argv)
    if words.plain or words.pairs:
        parser.error("serve takes no words")
    from stargazer.mcp.server import make_server

    make_server().run("stdio", show_banner=False, log_level="WARNING")
    return 0
