"""The `stargazer` command: a module for each group of verbs, imported when one of them is called."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        from stargazer.mcp.cli.dispatch import dispatch
    except KeyboardInterrupt:  # while the first modules are imported
        return 130
    return dispatch(argv)
