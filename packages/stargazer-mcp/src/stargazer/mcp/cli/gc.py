"""`stargazer gc`: removes bytes that no record refers to."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
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
from stargazer.mcp.cli.selection import folder_of_store
from stargazer.storage import maintenance

__all__ = ["gc"]


def gc(argv: Sequence[str]) -> None:
    """Remove what nothing refers to."""
    parser = Parser(
        "gc",
        "[--dry-run] [--grace TIME] [--json]",
        "Remove the bytes that no record has referred to for two weeks, unpacked copies that nothing has read for as\n"
        "long, and old quarantine. Records, provenance, and what a running task reads stay.",
        "  stargazer gc --dry-run\n  stargazer gc --grace 2d",
        {
            "--dry-run": "remove nothing, list the same",
            "--grace": option("TIME", "30m, 12h, 14d or 2w (default: 2w)", default=""),
            "--json": "print the report as JSON",
        },
    )
    words = parser.sort(argv)
    parser.no_words(words)
    given = words.options.grace
    grace = parser.parse_seconds("--grace", given) if given else maintenance.GRACE

    store = folder_of_store()
    with working("looking for what no record refers to"):
        report = maintenance.gc(store, dry_run=words.options.dry_run, grace=grace, tell=note)
    if words.options.json:
        print_json({**attrs.asdict(report), "freed": report.freed})
        return
    rows = [[found.kind, found.name, human_size(found.size)] for found in report.removed]
    if rows:
        print_table(["KIND", "WHAT", "SIZE"], rows, most=SHOWN)
    verb = "would free" if report.dry_run else "freed"
    print_text(f"{verb} {human_size(report.freed)} ({count(len(rows), 'thing')})")
    if report.waiting:
        note(
            f"{count(report.waiting, 'file')} without a record ({human_size(report.waiting_bytes)}) stay: "
            f"not yet for {given or '2w'}, or in use"
        )
