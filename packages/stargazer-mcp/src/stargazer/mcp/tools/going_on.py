"""How far a run has got, from the events that it writes down as it goes."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

from stargazer.workflows import Run

__all__ = ["so_far"]


def so_far(run: Run) -> dict[str, Any]:
    """Seconds since a run was started, tasks done and what it is doing, whichever process runs it."""
    ended = {"finished": 0, "memo hit": 0, "failed": 0}
    doing: dict[int, str] = {}
    for event in _events(run):
        if event["kind"] == "started":
            doing[event["call"]] = f"{event['task']} {event['label']}".strip()
        elif event["kind"] in ended:
            ended[event["kind"]] += 1
            doing.pop(event["call"], None)
    began = datetime.datetime.fromisoformat(run.started)
    seconds = (datetime.datetime.now(datetime.UTC) - began).total_seconds()
    return {
        "seconds": round(max(seconds, 0), 1),
        "computed": ended["finished"],
        "memo_hits": ended["memo hit"],
        "doing": list(doing.values()),
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
