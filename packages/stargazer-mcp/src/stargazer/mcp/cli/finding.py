"""`stargazer query`, `get` and `rm`: what there is, copies of it, and less of it."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets import (
    AmbiguousAssetError,
    AssetNotFoundError,
    FormatError,
    StargazerError,
    StorageError,
)
from stargazer.mcp.cli.output import human_size, note, print_fitting, print_json, print_text
from stargazer.mcp.cli.words import Parser, Words

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Store

__all__ = [
    "existing",
    "get",
    "listing",
    "one_cid",
    "one_record",
    "print_records",
    "query",
    "rm",
    "some_records",
]

ADD_FIRST = "`stargazer add FILE ...` registers files"


def query(argv: Sequence[str]) -> int:
    """List the records that filters select."""
    parser = Parser(
        "query",
        "[asset=TYPE] [key=value ...] [--superseded] [--json]",
        "List registered files. Filters are equalities, all of which hold; a key given twice means either value.\n"
        "Files that others took the place of (`stargazer supersede`) are passed over.",
        "  stargazer query\n  stargazer query sample=NA12878\n"
        "  stargazer query asset=alignment duplicates_marked=true --json",
    )
    parser.add_argument("--json", action="store_true", help="print the records as JSON")
    parser.add_argument(
        "--superseded", action="store_true", help="superseded ones as well (superseded=true: only those)"
    )
    words = parser.sort(argv)
    if words.plain:
        parser.error(f"{words.plain[0]!r} is no filter: write key=value")
    if words.options.superseded:
        words.pairs["superseded"] = ["false", "true"]
    from stargazer.mcp.records import as_dict, evicted

    store = _store()
    records = _matching(store, words)
    dropped = evicted(store)
    if words.options.json:
        print_json([as_dict(record, dropped) for record in records])
    elif records:
        print_records(records, dropped)
    elif not store.exists():
        note(_no_store(store))
    else:
        note("no record matches" if words.pairs.keys() - {"superseded"} else _nothing(store))
    return 0


def get(argv: Sequence[str]) -> int:
    """Copy files out of the store with their companions."""
    parser = Parser(
        "get",
        "CID|ID|FILE ... | key=value ... [--to DIR] [--latest] [--json]",
        "Copy files, each with its companions (index, dictionary, mates), under names that people read.\n"
        "An older copy of the same is replaced; any other file is left alone, and the copy then has\n"
        "a part of its CID in its name. A file of this machine is found by what it holds.",
        "  stargazer get asset=variants samples=NA12878 filtered=true --to results\n  stargazer get bafkrei...",
    )
    parser.add_argument(
        "--to", metavar="DIR", type=Path, default=Path(), help="folder, made if missing (default: here)"
    )
    parser.add_argument("--latest", action="store_true", help="of several that match, only the newest")
    parser.add_argument("--json", action="store_true", help="print where the copies are as JSON")
    words = parser.sort(argv)
    _one_way(parser, words, "say which files: a CID, or key=value")
    from stargazer.mcp.cli.bringing import bring
    from stargazer.mcp.exporting import export
    from stargazer.mcp.records import as_dict, evicted

    store = existing()
    records = some_records(store, words)
    chosen = records[-1:] if words.options.latest else records
    dropped = evicted(store)
    for record in chosen:
        if record.cid in dropped:
            note(f"evicted, to be brought back: {record.name} {record.cid}")
    bring(store, chosen)
    exported = export(store, chosen, words.options.to)
    if words.options.json:
        print_json([{"path": str(path), **as_dict(record, dropped)} for path, record in exported])
    else:
        for path, _ in exported:
            print_text(str(path).replace("\n", "\\n"))
    return 0


def rm(argv: Sequence[str]) -> int:
    """Take records back."""
    parser = Parser(
        "rm",
        "CID|ID ... | key=value ... [--all]",
        "Take the registration of one file back. Its bytes, other records of them, and what was computed from it stay.",
        "  stargazer rm asset=r1 sample=NA12878 lane=L001\n  stargazer rm bafkrei...",
    )
    parser.add_argument("--all", action="store_true", help="all that match, not exactly one")
    words = parser.sort(argv)
    _one_way(parser, words, "say which record: a CID, an id, or key=value")
    store = existing()
    records = some_records(store, words, files=False)
    if len(records) > 1 and not words.options.all:
        raise AmbiguousAssetError(
            f"{len(records)} records match:\n{listing(records)}\nname one by its id, or give --all"
        )
    for record in records:
        store.retract(record)
    print_records(records)
    if len(records) == 1:
        note("took back 1 registration; its bytes and other records stay")
    else:
        note(f"took back {len(records)} registrations; their bytes and other records stay")
    return 0


def _store() -> Store:
    from stargazer.storage import get_client

    return get_client().store


def existing() -> Store:
    """The store, which searching shall not make.

    Raises:
        AssetNotFoundError: nothing was ever registered.
    """
    store = _store()
    if not store.exists():
        raise AssetNotFoundError(_no_store(store))
    return store


def _nothing(store: Store) -> str:
    """Why no record is there at all."""
    from stargazer.storage import holds_files

    return "no file has a record" if holds_files(store.root) else f"the store is empty: {ADD_FIRST}"


def _no_store(store: Store) -> str:
    return f"there is no store at {str(store.root)!r} yet: {ADD_FIRST}"


def _one_way(parser: Parser, words: Words, question: str) -> None:
    """Refuse no words, and words of both kinds: whether both or either should hold is not said."""
    if not words.plain and not words.pairs:
        parser.error(question)
    if words.plain and words.pairs:
        parser.error("give CIDs or key=value, not both")


def _matching(store: Store, words: Words) -> list[IpFile]:
    from stargazer.mcp.records import find_records

    return find_records(store, words.pairs)


def some_records(store: Store, words: Words, *, files: bool = True) -> list[IpFile]:
    """The records that CIDs, ids, files of this machine (if `files`) or filters name: at least one for each.

    Raises:
        AssetNotFoundError: none; the message says for which word.
    """
    found: dict[str, IpFile] = {}
    for word in words.plain:
        records = _named(store, word)
        if not records and files and os.path.exists(word):
            cid = _cid_of(word)
            records = store.query({"cid": cid})
            if not records:
                raise AssetNotFoundError(f"no record of the file {word!r} ({cid}): it was never registered")
        if not records:
            raise AssetNotFoundError(
                f"no record {word!r}: give a CID, an id (`stargazer query --json`) or key=value"
            )
        found |= {record.id: record for record in records}
    if words.pairs:
        records = _matching(store, words)
        if not records:
            asked = " ".join(f"{key}={value}" for key, values in words.pairs.items() for value in values)
            raise AssetNotFoundError(f"no record matches {asked}: `stargazer query` lists what there is")
        found |= {record.id: record for record in records}
    return list(found.values())


def one_record(store: Store, word: str, words: Words) -> IpFile:
    """The one record that a word names: where a task made the same bytes again, the one that somebody registered.

    Raises:
        AssetNotFoundError: none.
        AmbiguousAssetError: the same bytes are registered as several things.
    """
    records = some_records(store, Words([word], {}, words.options))
    if len(records) > 1:
        records = [record for record in records if not _is_computed(store, record)] or records
    if len(records) > 1:
        raise AmbiguousAssetError(
            f"{word!r} is registered {len(records)} times:\n{listing(records)}\nname one by its id"
        )
    return records[0]


def _is_computed(store: Store, record: IpFile) -> bool:
    """Whether a task made what a record says, as far as its provenance is here."""
    from stargazer.assets.provenance import Execution

    made_by = record.keyvalues.get("provenance_cid", "")
    try:
        return bool(made_by) and isinstance(store.document(made_by), Execution)
    except StargazerError:
        return False


def _named(store: Store, word: str) -> list[IpFile]:
    """The records of a CID, or the one of an id."""
    from stargazer.storage import is_cid

    if is_cid(word):
        return store.query({"cid": word})
    record = store.get(word)
    return [record] if record else []


def one_cid(store: Store, words: Words) -> str:
    """The one CID that a CID, an id, a file of this machine or filters name; with `--latest`, of the newest match.

    Raises:
        StorageError: a word is none of these.
        AssetNotFoundError: nothing is known of it.
        AmbiguousAssetError: several files match.
    """
    from stargazer.storage import is_cid

    if words.plain and is_cid(words.plain[0]):
        return words.plain[0]
    if words.plain and (record := store.get(words.plain[0])):
        return record.cid
    if words.plain:
        name = words.plain[0]
        if not os.path.exists(name):
            raise StorageError(f"{name!r} is neither a file, nor a CID, nor the id of a record")
        cid = _cid_of(name)
        if not store.query({"cid": cid}) and not store.documents(cid):
            raise AssetNotFoundError(
                f"nothing is known of {name!r} ({cid}) in {str(store.root)!r}: it was never registered"
            )
        return cid
    records = some_records(store, words)
    if len({record.cid for record in records}) > 1 and not words.options.latest:
        raise AmbiguousAssetError(
            f"{len(records)} records match:\n{listing(records)}\nadd a filter, name one by its CID, or give --latest"
        )
    return records[-1].cid


def _cid_of(name: str) -> str:
    """The CID of a file of this machine.

    Raises:
        FormatError: a folder, or something else without bytes of its own.
    """
    from stargazer.storage import compute_cid

    if not Path(name).is_file():
        raise FormatError(
            f"{name!r} is {'a folder' if Path(name).is_dir() else 'no regular file'}: name a file"
        )
    return compute_cid(Path(name))


def print_records(records: Sequence[IpFile], dropped: Collection[str] = ()) -> None:
    """A table of records for people, as wide as the terminal; a CID is always whole.

    Args:
        dropped: the CIDs of evicted bytes.
    """
    from stargazer.mcp.records import fields_text

    rows = [
        {"TYPE": record.keyvalues.get("asset", "?"), "WHAT": fields_text(record), "NAME": record.name,
         "SIZE": human_size(record.size), "CREATED (UTC)": record.created_at[:19].replace("T", " "),
         "BYTES": "evicted" if record.cid in dropped else "", "CID": record.cid}
        for record in records
    ]  # fmt: skip
    print_fitting(rows, spared=("CREATED (UTC)", "NAME"), cut="WHAT")


def listing(records: Sequence[IpFile]) -> str:
    """A line for each record, with its id, for a message."""
    from stargazer.mcp.records import fields_text

    lines = [
        f"  {record.id} {record.keyvalues.get('asset', '?')} {fields_text(record)} {record.name!r} {record.cid}"
        for record in records[:20]
    ]
    return "\n".join([*lines, *([f"  ... and {len(records) - 20} more"] if len(records) > 20 else [])])
