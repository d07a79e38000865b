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
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

from stargazer.assets import StorageError
from stargazer.storage import make_folders, open_shared, try_lock

__all__ = ["key_lock", "poll", "release_flock", "try_flock"]

FIRST_PAUSE = 0.001  # seconds
LONGEST_PAUSE = 0.03  # seconds

T = TypeVar("T")


@contextlib.asynccontextmanager
async def key_lock(folder: Path, key: str) -> AsyncIterator[None]:
    """Hold the one lock that `key` has in `folder`; wait while anybody else on this machine holds it.

        async with key_lock(home / "locks", run_key):
            ...  # look in the memo, compute, store

    A holder that is killed frees it. Not re-entrant: taking a key twice in one task waits for ever. The file goes
    with the lock; what a killed holder leaves is removed by the next holder of that key.

    Args:
        folder: On a local disk, made if it is missing.
        key: Any text; a hexadecimal run key is used as the file name as it is.

    Raises:
        StorageError: The folder cannot be written, or its filesystem has no locks.
    """
    path = Path(folder) / _file_name(key)
    descriptor = await poll(lambda: _try_named(path))
    try:
        yield
    finally:
        _release(descriptor, path)


async def poll(attempt: Callable[[], T | None]) -> T:
    """Call `attempt` until it answers something other than None, with growing pauses (1 to 30 ms) between."""
    pause = FIRST_PAUSE
    while (result := attempt()) is None:
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return result


def try_flock(path: Path) -> int | None:
    """A descriptor that holds the exclusive lock of `path`, or None if somebody else has it now.

    The file and its folder are made if missing. The descriptor does not survive exec unless it is passed on.

    Raises:
        StorageError: The file cannot be opened, or its filesystem has no locks.
    """
    try:
        descriptor = _open(path)
        try:
            if try_lock(descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise StorageError(
            f"cannot lock {str(path)!r}: {error.strerror or error}; "
            "STARGAZER_HOME must be a writable folder on a local disk of this machine"
        ) from error
    os.close(descriptor)
    return None


def release_flock(descriptor: int) -> None:
    """Give up a lock of try_flock at once, even if a child process still has a copy of the descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return open_shared(path, path.parent)
    except FileNotFoundError:
        make_folders(path.parent)
        return open_shared(path, path.parent)


def _try_named(path: Path) -> int | None:
    """As try_flock, but never the lock of a file that its last holder has removed meanwhile."""
    descriptor = try_flock(path)
    if descriptor is None:
        return None
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    os.close(descriptor)
    return None


def _release(descriptor: int, path: Path) -> None:
    try:
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                path.unlink()
    finally:
        release_flock(descriptor)


def _file_name(key: str) -> str:
    if re.fullmatch(r"[0-9A-Za-z_-]{1,200}", key):
        return f"{key}.lock"
    return f"~{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}.lock"
