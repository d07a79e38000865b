"""The runs that an MCP server has started, and how far a run has got."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from stargazer.workflows import Entry, Run, find_run, new_run, run

__all__ = ["StartedRuns", "so_far"]


class StartedRuns:
    """Starts runs as asyncio tasks of this process and waits for them, a while."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[Run, asyncio.Task[Run]]] = {}

    def start(
        self, workflow: Entry, values: Mapping[str, Any], *, refresh: bool, given: Mapping[str, Any]
    ) -> Run:
        """Start a workflow and give its record, which changes as it goes on.

        Args:
            values, given: the arguments converted, and as they were given.
        """
        from stargazer.tasks.execution import Refresh  # here: with it comes Flyte

        record = new_run(workflow.name, values)
        asked = Refresh() if refresh else None
        task = asyncio.create_task(run(workflow, given, refresh=asked, record=record), name=record.id)
        self._running[record.id] = (record, task)
        task.add_done_callback(lambda done: self._ended(record.id, done))
        return record

    async def wait(self, id: str, seconds: float) -> Run:
        """The run of this id once it has ended, or as it is after some seconds.

        Raises:
            AssetNotFoundError: no such run.
        """
        if id in self._running:
            run, task = self._running[id]
            await asyncio.wait([task], timeout=seconds)
            return run
        return find_run(id)

    async def cancel_all(self) -> None:
        """Stop what is going on, and wait until it is cleaned up."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, id: str, task: asyncio.Task[Run]) -> None:
        self._running.pop(id, None)
        if not task.cancelled():
            task.exception()  # it is in the run's record


def so_far(run: Run) -> dict[str, Any]:
    """Seconds since a run was started, tasks done and what it is doing, whichever process runs it."""
    last = {event["call"]: event for event in _events(run)}.values()
    kinds = Counter(event["kind"] for event in last)
    began = datetime.datetime.fromisoformat(run.started)
    seconds = (datetime.datetime.now(datetime.UTC) - began).total_seconds()
    return {
        "seconds": round(max(seconds, 0), 1),
        "computed": kinds["finished"],
        "memo_hits": kinds["memo hit"],
        "doing": [
            f"{event['task']} {event['label']}".strip() for event in last if event["kind"] == "started"
        ],
    }


def _events(run: Run) -> Iterator[dict[str, Any]]:
    """The events of a run; the last line may still be on its way."""
    try:
        lines = (run.folder / "events.jsonl").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            return
