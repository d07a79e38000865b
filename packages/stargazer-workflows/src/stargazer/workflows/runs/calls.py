"""What the last event of a task call says of it: its state, for how long it has run, and why it failed or waits."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event

__all__ = ["CALL_STATES", "call_note", "call_state", "event_of", "instant", "is_stopped", "seconds_running"]

CALL_STATES = {
    "waiting": "waiting",
    "started": "running",
    "progress": "running",
    "finished": "done",
    "memo hit": "remembered",
    "failed": "failed",
}
"""The kind of a call's last event to the word for its state; other kinds are of a newer version."""


def event_of(told: Mapping[str, Any]) -> Event | None:
    """An event as the file of events has it; None of one that another version has written otherwise."""
    import attrs
    from stargazer.tasks.execution import Event

    try:
        return Event(**{field.name: told[field.name] for field in attrs.fields(Event) if field.name in told})
    except TypeError:
        return None


def call_state(event: Event) -> str:
    """The state of a call: a word of CALL_STATES, or `stopped`."""
    return "stopped" if is_stopped(event) else CALL_STATES[event.kind]


def is_stopped(event: Event) -> bool:
    """Whether a call failed because it was cancelled: by a signal, or since another one failed."""
    return event.kind == "failed" and event.note == "CancelledError"


def call_note(event: Event) -> str:
    """Why a call failed, or waits, in one line."""
    return next((line.strip() for line in event.note.splitlines() if line.strip()), "")


def seconds_running(event: Event, now: float) -> float:
    """Seconds that a call has run, by the clock of whoever told of it and by ours, which may be wrong."""
    return event.seconds + max(0.0, now - instant(event.at))


def instant(at: str) -> float:
    """Seconds since 1970 of a time in ISO 8601; now, if nobody can read it."""
    try:
        return datetime.datetime.fromisoformat(at).timestamp()
    except ValueError:
        return time.time()
