"""`stargazer push` and `pull`: files, metadata and provenance between this machine and an account at Pinata."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from stargazer.assets import ConfigurationError
from stargazer.mcp.cli.measures import byte_progress, count
from stargazer.mcp.cli.output import human_size, note, print_json, print_table, print_text
from stargazer.mcp.cli.words import Parser, Words

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Store
    from stargazer.storage.pinata import Sent

__all__ = ["confirm_public", "pull", "push"]

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
    )
    parser.add_argument("--all", action="store_true", help="everything that is registered and here")
    parser.add_argument(
        "--public", action="store_true", help="to the public IPFS network: for everybody, for ever"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before publishing")
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON")
    words = parser.sort(argv)
    _one_kind(parser, words)
    if words.options.all and (words.plain or words.pairs):
        parser.error("give --all or say which files, not both")
    from stargazer.mcp.records import find_records
    from stargazer.storage import get_client
    from stargazer.storage.pinata import account_of
    from stargazer.storage.pinata import push as send

    store = get_client().store
    account_of(store)
    if words.options.all:
        records = [record for record in find_records(store, {}) if record.path]
    else:
        records = _chosen(store, words)
    public = words.options.public or account_of(store).publishes
    if records and public:
        confirm_public([(record.name, record.size) for record in records], yes=words.options.yes)
    with _progress("sending") as progress:
        sent = send(store, records, public=public, progress=progress)
    _report_sent(sent, as_json=words.options.json)
    return 1 if sent.left else 0


def pull(argv: Sequence[str]) -> int:
    """Bring files from Pinata."""
    parser = Parser(
        "pull",
        "CID ... | key=value ... | --all  [--records] [--json]",
        "Bring files that are on Pinata, with their companions and provenance. What is here is not downloaded again,\n"
        "every byte is verified, and what was cut goes on where it stopped. Exit status 1: something could not be had.",
        "  stargazer pull sample=NA12878\n  stargazer pull asset=variants --records\n  stargazer pull --all --records",
    )
    parser.add_argument("--all", action="store_true", help="everything in the account")
    parser.add_argument(
        "--records", action="store_true", help="metadata and provenance; bytes come when they are read"
    )
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON")
    words = parser.sort(argv)
    _one_kind(parser, words)
    if not words.plain and not words.pairs and not words.options.all:
        parser.error("say which files: a CID, key=value, or --all")
    from stargazer.mcp.records import find_records
    from stargazer.storage import get_client
    from stargazer.storage.pinata import account_of
    from stargazer.storage.pinata import pull as bring

    store = get_client().store
    account_of(store)
    records = find_records(store, {}) if words.options.all else _chosen(store, words)
    with _progress("fetching") as progress:
        pulled = bring(store, records, bytes_too=not words.options.records, progress=progress)
    if words.options.json:
        print_json(
            {
                "records": [record.id for record in pulled.records],
                "fetched": pulled.fetched,
                "failed": pulled.failed,
            }
        )
    else:
        for cid, why in pulled.failed.items():
            note(f"{cid}: {why}")
        size = sum(
            {record.cid: record.size for record in pulled.records if record.cid in pulled.fetched}.values()
        )
        print_text(
            f"{count(len(pulled.records), 'record')} here; {count(len(pulled.fetched), 'file')} fetched "
            f"({human_size(size)})" + (f", {len(pulled.failed)} not" if pulled.failed else "")
        )
    return 1 if pulled.failed else 0


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


def _chosen(store: Store, words: Words) -> list[IpFile]:
    from stargazer.mcp.cli.finding import some_records

    return some_records(store, words) if words.plain or words.pairs else []


def _one_kind(parser: Parser, words: Words) -> None:
    if words.plain and words.pairs:
        parser.error("give CIDs or key=value, not both")


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


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """How much of several files that move at once is there."""
    with byte_progress(what) as show:
        if show is None:
            yield None
            return
        seen: dict[str, tuple[int, int]] = {}

        def tell(name: str, done: int, total: int | None) -> None:
            seen[name] = done, total or done
            show(sum(done for done, _ in seen.values()), sum(total for _, total in seen.values()))

        yield tell
