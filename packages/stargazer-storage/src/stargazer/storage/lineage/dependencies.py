"""Tables of the index that say what each execution read and made, and with which task and tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stargazer.assets.provenance import Execution

if TYPE_CHECKING:
    import sqlite3

__all__ = ["is_execution", "note"]


def is_execution(connection: sqlite3.Connection, cid: str) -> bool:
    """Whether a provenance document tells of an execution that is known here."""
    return connection.execute("SELECT 1 FROM runs WHERE document = ?", (cid,)).fetchone() is not None


def note(connection: sqlite3.Connection, cid: str, document: Execution) -> None:
    """Let an execution with this CID be found by its task, tools and files, within a transaction."""
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
