"""`stargazer rm`: takes registrations back; bytes, and what was computed from them, stay."""

from __future__ import annotations

from collections.abc import Sequence

from stargazer import storage
from stargazer.assets import AmbiguousAssetError
from stargazer.mcp.cli.console import Parser, listing, note, print_json, print_records
from stargazer.mcp.cli.selection import existing, some_records
from stargazer.mcp.records import as_dict

__all__ = ["rm"]


def rm(argv: Sequence[str]) -> None:
    """Take records back."""
    parser = Parser(
        "rm",
        "CID|ID ... | key=value ... [--all] [--json]",
        "Take the registration of one file back. Its bytes, other records of them, and what was computed from it stay.",
        "  stargazer rm asset=r1 sample=NA12878 lane=L001\n  stargazer rm bafkrei...",
        {
            "--all": "all that match, not exactly one",
            "--json": "print the records that were taken back as JSON",
        },
    )
    words = parser.sort(argv)
    parser.one_way(words, "say which record: a CID, an id, or key=value")

    store = existing()
    records = some_records(store, words, files=False)
    if len(records) > 1 and not words.options.all:
        raise AmbiguousAssetError(
            f"{len(records)} records match:\n{listing(records)}\nname one by its id, or give --all"
        )
    for record in records:
        storage.retract(store, record)
    if words.options.json:
        print_json([as_dict(record) for record in records])
        return
    print_records(records)
    if len(records) == 1:
        note("took back 1 registration; its bytes and other records stay")
    else:
        note(f"took back {len(records)} registrations; their bytes and other records stay")
