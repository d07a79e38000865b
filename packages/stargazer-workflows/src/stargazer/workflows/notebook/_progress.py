"""What the tasks of a run do, live in the cell that waits for it; on stderr in a script."""

from __future__ import annotations

import asyncio
import sys
from html import escape
from typing import Any

from stargazer.assets import StargazerError
from stargazer.workflows.notebook.app import is_shown, marimo
from stargazer.workflows.report.numbers import duration, memory
from stargazer.workflows.runs.record import Run, find_run
from stargazer.workflows.runs.worker import watch_run

__all__ = ["progress"]

PAUSE = 0.5
"""Seconds between two drawings."""
STATES = {
    "waiting": "waiting",
    "started": "running",
    "progress": "running",
    "finished": "done",
    "memo hit": "remembered",
    "failed": "failed",
}


async def progress(run: Run | str) -> Run:
    """Show what the tasks of a run do, until it ends.

    Where the cell is interrupted or the kernel ends, the run goes on; run the cell again to watch it from there.

    Args:
        run: or its id.

    Returns:
        The run as it ended: it succeeded.

    Raises:
        AssetNotFoundError: there is no such run.
        StargazerError: it failed, was cancelled or lost; the text says why and what to do.
    """
    id = run if isinstance(run, str) else run.id
    shown, calls = is_shown(), dict[int, dict[str, Any]]()
    find_run(id)

    def tell(event: dict[str, Any]) -> None:
        if "call" in event:
            calls[event["call"]] = event
            if not shown and event["kind"] in ("finished", "memo hit", "failed"):
                sys.stderr.write(_line(event) + "\n")

    async def draw() -> None:
        while True:
            marimo().output.replace(marimo().Html(_page(find_run(id), calls)))
            await asyncio.sleep(PAUSE)

    drawing = asyncio.create_task(draw()) if shown else None
    try:
        done = await watch_run(id, tell)
    finally:
        if drawing is not None:
            drawing.cancel()
    if shown:
        marimo().output.replace(marimo().Html(_page(done, calls)))
    if done.state != "succeeded":
        raise StargazerError(f"run {done.id} {done.state}: {done.error}")
    return done


def _line(event: dict[str, Any]) -> str:
    state = STATES.get(event["kind"], event["kind"])
    return (
        f"{event['task']} {event.get('label', '')}".strip()
        + f": {state} in {duration(event.get('seconds', 0.0))}"
    )


def _page(run: Run, calls: dict[int, dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(event['task'])}<td>{escape(event.get('label', ''))}"
        f"<td>{STATES.get(event['kind'], event['kind'])}<td>{duration(event.get('seconds', 0.0))}"
        f"<td>{memory(event.get('memory', 0))}</tr>"
        for event in calls.values()
    )
    return (
        f"<p>{escape(run.workflow)}: {run.state}, {run.computed} computed, {run.memo_hits} remembered, "
        f"{duration(run.seconds)}</p><table><tr><th>task<th>of<th>state<th>time<th>memory</tr>{rows}</table>"
        + "".join(f"<p>{escape(note)}</p>" for note in run.notes)
    )
