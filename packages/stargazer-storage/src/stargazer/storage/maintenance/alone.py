"""Being alone in a store: what removes bytes waits for everybody who may be counting on them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.storage.files import open_shared

__all__ = ["Tell", "alone", "silent", "try_alone"]

Tell = Callable[[str], None]
"""What is told, a line at a time, while something takes long."""


def silent(_: str) -> None:
    """Tell nobody."""


@contextlib.contextmanager
def alone(root: Path, tell: Tell = silent) -> Iterator[None]:
    """No file arrives in the store within this block: it waits for those at work, and they wait for it.

    Raises:
        StorageError: the store cannot be locked.
    """
    with _opened(root) as fd:
        if not _lock(root, fd, fcntl.LOCK_EX | fcntl.LOCK_NB):
            tell(f"waiting for {_holders(fd)} to end: bytes are removed only while no file arrives")
            _lock(root, fd, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def try_alone(root: Path) -> Iterator[bool]:
    """As `alone`, without waiting: whether nobody else is at work, and then nobody begins within this block."""
    with _opened(root) as fd:
        yield _lock(root, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[int]:
    path = root / "arrivals.lock"
    try:
        try:
            fd = open_shared(path, root)
        except OSError:
            if not path.exists():
                raise
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a store that we may only read can be checked
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"the store {str(root)!r} cannot be locked: {reason}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _lock(root: Path, fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            f"the store {str(root)!r} is on a filesystem without locks ({error.strerror}), so nothing in it can be "
            "removed safely: run this on the machine that holds its disk"
        ) from error
    return True


def _holders(fd: int) -> str:
    """Who holds the lock of an open file, in words; from the kernel's table of locks, where there is one."""
    status = os.fstat(fd)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return "another process"
    pids = sorted({row[4] for row in rows if len(row) == 8 and row[5] == place and row[4] != "-1"}, key=int)
    names = [f"process {pid}{_command(pid)}" for pid in pids if pid != "0"]
    return ", ".join(names) or "another process"


def _command(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return ""
    named = [Path(words[0]).name, *words[1:]] if words and words[0] else []
    text = " ".join(named[:6])
    return f" ({text[:80]})" if text else ""
