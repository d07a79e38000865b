"""The memo: which execution answers for a run key, this store's own or one of somebody else that is trusted.

Every execution with a run key is noted, whoever did it. Whom to believe is asked when an answer is wanted, so that it
follows from the documents alone, in whatever order they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stargazer.assets.provenance import Execution
from stargazer.storage.ledger import trust

if TYPE_CHECKING:
    import sqlite3

__all__ = ["answer", "executions", "note"]


def note(connection: sqlite3.Connection, cid: str, document: Execution) -> None:
    """Let an execution with this CID be found by its run key, within a transaction."""
    if document.run_key:
        connection.execute(
            "INSERT OR IGNORE INTO attempts(run_key, document) VALUES(?, ?)", (document.run_key, cid)
        )


def answer(connection: sqlite3.Connection, run_key: str) -> str:
    """The CID of the execution that answers for a run key; empty if none does.

    Of several of our own the last one counts, of several of others the first.
    """
    trusted = ""
    for cid in executions(connection, run_key):
        if not trust.is_foreign(connection, cid):
            return cid
        if trust.is_trusted(connection, cid):
            trusted = cid
    return trusted


def executions(connection: sqlite3.Connection, run_key: str) -> list[str]:
    """The CIDs of all executions with a run key, whoever did them; the one that was finished last first."""
    sql = "SELECT document FROM attempts JOIN runs USING(document) WHERE run_key = ? ORDER BY at DESC, document DESC"
    return [cid for (cid,) in connection.execute(sql, (run_key,)).fetchall()]
