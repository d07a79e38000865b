"""Has the server's long work done by a worker of its own, and answers at once if that is quick."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastmcp.exceptions import ToolError
from stargazer.workflows import list_runs, remove_run, start_run, watch_run

__all__ = ["answered", "refuse_many"]

PATIENCE = 1.5
"""Seconds that a client waits for what may be done soon."""
JOBS = 40
"""Jobs that go on at once: they are short, and come from many clients."""


async def answered(job: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a job, or of one that takes longer the id of its run, which `get_run` follows.

    Args:
        job: the name of a function of `stargazer.mcp.jobs`.
        arguments: its arguments, as JSON has them.

    Raises:
        ToolError: it failed, with what it says; or too many runs go on.
    """
    await refuse_many(JOBS, ("job",))
    started = await asyncio.to_thread(start_run, job, arguments, kind="job")
    run = await watch_run(started.id, seconds=PATIENCE)
    if run.state == "running":
        return {"run": run.id, "state": run.state, "next": f'call get_run with {{"run_id": "{run.id}"}}'}
    await asyncio.to_thread(remove_run, run.id)
    if run.state != "succeeded":
        raise ToolError(run.error)
    result: dict[str, Any] = run.results["result"]
    return result


async def refuse_many(most: int, kinds: Sequence[str] = ("workflow", "task")) -> None:
    """Refuse to start a run while as many of its kind go on as are allowed.

    Raises:
        ToolError: as many go on.
    """
    runs = await asyncio.to_thread(list_runs)
    going = [run.id for run in runs if run.state == "running" and run.kind in kinds]
    if len(going) >= most:
        raise ToolError(
            f"{len(going)} runs go on, and no more are allowed at once: wait for one with get_run, or end one with "
            f"cancel_run: {', '.join(going[:5])}"
        )
