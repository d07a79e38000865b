"""Locks that all processes, threads and event loops of a machine share: one file each, held by flock.

The kernel drops a lock with its last descriptor, so a killed holder leaves nothing but an empty file. Waiting is
polling with back-off: it can be cancelled, and nothing here belongs to an event loop or a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

from stargazer.assets import StorageError
from stargazer.storage import is_at, make_folders, open_shared, try_lock

__all__ = ["key_lock", "poll", "release_flock", "try_flock"]

FIRST_PAUSE = 0.001  # seconds
LONGEST_PAUSE = 0.03  # seconds

T = TypeVar("T")


@contextlib.asynccontextmanager
async def key_lock(
    folder: Path, key: str, *, holder: str = "", told: Callable[[str], object] = lambda _: None
) -> AsyncIterator[None]:
    """Hold the one lock that `key`, any text, has in `folder`; wait while anybody else on this machine holds it.

        async with key_lock(home / "locks", run_key):
            ...  # look in the memo, compute, store

    Not re-entrant: taking a key twice in one task waits for ever. The file goes with the lock; what a killed holder
    leaves is removed by the next holder of that key.

    Args:
        holder: what those who wait are told of us.
        told: is given, once, what we are told of whom we wait for.

    Raises:
        StorageError: The folder cannot be written, or its filesystem has no locks.
    """
    path = folder / f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}.lock"

    is_told = False

    def attempt() -> int | None:
        nonlocal is_told
        descriptor = try_flock(path)
        if descriptor is None and not is_told:
            with contextlib.suppress(OSError):  # it comes free just now
                is_told = bool(name := path.read_text(errors="replace"))
                if is_told:
                    told(name)
        if descriptor is None or is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # of a file that its last holder has removed meanwhile
        return None

    descriptor = await poll(attempt)
    try:
        with contextlib.suppress(OSError):  # a full disk
            os.ftruncate(descriptor, 0)
            os.write(descriptor, holder.encode())
        yield
    finally:
        try:
            with contextlib.suppress(OSError):  # a disk that is read-only now: what failed of that says so
                if is_at(path, descriptor):
                    path.unlink(missing_ok=True)
        finally:
            release_flock(descriptor)


async def poll(attempt: Callable[[], T | None], changed: asyncio.Event | None = None) -> T:
    """Call `attempt` until it answers something other than None, with growing pauses (1 to 30 ms) between.

    Args:
        changed: ends a pause when it is set.
    """
    pause, changed = FIRST_PAUSE, changed or asyncio.Event()
    while True:
        changed.clear()
        if (result := attempt()) is not None:
            return result
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause * random.uniform(0.5, 1.5)):
                await changed.wait()
        pause = min(pause * 1.5, LONGEST_PAUSE)


def try_flock(path: Path) -> int | None:
    """A descriptor that holds the exclusive lock of `path`, or None if somebody else has it now.

    The file and its folder are made if missing. The descriptor does not survive exec unless it is passed on.

    Raises:
        StorageError: The file cannot be opened, or its filesystem has no locks.
    """
    try:
        make_folders(path.parent)
        descriptor = open_shared(path, path.parent)
        is_ours = False
        try:
            is_ours = try_lock(descriptor)
        finally:
            if not is_ours:
                os.close(descriptor)
    except OSError as error:
        raise StorageError(
            f"cannot lock {str(path)!r}: {error.strerror or error}; "
            "STARGAZER_HOME must be a writable folder on a local disk of this machine"
        ) from error
    return descriptor if is_ours else None


def release_flock(descriptor: int) -> None:
    """Give up a lock of try_flock at once, even if a child process still has a copy of the descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)
