"""The tables of a store's index and the number of their format; making, checking and setting aside its file."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import sqlite3
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.storage.files import is_there, make_folder, share_file, sync_paths
from stargazer.storage.locks import write_lock
from stargazer.storage.refusals import explained

__all__ = ["CHECKED", "FORMAT", "INCOMPLETE", "LOG", "NEW", "SIDE_FILES", "TABLES", "IndexDamaged", "check_format",
           "is_intact", "make_index", "mark_of", "set_aside", "set_mark"]  # fmt: skip

FORMAT = 2
"""Version of the tables below, kept in the file as SQLite's user_version.

Whoever raises it changes the text of a table too: by that a newer version is told from a damaged number.
"""

TABLES = """
-- documents as TinyDB has them; seq is the order of insertion
CREATE TABLE tables(
    tid INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    last_id INT NOT NULL DEFAULT 0
);
CREATE TABLE docs(seq INTEGER PRIMARY KEY, tid INT NOT NULL, id INT NOT NULL, body TEXT NOT NULL);
CREATE UNIQUE INDEX docs_id ON docs(tid, id);
CREATE INDEX docs_seq ON docs(tid);
CREATE TABLE terms(tid INT, key TEXT, value, seq INT, PRIMARY KEY(tid, key, value, seq)) WITHOUT ROWID;

-- objects as they were when they were hashed, and those that were dropped on purpose
CREATE TABLE objects(
    cid TEXT PRIMARY KEY, size INT, mtime_ns INT, ctime_ns INT, inode INT) WITHOUT ROWID;
CREATE TABLE evicted(cid TEXT PRIMARY KEY, size INT, at TEXT) WITHOUT ROWID;

-- users' files as they were when they were added, and URLs that have the bytes of an object
CREATE TABLE sources(
    path BLOB PRIMARY KEY, size INT, mtime_ns INT, ctime_ns INT, inode INT, cid TEXT) WITHOUT ROWID;
CREATE TABLE mirrors(cid TEXT, url TEXT, PRIMARY KEY(cid, url)) WITHOUT ROWID;

-- the provenance documents, and whether they are our own; which of them says that there is a record, and which files
-- it names in which role
CREATE TABLE documents(cid TEXT PRIMARY KEY, own INT) WITHOUT ROWID;
CREATE TABLE claims(
    record TEXT, document TEXT, at TEXT, ended INT, PRIMARY KEY(record, document)) WITHOUT ROWID;
CREATE INDEX claims_document ON claims(document);
CREATE TABLE edges(cid TEXT, role TEXT, provenance_cid TEXT, number INTEGER PRIMARY KEY);
CREATE INDEX edges_cid ON edges(cid, role);

-- which record superseded another, and what records were amended to
CREATE TABLE superseded(
    document TEXT PRIMARY KEY, record TEXT, successor TEXT, at TEXT, ended INT) WITHOUT ROWID;
CREATE INDEX superseded_record ON superseded(record);
CREATE TABLE amended(record TEXT, became TEXT, PRIMARY KEY(record, became)) WITHOUT ROWID;
CREATE INDEX amended_became ON amended(became);

-- executions by run key, and what each read and made and with which tools: in numbers, for walking 100,000
-- executions by their CIDs takes seconds
CREATE TABLE attempts(number INTEGER PRIMARY KEY, run_key TEXT, document TEXT UNIQUE);
CREATE INDEX attempts_key ON attempts(run_key);
CREATE TABLE runs(number INTEGER PRIMARY KEY, document TEXT UNIQUE, task TEXT, at TEXT);
CREATE INDEX runs_task ON runs(task);
CREATE TABLE files(number INTEGER PRIMARY KEY, cid TEXT UNIQUE);
CREATE TABLE reads(file INT, run INT, PRIMARY KEY(file, run)) WITHOUT ROWID;
CREATE TABLE makes(run INT, file INT, PRIMARY KEY(run, file)) WITHOUT ROWID;
CREATE TABLE tools(
    name TEXT, version TEXT, run INT, PRIMARY KEY(name, version, run)) WITHOUT ROWID;

-- records that are to be sent to an account, and the files there that they are
CREATE TABLE outbox(
    record TEXT, public INT, cid TEXT, rank INT, wanted INT, became TEXT, attempts INT, error TEXT, upload_url TEXT,
    number INTEGER PRIMARY KEY, UNIQUE(record, public));
CREATE TABLE remote(record TEXT, public INT, file_id TEXT, PRIMARY KEY(record, public)) WITHOUT ROWID;
"""

NEW, INCOMPLETE, CHECKED = 0, 1, 2
"""Marks: whether an index was told of all that its store holds; SQLite's application_id, which stays in the file.

