"""What holds for task calls within a `with` block: who is told of events, what is computed anew, where logs go."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import attrs
from stargazer.assets import StargazerError
from stargazer.storage import now

if TYPE_CHECKING:
    from stargazer.storage.lineage import Nearest

__all__ = ["Event", "Kind", "Miss", "NotRemembered", "Observer", "Refresh", "announce",
           "asking_why", "bound", "log_folder", "log_to", "misses_told", "observe", "refresh_wanted",
           "refreshed", "refreshing", "run_name", "run_named"]  # fmt: skip

Kind: TypeAlias = Literal["waiting", "started", "progress", "finished", "memo hit", "failed"]


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened to one task call.

    Attributes:
        kind: `waiting` (for slots or for another process doing the same), `started`, `progress` (it runs, and took more
            memory than was told so far), `finished`, `memo hit`, `failed`.
        task: the task's name.
        call: tells the calls of one process apart.
        label: what it works on, for people: sample, lane, interval.
        seconds: since it started, for the last four kinds; since it was called, for the others.
        note: why it failed, or why it is not memoised.
        cores: the slots it holds, when started.
        key: its run key, when finished.
        memory: bytes, of the largest process of its tools so far; 0 if unknown, for `progress` it never is.
        at: when it happened, ISO 8601 in UTC.
    """

    kind: Kind
    task: str
    call: int
    label: str = ""
    seconds: float = 0.0
    note: str = ""
    cores: int = 0
    key: str = ""
    memory: int = 0
    at: str = attrs.field(factory=now)


class NotRemembered(StargazerError):
    """A task would have to be computed, and nothing is to be: it was only asked what is remembered."""


@attrs.frozen(kw_only=True)
class Miss:
    """One call that the memo does not answer.

    Attributes:
        task: its full name.
        label: what it works on, for people: sample, lane, interval.
        note: why, where that is not a matter of the run key: refreshed, or not memoised at all.
        nearest: the earlier execution whose run key differs least, and in what; None if there is none.
        absent: the inputs whose bytes are not here, role and CID: they are brought, or computed again, first.
    """

    task: str
    label: str = ""
    note: str = ""
    nearest: Nearest | None = None
    absent: list[str] = attrs.field(factory=list)

    def explain(self) -> str:
        """Why, in lines for people."""
        why = self.note or (self.nearest.explain() if self.nearest else "it was never executed here")
        absent = [f"not here, and brought or computed again first: {item}" for item in self.absent]
        return "\n".join([why, *absent])


@attrs.frozen
class Refresh:
    """What is to be computed anew, whatever the memo knows.

    Attributes:
        tasks: by full name or that of their function; every task if there are none.
        below: also every task that reads what these made, and so on.
        made: CIDs of results so far, and of what they accompany: whoever reads a file reads its index as well.
        keys: run keys of what was computed anew so far.
    """

    tasks: tuple[str, ...] = ()
    below: bool = False
    made: set[str] = attrs.field(factory=set, init=False, eq=False)
    keys: set[str] = attrs.field(factory=set, init=False, eq=False)

    def wants(self, task: str, inputs: Iterable[str]) -> bool:
        """Whether a call of a task, by its full name, with inputs of these CIDs is computed anew."""
        return not self.tasks or task in self.tasks or (self.below and not self.made.isdisjoint(inputs))


T = TypeVar("T")
Observer: TypeAlias = Callable[[Event], None]

_observers: ContextVar[tuple[Observer, ...]] = ContextVar("stargazer_observers", default=())
_refresh: ContextVar[Refresh | None] = ContextVar("stargazer_refresh", default=None)
_logs: ContextVar[Path | None] = ContextVar("stargazer_logs", default=None)
_misses: ContextVar[list[Miss] | None] = ContextVar("stargazer_misses", default=None)
_run_name: ContextVar[str] = ContextVar("stargazer_run_name", default="")

refresh_wanted = _refresh.get
"""What is computed anew here, if anything is."""
misses_told = _misses.get
"""Where calls that the memo does not answer are told, if nothing is to be computed."""
log_folder = _logs.get
"""The folder in which logs are kept, if they are."""
run_name = _run_name.get
"""What others are told who wait for a call from here; "" where nobody has named it."""


@contextlib.contextmanager
def bound(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Let a variable have a value within a `with` block."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def observe(observer: Observer) -> contextlib.AbstractContextManager[None]:
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


def refreshing(*tasks: str, below: bool = False) -> contextlib.AbstractContextManager[None]:
    """Compute tasks anew within a `with` block, whatever the memo knows; the arguments are those of `Refresh`.

    Raises:
        InvalidAssetError: there is no such task.
    """
    return refreshed(Refresh(tasks, below))


def refreshed(refresh: Refresh | None) -> contextlib.AbstractContextManager[None]:
    """The same, of what somebody asked for; None is nothing.

    Raises:
        InvalidAssetError: there is no such task.
    """
    from stargazer.tasks.execution.registry import full_names

    if refresh is None:
        return bound(_refresh, None)
    names = tuple(full for name in refresh.tasks for full in full_names(name))
    made = Refresh(names, refresh.below)
    made.keys.update(refresh.keys)  # what an earlier attempt has computed anew
    return bound(_refresh, made)


@contextlib.contextmanager
def asking_why() -> Iterator[list[Miss]]:
    """Compute nothing within a `with` block: a call that the memo does not answer raises NotRemembered.

    The list then says of each such call why it is not remembered.
    """
    misses: list[Miss] = []
    with bound(_misses, misses):
        yield misses


def log_to(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Keep what tools print, a file for each task call, in this folder within a `with` block."""
    return bound(_logs, folder)


def run_named(name: str) -> contextlib.AbstractContextManager[None]:
    """Let who waits for a task call of this `with` block be told this name."""
    return bound(_run_name, name)
