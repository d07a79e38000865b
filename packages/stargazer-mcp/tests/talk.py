"""Conversations with a server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastmcp import Client
from stargazer.mcp.access import Access
from stargazer.mcp.server import make_server

__all__ = ["answer", "refusal", "with_client"]


def with_client(
    body: Callable[[Client[Any]], Awaitable[Any]], access: Access | None = None, **more: Any
) -> None:
    """Have a client say something to a new server; more is of the client."""

    async def run() -> None:
        async with Client(make_server(access), **more) as client:
            await body(client)

    asyncio.run(asyncio.wait_for(run(), 120))


async def answer(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool answers."""
    result = await client.call_tool(tool, arguments)
    found: dict[str, Any] = result.structured_content or {}
    return found


async def refusal(client: Client[Any], tool: str, **arguments: Any) -> str:
    """What a tool says to a call that it does not do."""
    result = await client.call_tool(tool, arguments, raise_on_error=False)
    assert result.is_error, result.structured_content
    return str(result.content[0].text)
