"""The MCP tool `query_files`: registered files by type and metadata."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastmcp import FastMCP
from pydantic import Field
from stargazer.assets import InvalidAssetError
from stargazer.mcp.access import Access
from stargazer.mcp.records import as_dict, find_records
from stargazer.mcp.strict_json import shortened
from stargazer.mcp.tools.answers import JsonObject, told
from stargazer.mcp.tools.limits import fitting
from stargazer.storage import get_client, maintenance

from mcp.types import ToolAnnotations

__all__ = ["register"]

SHOWN = 50


def register(server: FastMCP, access: Access) -> None:
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
        offset: Annotated[int, Field(ge=0, le=10**9, description="Leave out so many, the newest.")] = 0,
    ) -> dict[str, Any]:  # fmt: skip
        """Registered files (references, reads, alignments, variants, reports) with metadata and CID, oldest first."""
        with told():
            wanted = {key: _values(key, value) for key, value in filters.items()}
            records = await asyncio.to_thread(lambda: find_records(get_client().store, wanted))
            asked = records[: max(len(records) - offset, 0)]
            dropped = await asyncio.to_thread(lambda: maintenance.evicted(get_client().store))
            files = fitting(as_dict(record, dropped) for record in reversed(asked[-limit:]))[::-1]
            answer: dict[str, Any] = {"total": len(records), "files": files}
            if len(files) < len(asked):
                answer["note"] = (
                    f"{len(asked) - len(files):,} older files are not shown: narrow the filters, "
                    f"or go on with offset={offset + len(files)}"
                )
        return answer


def _values(key: str, value: Any) -> list[Any]:
    """The values of a filter.

    Raises:
        InvalidAssetError: it has none, or what is no value.
    """
    values = value if isinstance(value, list) else [value]
    if not values:
        raise InvalidAssetError(
            f"filters.{key}: an empty list selects nothing; leave the key out for all files"
        )
    for each in values:
        if not isinstance(each, str | int | float):
            raise InvalidAssetError(
                f"filters.{key}: expected text, a number, true or false, or a list of these, got {shortened(each)}"
            )
    return values
