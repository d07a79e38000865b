"""What the index knows, as sets: the CIDs of records and of documents; and which objects are documents."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets.provenance import parse

if TYPE_CHECKING:
    import sqlite3

__all__ = ["hashed", "is_document", "known_documents", "looks_like_document", "names", "on_pinata",
           "record_sizes", "recorded"]  # fmt: skip

_HEAD, _SIGN = b'{"', b'"stargazer":"provenance/'
_LARGEST = 256 << 20  # bytes; a document of a million files is smaller


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
    sql = (
        "SELECT json_extract(body, '$.cid') FROM terms JOIN tables USING(tid) JOIN docs USING(seq) "
        "WHERE name = 'records' AND key = '.asset' AND value = 'provenance'"
    )
    return {cid for (cid,) in connection.execute(sql)}


def hashed(connection: sqlite3.Connection) -> set[str]:
    """The CIDs of objects that were here and right at some time."""
    return {cid for (cid,) in connection.execute("SELECT cid FROM objects")}


def on_pinata(connection: sqlite3.Connection) -> set[str]:
    """The CIDs of records that are known to be on Pinata."""
    sql = (
        "SELECT json_extract(body, '$.cid') FROM docs JOIN tables USING(tid) WHERE name = 'records' "
        "AND json_extract(body, '$.id') IN (SELECT record FROM remote)"
    )
    return {cid for (cid,) in connection.execute(sql)}


def names(connection: sqlite3.Connection, cid: str) -> list[str]:
    """The file names of the records of a CID."""
    sql = (
        "SELECT DISTINCT json_extract(body, '$.name') FROM terms JOIN tables USING(tid) JOIN docs USING(seq) "
        "WHERE name = 'records' AND key = 'cid' AND value = ?"
    )
    return sorted(name for (name,) in connection.execute(sql, (cid,)) if name)


def looks_like_document(path: Path) -> bool:
    """Whether a file begins like a provenance document and is signed like one."""
    return bool(_signed(path))


def is_document(path: Path) -> bool:
    """Whether a file is a provenance document that can be read here: told cheaply of files that are not."""
    try:
        return bool(parse(_signed(path)))
    except ValueError:
        return False


def _signed(path: Path) -> bytes:
    """The bytes of a file that looks like a document; none of any other."""
    try:
        with open(path, "rb") as file:
            if file.read(len(_HEAD)) != _HEAD or os.fstat(file.fileno()).st_size > _LARGEST:
                return b""
            data = _HEAD + file.read()
    except OSError:
        return b""
    return data if _SIGN in data else b""
