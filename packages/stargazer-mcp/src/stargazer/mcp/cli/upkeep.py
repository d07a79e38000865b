"""`stargazer fsck`, `gc`, `evict` and `verify`: the store is checked, cleared, and made smaller."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stargazer.assets import AssetNotFoundError, IntegrityError, StorageError
from stargazer.mcp.cli.measures import byte_progress, count, parse_bytes, parse_seconds
from stargazer.mcp.cli.output import escaped, human_size, note, print_json, print_table, print_text
from stargazer.mcp.cli.words import Parser, Words

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Store
    from stargazer.storage.maintenance import FsckReport, Problem

__all__ = ["evict", "fsck", "gc", "verify"]

SHOWN = 20  # things of one kind that people are shown


def fsck(argv: Sequence[str]) -> int:
    """Check the store and repair what can be repaired."""
    parser = Parser(
        "fsck",
        "[--full] [--dry-run] [--json]",
        "Check the store: its index, its files, and that every record has its bytes. A damaged or lost index is made\n"
        "again from the provenance in the store, damaged or missing bytes are fetched from a source that has them,\n"
        "and what killed processes left is removed. Exit status 0: all is sound or repaired; 1: something is lost.",
        "  stargazer fsck\n  stargazer fsck --full",
    )
    parser.add_argument(
        "--full", action="store_true", help="hash every byte: finds what a disk lost by itself"
    )
    parser.add_argument("--dry-run", action="store_true", help="repair nothing, report the same")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    words = parser.sort(argv)
    _no_words(parser, words)
    from stargazer.storage.maintenance import fsck as check

    store = _store()
    began = time.monotonic()
    with byte_progress("hashing") as progress:
        report = check(
            store, full=words.options.full, repair=not words.options.dry_run, tell=note, progress=progress
        )
    if words.options.json:
        import attrs

        print_json({"store": str(store.root), "ok": report.ok, **attrs.asdict(report)})
    else:
        _print_report(report, store, time.monotonic() - began)
    return 0 if report.ok else 1


def gc(argv: Sequence[str]) -> int:
    """Remove what nothing refers to."""
    parser = Parser(
        "gc",
        "[--dry-run] [--grace TIME] [--json]",
        "Remove the bytes that no record has referred to for two weeks, unpacked copies that nothing has read for as\n"
        "long, and old quarantine. Records, provenance, and what a running task reads stay.",
        "  stargazer gc --dry-run\n  stargazer gc --grace 2d",
    )
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, list the same")
    parser.add_argument("--grace", metavar="TIME", default="14d", help="30m, 12h, 14d or 2w (default: 14d)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    words = parser.sort(argv)
    _no_words(parser, words)
    grace = parse_seconds(parser, "--grace", words.options.grace)
    from stargazer.storage.maintenance import gc as collect

    report = collect(_store(), dry_run=words.options.dry_run, grace=grace, tell=note)
    if words.options.json:
        import attrs

        print_json({**attrs.asdict(report), "freed": report.freed})
        return 0
    rows = [[found.kind, found.name, human_size(found.size)] for found in report.removed]
    if rows:
        print_table(["KIND", "WHAT", "SIZE"], rows[:SHOWN])
        _more(len(rows))
    verb = "would free" if report.dry_run else "freed"
    print_text(f"{verb} {human_size(report.freed)} ({count(len(rows), 'thing')})")
    if report.waiting:
        note(
            f"{count(report.waiting, 'file')} without a record ({human_size(report.waiting_bytes)}) stay: "
            f"not yet for {words.options.grace}, or in use"
        )
    return 0


def evict(argv: Sequence[str]) -> int:
    """Drop bytes and keep records."""
    parser = Parser(
        "evict",
        "CID|ID ... | [key=value ...] [--older-than TIME] [--larger-than SIZE] [--force] [--dry-run] [--json]",
        "Drop the bytes of files and keep their records: of all that are named, or of none. They must be to be had\n"
        "again, from a source that answers now, or by running what made them. Of a file added in place, the link goes\n"
        "and the file stays.",
        "  stargazer evict asset=alignment sample=NA12878\n  stargazer evict --older-than 90d --larger-than 1GB",
    )
    parser.add_argument("--older-than", metavar="TIME", help="only records made before: 30d, 12w")
    parser.add_argument("--larger-than", metavar="SIZE", help="only files larger than this: 500MB, 2GB")
    parser.add_argument("--force", action="store_true", help="also what cannot be had again: it is lost here")
    parser.add_argument("--dry-run", action="store_true", help="drop nothing, list the same")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    words = parser.sort(argv)
    options = words.options
    if words.plain and words.pairs:
        parser.error("give CIDs or key=value, not both")
    if not words.plain and not words.pairs and not options.older_than and not options.larger_than:
        parser.error("say which files: a CID, key=value, --older-than or --larger-than")
    older = parse_seconds(parser, "--older-than", options.older_than) if options.older_than else None
    larger = parse_bytes(parser, "--larger-than", options.larger_than) if options.larger_than else None
    from stargazer.storage.maintenance import evict as drop

    store = _store()
    records = [record for record in _records(store, words) if _is_meant(record, older, larger)]
    report = drop(store, records, force=options.force, dry_run=options.dry_run, tell=note)
    if options.json:
        import attrs

        print_json({**attrs.asdict(report), "freed": report.freed})
        return 1 if report.refused else 0
    if report.refused:
        print_table(
            ["NAME", "SIZE", "CID", "WHY"],
            [[found.name, human_size(found.size), found.cid, found.why] for found in report.refused[:SHOWN]],
        )
        _more(len(report.refused))
        forcible = all(found.forcible for found in report.refused)
        note(
            f"nothing was dropped: {count(len(report.refused), 'file')} cannot be"
            + ("; --force drops them all the same, and they are lost here" if forcible else "")
        )
        return 1
    rows = [[found.name, human_size(found.size), found.cid, found.again] for found in report.evicted]
    if rows:
        print_table(["NAME", "SIZE", "CID", "TO HAVE IT AGAIN"], rows[:SHOWN])
        _more(len(rows))
    verb = "would free" if report.dry_run else "freed"
    print_text(f"{verb} {human_size(report.freed)} ({count(len(rows), 'file')}); the records stay")
    return 0


def verify(argv: Sequence[str]) -> int:
    """Read files in full and compare them with their CIDs."""
    parser = Parser(
        "verify",
        "CID|ID ... | key=value ... [--recompute] [--json]",
        "Read the bytes of files in full and compare them with their CIDs. Exit status 1: one is damaged or missing.\n"
        "With --recompute, do again what made them instead, and compare what comes of it; nothing is registered.",
        "  stargazer verify bafkrei...\n  stargazer verify asset=variants samples=NA12878\n"
        "  stargazer verify bafkrei... --recompute",
    )
    parser.add_argument("--recompute", action="store_true", help="run the task that made each file again")
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")
    words = parser.sort(argv)
    if bool(words.plain) == bool(words.pairs):
        parser.error("say which files: CIDs, or key=value")
    from stargazer.storage.maintenance import verify as check

    store = _store()
    if words.options.recompute:
        from stargazer.mcp.cli.reproducing import verify_again

        return verify_again(_cids(store, words), as_json=words.options.json)
    answers: list[dict[str, Any]] = []
    for cid, name in _cids(store, words).items():
        answer: dict[str, Any] = {"cid": cid, "name": name, "ok": True}
        try:
            answer["size"] = check(store, cid).size
        except IntegrityError as error:
            answer |= {"ok": False, "error": str(error)}
        except StorageError as error:
            answer |= {"ok": False, "missing": store.objects.stat(cid) is None, "error": str(error)}
        answers.append(answer)
    if words.options.json:
        print_json(answers)
    else:
        for answer in answers:
            state = f"ok {human_size(answer['size'])}" if answer["ok"] else f"NOT ok: {answer['error']}"
            print_text(escaped(" ".join(filter(None, [answer["cid"], answer["name"], state]))))
    return 0 if all(answer["ok"] for answer in answers) else 1


def _print_report(report: FsckReport, store: Store, seconds: float) -> None:
    for kind, title in (("index", "index"), ("document", "provenance"), ("stray", "strays"),
                        ("damaged", "damaged"), ("missing", "missing")):  # fmt: skip
        problems = [problem for problem in report.problems if problem.kind == kind]
        for problem in sorted(problems, key=lambda found: found.fixed)[:SHOWN]:
            print_text(_problem_text(title, problem))
        _more(len(problems))
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


def _store() -> Store:
    """The store, which looking after it shall not make.

    Raises:
        AssetNotFoundError: there is none.
    """
    from stargazer.storage import get_client

    store: Store = get_client().store
    if not store.root.is_dir():
        raise AssetNotFoundError(f"there is no store at {str(store.root)!r} yet")
    return store


def _records(store: Store, words: Words) -> list[IpFile]:
    """The records that words name; without any, all files; provenance only where it is asked for.

    Raises:
        AssetNotFoundError: a word names none.
    """
    from stargazer.mcp.records import find_records
    from stargazer.storage import is_cid

    if not words.plain:
        return find_records(store, words.pairs)
    found: list[IpFile] = []
    for word in words.plain:
        record = None if is_cid(word) else store.get(word)
        several = store.query({"cid": word}) if is_cid(word) else [record] if record else []
        if not several:
            raise AssetNotFoundError(
                f"no record {word!r}: give a CID, an id (`stargazer query --json`) or key=value"
            )
        found += several
    return found


def _cids(store: Store, words: Words) -> dict[str, str]:
    """The CIDs that words name, each with a file name; bytes without a record have a CID too."""
    from stargazer.storage import is_cid

    bare = {word: "" for word in words.plain if is_cid(word) and not store.query({"cid": word})}
    rest = Words([word for word in words.plain if word not in bare], words.pairs, words.options)
    records = _records(store, rest) if rest.plain or rest.pairs else []
    if not bare and not records:
        raise AssetNotFoundError("no record matches: `stargazer query` lists what there is")
    return bare | {record.cid: record.name for record in records}


def _is_meant(record: IpFile, older: float | None, larger: int | None) -> bool:
    if larger is not None and record.size <= larger:
        return False
    if older is None:
        return True
    with contextlib.suppress(ValueError):
        return time.time() - datetime.datetime.fromisoformat(record.created_at).timestamp() > older
    return False


def _no_words(parser: Parser, words: Words) -> None:
    for word in [*words.plain, *(f"{key}=..." for key in words.pairs)]:
        parser.error(f"{word!r} is not expected here")


def _more(number: int) -> None:
    if number > SHOWN:
        note(f"... and {number - SHOWN} more (--json lists all)")
