"""`stargazer amend`: corrects the metadata of registered files."""

from __future__ import annotations

from collections.abc import Sequence

from stargazer import storage
from stargazer.mcp.cli.console import Parser, note, print_json, print_records
from stargazer.mcp.cli.selection import existing, one_record
from stargazer.mcp.records import as_dict

__all__ = ["amend"]


def amend(argv: Sequence[str]) -> None:
    """Change the metadata of records, once all changes were found right."""
    parser = Parser(
        "amend",
        "CID|ID|FILE ... key=value ... [--json]",
        "Correct what is said of registered files: a sample, a lane, a build. Each pair goes to the files whose type\n"
        "knows the key; key= (nothing after it) takes a value away. None is changed before all are checked. What was\n"
        "computed from them stays, and names them by their CIDs. The old record is gone; who changed it, and when,\n"
        "is written down.",
        "  stargazer amend lane2_R1.fq.gz lane2_R2.fq.gz lane=L002\n  stargazer amend bafkrei... lane=",
        {"--json": "print the records as they are now as JSON"},
    )
    words = parser.sort(argv)
    pairs = parser.single(words)
    if not words.plain or not pairs:
        parser.error("name records by CID, id or file, and say what is true of them: key=value")

    store = existing()
    found = [one_record(store, word) for word in words.plain]
    records = list({record.id: record for record in found}.values())
    amended = storage.amend_records(store, records, pairs)
    if words.options.json:
        print_json([as_dict(record) for record in amended])
        return
    from stargazer.workflows import amended_notices

    print_records(amended)
    for line in amended_notices(store, amended):
        note(line)
    changed = sum(new.id != old.id for new, old in zip(amended, records, strict=True))
    note(f"amended {changed} of {len(records)} records")
