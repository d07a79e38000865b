"""How far a run has got, in words for agents."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import Any

from stargazer.workflows import Run, calls_of

__all__ = ["so_far"]


def so_far(run: Run) -> dict[str, Any]:
    """Seconds since a run was started, tasks done and what it is doing, whichever process runs it."""
    last = calls_of(run)
    kinds = Counter(event["kind"] for event in last)
    began = datetime.datetime.fromisoformat(run.started)
    seconds = (datetime.datetime.now(datetime.UTC) - began).total_seconds()
    return {
        "seconds": round(max(seconds, 0), 1),
        "computed": kinds["finished"],
        "memo_hits": kinds["memo hit"],
        "doing": [
            f"{event['task']} {event['label']}".strip()
            for event in last
            if event["kind"] in ("started", "progress")
        ],
    }
