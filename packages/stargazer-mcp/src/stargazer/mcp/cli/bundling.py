"""`stargazer bundle`: files that travel together: make, list, show, fetch and verify them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import AssetNotFoundError, IntegrityError, StorageError
from stargazer.mcp.cli.bars import moving
from stargazer.mcp.cli.measures import count
from stargazer.mcp.cli.output import human_size, note, print_json, print_table, print_text
from stargazer.mcp.cli.words import Parser, Words

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Store
    from stargazer.storage.bundles import Bundle, Checked

__all__ = ["bundle"]

USAGE = """\
make NAME CID ...|key=value ...|--run RUN [--with-lineage [--intermediates]] [--to FOLDER]
                        [--manifest-only] [--mirror URL ...]
       stargazer bundle list
       stargazer bundle show NAME|FILE|FOLDER|URL [--requirements]
       stargazer bundle fetch NAME|FILE|FOLDER|URL [--only key=value ...] [--records-only] [--trust] [--force]
       stargazer bundle verify NAME|FILE|FOLDER|URL [--store] [--download]"""

EXAMPLES = """\
  stargazer bundle fetch demo
  stargazer bundle make na12878 sample=NA12878 --to na12878-bundle
  stargazer bundle make na12878-calls bafkrei... --with-lineage
  stargazer bundle make calls asset=variants --manifest-only --mirror 'https://example.org/data/{cid}'
  stargazer bundle show https://example.org/data/na12878.bundle.json
  stargazer bundle fetch na12878-bundle --only asset=r1 --only asset=r2
  stargazer bundle verify na12878-bundle"""

OPTIONS = {
    "make": {"to", "description", "mirror", "manifest_only", "run", "with_lineage", "intermediates"},
    "list": set(),
    "show": {"requirements"},
    "fetch": {"only", "records_only", "trust", "force"},
    "verify": {"store", "download"},
}
"""Which options each action takes, beside --json."""


def bundle(argv: Sequence[str]) -> int:
    """Make, list, show, fetch or verify bundles."""
    parser = Parser(
        "bundle",
        USAGE,
        "A bundle is a manifest: files, what they are, and where they can be had. Whatever comes is verified against\n"
        "its CID (or a published sha256 or md5), so it does not matter from whom. Fetching again goes on where it\n"
        "stopped.",
        EXAMPLES,
    )
    parser.add_argument(
        "--to", metavar="FOLDER", type=Path, help="make: where it is written; NAME by default"
    )
    parser.add_argument("--description", metavar="TEXT", help="make: what is in it, for people")
    parser.add_argument("--mirror", metavar="URL", action="append",
                        help="make: where the files can be had, with {cid} or {name}; may be repeated")  # fmt: skip
    parser.add_argument("--manifest-only", action="store_true", help="make: copy no files")
    parser.add_argument("--run", metavar="RUN", help="make: all results of a run, by the id that it printed")
    parser.add_argument("--with-lineage", action="store_true",
                        help="make: a capsule, which `stargazer replay` computes again: with all that was imported "
                        "for it, and the environment")  # fmt: skip
    parser.add_argument("--intermediates", action="store_true",
                        help="make: with the files on the way as well")  # fmt: skip
    parser.add_argument("--requirements", action="store_true",
                        help="show: the packages of a capsule's environment, for `pip install -r`")  # fmt: skip
    parser.add_argument("--only", metavar="key=value", action="append",
                        help="fetch: only these; the same key again means any of them")  # fmt: skip
    parser.add_argument("--records-only", action="store_true",
                        help="fetch: register the records, and bring the bytes when they are needed")  # fmt: skip
    parser.add_argument("--trust", action="store_true",
                        help="fetch: what its provenance says was computed is not computed here again")  # fmt: skip
    parser.add_argument("--force", action="store_true",
                        help="fetch: register what a check refuses; provenance says that it was forced")  # fmt: skip
    parser.add_argument("--store", action="store_true", help="verify: what is in the store, not the folder")
    parser.add_argument("--download", action="store_true", help="verify: fetch what is missing, then look")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    words = parser.sort(argv)
    action, *rest = words.plain or [""]
    if action not in OPTIONS:
        parser.error(
            f"say what to do with bundles: {', '.join(OPTIONS)}" + (f", not {action!r}" if action else "")
        )
    given = {name for name, value in vars(words.options).items() if value and name not in ("words", "json")}
    for name in sorted(given - OPTIONS[action]):
        parser.error(f"--{name.replace('_', '-')} is not for `bundle {action}`")
    if len(rest) != (action != "list") and not (action == "make" and rest):
        expected = {"list": "nothing more", "make": "a name"}
        parser.error(f"bundle {action}: expected {expected.get(action, 'one name, file or URL')}")
    if words.pairs and action != "make":
        parser.error(
            f"bundle {action} takes no key=value" + (" (--only key=value)" if action == "fetch" else "")
        )
    actions: dict[str, Callable[[Parser, Words, str], int]] = {
        "make": _make, "list": _list, "show": _show, "fetch": _fetch, "verify": _verify,
    }  # fmt: skip
    return actions[action](parser, Words(rest[1:], words.pairs, words.options), (rest or [""])[0])


def _store() -> Store:
    from stargazer.storage import get_client

    return get_client().store


def _make(parser: Parser, words: Words, name: str) -> int:
    from stargazer.mcp.cli.bringing import bring
    from stargazer.mcp.cli.finding import some_records
    from stargazer.storage.bundles import check_name, find_bundle, make, remember_bundle, with_lineage

    store, options = _store(), words.options
    if bool(words.plain) + bool(words.pairs) + bool(options.run) != 1:
        parser.error(
            "bundle make: say which files: CIDs, key=value such as sample=NA12878 or asset=variants, or --run RUN"
        )
    if options.intermediates and not options.with_lineage:
        parser.error("--intermediates goes with --with-lineage")
    check_name(name)
    records = _of_run(store, options.run) if options.run else some_records(store, words)
    if not options.manifest_only:
        bring(store, with_lineage(store, records, intermediates=True) if options.intermediates else records)
    made = make(
        store,
        name,
        records,
        options.to or Path(name),
        description=options.description or "",
        mirrors=options.mirror or [],
        manifest_only=options.manifest_only,
        lineage=options.with_lineage,
        intermediates=options.intermediates,
        tell=note,
    )
    try:
        remember_bundle(find_bundle(str(made.path), store.root), store.root)
    except StorageError as error:  # a store that may only be read
        note(f"it is made, and not listed by `stargazer bundle list`: {error}")
    files, size = len(made.manifest.files), made.manifest.size
    if options.json:
        print_json({"name": name, "path": str(made.path), "files": files, "size": size, "copied": made.copied,
                    "provenance": len(made.manifest.provenance)})  # fmt: skip
    else:
        print_text(f"{made.path}: {count(files, 'file')}, {human_size(size)}, "
                   f"{count(len(made.manifest.provenance), 'provenance document')}")  # fmt: skip
        source = made.path if options.manifest_only else made.path.parent
        again = f"; compute it again with: stargazer replay {source}" if options.with_lineage else ""
        print_text(f"fetch it with: stargazer bundle fetch {source}{again}")
    return 0


def _of_run(store: Store, id: str) -> list[IpFile]:
    """The records of a run's results.

    Raises:
        AssetNotFoundError: no such run here, or it has none.
    """
    from stargazer.mcp.cli.running import records_of
    from stargazer.workflows import find_run

    records = records_of(store, find_run(id).results)
    if not records:
        raise AssetNotFoundError(f"the run {id!r} has no results that are registered here")
    return records


def _list(parser: Parser, words: Words, _: str) -> int:
    from stargazer.storage.bundles import known_bundles

    found = list(known_bundles(_store().root))
    if words.options.json:
        print_json([_as_dict(item) for item in found])
        return 0
    rows = [
        [item.manifest.name, str(len(item.manifest.files)), human_size(item.manifest.size), item.where,
         _first_sentence(item.manifest.description)]
        for item in found
    ]  # fmt: skip
    print_table(["NAME", "FILES", "SIZE", "WHERE", "WHAT"], rows)
    return 0


def _show(parser: Parser, words: Words, word: str) -> int:
    store = _store()
    found = _found(word, store)
    manifest = found.lock.apply(found.manifest)
    if words.options.requirements:
        return _print_requirements(found)
    here = [bool(entry.cid) and store.objects.stat(entry.cid) is not None for entry in manifest.files]
    if words.options.json:
        files = [
            {"name": entry.name, "size": entry.size, "cid": entry.cid, **entry.sums, "here": is_here,
             "keyvalues": dict(entry.keyvalues), "links": dict(entry.links)}
            for entry, is_here in zip(manifest.files, here, strict=True)
        ]  # fmt: skip
        print_json({**_as_dict(found), "mirrors": list(manifest.mirrors), "provenance": list(manifest.provenance),
                    "entries": files})  # fmt: skip
        return 0
    print_text(f"{manifest.name} ({found.where})")
    if manifest.description:
        print_text(manifest.description)
    documents = f", {count(len(manifest.provenance), 'provenance document')}" if manifest.provenance else ""
    print_text(f"{count(len(here), 'file')}, {human_size(manifest.size)}{documents}; {sum(here)} here\n")
    rows = [
        [entry.keyvalues["asset"], _what(entry.keyvalues), entry.name, human_size(entry.size),
         "yes" if is_here else "", entry.cid or next(f"{kind} {text}" for kind, text in entry.sums.items())]
        for entry, is_here in zip(manifest.files, here, strict=True)
    ]  # fmt: skip
    print_table(["TYPE", "WHAT", "NAME", "SIZE", "HERE", "CID"], rows)
    return 0


def _print_requirements(found: Bundle) -> int:
    from stargazer.storage.bundles import requirements

    if found.manifest.environment is None:
        raise AssetNotFoundError(
            f"the bundle {found.manifest.name!r} has no environment: it was not made --with-lineage"
        )
    print_text(requirements(found.manifest.environment).rstrip())
    return 0


def _fetch(parser: Parser, words: Words, word: str) -> int:
    from stargazer.mcp.records import as_dict
    from stargazer.storage.bundles import fetch

    only, store = _only(parser, words.options.only or []), _store()
    found = _found(word, store)
    with moving() as observer:
        done = fetch(
            store,
            found,
            only=only,
            records_only=words.options.records_only,
            force=words.options.force,
            trust=words.options.trust,
            observer=observer,
        )
    if words.options.json:
        print_json({"name": found.manifest.name, "records": [as_dict(record) for record in done.records],
                    "failed": [{"name": item.name, "reason": item.reason} for item in done.failed],
                    "moved": done.moved, "trusted": done.trusted})  # fmt: skip
    elif done.records:
        _table(done.records)
    if done.trusted and not words.options.json:
        note(f"{count(len(done.trusted), 'execution')} trusted: what they made is not computed here again")
    done.check(found)
    return 0


def _verify(parser: Parser, words: Words, word: str) -> int:
    from stargazer.storage.bundles import fetch, verify

    store, options = _store(), words.options
    found = _found(_folder_first(word), store)
    if options.download:
        with moving() as observer:
            fetch(store, found, observer=observer)
    folder = None if options.store or options.download else found.folder
    checked: list[Checked] = []
    for item in verify(found, store, in_store=folder is None):
        checked.append(item)
        if item.state != "good":
            note(f"{item.name}: {item.state}: {item.note}")
    wrong = [item for item in checked if item.state != "good"]
    where = str(folder or "the store")
    if options.json:
        files = [attrs.asdict(item) for item in checked]
        print_json({"name": found.manifest.name, "where": where, "files": files})
    else:
        good = len(checked) - len(wrong)
        size = human_size(sum(item.size for item in checked if item.state == "good"))
        print_text(
            f"{found.manifest.name}: {good} of {count(len(checked), 'file')} good in {where}, {size} read"
        )
    if wrong:
        kind = IntegrityError if any(item.state == "damaged" for item in wrong) else StorageError
        names = ", ".join(item.name for item in wrong[:5]) + (" ..." if len(wrong) > 5 else "")
        raise kind(
            f"{len(wrong)} of the bundle {found.manifest.name!r} damaged or missing in {where}: {names}"
        )
    return 0


def _folder_first(word: str) -> str:
    """A word as the folder of that name, if there is one with a bundle: it is what people see."""
    from stargazer.storage.bundles import SUFFIX

    is_bundle = os.path.isdir(word) and any(Path(word).glob(f"*{SUFFIX}"))
    return f"{word.rstrip('/')}/" if is_bundle else word


def _found(word: str, store: Store) -> Bundle:
    from stargazer.storage.bundles import find_bundle

    return find_bundle(word, store.root)


def _only(parser: Parser, texts: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        key, mark, value = text.partition("=")
        if not mark or not key:
            parser.error(f"--only {text!r}: expected key=value")
        found.setdefault(key, []).append(value)
    return found


def _as_dict(found: Bundle) -> dict[str, Any]:
    manifest = found.manifest
    return {"name": manifest.name, "description": manifest.description, "files": len(manifest.files),
            "size": manifest.size, "where": found.where}  # fmt: skip


def _table(records: Sequence[IpFile]) -> None:
    from stargazer.mcp.records import fields_text

    rows = [
        [record.keyvalues["asset"], fields_text(record), record.name, human_size(record.size), record.cid]
        for record in records
    ]
    print_table(["TYPE", "WHAT", "NAME", "SIZE", "CID"], rows)


def _what(keyvalues: Any) -> str:
    from stargazer.assets import IpFile
    from stargazer.mcp.records import fields_text

    return fields_text(IpFile(cid="", keyvalues=keyvalues))


def _first_sentence(text: str) -> str:
    return text.replace("\n", " ").partition(". ")[0][:100]
