"""The job `check_claims`."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["check_claims"]


async def check_claims(claims: Any) -> dict[str, Any]:
    """Check statements about stored files against the files.

    Args:
        claims: as `stargazer.mcp.claims.check_claims` takes them.
    """
    from stargazer.mcp import claims as checking
    from stargazer.storage import get_client

    return await asyncio.to_thread(checking.check_claims, get_client().store, claims)
