"""`stargazer pull`: brings files with metadata and provenance from an account at Pinata."""

from __future__ import annotations

from collections.abc import Sequence

from stargazer import storage
from stargazer.mcp.cli.console import Parser, count, human_size, note, print_json, print_text
from stargazer.mcp.cli.progress import file_progress
from stargazer.mcp.cli.selection import some_records
from stargazer.storage import pinata

__all__ = ["pull"]


def pull(argv: Sequence[str]) -> int:
    """Bring files from Pinata."""
    parser = Parser(
        "pull",
        "CID ... | key=value ... | --all  [--records] [--json]",
        "Bring files that are on Pinata, with their companions and provenance. What is here is not downloaded again,\n"
        "every byte is verified, and what was cut goes on where it stopped. Exit status 1: something could not be had.",
        "  stargazer pull sample=NA12878\n  stargazer pull asset=variants --records\n  stargazer pull --all --records",
        {
            "--all": "everything in the account",
            "--records": "metadata and provenance; bytes come when they are read",
            "--json": "print what came of it as JSON",
        },
    )
    words = parser.sort(argv)
    parser.one_way(words, "" if words.options.all else "say which files: a CID, key=value, or --all")

    store = storage.get_client().store
    pinata.account_of(store)  # before anything is asked of it
    records = storage.find_records(store, {}) if words.options.all else some_records(store, words)
    with file_progress("fetching") as progress:
        pulled = pinata.pull(store, records, bytes_too=not words.options.records, progress=progress)
    if words.options.json:
        ids = [record.id for record in pulled.records]
        print_json({"records": ids, "fetched": pulled.fetched, "failed": pulled.failed})
    else:
        for cid, why in pulled.failed.items():
            note(f"{cid}: {why}")
        sizes = {record.cid: record.size for record in pulled.records}
        size = sum(sizes.get(cid, 0) for cid in set(pulled.fetched))
        print_text(
            f"{count(len(pulled.records), 'record')} here; {count(len(pulled.fetched), 'file')} fetched "
            f"({human_size(size)})" + (f", {len(pulled.failed)} not" if pulled.failed else "")
        )
    return 1 if pulled.failed else 0
