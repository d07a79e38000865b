"""The SQLite file of an index: its connection, schema, transactions, and errors in the user's words."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, NoReturn

from stargazer.assets.errors import StorageError
from tinydb.storages import Storage

from . import forks
from .filesystem import network_filesystem

__all__ = ["FORMAT", "Engine"]

FORMAT = 1
"""Version of the tables below, kept in the file as SQLite's user_version."""

_TABLES = """
CREATE TABLE tables(
    tid INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    last_id INT NOT NULL DEFAULT 0
);
CREATE TABLE docs(seq INTEGER PRIMARY KEY, tid INT NOT NULL, id INT NOT NULL, body TEXT NOT NULL);
CREATE UNIQUE INDEX docs_id ON docs(tid, id);
CREATE INDEX docs_seq ON docs(tid);
CREATE TABLE terms(tid INT, key TEXT, value, seq INT, PRIMARY KEY(tid, key, value, seq)) WITHOUT ROWID;
CREATE TABLE schemas(sql TEXT PRIMARY KEY);
"""  # seq is the order of insertion

_SETTINGS = (
    "synchronous=FULL",  # a commit returns when the write-ahead log is on the disk
    "fullfsync=ON",  # macOS
    "checkpoint_fullfsync=ON",
    "temp_store=MEMORY",
    "cache_size=-8000",
    "journal_size_limit=67108864",
)

_REASONS = {
    "SQLITE_FULL": "the disk is full: free some space and try again; nothing was changed",
    "SQLITE_READONLY": "it cannot be written: check the permissions of the file and its folder, and the mount",
    "SQLITE_CANTOPEN": "it cannot be opened or made: check that its folder exists and can be written",
    "SQLITE_PERM": "no permission: check the permissions of the file and its folder",
    "SQLITE_CORRUPT": "it is damaged: move it away; it can be rebuilt from the objects",
    "SQLITE_NOTADB": "it is damaged or not an index: move it away; it can be rebuilt from the objects",
    "SQLITE_IOERR": "the disk or filesystem reports an error: check it (dmesg, df) and try again",
    "SQLITE_BUSY": "another program holds it: end that program or try again later",
    "SQLITE_PROTOCOL": "another program holds it: end that program or try again later",
    "SQLITE_LOCKED": "another program holds it: end that program or try again later",
}
_UNWRITABLE = {"SQLITE_CANTOPEN", "SQLITE_READONLY"}
_PASSING = {"SQLITE_BUSY", "SQLITE_PROTOCOL", "SQLITE_LOCKED"}


