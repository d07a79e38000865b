"""How the task calls within a `with` block are run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

__all__ = ["log_folder", "log_to", "refresh_wanted", "refreshing"]

_refresh: ContextVar[bool] = ContextVar("stargazer_refresh", default=False)
_logs: ContextVar[Path | None] = ContextVar("stargazer_logs", default=None)


@contextlib.contextmanager
def refreshing(enabled: bool = True) -> Iterator[None]:
    """Compute every task anew within a `with` block, whatever the memo knows."""
    token = _refresh.set(enabled)
    try:
        yield
    finally:
        _refresh.reset(token)


@contextlib.contextmanager
def log_to(folder: Path) -> Iterator[None]:
    """Keep what tools print, a file for each task call, in this folder within a `with` block."""
    token = _logs.set(folder)
    try:
        yield
    finally:
        _logs.reset(token)


def refresh_wanted() -> bool:
    """Whether the memo is to be passed by."""
    return _refresh.get()


def log_folder() -> Path | None:
    """The folder in which logs are kept, if they are."""
    return _logs.get()
