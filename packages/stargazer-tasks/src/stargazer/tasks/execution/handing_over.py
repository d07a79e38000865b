"""What becomes of the results of what somebody started: a store that is shared sends them to where it is shared."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

from stargazer.assets import current_client
from stargazer.tasks.execution.values import assets_in

__all__ = ["handing_over"]

_inside: ContextVar[bool] = ContextVar("stargazer_inside", default=False)


async def handing_over(call: Coroutine[Any, Any, Any]) -> Any:
    """The result of a call, handed over to the store unless the call is part of another one.

    So the results of a workflow are, and what its tasks made on the way is not.
    """
    if _inside.get():
        return await call
    token = _inside.set(True)
    try:
        value = await call
    finally:
        _inside.reset(token)
    records = [asset.record for _, asset in assets_in(value, "") if asset.record is not None]
    if records and (store := getattr(current_client(), "store", None)) is not None:
        await asyncio.to_thread(store.hand_over, records)
    return value
