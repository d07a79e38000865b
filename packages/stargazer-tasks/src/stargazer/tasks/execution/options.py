"""How the task calls within a `with` block are run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from stargazer.tasks.execution.misses import Miss

__all__ = [
    "Refresh",
    "Refreshing",
    "asking_why",
    "log_folder",
    "log_to",
    "misses_told",
    "refresh_wanted",
    "refreshed",
    "refreshing",
]


@attrs.frozen
class Refresh:
    """What is to be computed anew, whatever the memo knows.

    Attributes:
        tasks: by full name or that of their function; every task if there are none.
        below: also every task that reads what these made, and so on.
    """

    tasks: tuple[str, ...] = ()
    below: bool = False


@attrs.define
class Refreshing:
    """The refresh of one block: the full names of its tasks, and what was computed anew so far.

    Attributes:
        made: CIDs of results, and of what they accompany: whoever reads a file reads its index as well.
        keys: run keys.
    """

    tasks: frozenset[str]
    below: bool
    made: set[str] = attrs.field(factory=set)
    keys: set[str] = attrs.field(factory=set)

    def wants(self, task: str, inputs: Iterable[str]) -> bool:
        """Whether a call of a task with inputs of these CIDs is computed anew."""
        return not self.tasks or task in self.tasks or (self.below and not self.made.isdisjoint(inputs))


_refresh: ContextVar[Refreshing | None] = ContextVar("stargazer_refresh", default=None)
_logs: ContextVar[Path | None] = ContextVar("stargazer_logs", default=None)
_misses: ContextVar[list[Miss] | None] = ContextVar("stargazer_misses", default=None)


@contextlib.contextmanager
def refreshing(*tasks: str, below: bool = False) -> Iterator[None]:
    """Compute tasks anew within a `with` block, whatever the memo knows.

    Args:
        tasks: by full name or that of their function; every task if there are none.
        below: also every task that reads what these made, and so on.

    Raises:
        InvalidAssetError: there is no such task.
    """
    with refreshed(Refresh(tasks, below)):
        yield


@contextlib.contextmanager
def refreshed(refresh: Refresh | None) -> Iterator[None]:
    """The same, of what somebody asked for; None is nothing.

    Raises:
        InvalidAssetError: there is no such task.
    """
    from stargazer.tasks.execution.declared import full_names

    names = frozenset(full for name in refresh.tasks for full in full_names(name)) if refresh else frozenset()
    token = _refresh.set(Refreshing(names, refresh.below) if refresh else None)
    try:
        yield
    finally:
        _refresh.reset(token)


@contextlib.contextmanager
def asking_why() -> Iterator[list[Miss]]:
    """Compute nothing within a `with` block: a call that the memo does not answer raises NotRemembered.

    The list then says of each such call why it is not remembered.
    """
    misses: list[Miss] = []
    token = _misses.set(misses)
    try:
        yield misses
    finally:
        _misses.reset(token)


@contextlib.contextmanager
def log_to(folder: Path) -> Iterator[None]:
    """Keep what tools print, a file for each task call, in this folder within a `with` block."""
    token = _logs.set(folder)
    try:
        yield
    finally:
        _logs.reset(token)


def refresh_wanted() -> Refreshing | None:
    """What is computed anew here, if anything is."""
    return _refresh.get()


def misses_told() -> list[Miss] | None:
    """Where calls that the memo does not answer are told, if nothing is to be computed."""
    return _misses.get()


def log_folder() -> Path | None:
    """The folder in which logs are kept, if they are."""
    return _logs.get()
