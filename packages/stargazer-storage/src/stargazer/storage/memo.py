"""Which execution answers for a run key: this store's own, else one of somebody else that was vouched for.

Every execution with a run key is noted, whoever did it. Whom to believe is asked when an answer is wanted, so that it
follows from the documents alone, in whatever order they came: an own import names documents as `foreign` (they came
from somebody else) or as `trusted`; nobody else's import can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stargazer.assets.provenance import Document, Execution

if TYPE_CHECKING:
    import sqlite3

__all__ = ["answer", "executions", "is_believed", "is_foreign", "is_vouched", "note"]


_FOREIGN = "SELECT EXISTS(SELECT 1 FROM edges WHERE cid = ? AND role = 'foreign')"
_VOUCHED = """
SELECT EXISTS(SELECT 1 FROM edges AS word WHERE word.cid = ? AND word.role = 'trusted' AND NOT EXISTS(
    SELECT 1 FROM edges WHERE cid = word.provenance_cid AND role = 'foreign'))
"""


def note(connection: sqlite3.Connection, cid: str, document: Document) -> None:
    """Let an execution with this CID be found by its run key, within a transaction."""
    if isinstance(document, Execution) and document.run_key:
        connection.execute(
            "INSERT OR IGNORE INTO attempts(run_key, document) VALUES(?, ?)", (document.run_key, cid)
        )


def answer(connection: sqlite3.Connection, run_key: str) -> str:
    """The CID of the execution that answers for a run key; empty if none does.

    Of several of our own the last one counts, of several of others the first.
    """
    vouched = ""
    for cid in executions(connection, run_key):
        if not is_foreign(connection, cid):
            return cid
        if is_vouched(connection, cid):
            vouched = cid
    return vouched


def executions(connection: sqlite3.Connection, run_key: str) -> list[str]:
    """The CIDs of all executions with a run key, whoever did them; the one that was finished last first."""
    sql = "SELECT document FROM attempts JOIN runs USING(document) WHERE run_key = ? ORDER BY at DESC, document DESC"
    return [cid for (cid,) in connection.execute(sql, (run_key,)).fetchall()]


def is_foreign(connection: sqlite3.Connection, cid: str) -> bool:
    """Whether a provenance document came from somebody else."""
    return bool(connection.execute(_FOREIGN, (cid,)).fetchone()[0])


def is_believed(connection: sqlite3.Connection, cid: str) -> bool:
    """Whether a provenance document is this store's own, or was vouched for."""
    return not is_foreign(connection, cid) or is_vouched(connection, cid)


def is_vouched(connection: sqlite3.Connection, cid: str) -> bool:
    """Whether this store was told to trust a provenance document, by a document that is its own."""
    return bool(connection.execute(_VOUCHED, (cid,)).fetchone()[0])
