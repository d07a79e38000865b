"""query_files: what is registered."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastmcp import FastMCP
from pydantic import Field
from stargazer.mcp.records import as_dict, evicted, find_records
from stargazer.mcp.tools.answers import JsonObject, told
from stargazer.storage import get_client

from mcp.types import ToolAnnotations

__all__ = ["register"]

SHOWN = 50


def register(server: FastMCP) -> None:
    """Add the tools about files to a server."""

    @server.tool(
        annotations=ToolAnnotations(title="Find registered files", read_only_hint=True, open_world_hint=False)
    )
    async def query_files(
        filters: Annotated[
            JsonObject,
            Field(description='Equalities that all hold, e.g. {"asset": "alignment", "sample": "NA12878"}; '
                              "a list means any of these. Empty: all files."),
        ] = {},  # noqa: B006
        limit: Annotated[int, Field(ge=1, le=1000, description="At most so many files, the newest.")] = SHOWN,
    ) -> dict[str, Any]:  # fmt: skip
        """Registered files (references, reads, alignments, variants, reports) with metadata and CID, oldest first."""
        with told():
            wanted = {key: value if isinstance(value, list) else [value] for key, value in filters.items()}
            records = await asyncio.to_thread(lambda: find_records(get_client().store, wanted))
            dropped = await asyncio.to_thread(lambda: evicted(get_client().store))
        return {"total": len(records), "files": [as_dict(record, dropped) for record in records[-limit:]]}
