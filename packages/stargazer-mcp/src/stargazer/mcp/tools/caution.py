"""Every answer of the server says so when the store's index is lost, damaged or incomplete."""

from __future__ import annotations

import asyncio
from typing import Any

from fastmcp.exceptions import ToolError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from stargazer.assets import StargazerError
from stargazer.storage import get_client

from mcp.types import CallToolRequestParams, TextContent

__all__ = ["SayDoubt"]


class SayDoubt(Middleware):
    """An answer carries why it may be wrong, under `warning` and as a text of its own; an error, as its last line."""

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, Any],
    ) -> Any:
        """Call the tool."""
        try:
            result = await call_next(context)
        except ToolError as error:
            said = await asyncio.to_thread(_doubt)
            if not said or said in str(error):
                raise
            raise ToolError(f"{error}\n{said}") from error
        if said := await asyncio.to_thread(_doubt):
            if result.structured_content is not None:
                result.structured_content["warning"] = said
            result.content.append(TextContent(type="text", text=f"warning: {said}"))
        return result


def _doubt() -> str:
    try:
        return get_client().store.doubt()
    except StargazerError:  # of the settings: the tools say it
        return ""
