"""What has to be done again when a file, a tool or a task turns out to be wrong: all executions downstream of it."""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from typing import NamedTuple

import attrs
from stargazer.assets import AssetNotFoundError
from stargazer.storage.cid import is_cid
from stargazer.storage.ledger.memo import is_execution
from stargazer.storage.store import Store

__all__ = ["Run", "Stale", "stale"]

_WALK = """
WITH RECURSIVE stale(run) AS (
    {seeds} UNION SELECT reads.run FROM stale JOIN makes USING(run) JOIN reads USING(file))
SELECT runs.at, runs.document, runs.task, files.cid,
    EXISTS(SELECT 1 FROM reads WHERE reads.file = makes.file AND reads.run != stale.run)
FROM stale JOIN runs ON runs.number = stale.run
LEFT JOIN makes ON makes.run = stale.run LEFT JOIN files ON files.number = makes.file
ORDER BY runs.at, runs.document, files.number
"""


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
    what, seeds, values = _seeds(store, what)
    rows = store.index.rows(_WALK.format(seeds=seeds), *values)
    runs = []
    for (at, document, task), of_run in itertools.groupby(rows, key=lambda row: row[:3]):
        made = [row[3:] for row in of_run]
        is_last = not any(is_read for _, is_read in made)
        runs.append(Run(document, task, at, [cid for cid, _ in made if cid], is_last))
    return Stale(what=what, runs=runs)


def _seeds(store: Store, what: str) -> tuple[str, str, tuple[str, ...]]:
    """What is meant, spelled in full, and SQL for the executions to begin with, with its values."""
    rows = store.index.rows
    if is_cid(what):
        if is_execution(store.index, what):
            return what, "SELECT number FROM runs WHERE document = ?", (what,)
        if rows("SELECT 1 FROM edges WHERE cid = ? LIMIT 1", what):
            return (
                what,
                "SELECT run FROM reads JOIN files ON files.number = reads.file WHERE cid = ?",
                (what,),
            )
        raise AssetNotFoundError(f"nothing is known of {what!r}: see `stargazer query`")
    tools = sorted(rows("SELECT DISTINCT name, version FROM tools"))
    name, _, version = what.rpartition("@")
    if (name, version) in tools:
        return what, "SELECT run FROM tools WHERE name = ? AND version = ?", (name, version)
    names = [task for (task,) in rows("SELECT DISTINCT task FROM runs")]
    tasks = [task for task in names if what in (task, _last_name(task))]
    if len(tasks) == 1:
        return tasks[0], "SELECT number FROM runs WHERE task = ?", (tasks[0],)
    if tasks:
        raise AssetNotFoundError(f"{what!r} is the name of several tasks: {', '.join(sorted(tasks))}")
    if any(tool == what for tool, _ in tools):
        return what, "SELECT run FROM tools WHERE name = ?", (what,)
    versions = [f"{tool}@{version}" for tool, version in tools]
    near = difflib.get_close_matches(what, [*names, *map(_last_name, names), *versions], n=3, cutoff=0.4)
    versions = [version for version in versions if version.startswith(f"{name}@")]
    hint = f"; known: {', '.join(versions or near)}" if versions or near else ""
    raise AssetNotFoundError(f"no execution is known of a task or with a tool {what!r}{hint}")


def _last_name(task: str) -> str:
    return task.replace(":", ".").rpartition(".")[2]
