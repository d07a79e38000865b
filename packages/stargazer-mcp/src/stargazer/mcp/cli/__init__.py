"""The `stargazer` command: a module for each group of verbs, imported when one of them is called."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main", "serve_or_main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        from stargazer.mcp.cli.dispatch import dispatch
    except KeyboardInterrupt:  # while the first modules are imported
        return 130
    return dispatch(argv)


def serve_or_main() -> int:
    """The command `stargazer-mcp`: without words it serves a client's pipes; else it is `stargazer`."""
    import sys

    alone = len(sys.argv) == 1 and sys.stdin is not None and not sys.stdin.isatty()
    return main(["serve"] if alone else None)
