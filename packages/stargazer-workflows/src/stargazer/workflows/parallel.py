"""Running independent tasks at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["parallel"]

T = TypeVar("T")


async def parallel(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of coroutines run at the same time, in order; the first failure cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    return [task.result() for task in running]


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
