"""`stargazer stale` and `supersede`: what depends on a file, a tool or a task, and one file in the place of another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stargazer.mcp.cli.finding import existing, one_cid, one_record
from stargazer.mcp.cli.measures import count
from stargazer.mcp.cli.output import escaped, note, print_json, print_table, print_text
from stargazer.mcp.cli.words import Parser, Words

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Store
    from stargazer.storage.lineage import Stale

__all__ = ["stale", "supersede"]

SHOWN = 20  # files that people are shown


def stale(argv: Sequence[str]) -> int:
    """List what depends on a file, a tool or a task."""
    parser = Parser(
        "stale",
        "CID|ID|FILE|key=value ...|TOOL[@VERSION]|TASK [--latest] [--json]",
        "List what was computed from a file, with a tool, or by a task, and everything that was computed from that,\n"
        "with what to run again. The CID of a provenance document means that very execution.",
        "  stargazer stale asset=reference build=GRCh38\n  stargazer stale bwa-mem3@0.4.4\n"
        "  stargazer stale mark_duplicates",
    )
    parser.add_argument("--latest", action="store_true", help="of several files that match, the newest")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    words = parser.sort(argv)
    if len(words.plain) + bool(words.pairs) != 1:
        parser.error("say of what: a CID, a file, key=value, TOOL@VERSION or a task")
    from stargazer.storage.lineage import stale as depending

    store = existing()
    found = depending(store, _meant(store, words))
    if words.options.json:
        print_json(_as_dict(store, found))
    else:
        _print_stale(store, found)
    return 0


def supersede(argv: Sequence[str]) -> int:
    """Let one record take the place of another."""
    parser = Parser(
        "supersede",
        "OLD NEW [--reason TEXT] | OLD --undo [--reason TEXT] [--json]",
        "Use one file instead of another from now on: searches pass the old one over (`stargazer query --superseded`\n"
        "shows it), nothing is removed, and what was computed from it is listed with what to run again. OLD and NEW\n"
        "are CIDs, ids (`stargazer query --json`) or files of this machine.",
        "  stargazer supersede old.fa new.fa --reason 'contig MT was missing'\n  stargazer supersede old.fa --undo",
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="why: written down")
    parser.add_argument("--undo", action="store_true", help="the old one counts again")
    parser.add_argument("--json", action="store_true", help="print what depends on the old one as JSON")
    words = parser.sort(argv)
    if words.pairs or len(words.plain) != (1 if words.options.undo else 2):
        parser.error("name OLD and NEW" if not words.options.undo else "name OLD alone")
    from stargazer.storage.lineage import stale as depending

    store = existing()
    old, *rest = (one_record(store, word, words) for word in words.plain)
    if words.options.undo:
        store.reinstate(old, words.options.reason)
    else:
        store.supersede(old, rest[0], words.options.reason)
    store.hand_over([])  # what waits to be sent elsewhere
    found = depending(store, old.cid)
    if words.options.json:
        print_json({"superseded": None if words.options.undo else old.id, **_as_dict(store, found)})
    elif words.options.undo:
        print_text(escaped(f"{_title(old)} counts again"))
    else:
        print_text(
            escaped(f"{_title(old)} is superseded by {_title(rest[0])}; it stays, and searches pass it over")
        )
        _print_stale(store, found)
    return 0


def _meant(store: Store, words: Words) -> str:
    """The CID that words name, or the tool or task."""
    if words.pairs or os.path.exists(words.plain[0]) or store.get(words.plain[0]):
        return one_cid(store, words)
    return words.plain[0]


def _title(record: IpFile) -> str:
    return f"{record.keyvalues.get('asset', 'file')} {record.name or record.cid}"


def _as_dict(store: Store, found: Stale) -> dict[str, Any]:
    from stargazer.mcp.records import as_dict

    return {
        "what": found.what,
        "runs": [run._asdict() for run in found.runs],
        "again": found.tasks,
        "ends": [as_dict(record) for cid in found.ends for record in store.query({"cid": cid})],
    }


def _print_stale(store: Store, found: Stale) -> None:
    from stargazer.mcp.records import fields_text

    if not found.runs:
        note("nothing was computed from it")
        return
    ends = set(found.ends)
    rows: list[list[Any]] = []
    files = [(cid, run.task) for run in reversed(found.runs) for cid in run.outputs]
    for cid, task in files[:SHOWN]:
        for record in store.query({"cid": cid})[:1]:
            rows.append([record.keyvalues.get("asset", "?"), fields_text(record), record.name,
                         "yes" if cid in ends else "", _short(task), cid])  # fmt: skip
    print_table(["TYPE", "WHAT", "NAME", "END RESULT", "MADE BY", "CID"], rows)
    if len(files) > SHOWN:
        note(f"... and {len(files) - SHOWN:,} more (--json lists all)")
    again = ", ".join(f"{_short(task)} ({number:,})" for task, number in found.tasks.items())
    print_text(f"to run again: {count(len(found.runs), 'execution')}: {escaped(again)}")
    note("run the workflows that made the end results: what does not depend on this is taken from the memo")


def _short(task: str) -> str:
    return task.replace(":", ".").rpartition(".")[2]
