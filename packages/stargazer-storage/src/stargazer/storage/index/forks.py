"""Keeping SQLite connections out of fork().

SQLite's file locks and what it remembers of them in a process do not survive a fork, not even for connections opened
afterwards: an acknowledged insert can vanish. So every connection is closed before a fork, when no operation is
running, and opened again when it is needed, in the parent and in the child.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet

__all__ = ["Forkable", "register"]

_PATIENCE = (
    0.1  # seconds to wait for one lock before giving the others back: two threads may want them crosswise
)


class Forkable(Protocol):
    """Something with a re-entrant lock around each of its operations."""

    lock: threading.RLock

    def before_fork(self) -> None:
        """Close what must not be shared; called with the lock held."""

    def after_fork_in_child(self) -> None:
        """Begin anew, with a new lock."""


_registered: WeakSet[Forkable] = WeakSet()
_registry = threading.RLock()
_held: list[Forkable] = []


def register(forkable: Forkable) -> None:
    """Take part in every fork of this process for as long as the object lives."""
    with _registry:
        _registered.add(forkable)


def _acquire_all() -> bool:
    _registry.acquire()
    for forkable in list(_registered):
        if not forkable.lock.acquire(timeout=_PATIENCE):
            _release_all()
            return False
        _held.append(forkable)
    return True


def _release_all() -> None:
    while _held:
        _held.pop().lock.release()
    _registry.release()


def _before_fork() -> None:
    while not _acquire_all():
        pass
    for forkable in _held:
        forkable.before_fork()


def _after_fork_in_child() -> None:
    global _registry
    _registry = threading.RLock()
    while _held:
        _held.pop().after_fork_in_child()


os.register_at_fork(before=_before_fork, after_in_parent=_release_all, after_in_child=_after_fork_in_child)
