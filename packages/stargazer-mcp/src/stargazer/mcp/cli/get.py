"""`stargazer get`: copies stored files and their companions out, under names that people read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stargazer import storage
from stargazer.mcp.cli.console import Parser, count, note, option, print_json, print_text
from stargazer.mcp.cli.progress import working
from stargazer.mcp.cli.selection import bring, existing, some_records
from stargazer.mcp.records import as_dict
from stargazer.storage import maintenance

__all__ = ["get"]


def get(argv: Sequence[str]) -> None:
    """Copy files out of the store with their companions."""
    parser = Parser(
        "get",
        "CID|ID|FILE ... | key=value ... [--to DIR] [--latest] [--json]",
        "Copy files, each with its companions (index, dictionary, mates), under names that people read.\n"
        "An older copy of the same is replaced; any other file is left alone, and the copy then has\n"
        "a part of its CID in its name. A file of this machine is found by what it holds.",
        "  stargazer get asset=variants samples=NA12878 filtered=true --to results\n  stargazer get bafkrei...",
        {
            "--to": option("DIR", "folder, made if missing (default: here)", type=Path, default=Path()),
            "--latest": "of several that match, only the newest",
            "--json": "print where the copies are as JSON",
        },
    )
    words = parser.sort(argv)
    parser.one_way(words, "say which files: a CID, or key=value")

    store = existing()
    records = some_records(store, words)
    chosen = records[-1:] if words.options.latest else records
    dropped = maintenance.evicted(store)
    for record in chosen:
        if record.cid in dropped:
            note(f"evicted, to be brought back: {record.name} {record.cid}")
    bring(store, chosen)
    with working(f"copying {count(len(chosen), 'file')}"):
        exported = storage.export(store, chosen, words.options.to)
    if words.options.json:
        print_json([{"path": str(path), **as_dict(record, dropped)} for path, record in exported])
    else:
        for path, _ in exported:
            print_text(str(path).replace("\n", "\\n"))
