"""`stargazer stale`: lists what was computed from a file, with a tool or by a task, and what to run again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stargazer.assets.keyvalues import fields_text
from stargazer.mcp import records
from stargazer.mcp.cli.console import (
    SHOWN,
    Parser,
    count,
    escaped,
    note,
    print_json,
    print_table,
    print_text,
    say_more,
)
from stargazer.mcp.cli.selection import existing, one_cid
from stargazer.storage import lineage

if TYPE_CHECKING:
    from stargazer.storage import Store
    from stargazer.storage.lineage import Stale

__all__ = ["as_dict", "print_stale", "stale"]


def stale(argv: Sequence[str]) -> None:
    """List what depends on a file, a tool or a task."""
    parser = Parser(
        "stale",
        "CID|ID|FILE|key=value ...|TOOL[@VERSION]|TASK [--latest] [--json]",
        "List what was computed from a file, with a tool, or by a task, and everything that was computed from that,\n"
        "with what to run again. The CID of a provenance document means that very execution.",
        "  stargazer stale asset=reference build=GRCh38\n  stargazer stale bwa-mem3@0.4.4\n"
        "  stargazer stale markdup",
        {"--latest": "of several files that match, the newest", "--json": "print all of it as JSON"},
    )
    words = parser.sort(argv)
    if len(words.plain) + bool(words.pairs) != 1:
        parser.error("say of what: a CID, a file, key=value, TOOL@VERSION or a task")

    store = existing()
    is_file = words.pairs or os.path.exists(words.plain[0]) or store.get(words.plain[0])
    found = lineage.stale(store, one_cid(store, words) if is_file else words.plain[0])
    if words.options.json:
        print_json(as_dict(store, found))
    else:
        print_stale(store, found)


def as_dict(store: Store, found: Stale) -> dict[str, Any]:
    """What depends on something, for programs."""
    return {
        "what": found.what,
        "runs": [run._asdict() for run in found.runs],
        "again": found.tasks,
        "ends": [records.as_dict(record) for cid in found.ends for record in store.query({"cid": cid})],
    }


def print_stale(store: Store, found: Stale) -> None:
    """What depends on something, for people."""
    if not found.runs:
        note("nothing was computed from it")
        return
    ends = set(found.ends)
    rows: list[list[Any]] = []
    files = [(cid, run.task) for run in reversed(found.runs) for cid in run.outputs]
    for cid, task in files[:SHOWN]:
        for record in store.query({"cid": cid})[:1]:
            rows.append([record.keyvalues.get("asset", "?"), fields_text(record.keyvalues), record.name,
                         "yes" if cid in ends else "", _short(task), cid])  # fmt: skip
    print_table(["TYPE", "WHAT", "NAME", "END RESULT", "MADE BY", "CID"], rows)
    say_more(len(files) - SHOWN)
    again = ", ".join(f"{_short(task)} ({number:,})" for task, number in found.tasks.items())
    print_text(f"to run again: {count(len(found.runs), 'execution')}: {escaped(again)}")
    note("run the workflows that made the end results: what does not depend on this is taken from the memo")


def _short(task: str) -> str:
    return task.replace(":", ".").rpartition(".")[2]
