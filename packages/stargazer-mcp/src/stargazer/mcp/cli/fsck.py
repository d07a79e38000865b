"""`stargazer fsck`: checks the store, repairs what can be repaired, and reports it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from stargazer.mcp.cli.console import (
    SHOWN,
    Parser,
    count,
    escaped,
    human_size,
    note,
    print_json,
    print_text,
    say_more,
)
from stargazer.mcp.cli.progress import byte_progress
from stargazer.mcp.cli.selection import folder_of_store
from stargazer.storage import maintenance

if TYPE_CHECKING:
    from stargazer.storage import Store
    from stargazer.storage.maintenance import FsckReport, Problem

__all__ = ["fsck"]


def fsck(argv: Sequence[str]) -> int:
    """Check the store and repair what can be repaired."""
    parser = Parser(
        "fsck",
        "[--full] [--dry-run] [--json]",
        "Check the store: its index, its files, and that every record has its bytes. A damaged or lost index is made\n"
        "again from the provenance in the store, damaged or missing bytes are fetched from a source that has them,\n"
        "and what killed processes left is removed. Exit status 0: all is sound or repaired; 1: something is lost.",
        "  stargazer fsck\n  stargazer fsck --full",
        {
            "--full": "hash every byte: finds what a disk lost by itself",
            "--dry-run": "repair nothing, report the same",
            "--json": "print the report as JSON",
        },
    )
    words = parser.sort(argv)
    parser.no_words(words)

    store = folder_of_store()
    began = time.monotonic()
    with byte_progress("checking") as progress:
        report = maintenance.fsck(
            store, full=words.options.full, repair=not words.options.dry_run, tell=note, progress=progress
        )
    if words.options.json:
        print_json({"store": str(store.root), "ok": report.ok, **attrs.asdict(report)})
    else:
        _print_report(report, store, time.monotonic() - began)
    return 0 if report.ok else 1


def _print_report(report: FsckReport, store: Store, seconds: float) -> None:
    for kind, title in (("index", "index"), ("document", "provenance"), ("stray", "strays"),
                        ("damaged", "damaged"), ("missing", "missing")):  # fmt: skip
        problems = [problem for problem in report.problems if problem.kind == kind]
        for problem in sorted(problems, key=lambda found: found.fixed)[:SHOWN]:
            print_text(_problem_text(title, problem))
        say_more(len(problems) - SHOWN)
    if report.swept.removed:
        verb = "removed" if report.repair else "would remove"
        print_text(
            f"{verb} {count(len(report.swept.removed), 'leftover')} of killed processes "
            f"({human_size(report.swept.freed)})"
        )
    hashed = f", {human_size(report.hashed_bytes)} hashed" if report.hashed else ""
    print_text(
        f"{store.root}: {count(report.objects, 'file')}, {human_size(report.bytes)}{hashed}, {seconds:.1f} s: "
        + _verdict(report)
    )
    if report.unhashed and not report.full:
        note(f"{count(report.unhashed, 'file')} not hashed yet by this index: read, or --full, verifies")


def _verdict(report: FsckReport) -> str:
    left = [problem for problem in report.problems if not problem.fixed]
    if not report.problems:
        return "sound"
    if not left:
        return "repaired"
    return f"{count(len(left), 'problem')} left" if report.repair else f"{count(len(left), 'problem')}"


def _problem_text(title: str, problem: Problem) -> str:
    names = f" ({', '.join(problem.names)})" if problem.names else ""
    lines = [f"{title}: {problem.what}{names}: {problem.found}"]
    lines += [f"  {problem.done}"] if problem.done else []
    lines += [f"  to do: {problem.todo}"] if problem.todo else []
    return "\n".join(map(escaped, lines))
