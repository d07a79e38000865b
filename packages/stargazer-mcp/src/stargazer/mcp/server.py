"""Makes the MCP server with its tools and the instructions that it gives to clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastmcp import FastMCP
from stargazer.mcp.tools import files, workflows
from stargazer.mcp.tools.answers import ExplainInput, SayDoubt
from stargazer.mcp.tools.runs import StartedRuns

__all__ = ["make_server"]

INSTRUCTIONS = """\
Stargazer runs genomics workflows on this machine and keeps every file typed, verified and traceable.
1. query_files shows which files are registered: references by build, reads and alignments by sample.
2. list_tasks shows workflows with their arguments.
3. run_workflow starts one and answers within half a minute with its results, or with a run id and the state
   "running": call run_workflow again with that run_id alone until the state changes. Work goes on meanwhile.
What has been computed before is remembered and not computed again, so repeating a call is cheap and safe."""


def make_server() -> FastMCP:
    """A server with all tools; the work it has started ends with it."""
    started = StartedRuns()

    @asynccontextmanager
    async def lifespan(server: FastMCP) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await started.cancel_all()

    server: FastMCP = FastMCP(
        "stargazer",
        INSTRUCTIONS,
        version=version("stargazer-mcp"),
        lifespan=lifespan,
        middleware=[SayDoubt(), ExplainInput()],
    )
    files.register(server)
    workflows.register(server, started)
    return server
