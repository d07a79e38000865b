"""`stargazer query`: lists the registered files that filters select."""

from __future__ import annotations

from collections.abc import Sequence

from stargazer import storage
from stargazer.mcp.cli.console import Parser, note, print_json, print_records
from stargazer.mcp.cli.selection import ADD_FIRST, no_store
from stargazer.mcp.records import as_dict, why_none
from stargazer.storage import maintenance

__all__ = ["query"]


def query(argv: Sequence[str]) -> None:
    """List the records that filters select."""
    parser = Parser(
        "query",
        "[asset=TYPE] [key=value ...] [--superseded] [--json]",
        "List registered files. Filters are equalities, all of which hold; a key given twice means either value.\n"
        "Files that others took the place of (`stargazer supersede`) are passed over.",
        "  stargazer query\n  stargazer query sample=NA12878\n"
        "  stargazer query asset=alignment duplicates_marked=true --json",
        {
            "--json": "print the records as JSON",
            "--superseded": "superseded ones as well (superseded=true: only those)",
        },
    )
    words = parser.sort(argv)
    if words.plain:
        parser.error(f"{words.plain[0]!r} is no filter: write key=value")
    if words.options.superseded:
        words.pairs["superseded"] = ["false", "true"]

    store = storage.get_client().store
    records = storage.find_records(store, words.pairs)
    dropped = maintenance.evicted(store)
    if words.options.json:
        print_json([as_dict(record, dropped) for record in records])
    elif records:
        print_records(records, dropped)
    elif not store.exists():
        note(no_store(store))
    elif words.pairs.keys() - {"superseded"}:
        why = why_none(store, words.pairs)
        note("no record matches" + (f": {why}" if why else ""))
    else:
        note(
            "no file has a record" if storage.holds_files(store.root) else f"the store is empty: {ADD_FIRST}"
        )
