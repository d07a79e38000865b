"""The stat cache: a file whose size, times and inode are those of an earlier addition is not hashed again."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import sqlite3

__all__ = ["SCHEMA", "Signature", "known_cid", "remember", "signature"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS sources(
    path BLOB PRIMARY KEY, size INT, mtime_ns INT, ctime_ns INT, inode INT, cid TEXT) WITHOUT ROWID;
"""
SETTLED = 2_000_000_000  # ns: a file changed more recently may change again without its times telling

Signature: TypeAlias = tuple[int, int, int, int]


def signature(path: Path) -> Signature | None:
    """What changes when a file does; None for one that changed so recently that it may change again unseen."""
    found = path.stat()
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < SETTLED:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def known_cid(connection: sqlite3.Connection, path: Path) -> str | None:
    """The CID of a file that has not changed since it was remembered."""
    row = connection.execute("SELECT * FROM sources WHERE path = ?", (_key(path),)).fetchone()
    return row[5] if row and tuple(row[1:5]) == signature(path) else None


def remember(connection: sqlite3.Connection, path: Path, before: Signature | None, cid: str) -> None:
    """Remember a file's CID, if its signature before it was read still holds."""
    if before and before == signature(path):
        connection.execute(
            "INSERT OR REPLACE INTO sources VALUES(?, ?, ?, ?, ?, ?)", (_key(path), *before, cid)
        )


def _key(path: Path) -> bytes:
    return os.fsencode(os.path.realpath(path))
