"""Events of task calls (waiting, started, finished, ...), and how whoever wants to watch is told of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Literal, TypeAlias

import attrs
from stargazer.tasks.execution.options import bound

__all__ = ["Event", "Kind", "Observer", "announce", "observe"]

Kind: TypeAlias = Literal["waiting", "started", "finished", "memo hit", "failed"]


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened to one task call.

    Attributes:
        kind: `waiting` (for slots or for another process doing the same), `started`, `finished`, `memo hit`, `failed`.
        task: the task's name.
        call: tells the calls of one process apart.
        label: what it works on, for people: sample, lane, interval.
        seconds: since it started, for the last three kinds; since it was called, for the others.
        note: why it failed, or why it is not memoised.
        cores: the slots it holds, when started.
    """

    kind: Kind
    task: str
    call: int
    label: str = ""
    seconds: float = 0.0
    note: str = ""
    cores: int = 0


Observer: TypeAlias = Callable[[Event], None]

_observers: ContextVar[tuple[Observer, ...]] = ContextVar("stargazer_observers", default=())


def observe(observer: Observer) -> AbstractContextManager[None]:
    """Have `observer` called, in the task's own thread, for every event within a `with` block.

    What it raises is a warning: watching never fails what is watched.
    """
    return bound(_observers, (*_observers.get(), observer))


def announce(event: Event) -> None:
    """Tell all observers."""
    for observer in _observers.get():
        try:
            observer(event)
        except Exception as error:
            warnings.warn(f"an observer of {event.task} failed: {error!r}", stacklevel=2)
