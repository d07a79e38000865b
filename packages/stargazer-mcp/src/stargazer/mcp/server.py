"""Makes the MCP server with its tools and the instructions that it gives to clients."""

from __future__ import annotations

from importlib.metadata import version

from fastmcp import FastMCP
from stargazer.mcp.access import Access
from stargazer.mcp.tools import catalogue, changes, files, runs
from stargazer.mcp.tools.answers import ExplainInput, SayDoubt

__all__ = ["make_server"]

INSTRUCTIONS = """\
Stargazer runs genomics workflows on this machine and keeps every file typed, verified and traceable.
1. query_files shows which files are registered: references by build, reads and alignments by sample.
2. list_tasks shows workflows with their arguments.
3. run_workflow starts one and answers within half a minute with its results, or with a run id and the state
   "running": call run_workflow again with that run_id alone until the state changes. Work goes on meanwhile,
   also without this server.
What has been computed before is remembered and not computed again, so repeating a call is cheap and safe."""


def make_server(access: Access | None = None) -> FastMCP:
    """A server with all tools; runs that it has started go on without it.

    Args:
        access: what its clients may do; by default, whatever they may from the current folder.
    """
    access = access or Access()
    server: FastMCP = FastMCP(
        "stargazer",
        INSTRUCTIONS,
        version=version("stargazer-mcp"),
        middleware=[SayDoubt(), ExplainInput()],
    )
    for module in (catalogue, files, changes, runs):
        module.register(server, access)
    if access.read_only:
        server.disable(tags={"write"})
    return server
