"""Has the server's long work done by a worker of its own, and answers at once if that is quick."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import threading
from collections.abc import Mapping
from typing import Any

from fastmcp.exceptions import ToolError
from stargazer.assets import InvalidAssetError, StargazerError
from stargazer.workflows import (
    Kind,
    Run,
    find_run,
    list_runs,
    remove_run,
    resume_run,
    start_run,
    watch_run,
)

__all__ = ["answered", "resumed", "start"]

PATIENCE = 1.5
"""Seconds that a client waits for what may be done soon."""
JOBS = 40
"""Jobs that go on at once: they are short, and come from many clients."""
KEPT = datetime.timedelta(days=7)
"""What is kept of jobs that took longer than somebody waited, or failed unexpectedly."""

_starting = threading.Lock()
"""Held while runs are counted and one is started."""


async def answered(job: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a job, or of one that takes longer the id of its run, which `get_run` follows.

    Args:
        job: the name of a function of `stargazer.mcp.jobs`.
        arguments: its arguments, as JSON has them.

    Raises:
        ToolError: it failed, with what it says; or too many runs go on.
    """
    started = await start(job, arguments, kind="job", most=JOBS)
    run = await watch_run(started.id, seconds=PATIENCE)
    if run.state == "running":
        return {"run": run.id, "state": run.state, "next": f'call get_run with {{"run_id": "{run.id}"}}'}
    said = run.folder / "worker.log"
    if run.state != "succeeded" and (run.state == "lost" or (said.exists() and said.stat().st_size)):
        raise ToolError(
            f"unexpected: {run.error}\n"
            f'get_run {{"run_id": "{run.id}", "logs": "all"}} shows what its process said; the call may be repeated'
        )
    with contextlib.suppress(StargazerError):  # it is answered: nobody has to find it again
        await asyncio.to_thread(remove_run, run.id)
    if run.state != "succeeded":
        raise ToolError(run.error)
    result: dict[str, Any] = run.results["result"]
    return result


async def start(name: str, arguments: Mapping[str, Any], *, kind: Kind, most: int, **more: Any) -> Run:
    """Start a run, as of `start_run`, unless as many go on as are allowed.

    Args:
        most: how many may go on; jobs are counted apart from others.

    Raises:
        ToolError: as many go on.
    """
    return await asyncio.to_thread(_started, name, arguments, kind, most, more)


def _started(name: str, arguments: Mapping[str, Any], kind: Kind, most: int, more: Mapping[str, Any]) -> Run:
    with _starting:
        _refuse_many(kind, most)
        return start_run(name, arguments, kind=kind, **more)


async def resumed(run_id: str, *, most: int) -> None:
    """Let a run go on, as of `resume_run`, unless as many go on as are allowed.

    Raises:
        InvalidAssetError: it is a job of a server, with what its own clients may do.
        ToolError: as many go on.
    """
    await asyncio.to_thread(_resumed, run_id, most)


def _resumed(run_id: str, most: int) -> None:
    with _starting:
        run = find_run(run_id)
        if run.kind == "job":
            raise InvalidAssetError(f"run {run_id} is a job: make the call again that has started it")
        _refuse_many(run.kind, most)
        resume_run(run_id)


def _refuse_many(kind: Kind, most: int) -> None:
    """Refuse to start a run while too many go on; jobs that ended long ago are removed on the way."""
    runs = list_runs()
    before = (datetime.datetime.now(datetime.UTC) - KEPT).isoformat()
    for run in runs:
        if run.kind == "job" and run.state != "running" and run.started < before:
            with contextlib.suppress(StargazerError):
                remove_run(run.id)
    going = [run.id for run in runs if run.state == "running" and (run.kind == "job") is (kind == "job")]
    if len(going) >= most:
        raise ToolError(
            f"{len(going)} runs go on, and no more are allowed at once: wait for one with get_run, or end one with "
            f"cancel_run: {', '.join(going[:5])}"
        )
