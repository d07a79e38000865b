"""Whose word counts: a store believes its own documents, and those of others that one of its own says it trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

__all__ = ["is_believed", "is_foreign", "is_trusted"]

_TRUSTED = """
SELECT EXISTS(SELECT 1 FROM edges JOIN documents ON documents.cid = edges.provenance_cid
              WHERE edges.cid = ? AND role = 'trusted' AND own)
"""


def is_foreign(connection: sqlite3.Connection, cid: str) -> bool:
    """Whether a provenance document is known here and was written by somebody else."""
    return bool(
        connection.execute(
            "SELECT EXISTS(SELECT 1 FROM documents WHERE cid = ? AND NOT own)", (cid,)
        ).fetchone()[0]
    )


def is_trusted(connection: sqlite3.Connection, cid: str) -> bool:
    """Whether a document of this store's own says that another one is trusted."""
    return bool(connection.execute(_TRUSTED, (cid,)).fetchone()[0])


def is_believed(connection: sqlite3.Connection, cid: str) -> bool:
    """Whether a provenance document is this store's own, or is trusted."""
    return not is_foreign(connection, cid) or is_trusted(connection, cid)
