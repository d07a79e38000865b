"""The resources of the MCP server: files, runs, settings, catalogues; a module for each group."""

from __future__ import annotations

from fastmcp import FastMCP
from stargazer.mcp.access import Access
from stargazer.mcp.resources import files, reference, runs
from stargazer.mcp.resources.answers import ExplainReading

__all__ = ["register"]


def register(server: FastMCP, access: Access) -> None:
    """Add all resources to a server."""
    server.add_middleware(ExplainReading())
    for module in (reference, files, runs):
        module.register(server)
