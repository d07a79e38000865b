"""`stargazer push`: sends files with metadata and provenance to an account at Pinata."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stargazer import storage
from stargazer.assets import ConfigurationError
from stargazer.mcp.cli.console import Parser, count, human_size, note, print_json, print_table, print_text
from stargazer.mcp.cli.progress import file_progress
from stargazer.mcp.cli.selection import some_records
from stargazer.storage import pinata

if TYPE_CHECKING:
    from stargazer.storage import Sent

__all__ = ["confirm_public", "push"]

MOST_NAMES = 10


def push(argv: Sequence[str]) -> int:
    """Send files to Pinata."""
    parser = Parser(
        "push",
        "[CID|ID ... | key=value ... | --all] [--public] [--yes] [--json]",
        "Send files to Pinata, with their companions and everything that says how they were made. Without words, what\n"
        "could not be sent before. Nothing changes its CID; what is there already is not sent again, and an upload\n"
        "that was cut goes on where it stopped. Exit status 1: something is not there yet.",
        "  stargazer push\n  stargazer push asset=variants samples=NA12878\n  stargazer push bafkrei... --public",
        {
            "--all": "everything that is registered and here",
            "--public": "to the public IPFS network: for everybody, for ever",
            "--yes": "do not ask before publishing",
            "--json": "print what came of it as JSON",
        },
    )
    words = parser.sort(argv)
    parser.one_way(words)
    if words.options.all and (words.plain or words.pairs):
        parser.error("give --all or say which files, not both")

    store = storage.get_client().store
    account = pinata.account_of(store)
    if words.options.all:
        records = [record for record in storage.find_records(store, {}) if record.path]
    else:
        records = some_records(store, words)
    public = words.options.public or account.publishes
    if records and public:
        confirm_public([(record.name, record.size) for record in records], yes=words.options.yes)
    with file_progress("sending") as progress:
        sent = pinata.push(store, records, public=public, progress=progress)
    _report_sent(sent, as_json=words.options.json)
    return 1 if sent.left else 0


def confirm_public(files: Sequence[tuple[str, int]], *, yes: bool) -> None:
    """Ask before files, of these names and sizes in bytes, are published, for that cannot be undone.

    Raises:
        ConfigurationError: the answer is no, or there is nobody to ask.
    """
    what = f"{count(len(files), 'file')} ({human_size(sum(size for _, size in files))})"
    if yes:
        return
    if not sys.stdin or not sys.stdin.isatty():
        raise ConfigurationError(
            f"{what} would become public, which cannot be undone: say --yes if that is meant; nothing was sent"
        )
    for name, size in files[:MOST_NAMES]:
        note(f"  {name} ({human_size(size)})")
    if len(files) > MOST_NAMES:
        note(f"  and {len(files) - MOST_NAMES} more")
    note(f"{what} will be public, for everybody and for ever. Continue? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigurationError("nothing was published")


def _report_sent(sent: Sent, *, as_json: bool) -> None:
    if as_json:
        left = [
            {"id": item.record, "cid": item.cid, "public": item.public, "error": item.error}
            for item in sent.left
        ]
        print_json({"sent": sent.count, "left": left})
        return
    if sent.left:
        print_table(["NOT SENT", "WHY"], [[item.cid, item.error] for item in sent.left])
    print_text(
        f"{count(sent.count, 'file')} sent"
        + (f", {len(sent.left)} not on Pinata yet: they are safe here, try again" if sent.left else "")
    )
