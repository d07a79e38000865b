"""Coroutines at the same time: results in order, and one failure ends all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stargazer.assets import ToolError
from stargazer.workflows import parallel


async def after(seconds: float, value: Any) -> Any:
    await asyncio.sleep(seconds)
    if isinstance(value, BaseException):
        raise value
    return value


def test_results_come_in_order():
    assert asyncio.run(parallel([after(0.02, "slow"), after(0, "quick")])) == ["slow", "quick"]
    assert asyncio.run(parallel((after(0.02, 1), after(0, "two")))) == (1, "two")
    assert asyncio.run(parallel([])) == []


def test_they_run_at_the_same_time():
    async def main() -> list[None]:
        meeting = asyncio.Barrier(3)
        return await asyncio.wait_for(parallel([wait_at(meeting) for _ in range(3)]), timeout=10)

    async def wait_at(meeting: asyncio.Barrier) -> None:
        await meeting.wait()

    assert asyncio.run(main()) == [None, None, None]


def test_the_first_failure_is_raised_as_it_is_and_cancels_the_others():
    cancelled = []

    async def patient() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(ToolError, match="samtools died"):
        asyncio.run(parallel([patient(), parallel([after(0, ToolError("samtools died")), patient()])]))
    assert cancelled == [True, True]


def test_cancelling_cancels_all():
    ended = []

    async def patient() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def main() -> None:
        running = asyncio.create_task(parallel([patient(), patient()]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert ended == [True, True]
