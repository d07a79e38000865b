"""The executions that the index knows: what each read and made, and the memo: which one answers for a run key.

Every execution is noted, whoever did it. Whom to believe is asked when an answer is wanted, so that it follows from the
documents alone, in whatever order they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stargazer.assets.provenance import Execution
from stargazer.storage.ledger import trust

if TYPE_CHECKING:
    import sqlite3

    from stargazer.storage.index.records import Index

__all__ = ["answer", "executions", "is_execution", "note"]

_EXECUTIONS = """
SELECT document, own FROM attempts JOIN runs USING(document) JOIN documents ON documents.cid = document
WHERE run_key = ? ORDER BY at DESC, document DESC
"""


def is_execution(index: Index, cid: str) -> bool:
    """Whether a provenance document tells of an execution that is known here."""
    return bool(index.rows("SELECT 1 FROM runs WHERE document = ?", cid))


def note(connection: sqlite3.Connection, cid: str, document: Execution) -> None:
    """Let an execution with this CID be found by its run key, task, tools and files, within a transaction."""
    if document.run_key:
        connection.execute(
            "INSERT OR IGNORE INTO attempts(run_key, document) VALUES(?, ?)", (document.run_key, cid)
        )
    row = (cid, document.task, document.finished)
    added = connection.execute("INSERT OR IGNORE INTO runs(document, task, at) VALUES(?, ?, ?)", row)
    if added.rowcount < 1:
        return
    run = added.lastrowid
    for table, entries in (("reads", document.inputs), ("makes", document.outputs)):
        files = [(entry.cid,) for entry in entries]
        connection.executemany("INSERT OR IGNORE INTO files(cid) VALUES(?)", files)
        connection.executemany(
            f"INSERT OR IGNORE INTO {table}(run, file) SELECT {run}, number FROM files WHERE cid = ?", files
        )
    connection.executemany(
        "INSERT OR IGNORE INTO tools VALUES(?, ?, ?)",
        [(tool.name, tool.version, run) for tool in document.tools],
    )


def answer(index: Index, run_key: str) -> str:
    """The CID of the execution that answers for a run key; empty if none does.

    Of several of our own the last one counts, of several of others the first.
    """
    trusted = ""
    for cid, is_own in index.rows(_EXECUTIONS, run_key):
        if is_own:
            return str(cid)
        if trust.is_trusted(index, cid):
            trusted = cid
    return trusted


def executions(index: Index, run_key: str) -> list[str]:
    """The CIDs of all executions with a run key, whoever did them; the one that was finished last first."""
    return [cid for cid, _ in index.rows(_EXECUTIONS, run_key)]
