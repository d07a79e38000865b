"""What depends on a file, a tool or a task: every execution downstream of it, from the index alone."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import attrs
from stargazer.assets import AssetNotFoundError
from stargazer.assets.provenance import Document, Execution
from stargazer.storage.cid import is_cid

if TYPE_CHECKING:
    import sqlite3

    from stargazer.storage.store import Store

__all__ = ["SCHEMA", "Run", "Stale", "is_execution", "note", "stale"]

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

_WALK = """
WITH RECURSIVE stale(run) AS (
    {seeds} UNION SELECT reads.run FROM stale JOIN makes USING(run) JOIN reads USING(file))
SELECT runs.at, runs.document, runs.task, files.cid,
    EXISTS(SELECT 1 FROM reads WHERE reads.file = makes.file AND reads.run != stale.run)
FROM stale JOIN runs ON runs.number = stale.run
LEFT JOIN makes ON makes.run = stale.run LEFT JOIN files ON files.number = makes.file
ORDER BY runs.at, runs.document, files.number
"""

_READERS = "SELECT run FROM reads JOIN files ON files.number = reads.file WHERE cid = ?"
_ITSELF = "SELECT number FROM runs WHERE document = ?"
_OF_TASK = "SELECT number FROM runs WHERE task = ?"
_WITH_TOOL = "SELECT run FROM tools WHERE name = ?"
_WITH_VERSION = "SELECT run FROM tools WHERE name = ? AND version = ?"


class Run(NamedTuple):
    """One execution that depends on what was asked for.

    Attributes:
        provenance_cid: of its document.
        task: its full name.
        at: when it was finished, ISO 8601 in UTC.
        outputs: the CIDs of what it made.
        last: no other such execution read anything that it made.
    """

    provenance_cid: str
    task: str
    at: str
    outputs: list[str]
    last: bool


@attrs.frozen(kw_only=True)
class Stale:
    """Everything that depends on a file, a tool or a task.

    Attributes:
        what: what was asked for: a CID, `tool@version` or the full name of a task.
        runs: the executions, oldest first.
    """

    what: str
    runs: list[Run]

    @property
    def cids(self) -> list[str]:
        """The files that they made, each once, oldest first."""
        return list(dict.fromkeys(cid for run in self.runs for cid in run.outputs))

    @property
    def ends(self) -> list[str]:
        """Those files that no other of these executions read: to have them again is to run all of it again."""
        return list(dict.fromkeys(cid for run in self.runs if run.last for cid in run.outputs))

    @property
    def tasks(self) -> dict[str, int]:
        """How often each task has to be run again, in the order in which they were run first."""
        return dict(Counter(run.task for run in self.runs))


def stale(store: Store, what: str) -> Stale:
    """Every execution that depends on something, itself or through the results of others.

    Args:
        what: the CID of a file (what read it, and so on); the CID of an execution's provenance, `tool@version`, a
            tool's name or a task's full or last name (those executions, what read their results, and so on).

    Raises:
        AssetNotFoundError: the store knows nothing of that name; the message says what is near.

    Files are told apart by their bytes: where two executions made the same ones, what read them depends on both.
    """
    with store.index.reading() as connection:
        what, seeds, values = _seeds(connection, what)
        rows = connection.execute(_WALK.format(seeds=seeds), values).fetchall()
    runs: list[Run] = []
    last = None
    for at, document, task, cid, is_read in rows:
        if document == last:  # another result of the same
            run = runs[-1]
            runs[-1] = run._replace(outputs=[*run.outputs, cid], last=run.last and not is_read)
        else:
            runs.append(Run(document, task, at, [cid] if cid else [], not is_read))
            last = document
    return Stale(what=what, runs=runs)


def is_execution(connection: sqlite3.Connection, cid: str) -> bool:
    """Whether a provenance document tells of an execution that is known here."""
    return connection.execute(_ITSELF, (cid,)).fetchone() is not None


def note(connection: sqlite3.Connection, cid: str, document: Document) -> None:
    """Let an execution with this CID be found by its task, tools and files, within a transaction."""
    if not isinstance(document, Execution):
        return
    row = (cid, document.task, document.finished)
    if connection.execute("INSERT OR IGNORE INTO runs(document, task, at) VALUES(?, ?, ?)", row).rowcount < 1:
        return
    run = connection.execute(_ITSELF, (cid,)).fetchone()[0]
    for table, entries in (("reads", document.inputs), ("makes", document.outputs)):
        named = [(entry.cid,) for entry in entries]
        connection.executemany("INSERT OR IGNORE INTO files(cid) VALUES(?)", named)
        connection.executemany(
            f"INSERT OR IGNORE INTO {table}(run, file) SELECT ?, number FROM files WHERE cid = ?",
            [(run, entry.cid) for entry in entries],
        )
    connection.executemany(
        "INSERT OR IGNORE INTO tools VALUES(?, ?, ?)",
        [(tool.name, tool.version, run) for tool in document.tools],
    )


def _seeds(connection: sqlite3.Connection, what: str) -> tuple[str, str, tuple[str, ...]]:
    """What is meant, spelled in full, and SQL for the executions to begin with, with its values."""
    if is_cid(what):
        if connection.execute(_ITSELF, (what,)).fetchone():
            return what, _ITSELF, (what,)
        if not connection.execute("SELECT 1 FROM edges WHERE cid = ? LIMIT 1", (what,)).fetchone():
            raise AssetNotFoundError(f"nothing is known of {what!r}: see `stargazer query`")
        return what, _READERS, (what,)
    tools = sorted(connection.execute("SELECT DISTINCT name, version FROM tools").fetchall())
    name, _, version = what.rpartition("@")
    if (name, version) in tools:
        return what, _WITH_VERSION, (name, version)
    names = [task for (task,) in connection.execute("SELECT DISTINCT task FROM runs").fetchall()]
    tasks = [task for task in names if what in (task, *_last_names(task))]
    if len(tasks) == 1:
        return tasks[0], _OF_TASK, (tasks[0],)
    if tasks:
        raise AssetNotFoundError(f"{what!r} is the name of several tasks: {', '.join(sorted(tasks))}")
    if any(tool == what for tool, _ in tools):
        return what, _WITH_TOOL, (what,)
    known = [*names, *(short for task in names for short in _last_names(task)),
             *(f"{tool}@{version}" for tool, version in tools)]  # fmt: skip
    near = difflib.get_close_matches(what, known, n=3, cutoff=0.4)
    versions = [f"{tool}@{version}" for tool, version in tools if tool == name]
    hint = f"; known: {', '.join(versions or near)}" if versions or near else ""
    raise AssetNotFoundError(f"no execution is known of a task or with a tool {what!r}{hint}")


def _last_names(task: str) -> tuple[str, ...]:
    return (task.replace(":", ".").rpartition(".")[2],)
