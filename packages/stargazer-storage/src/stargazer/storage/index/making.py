"""The file of an index: made whole, completed, checked for its version, and moved aside when it is damaged."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.storage.files import is_there, share_file, sync_paths

from .completeness import mark_incomplete
from .errors import IndexDamaged
from .locking import write_lock

__all__ = [
    "FORMAT",
    "LOG",
    "SIDE_FILES",
    "complete_schema",
    "is_too_long",
    "make_index",
    "read_version",
    "set_aside",
]

FORMAT = 1
"""Version of the tables below, kept in the file as SQLite's user_version.

Whoever raises it changes the text of a table too: by that a newer version is told from a damaged number.
"""

_FAR = 100  # versions ahead: a larger number is no version
_LONGEST = 512  # bytes of a path that SQLite takes
_ADDED = len(
    ".new-0123456789abcdef-journal"
)  # to the name of an index, by us and by SQLite, while it is made

LOG = "-wal"
"""What SQLite adds to the name of a database for its write-ahead log."""

SIDE_FILES = (LOG, "-shm")
"""The same, and for the memory that processes share."""

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


def is_too_long(path: str) -> bool:
    """Whether SQLite cannot make an index at a path, or open one there."""
    return len(os.fsencode(os.path.realpath(path))) + _ADDED > _LONGEST


def make_index(path: str, *, incomplete: bool = False) -> None:
    """Make an empty index, if there is none; the caller holds its write lock.

    It comes into being whole, so a file without tables is a damaged one. What is left of an older index that was
    deleted would be taken for the new one's, and goes.

    Args:
        incomplete: there are files already that it should know.

    Raises:
        StorageError: the filesystem has no memory that processes share.
        OSError: it cannot be made.
    """
    if is_there(path):
        return
    for suffix in SIDE_FILES:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    new = f"{path}.new-{secrets.token_hex(8)}"
    try:
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=OFF")  # it is synced below, before it has its name
            connection.execute(
                "PRAGMA journal_mode=MEMORY"
            )  # a log could not be emptied on a full disk, silently
            connection.execute("BEGIN IMMEDIATE")
            _run(connection, _TABLES)
            connection.execute(f"PRAGMA user_version={FORMAT}")
            if incomplete:
                mark_incomplete(connection)
            connection.execute("COMMIT")
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != "wal":
                raise StorageError(
                    f"The index {path!r} would lie on a filesystem that has no memory shared between processes: "
                    "keep it on a local disk (STARGAZER_INDEX)."
                )
        share_file(new, os.path.dirname(path))
        sync_paths([new])
        os.rename(new, path)
        sync_paths([os.path.dirname(path)])
    finally:
        for suffix in ("", *SIDE_FILES):
            Path(f"{new}{suffix}").unlink(missing_ok=True)


def read_version(connection: sqlite3.Connection, path: str) -> int:
    """The version of an index, which is the one that is known here.

    Raises:
        StorageError: it is newer, or a database of something else.
        IndexDamaged: it is empty or cut short, or the number of its version is damaged.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version != FORMAT and _is_no_version(version) and _has_our_tables(connection):
        raise IndexDamaged(
            path, f"its header says format {version}, and its tables are those of format {FORMAT}"
        )
    if version > FORMAT:
        raise StorageError(
            f"The index {path!r} was written by a newer Stargazer (format {version}, not {FORMAT}): "
            "upgrade with `pip install --upgrade stargazer-storage`."
        )
    if version == FORMAT:
        _check_size(connection, path)
        return version
    if connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
        raise IndexDamaged(path, "it is empty")
    raise StorageError(f"{path!r} is a SQLite database of something else: give the index another path.")


def complete_schema(connection: sqlite3.Connection, schema: str) -> None:
    """Make the tables of a schema; the caller holds the write lock."""
    connection.execute("BEGIN IMMEDIATE")
    _run(connection, schema)
    connection.execute("INSERT OR IGNORE INTO schemas(sql) VALUES(?)", (schema,))
    connection.execute("COMMIT")


def set_aside(path: str | os.PathLike[str], timeout: float = 60.0) -> Path | None:
    """Rename a damaged index to `<path>.damaged-<n>`; who has it open begins anew with the next operation.

    Returns:
        Where it is now; None if there was none.

    Raises:
        StorageError: it cannot be renamed.
    """
    path = os.path.abspath(path)
    try:
        if not is_there(path):
            return None
        with write_lock(path, timeout):
            if not is_there(path):
                return None
            number = 1
            while os.path.lexists(f"{path}.damaged-{number}"):
                number += 1
            aside = f"{path}.damaged-{number}"
            os.rename(path, aside)
            for suffix in SIDE_FILES:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{path}{suffix}", f"{aside}{suffix}")
            sync_paths([os.path.dirname(path)])
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"The index {path!r} cannot be moved aside: {reason}.") from error
    return Path(aside)


def _is_no_version(number: int) -> bool:
    """Whether the number of a version cannot be one, or differs from ours by one bit, as damage has it."""
    return not FORMAT < number <= FORMAT + _FAR or (number ^ FORMAT).bit_count() == 1


def _has_our_tables(connection: sqlite3.Connection) -> bool:
    """Whether all tables of this version are there, word for word."""
    there = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master")}
    return {statement.strip() for statement in _TABLES.split(";") if statement.strip()} <= there


def _check_size(connection: sqlite3.Connection, path: str) -> None:
    """SQLite itself reads what is missing of a last page as zeros."""
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    log = f"{path}{LOG}"
    if os.path.getsize(path) % page and not (
        os.path.exists(log) and os.path.getsize(log)
    ):  # a log would mend it
        raise IndexDamaged(path, "it ends within a page")


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Execute several statements inside the current transaction (executescript() would commit it)."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n\t;"):
                connection.execute(statement)
            statement = ""
