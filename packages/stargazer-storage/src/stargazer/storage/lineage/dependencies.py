"""Tables of the index that say what each execution read and made, and with which task and tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stargazer.assets.provenance import Document, Execution

if TYPE_CHECKING:
    import sqlite3

__all__ = ["SCHEMA", "is_execution", "note"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs(number INTEGER PRIMARY KEY, document TEXT UNIQUE, task TEXT, at TEXT);
CREATE INDEX IF NOT EXISTS runs_task ON runs(task);
CREATE TABLE IF NOT EXISTS files(number INTEGER PRIMARY KEY, cid TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS reads(file INT, run INT, PRIMARY KEY(file, run)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS makes(run INT, file INT, PRIMARY KEY(run, file)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tools(
    name TEXT, version TEXT, run INT, PRIMARY KEY(name, version, run)) WITHOUT ROWID;
"""
"""The graph in numbers: walking 100,000 executions by their CIDs takes seconds."""


def is_execution(connection: sqlite3.Connection, cid: str) -> bool:
    """Whether a provenance document tells of an execution that is known here."""
    return connection.execute("SELECT 1 FROM runs WHERE document = ?", (cid,)).fetchone() is not None


def note(connection: sqlite3.Connection, cid: str, document: Document) -> None:
    """Let an execution with this CID be found by its task, tools and files, within a transaction."""
    if not isinstance(document, Execution):
        return
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
