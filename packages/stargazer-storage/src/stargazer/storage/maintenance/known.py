"""What the index knows, as sets: the CIDs of records and of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

__all__ = ["hashed", "known_documents", "names", "record_sizes", "recorded"]


def recorded(connection: sqlite3.Connection) -> set[str]:
    """The CIDs that records refer to, provenance included."""
    sql = "SELECT value FROM terms JOIN tables USING(tid) WHERE name = 'records' AND key = 'cid'"
    return {cid for (cid,) in connection.execute(sql)}


def record_sizes(connection: sqlite3.Connection) -> dict[str, int]:
    """The sizes that records state, by CID."""
    sql = (
        "SELECT json_extract(body, '$.cid'), json_extract(body, '$.size') "
        "FROM docs JOIN tables USING(tid) WHERE name = 'records'"
    )
    return {cid: size for cid, size in connection.execute(sql) if isinstance(cid, str)}


def known_documents(connection: sqlite3.Connection) -> set[str]:
    """The CIDs of the provenance documents that have taken effect."""
    return {cid for (cid,) in connection.execute("SELECT cid FROM documents")}


def hashed(connection: sqlite3.Connection) -> set[str]:
    """The CIDs of objects that were here and right at some time."""
    return {cid for (cid,) in connection.execute("SELECT cid FROM objects")}


def names(connection: sqlite3.Connection, cid: str) -> list[str]:
    """The file names of the records of a CID."""
    sql = (
        "SELECT DISTINCT json_extract(body, '$.name') FROM terms JOIN tables USING(tid) JOIN docs USING(seq) "
        "WHERE name = 'records' AND key = 'cid' AND value = ?"
    )
    return sorted(name for (name,) in connection.execute(sql, (cid,)) if name)
