"""The `stargazer` command: a module for each group of verbs, imported when one of them is called."""

from __future__ import annotations

from stargazer.mcp.cli.main import main

__all__ = ["main"]
