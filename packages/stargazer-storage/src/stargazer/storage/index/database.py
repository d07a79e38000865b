"""The connection to an index's SQLite file: opened when it is needed, in turns, in transactions, and safe in forks."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from weakref import WeakSet

from stargazer.assets import StorageError
from stargazer.storage.files import file_permissions
from stargazer.storage.index.location import network_filesystem
from stargazer.storage.index.schema import LOG, SIDE_FILES, TABLES, IndexDamaged, check_format, make_index
from stargazer.storage.locks import write_lock
from stargazer.storage.refusals import REASONS, explained
from tinydb.storages import Storage

__all__ = ["BadDocument", "Engine"]

_SETTINGS = (
    "synchronous=FULL",  # a commit returns when the write-ahead log is on the disk
    "fullfsync=ON",  # macOS
    "checkpoint_fullfsync=ON",
    "temp_store=MEMORY",
    "cache_size=-8000",
    "journal_size_limit=67108864",
)
_UNWRITABLE = {"SQLITE_CANTOPEN", "SQLITE_READONLY"}
_PASSING = {"SQLITE_BUSY", "SQLITE_PROTOCOL", "SQLITE_LOCKED"}
_TIMEOUT = 60.0  # seconds to wait for others
_SETTLING = 5.0  # seconds in which the files beside the database may not have their permissions yet
_LONGEST = 512  # bytes of a path that SQLite takes
_ADDED = 29  # at most what an index's name gets from us and SQLite while it is made

_REASONS = {
    "SQLITE_FULL": REASONS[errno.ENOSPC],
    "SQLITE_READONLY": "it cannot be written: check the permissions of the file and its folder, and the mount",
    "SQLITE_CANTOPEN": "it cannot be opened or made: check that its folder exists and can be written",
    "SQLITE_PERM": REASONS[errno.EACCES],
    "SQLITE_IOERR": REASONS[errno.EIO],
    **dict.fromkeys(_PASSING, REASONS[errno.EBUSY]),
}
_DAMAGE = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"}
_NAMES = "|".join(re.findall(r"CREATE TABLE (\w+)", TABLES))
_UNREADABLE = re.compile(
    rf"Could not decode to UTF-8|unsupported file format|no such (table|column): (main\.)?({_NAMES})\b"
)


class BadDocument(ValueError):
    """A row whose text is no document."""


class Engine(Storage):
    """One connection per process, opened when needed; threads take turns, processes queue for a lock file to write.

    The lock file beside the database keeps the commits and checkpoints of two processes apart (SQLite up to 3.51.2
    can damage a write-ahead log that one process resets while another writes). The database file itself is never
    opened in any other way: closing it would drop SQLite's locks on it. A file that was deleted or replaced is
    noticed at the next operation, and the one that has its name now is opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        has_files: Callable[[], bool] = lambda: False,
        before: Callable[[], None] = lambda: None,
        first_use: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = os.path.abspath(path)
        self._has_files, self._before, self._first_use = has_files, before, first_use
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, ...] = ()  # of the file that is open
        self._log: tuple[int, ...] = ()  # the state of the write-ahead log at the end of the last operation
        self._closed = ""  # why nothing more can be asked
        self._snapshot = False  # the connection takes the file as it is, for one operation
        self._running = 0  # nested operations of the thread whose turn it is
        self._transactions = 0
        self._writing = False  # that thread holds the lock file
        with _turn:
            _engines.add(self)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone until the block ends."""
        with _turn:
            self._running += 1
            try:
                connection = self._current()
                first_use, self._first_use = self._first_use, lambda: None
                first_use()
                yield connection
            except (sqlite3.Error, BadDocument) as error:
                raise _explain(self.path, error) from error
            finally:
                self._running -= 1
                if self._running == 0:
                    with contextlib.suppress(OSError):
                        self._log = _state(self.path + LOG)
                    if self._snapshot:
                        self._disconnect()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection inside a write transaction, or inside a savepoint of the one this thread is in."""
        with self.reading() as connection, contextlib.ExitStack() as stack:
            if self._transactions == 0:
                stack.enter_context(self._locked())
                connection, commit, undo = self._begun(), "COMMIT", ["ROLLBACK"]
            else:
                connection.execute("SAVEPOINT nested")
                commit, undo = "RELEASE nested", ["ROLLBACK TO nested", "RELEASE nested"]
            self._transactions += 1
            try:
                yield connection
                connection.execute(commit)
            except BaseException:
                for statement in undo:
                    if connection.in_transaction:  # a full disk has SQLite undo everything by itself
                        connection.execute(statement)
                raise
            finally:
                self._transactions -= 1

    def close(self) -> None:
        """Close the connection; later operations are refused."""
        with _turn:
            self._closed = self._closed or "it was closed"
            self._disconnect()

    def read(self, data: Any = None) -> NoReturn:
        """Not offered: tables read and write rows, never the whole database."""
        raise NotImplementedError("an index is read and written by its tables: search(), insert() and so on")

    write = read

    def after_fork_in_child(self) -> None:
        """Begin anew; a child forked from inside an operation is refused rather than trusted."""
        if self._connection is not None:
            import ctypes

            # never closed here, not even at exit
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
            self._closed = (
                "this process was forked in the middle of an operation; start a new process instead"
            )
        self._connection, self._running, self._transactions, self._writing = None, 0, 0, False

    def _current(self) -> sqlite3.Connection:
        """The connection to the file that has the index's name now."""
        outermost = self._running == 1 and not self._transactions  # others have results that are being read
        if self._connection is not None and outermost and _state(self.path)[:2] != self._identity:
            self._prepare_folder()  # it may be gone too, and the lock file lies in it
            self._abandon()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _begun(self) -> sqlite3.Connection:
        """The connection, in a write transaction; the file may have been replaced while we waited for our turn."""
        began = time.monotonic()
        while True:
            connection = self._current()
            try:
                connection.execute("BEGIN IMMEDIATE")
                return connection
            except sqlite3.OperationalError as error:
                # it was opened for reading alone, when the files beside the database were still their maker's alone
                is_read_only = _kind(error) == "SQLITE_READONLY" and self._running == 1
                if not is_read_only or not self._is_passing(error, time.monotonic() - began):
                    raise
            self._disconnect()
            time.sleep(0.01)

    def _abandon(self) -> None:
        """Leave a file that was replaced, with the log of its last changes: SQLite would apply them to the new one."""
        with self._locked():
            self._disconnect()
            if os.path.exists(log := self.path + LOG) and os.path.getsize(log) and _state(log) == self._log:
                for suffix in SIDE_FILES:
                    with contextlib.suppress(OSError):
                        os.unlink(self.path + suffix)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise StorageError(f"The index {self.path!r} cannot be used: {self._closed}.")
        self._before()
        self._prepare_folder()
        folder, began = os.path.dirname(self.path), time.monotonic()
        self._snapshot = False
        while True:
            if not os.path.exists(self.path):
                with self._locked():
                    make_index(self.path, incomplete=self._has_files())
            self._identity = _state(self.path)[:2]
            # rw: a file that vanished is not made again, empty; immutable: nobody can write it in its folder
            mode = "immutable=1" if self._snapshot else "mode=rw"
            connection = sqlite3.connect(
                f"file:{urllib.parse.quote(self.path)}?{mode}",
                uri=True,
                timeout=_TIMEOUT,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            try:
                check_format(connection, self.path)
                for setting in _SETTINGS:
                    connection.execute(f"PRAGMA {setting}")
                if self._identity and _state(self.path)[:2] == self._identity:
                    return connection
                connection.close()  # replaced meanwhile
            except BaseException as error:
                connection.close()
                waited = time.monotonic() - began
                # SQLite's files beside an index cannot be made in a folder that we may not write
                is_read_only = _kind(error) in _UNWRITABLE and not os.access(folder, os.W_OK)
                if not self._snapshot and is_read_only and os.path.exists(self.path):
                    self._snapshot = True
                elif not self._is_passing(error, waited) or waited > _TIMEOUT:
                    raise
            time.sleep(0.01)

    def _is_passing(self, error: BaseException, waited: float) -> bool:
        """Whether another try may do: the file was replaced, is held, or is being opened by another user.

        SQLite makes the files beside the database first, and gives them its permissions then.
        """
        if not _state(self.path) or _kind(error) in _PASSING:
            return True
        is_shared = file_permissions(os.path.dirname(self.path)) and os.access(self.path, os.W_OK)
        return bool(is_shared) and _kind(error) in _UNWRITABLE and waited < _SETTLING

    def _prepare_folder(self) -> None:
        folder = os.path.dirname(self.path)
        if len(os.fsencode(os.path.realpath(self.path))) + _ADDED > _LONGEST:
            raise StorageError(
                f"The path of the index {self.path!r} is too long for SQLite, which takes 512 bytes with what it adds: "
                "set STARGAZER_INDEX to a folder with a shorter path, or STARGAZER_LOCAL (STARGAZER_HOME) for the "
                "whole store."
            )
        with explained(f"The folder {folder!r} for the index cannot be made"):
            os.makedirs(folder, exist_ok=True)
        if kind := network_filesystem(folder):
            raise StorageError(
                f"The index {self.path!r} would lie on a network filesystem ({kind}), where SQLite cannot share it "
                "between processes safely: keep the index on a local disk (STARGAZER_INDEX)."
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the write lock, which this thread may hold already."""
        with contextlib.nullcontext() if self._writing else write_lock(self.path, _TIMEOUT):
            before, self._writing = self._writing, True
            try:
                yield
            finally:
                self._writing = before


def _state(path: str) -> tuple[int, ...]:
    """Device, inode, bytes and time of change of a file; nothing if there is none.

    Raises:
        OSError: any other refusal: a file that is there must not be taken for one that was replaced.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


# what SQLite refuses, in the user's words


def _explain(path: str, error: sqlite3.Error | BadDocument) -> StorageError:
    """An error of SQLite, or of what was read, in the user's words."""
    kind = _kind(error)
    cannot_open, is_there = kind == "SQLITE_CANTOPEN", os.path.exists(path)
    is_read_only = getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY"
    is_writable = all(os.access(name, os.W_OK) for name in (path, os.path.dirname(path)))
    for is_damage, what in (
        (isinstance(error, BadDocument) or kind in _DAMAGE or _UNREADABLE.search(str(error)), str(error)),
        (is_read_only and is_writable, "its header says that it is for reading only"),
        (cannot_open and os.path.isdir(path), "it is a folder"),
        (cannot_open and os.path.islink(path) and not is_there, "it is a link that leads nowhere"),
    ):
        if is_damage:
            return IndexDamaged(path, what)
    if cannot_open and is_there and not os.access(path, os.R_OK):
        kind = "SQLITE_PERM"
    if (
        kind == "SQLITE_IOERR"
    ):  # even reading needs a little room, for the memory that processes share, of 32 KiB
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(os.path.dirname(path))
            kind = "SQLITE_FULL" if disk.total > 0 and disk.free < 1 << 16 else kind
    meaning = _REASONS.get(kind, "SQLite refused what was asked")
    return StorageError(f"The index {path!r} failed ({error}): {meaning}.")


def _kind(error: BaseException) -> str:
    """SQLite's primary name for an error: SQLITE_IOERR for SQLITE_IOERR_WRITE and the like."""
    name = getattr(error, "sqlite_errorname", None) or ""
    return "_".join(name.split("_")[:2])


# Forks: SQLite's file locks and what it remembers of them in a process do not survive a fork, not even for connections
# opened afterwards: an acknowledged insert can vanish. So every connection is closed before a fork, when no operation
# is running, and opened again when it is needed, in the parent and in the child. A fork waits for one lock, that of all
# indexes of the process.

_engines: WeakSet[Engine] = WeakSet()
_turn = threading.RLock()


def _before_fork() -> None:
    _turn.acquire()
    for engine in _engines:
        if engine._running == 0:  # else the forking thread itself is in the middle of using it
            engine._disconnect()


def _after_fork_in_child() -> None:
    global _turn
    _turn = threading.RLock()
    for engine in _engines:
        engine.after_fork_in_child()


os.register_at_fork(
    before=_before_fork, after_in_parent=lambda: _turn.release(), after_in_child=_after_fork_in_child
)
