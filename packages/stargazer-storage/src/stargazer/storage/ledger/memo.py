"""The executions that the index knows: what each read and made, and the memo: which one answers for a run key.

Every execution is noted, whoever did it. Whom to believe is asked when an answer is wanted, so that it follows from the
documents alone, in whatever order they came. A store believes its own documents, and those of others that one of its
own says it trusts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stargazer.assets.provenance import Execution

if TYPE_CHECKING:
    import sqlite3

    from stargazer.storage.index.records import Index

__all__ = ["answer", "executions", "is_believed", "is_execution", "is_foreign", "note"]

_EXECUTIONS = """
SELECT document, own FROM attempts JOIN runs USING(document) JOIN documents ON documents.cid = document
WHERE run_key = ? ORDER BY at DESC, document DESC
"""

_TRUSTED = """
SELECT 1 FROM edges JOIN documents ON documents.cid = edges.provenance_cid
WHERE edges.cid = ? AND role = 'trusted' AND own LIMIT 1
"""


def is_execution(index: Index, cid: str) -> bool:
    """Whether a provenance document tells of an execution that is known here."""
    return bool(index.rows("SELECT 1 FROM runs WHERE document = ?", cid))


def note(connection: sqlite3.Connection, cid: str, document: Execution) -> None:
    """Let a new execution be found by its run key, task, tools and files, within a transaction."""
    if document.run_key:
        connection.execute("INSERT INTO attempts(run_key, document) VALUES(?, ?)", (document.run_key, cid))
    row = (cid, document.task, document.finished)
    run = connection.execute("INSERT INTO runs(document, task, at) VALUES(?, ?, ?)", row).lastrowid
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
        if _is_trusted(index, cid):
            trusted = cid
    return trusted


def executions(index: Index, run_key: str) -> list[str]:
    """The CIDs of all executions with a run key, whoever did them; the one that was finished last first."""
    return [cid for cid, _ in index.rows(_EXECUTIONS, run_key)]


def is_foreign(index: Index, cid: str) -> bool:
    """Whether a provenance document is known here and was written by somebody else."""
    return bool(index.rows("SELECT 1 FROM documents WHERE cid = ? AND NOT own", cid))


def is_believed(index: Index, cid: str) -> bool:
    """Whether a provenance document is this store's own, or is trusted."""
    return not is_foreign(index, cid) or _is_trusted(index, cid)


def _is_trusted(index: Index, cid: str) -> bool:
    """Whether a document of this store's own says that another one is trusted."""
    return bool(index.rows(_TRUSTED, cid))
