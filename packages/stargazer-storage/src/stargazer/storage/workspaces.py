"""Private folders in a store's `work`, each beside a lock file that tells others that it is in use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.storage.files import share_file

__all__ = ["new_lock", "private_folder"]


def new_lock(parent: Path, name: str) -> tuple[Path, int]:
    """A new lock file `<parent>/<name>-<random>.lock`, held before anybody can sweep it, and its descriptor.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        lock = parent / f"{name[:40]}-{secrets.token_hex(6)}.lock"
        held = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        if lock.exists():
            share_file(held, parent)
            return lock, held
        os.close(held)


@contextlib.contextmanager
def private_folder(work: Path, name: str) -> Iterator[Path]:
    """A new folder that goes at the end of the block; what a killed process leaves is swept.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        lock, held = new_lock(work, name)
    except OSError as error:
        raise StorageError(f"cannot write to {str(work)!r}: {error.strerror}") from error
    folder = lock.with_suffix("")
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(held)
