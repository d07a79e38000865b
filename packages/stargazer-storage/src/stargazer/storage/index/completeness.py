"""Whether an index has been told of all that its store holds: noted in the header of its file, where it stays.

Every process opens the index before it brings files into the store. An index that is made where files are already has
lost what was known of them, and it is marked until fsck has taken in the provenance among them.
"""

from __future__ import annotations

import sqlite3

__all__ = ["is_damaged", "is_incomplete", "is_new", "mark_checked", "mark_incomplete"]

_NEW, _INCOMPLETE, _CHECKED = 0, 1, 2  # SQLite's application_id


def is_new(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever registered in the index, nor did fsck look at it."""
    if _state(connection) != _NEW:
        return False
    return connection.execute("SELECT 1 FROM docs LIMIT 1").fetchone() is None


def is_incomplete(connection: sqlite3.Connection) -> bool:
    """Whether there are files in the store that the index does not know, as far as that was noticed."""
    return _state(connection) not in (_NEW, _CHECKED)


def is_damaged(connection: sqlite3.Connection) -> bool:
    """Whether the mark is none that was ever set."""
    return _state(connection) not in (_NEW, _INCOMPLETE, _CHECKED)


def mark_incomplete(connection: sqlite3.Connection) -> None:
    """Note that files were there before the index."""
    connection.execute(f"PRAGMA application_id={_INCOMPLETE}")


def mark_checked(connection: sqlite3.Connection) -> None:
    """Note that what could be known of the files is known."""
    if _state(connection) != _CHECKED:
        connection.execute(f"PRAGMA application_id={_CHECKED}")


def _state(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA application_id").fetchone()[0])
