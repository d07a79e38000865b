"""A file while it arrives: locked, continued where it stopped, and read by a follower behind its writer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from stargazer.assets import StorageError
from stargazer.storage.files import file_permissions

from .cid import BLOCK_SIZE

__all__ = ["Compute", "Follower", "Part", "WaitUntil", "open_part"]

T = TypeVar("T")

WaitUntil = Callable[[int], None]
"""Blocks until the file has that many bytes; raises to give up."""

Compute = Callable[[int, int, WaitUntil], T]
"""Computes something of an open file (descriptor) of so many bytes while they arrive."""

_NO_LOCK = {
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,
    errno.ENOLCK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
}
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file is too large for this filesystem",
}


class Part:
    """An unfinished file that only we write, at its end."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self.fd = path, fd
        self.size = os.fstat(fd).st_size
        """Bytes that have arrived, in this process or an earlier one."""

    def write(self, piece: bytes) -> None:
        """Append.

        Raises:
            StorageError: the disk does not take it; what had arrived is removed, to give the space back.
        """
        with self.explained():
            left = memoryview(piece)
            while left:
                count = os.pwrite(self.fd, left, self.size)
                self.size += count
                left = left[count:]

    def restart(self) -> None:
        """Forget what has arrived."""
        with self.explained():
            os.ftruncate(self.fd, 0)
        self.size = 0

    def discard(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.ftruncate(self.fd, 0)
        self.size = 0

    @property
    def room(self) -> int:
        """Bytes that the disk can still take."""
        status = os.fstatvfs(self.fd)
        return status.f_bavail * status.f_frsize if status.f_blocks else 1 << 62

    def check_room(self, size: int) -> None:
        """Raise StorageError unless a file of this size fits on the disk, the bytes that are here counted."""
        room = self.room
        if size - self.size > room:
            self.discard()
            raise StorageError(
                f"the disk is full: {size:,} bytes are to be downloaded and {room:,} are free in "
                f"{os.fspath(self.path.parent)!r}; free some space, or move the store elsewhere (STARGAZER_LOCAL)"
            )

    def head(self, count: int) -> bytes:
        """The first bytes."""
        return os.pread(self.fd, count, 0)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Say what the disk refuses as a StorageError, and give back what had arrived."""
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            self.discard()
            reason = _FULL.get(error.errno or 0, (error.strerror or str(error)).lower())
            raise StorageError(
                f"{os.fspath(self.path.parent)!r} cannot be written: {reason}; free some space, "
                "or move the store to another disk (STARGAZER_LOCAL)"
            ) from error


@contextlib.contextmanager
def open_part(path: Path) -> Iterator[Part]:
    """The unfinished file at `path`, ours until the end of the block; waits while another process has it.

    Where it cannot be locked (somebody else's, or no locks on this filesystem), a private one, removed at the end.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        part, private = _lock(path), False
        if part is None:
            path, private = path.with_name(f"{os.getpid()}-{secrets.token_hex(8)}"), True
            part = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = _FULL.get(error.errno or 0, (error.strerror or str(error)).lower())
        raise StorageError(f"{os.fspath(path.parent)!r} cannot be written: {reason}") from error
    try:
        yield Part(path, part)
    finally:
        try:
            if private or os.fstat(part).st_size == 0:  # by name while we hold the lock: nobody else's
                _unlink_own(path, part)
        finally:
            os.close(part)


def _lock(path: Path) -> int | None:
    """A descriptor of the file with this name, locked; None where that cannot be had."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in _NO_LOCK and path.parent.is_dir() and os.access(path.parent, os.W_OK):
                return None
            raise
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_at(path, fd):
                with contextlib.suppress(OSError):  # another user of a shared store may continue it
                    os.fchmod(fd, 0o600 | file_permissions(path.parent))
                return fd
        except OSError as error:
            os.close(fd)
            if error.errno in _NO_LOCK:
                return None
            raise
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # finished or removed by whoever had it


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _unlink_own(path: Path, fd: int) -> None:
    with contextlib.suppress(OSError):
        if _is_at(path, fd):
            path.unlink()


class Follower(Generic[T]):
    """Computes something of a file behind its writer, in a thread of its own."""

    def __init__(self, compute: Compute[T], fd: int, size: int) -> None:
        self.size = size
        self._arrived, self._told = 0, 0
        self._news = threading.Condition()
        self._stopped = False
        self._result: list[T] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(compute, fd), name="stargazer-follow")
        self._thread.start()

    def advance(self, arrived: int) -> None:
        """Tell how many bytes the file has now."""
        self._arrived = arrived
        if arrived >= self.size or arrived - self._told >= BLOCK_SIZE:
            with self._news:
                self._told = arrived
                self._news.notify_all()

    def result(self) -> T:
        """What was computed, once all bytes are there."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._result[0]

    def stop(self) -> None:
        """Give up, and return when nothing reads the file any more."""
        with self._news:
            self._stopped = True
            self._news.notify_all()
        self._thread.join()

    def _run(self, compute: Compute[T], fd: int) -> None:
        try:
            self._result.append(compute(fd, self.size, self._wait_until))
        except BaseException as error:  # raised again by result()
            self._failure = error

    def _wait_until(self, end: int) -> None:
        with self._news:
            self._news.wait_for(lambda: self._stopped or self._told >= end)
            if self._stopped:
                raise InterruptedError
