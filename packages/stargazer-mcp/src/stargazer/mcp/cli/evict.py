"""`stargazer evict`: removes bytes that can be fetched or computed again; their records stay."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from stargazer import storage
from stargazer.mcp.cli.console import (
    SHOWN,
    Parser,
    count,
    human_size,
    note,
    option,
    print_json,
    print_table,
    print_text,
)
from stargazer.mcp.cli.progress import working
from stargazer.mcp.cli.selection import folder_of_store, named_records
from stargazer.storage import maintenance

if TYPE_CHECKING:
    from stargazer.assets import IpFile

__all__ = ["evict"]


def evict(argv: Sequence[str]) -> int:
    """Drop bytes and keep records."""
    parser = Parser(
        "evict",
        "CID|ID ... | [key=value ...] [--older-than TIME] [--larger-than SIZE]\n"
        "       [--force] [--dry-run] [--json]",
        "Drop the bytes of files and keep their records: of all that are named, or of none. They must be to be had\n"
        "again, from a source that answers now, or by running what made them. Of a file added in place, the link goes\n"
        "and the file stays.",
        "  stargazer evict asset=alignment sample=NA12878\n  stargazer evict --older-than 90d --larger-than 1GB",
        {
            "--older-than": option("TIME", "only records made before: 30d, 12w"),
            "--larger-than": option("SIZE", "only files larger than this: 500MB, 2GB"),
            "--force": "also what cannot be had again: it is lost here",
            "--dry-run": "drop nothing, list the same",
            "--json": "print the report as JSON",
        },
    )
    words = parser.sort(argv)
    options = words.options
    question = "say which files: a CID, key=value, --older-than or --larger-than"
    parser.one_way(words, "" if options.older_than or options.larger_than else question)
    older = parser.parse_seconds("--older-than", options.older_than) if options.older_than else None
    larger = parser.parse_bytes("--larger-than", options.larger_than) if options.larger_than else None

    store = folder_of_store()
    found = named_records(store, words.plain) if words.plain else storage.find_records(store, words.pairs)
    records = [record for record in found if _is_meant(record, older, larger)]
    with working("asking who else has these files"):
        report = maintenance.evict(store, records, force=options.force, dry_run=options.dry_run, tell=note)
    if options.json:
        print_json({**attrs.asdict(report), "freed": report.freed})
        return 1 if report.refused else 0
    if report.refused:
        print_table(
            ["NAME", "SIZE", "CID", "WHY"],
            [[item.name, human_size(item.size), item.cid, item.why] for item in report.refused],
            most=SHOWN,
        )
        forcible = all(item.forcible for item in report.refused)
        note(
            f"nothing was dropped: {count(len(report.refused), 'file')} cannot be"
            + ("; --force drops them all the same, and they are lost here" if forcible else "")
        )
        return 1
    rows = [[item.name, human_size(item.size), item.cid, item.again] for item in report.evicted]
    if rows:
        print_table(["NAME", "SIZE", "CID", "TO HAVE IT AGAIN"], rows, most=SHOWN)
    verb = "would free" if report.dry_run else "freed"
    print_text(f"{verb} {human_size(report.freed)} ({count(len(rows), 'file')}); the records stay")
    return 0


def _is_meant(record: IpFile, older: float | None, larger: int | None) -> bool:
    if larger is not None and record.size <= larger:
        return False
    if older is None:
        return True
    with contextlib.suppress(ValueError):
        return time.time() - datetime.datetime.fromisoformat(record.created_at).timestamp() > older
    return False
