"""The lock file beside an index: one writer of all processes and threads."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import time
from collections.abc import Iterator

from stargazer.assets import StorageError
from stargazer.storage.files import open_shared

__all__ = ["write_lock"]


@contextlib.contextmanager
def write_lock(path: str, timeout: float) -> Iterator[None]:
    """Hold the lock file of the index at `path`, for which others are waited for `timeout` seconds.

    Raises:
        StorageError: it cannot be made, or is held for longer.
    """
    try:
        fd = open_shared(f"{path}.lock", os.path.dirname(path))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(
            f"The index {path!r} cannot be written: {reason}. Check its folder's permissions and the mount."
        ) from error
    try:
        deadline = time.monotonic() + timeout
        pause = 0.0002
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StorageError(
                        f"The index {path!r} has been held by another writer for {timeout:.0f} s: "
                        "see which process has its .lock file open (`fuser`), end it, and try again."
                    ) from None
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, 0.005)
        yield
    finally:
        os.close(fd)
