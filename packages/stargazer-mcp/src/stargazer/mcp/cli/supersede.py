"""`stargazer supersede`: lets one file take the place of another in searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stargazer import storage
from stargazer.mcp.cli.console import Parser, escaped, option, print_json, print_text
from stargazer.mcp.cli.selection import existing, one_record
from stargazer.mcp.cli.stale import as_dict, print_stale
from stargazer.storage import lineage

if TYPE_CHECKING:
    from stargazer.assets import IpFile

__all__ = ["supersede"]


def supersede(argv: Sequence[str]) -> None:
    """Let one record take the place of another."""
    parser = Parser(
        "supersede",
        "OLD NEW [--reason TEXT] | OLD --undo [--reason TEXT] [--json]",
        "Use one file instead of another from now on: searches pass the old one over (`stargazer query --superseded`\n"
        "shows it), nothing is removed, and what was computed from it is listed with what to run again. OLD and NEW\n"
        "are CIDs, ids (`stargazer query --json`) or files of this machine.",
        "  stargazer supersede old.fa new.fa --reason 'contig MT was missing'\n  stargazer supersede old.fa --undo",
        {
            "--reason": option("TEXT", "why: written down", default=""),
            "--undo": "the old one counts again",
            "--json": "print what depends on the old one as JSON",
        },
    )
    words = parser.sort(argv)
    if words.pairs or len(words.plain) != (1 if words.options.undo else 2):
        parser.error("name OLD and NEW" if not words.options.undo else "name OLD alone")

    store = existing()
    old, *rest = (one_record(store, word) for word in words.plain)
    if words.options.undo:
        storage.reinstate(store, old, words.options.reason)
    else:
        storage.supersede(store, old, rest[0], words.options.reason)
    store.hand_over([])  # what waits to be sent elsewhere
    found = lineage.stale(store, old.cid)
    if words.options.json:
        print_json({"superseded": None if words.options.undo else old.id, **as_dict(store, found)})
    elif words.options.undo:
        print_text(escaped(f"{_title(old)} counts again"))
    else:
        print_text(
            escaped(f"{_title(old)} is superseded by {_title(rest[0])}; it stays, and searches pass it over")
        )
        print_stale(store, found)


def _title(record: IpFile) -> str:
    return f"{record.keyvalues.get('asset', 'file')} {record.name or record.cid}"