Every process opens the index before it brings files into the store, so an index that is made where files are already
has lost what was known of them. It is incomplete until fsck has taken in the provenance among them.
"""

_FAR = 100  # versions ahead: a larger number is no version

LOG = "-wal"
"""What SQLite adds to the name of a database for its write-ahead log."""

SIDE_FILES = (LOG, "-shm")
"""The same, and for the memory that processes share."""


class IndexDamaged(StorageError):
    """The file of an index is not what was written; `stargazer fsck` makes a new one from the ledger."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(
            f"The index {path!r} is damaged ({what}): run `stargazer fsck`, which makes it again from the ledger."
        )


# the file


def make_index(path: str, *, incomplete: bool = False) -> None:
    """Make an empty index, if there is none; the caller holds its write lock.

    It comes into being whole, so a file without tables is a damaged one. What is left of an older index that was
    deleted would be taken for the new one's, and goes; so does what a killed process left of making one.

    Args:
        incomplete: there are files already that it should know.

    Raises:
        StorageError: it cannot be made, or the filesystem has no memory that processes share.
    """
    new = f"{path}.new"
    with explained(f"The index {path!r} cannot be made"):
        if is_there(path):
            return
        for name in (new, *(f"{name}{suffix}" for name in (path, new) for suffix in SIDE_FILES)):
            Path(name).unlink(missing_ok=True)
        try:
            with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous=OFF")  # it is synced before it has its name
                # a log could not be emptied on a full disk, silently
                connection.execute("PRAGMA journal_mode=MEMORY")
                connection.executescript(f"BEGIN IMMEDIATE;{TABLES}PRAGMA user_version={FORMAT};")
                set_mark(connection, INCOMPLETE if incomplete else NEW)
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


def set_aside(path: Path, folder: Path) -> Path | None:
    """Move a damaged index, with what lies beside it, to `<folder>/<name>-<n>`; None if there was none.

    Whoever has it open begins anew with the next operation.

    Raises:
        StorageError: it cannot be moved, or another process writes it all the time.
    """
    with explained(f"The index {str(path)!r} cannot be moved aside"):
        if not is_there(path):
            return None
        with write_lock(str(path)):
            make_folder(folder, folder.parent)
            names = (f"{folder / path.name}-{number}" for number in itertools.count(1))
            aside = next(name for name in names if not os.path.lexists(name))
            for suffix in ("", *SIDE_FILES):
                with contextlib.suppress(FileNotFoundError):
                    shutil.move(f"{path}{suffix}", f"{aside}{suffix}")
            sync_paths([folder, path.parent])
    return Path(aside)


# its format


def check_format(connection: sqlite3.Connection, path: str) -> None:
    """Make sure that an index has the format that is known here.

    Raises:
        StorageError: it is newer or older, or a database of something else.
        IndexDamaged: it is empty or cut short, or the number of its format is damaged.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == FORMAT:
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        log = f"{path}{LOG}"
        # SQLite itself reads what is missing of a last page as zeros; a log would mend that
        if os.path.getsize(path) % page and not (os.path.exists(log) and os.path.getsize(log)):
            raise IndexDamaged(path, "it ends within a page")
        return
    # a number that can be no version, or differs from ours by one bit
    is_damaged = not FORMAT < version <= FORMAT + _FAR or (version ^ FORMAT).bit_count() == 1
    if is_damaged and _has_tables(connection):
        raise IndexDamaged(
            path, f"its header says format {version}, and its tables are those of format {FORMAT}"
        )
    if version > FORMAT:
        raise StorageError(
            f"The index {path!r} was written by a newer Stargazer (format {version}, not {FORMAT}): "
            "upgrade with `pip install --upgrade stargazer-storage`."
        )
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not names:
        raise IndexDamaged(path, "it is empty")
    if version > 0 and {"docs", "terms"} <= names:
        raise StorageError(
            f"The index {path!r} was written by an older Stargazer (format {version}, not {FORMAT}), which alone can "
            "use this store: add its files to a new one (STARGAZER_LOCAL)."
        )
    raise StorageError(f"{path!r} is a SQLite database of something else: give the index another path.")


def is_intact(connection: sqlite3.Connection) -> bool:
    """Whether the tables of this format are there, and the mark is one that was ever set."""
    return _has_tables(connection) and mark_of(connection) in (NEW, INCOMPLETE, CHECKED)


def mark_of(connection: sqlite3.Connection) -> int:
    """NEW, INCOMPLETE or CHECKED; any other number is damage."""
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def set_mark(connection: sqlite3.Connection, mark: int) -> None:
    """Mark an index, within a transaction."""
    if mark_of(connection) != mark:
        connection.execute(f"PRAGMA application_id={mark}")


def _has_tables(connection: sqlite3.Connection) -> bool:
    """Whether all tables of this format are there, word for word."""
    there = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master")}
    return set(re.findall("CREATE [^;]+", TABLES)) <= there
