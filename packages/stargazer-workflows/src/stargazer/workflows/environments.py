"""What a workflow is written with: the Flyte environment of workflows, and `parallel` for calls at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeAlias, TypeVar, overload

import flyte
from stargazer.tasks import WorkflowEnvironment, align_env, htslib_env, index_env, report_env
from stargazer.tasks.execution import NotRemembered, misses_told

__all__ = ["parallel", "workflow_env"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
Awaited: TypeAlias = Coroutine[Any, Any, A]

workflow_env = WorkflowEnvironment(
    name="stargazer",
    resources=flyte.Resources(cpu=1, memory="512Mi"),
    depends_on=[align_env, htslib_env, index_env, report_env],
)


@overload
async def parallel(coroutines: tuple[Awaited[A], Awaited[B]]) -> tuple[A, B]: ...
@overload
async def parallel(coroutines: tuple[Awaited[A], Awaited[B], Awaited[C]]) -> tuple[A, B, C]: ...
@overload
async def parallel(coroutines: list[Awaited[A]]) -> list[A]: ...
async def parallel(coroutines: list[Awaited[Any]] | tuple[Awaited[Any], ...]) -> Any:
    """The results of coroutines run at the same time, in order: a tuple for a tuple, else a list.

    The first failure cancels the others and is raised as it is. Where it was only asked what is remembered, all are
    asked first.
    """
    if misses_told() is not None:
        asked = await asyncio.gather(*coroutines, return_exceptions=True)
        failures = [result for result in asked if isinstance(result, BaseException)]
        if failures:
            raise min(failures, key=lambda failure: isinstance(failure, NotRemembered))
        return tuple(asked) if isinstance(coroutines, tuple) else asked
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    results = [task.result() for task in running]
    return tuple(results) if isinstance(coroutines, tuple) else results


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
