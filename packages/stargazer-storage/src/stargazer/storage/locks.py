"""The file locks by which processes, threads and users of one store wait for one another.

All are taken with flock: the kernel drops a lock with the last descriptor of its file, so that a killed process leaves
nothing but a file that nobody holds. Where the filesystem has no locks, what can do without goes on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.storage.files import open_shared, opened, share_file
from stargazer.storage.refusals import explained

__all__ = ["Tell", "alone", "at_work", "is_at", "is_locked", "lock_part", "locked_folder", "new_lock",
           "outbox_turn", "private_folder", "silent", "try_lock", "write_lock"]  # fmt: skip

Tell = Callable[[str], None]
"""What is told, a line at a time, while something takes long."""

_ARRIVALS = "arrivals.lock"
_NO_LOCK = {
    *(errno.EACCES, errno.EPERM, errno.ELOOP),  # somebody else's file, or a link
    *(errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS),
}


def silent(_: str) -> None:
    """Tell nobody."""


def try_lock(fd: int) -> bool:
    """Take the lock of an open file for ourselves, without waiting; False if somebody else has it.

    Raises:
        OSError: its filesystem has no locks.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether anybody holds the lock of this file."""
    try:
        with opened(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK) as fd:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # held; or not ours to open: whoever may can remove it
        return True
    return False


def locked_folder(path: str | os.PathLike[str]) -> AbstractContextManager[int]:
    """Hold a folder against other processes and threads that take this lock.

    Raises:
        OSError: it cannot be opened.
    """
    # without locks here, two equal files may replace each other
    return _held(os.open(path, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_EX)


def outbox_turn(root: Path) -> AbstractContextManager[int]:
    """Hold a store's outbox: another process that sends it is waited for, and has sent part of it then.

    Raises:
        OSError: the store cannot be written.
    """
    root.mkdir(parents=True, exist_ok=True)
    # without locks here, a file may be sent twice, which does no harm
    return _held(open_shared(root / "outbox.lock", root), fcntl.LOCK_EX)


@contextlib.contextmanager
def _held(fd: int, operation: int) -> Iterator[int]:
    """Hold the lock of an open file, if its filesystem has locks; it is closed at the end."""
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, operation)
        yield fd
    finally:
        os.close(fd)


# the store as a whole: what removes bytes waits for everybody who may be counting on them


@contextlib.contextmanager
def at_work(root: Path) -> Iterator[Callable[[], bool]]:
    """Hold a store together with others whose files arrive, from the first file to the record that refers to it.

    Yields:
        A function that holds it alone from then on, where nobody else is at work; whether that is so.

    Raises:
        StorageError: the store cannot be written.
    """
    with explained(f"the store {str(root)!r} cannot be written"):
        root.mkdir(parents=True, exist_ok=True)
        fd = open_shared(root / _ARRIVALS, root)

    def is_alone() -> bool:
        with contextlib.suppress(OSError):  # no locks on this filesystem
            return try_lock(fd)
        return False

    with _held(fd, fcntl.LOCK_SH):
        yield is_alone


@contextlib.contextmanager
def alone(root: Path, tell: Tell = silent, *, wait: bool = True) -> Iterator[bool]:
    """No file arrives in the store within this block: it waits for those at work, and they wait for it.

    Args:
        wait: for those at work; else the answer says whether there are none, and then nobody begins.

    Raises:
        StorageError: the store cannot be locked.
    """
    path = root / _ARRIVALS
    with explained(f"the store {str(root)!r} cannot be locked"):
        try:
            fd = open_shared(path, root)
        except OSError:
            if not path.exists():
                raise
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a store that we may only read can be checked
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, fd)
        try:
            is_ours = try_lock(fd)
        except OSError as error:
            raise StorageError(
                f"the store {str(root)!r} is on a filesystem without locks ({error.strerror}), so nothing in it can "
                "be removed safely: run this on the machine that holds its disk"
            ) from error
        if wait and not is_ours:
            tell(f"waiting for {_holders(fd)} to end: bytes are removed only while no file arrives")
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield is_ours or wait


def _holders(fd: int) -> str:
    """Who holds the lock of an open file, in words; from the kernel's table of locks, where there is one."""
    status, names = os.fstat(fd), []
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError):
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        pids = {row[4] for row in rows if len(row) == 8 and row[5] == place and int(row[4]) > 0}
        names = [f"process {pid}{_command(pid)}" for pid in sorted(pids, key=int)]
    return ", ".join(names) or "another process"


def _command(pid: str) -> str:
    try:
        program, *words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return ""
    text = " ".join([Path(program).name, *words[:5]])
    return f" ({text[:80]})" if text else ""


# private folders in a store's `work`, each beside a lock file that tells others that it is in use


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
    with explained(f"cannot write to {str(work)!r}"):
        lock, held = new_lock(work, name)
    folder = lock.with_suffix("")
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(held)


# one writer at a time: of the index, of a file that arrives


@contextlib.contextmanager
def write_lock(path: str, timeout: float = 60.0) -> Iterator[None]:
    """Hold the lock file of the index at `path`, for which others are waited for `timeout` seconds.

    Raises:
        StorageError: it cannot be made, or is held for longer.
    """
    with explained(f"The index {path!r} cannot be written"):
        fd = open_shared(f"{path}.lock", os.path.dirname(path))
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, fd)
        deadline = time.monotonic() + timeout
        pause = 0.0002
        while not try_lock(fd):
            if time.monotonic() > deadline:
                raise StorageError(
                    f"The index {path!r} has been held by another writer for {timeout:.0f} s: "
                    "see which process has its .lock file open (`fuser`), end it, and try again."
                )
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, 0.005)
        yield


def lock_part(path: Path) -> int | None:
    """A descriptor of the file with this name, made if it is missing and locked; None where that cannot be had.

    Whoever has the lock is waited for.

    Raises:
        OSError: its folder cannot be written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        with contextlib.ExitStack() as stack:
            try:
                fd = os.open(path, flags, 0o600)
                stack.callback(os.close, fd)
                fcntl.flock(fd, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno in _NO_LOCK and os.access(path.parent, os.W_OK):
                    return None
                raise
            if is_at(path, fd):  # else it was finished or removed by whoever had it
                share_file(fd, path.parent)  # another user of a shared store may continue it
                stack.pop_all()
                return fd


def is_at(path: Path, fd: int) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