class Engine(Storage):
    """One connection per process, opened when needed; threads take turns, processes queue for a lock file to write.

    The lock file beside the database keeps the commits and checkpoints of two processes apart (SQLite up to 3.51.2
    can damage a write-ahead log that one process resets while another writes). The database file itself is never
    opened in any other way: closing it would drop SQLite's locks on it.
    """

    def __init__(self, path: str | os.PathLike[str], schema: str = "", timeout: float = 60.0) -> None:
        self.path = os.path.abspath(path)
        self.lock = threading.RLock()
        self._schema = schema
        self._timeout = timeout  # seconds
        self._connection: sqlite3.Connection | None = None
        self._closed = ""
        self._snapshot = False  # the connection takes the file as it is, for one operation
        self._running = 0  # nested operations of the thread that holds the lock
        self._transactions = 0
        forks.register(self)
        with self.reading():
            pass

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone until the block ends."""
        with self.lock:
            self._running += 1
            try:
                if self._connection is None:
                    self._connection = self._connect()
                yield self._connection
            except sqlite3.Error as error:
                self._refuse(error)
            finally:
                self._running -= 1
                if self._snapshot and self._running == 0:
                    self._disconnect()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection inside a write transaction, or inside a savepoint of the one this thread is in."""
        with self.reading() as connection, contextlib.ExitStack() as stack:
            if self._transactions == 0:
                stack.enter_context(self._write_lock())
                begin, commit, undo = "BEGIN IMMEDIATE", "COMMIT", ["ROLLBACK"]
            else:
                name = f"nested{self._transactions}"
                begin, commit = f"SAVEPOINT {name}", f"RELEASE {name}"
                undo = [f"ROLLBACK TO {name}", commit]
            connection.execute(begin)
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
        with self.lock:
            self._closed = self._closed or "it was closed"
            self._disconnect()

    def read(self) -> NoReturn:
        """Not offered: tables read rows, never the whole database."""
        raise NotImplementedError("an index is read by its tables: use search(), get() or all()")

    def write(self, data: Any) -> NoReturn:
        """Not offered: tables write rows, never the whole database."""
        raise NotImplementedError("an index is written by its tables: use insert(), update() or remove()")

    def before_fork(self) -> None:
        """Close the connection, unless the forking thread itself is in the middle of using it."""
        if self._running == 0:
            self._disconnect()

    def after_fork_in_child(self) -> None:
        """Begin anew; a child forked from inside an operation is refused rather than trusted."""
        self.lock = threading.RLock()
        if self._connection is not None:
            import ctypes

            ctypes.pythonapi.Py_IncRef(
                ctypes.py_object(self._connection)
            )  # never closed here, not even at exit
            self._closed = (
                "this process was forked in the middle of an operation; start a new process instead"
            )
        self._connection, self._running, self._transactions = None, 0, 0

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise StorageError(f"The index {self.path!r} cannot be used: {self._closed}.")
        self._make_folder()
        deadline = time.monotonic() + self._timeout
        self._snapshot = False
        while True:
            connection = sqlite3.connect(
                _read_only(self.path) if self._snapshot else self.path,
                uri=self._snapshot,
                timeout=self._timeout,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            try:
                self._prepare(connection)
                return connection
            except BaseException as error:
                connection.close()
                if not self._snapshot and self._is_unwritable() and _kind(error) in _UNWRITABLE:
                    self._snapshot = True
                    continue
                if _kind(error) not in _PASSING or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)  # switching a new file to the write-ahead log does not wait by itself

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Check the file's version, make what is missing, and set how it is written."""
        version = self._version(connection)
        known = version == FORMAT and (
            not self._schema
            or connection.execute("SELECT 1 FROM schemas WHERE sql=?", (self._schema,)).fetchone() is not None
        )
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        if known:
            return
        with self._write_lock():
            version = self._version(connection)  # again: now nobody else is making the tables
            if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
                raise StorageError(
                    f"{self.path!r} is a SQLite database of something else: give the index another path."
                )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            if version == 0:
                _run(connection, _TABLES)
                connection.execute(f"PRAGMA user_version={FORMAT}")
            if self._schema:
                _run(connection, self._schema)
                connection.execute("INSERT OR IGNORE INTO schemas(sql) VALUES(?)", (self._schema,))
            connection.execute("COMMIT")

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > FORMAT:
            raise StorageError(
                f"The index {self.path!r} was written by a newer Stargazer (format {version}, not {FORMAT}): "
                "upgrade with `pip install --upgrade stargazer-storage`."
            )
        return version

    def _is_unwritable(self) -> bool:
        """Whether the index is there but its folder cannot be written: SQLite's files beside it cannot be made."""
        return os.path.exists(self.path) and not os.access(os.path.dirname(self.path), os.W_OK)

    def _make_folder(self) -> None:
        folder = os.path.dirname(self.path)
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StorageError(f"The folder {folder!r} for the index cannot be made: {reason}.") from error
        if kind := network_filesystem(folder):
            raise StorageError(
                f"The index {self.path!r} would lie on a network filesystem ({kind}), where SQLite cannot share it "
                "between processes safely: keep the index on a local disk."
            )

    @contextlib.contextmanager
    def _write_lock(self) -> Iterator[None]:
        """Hold the lock file: one writer of all processes."""
        try:
            fd = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StorageError(
                f"The index {self.path!r} cannot be written: {reason}. Check its folder's permissions and the mount."
            ) from error
        try:
            deadline = time.monotonic() + self._timeout
            pause = 0.0002
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StorageError(
                            f"The index {self.path!r} has been held by another writer for {self._timeout:.0f} s: "
                            "see which process has its .lock file open (`fuser`), end it, and try again."
                        ) from None
                time.sleep(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, 0.005)
            yield
        finally:
            os.close(fd)

    def _refuse(self, error: sqlite3.Error) -> NoReturn:
        reason = _REASONS.get(_kind(error), "SQLite refused what was asked")
        raise StorageError(f"The index {self.path!r} failed ({error}): {reason}.") from error


def _read_only(path: str) -> str:
    """The URI of a file in a folder where nothing can be written, so that nobody here writes the file either."""
    return f"file:{urllib.parse.quote(path)}?immutable=1"


def _kind(error: BaseException) -> str:
    """SQLite's primary name for an error: SQLITE_IOERR for SQLITE_IOERR_WRITE and the like."""
    name = getattr(error, "sqlite_errorname", None) or ""
    return "_".join(name.split("_")[:2])


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Execute several statements inside the current transaction (executescript() would commit it)."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n\t;"):
                connection.execute(statement)
            statement = ""
