"""Which state of each object was hashed: while its file's size, times and inode stay, its bytes are those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stargazer.storage.objects import StoredObject

if TYPE_CHECKING:
    import sqlite3

__all__ = ["are_verified", "is_verified", "remember", "state"]


_AT_ONCE = 500  # objects of one look-up


def remember(connection: sqlite3.Connection, objects: Iterable[StoredObject]) -> None:
    """Objects as they were when they were hashed."""
    connection.executemany("INSERT OR REPLACE INTO objects VALUES(?, ?, ?, ?, ?)", map(_row, objects))


def is_verified(connection: sqlite3.Connection, stored: StoredObject) -> bool:
    """Whether the object is as it was when it was hashed."""
    return state(connection, stored.cid) == stored


def are_verified(connection: sqlite3.Connection, stored: Sequence[StoredObject]) -> bool:
    """Whether every one of these objects is as it was when it was hashed."""
    for start in range(0, len(stored), _AT_ONCE):
        rows = {found.cid: _row(found) for found in stored[start : start + _AT_ONCE]}
        sql = f"SELECT * FROM objects WHERE cid IN ({','.join('?' * len(rows))})"
        if {tuple(row) for row in connection.execute(sql, list(rows)).fetchall()} != set(rows.values()):
            return False
    return True


def state(connection: sqlite3.Connection, cid: str) -> StoredObject | None:
    """An object as it was when it was hashed; None if whatever brought it did not come to its end."""
    found = connection.execute("SELECT * FROM objects WHERE cid = ?", (cid,)).fetchone()
    return StoredObject(*found) if found else None


def _row(stored: StoredObject) -> tuple[str, int, int, int, int]:
    return stored.cid, stored.size, stored.mtime_ns, stored.ctime_ns, stored.inode
