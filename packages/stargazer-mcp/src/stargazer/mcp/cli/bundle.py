"""`stargazer bundle`: makes, lists, shows, fetches and verifies bundles, which are files that travel together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer import storage
from stargazer.assets import AssetNotFoundError, IntegrityError, StorageError
from stargazer.assets.keyvalues import fields_text
from stargazer.mcp.cli.console import (
    Parser,
    Words,
    count,
    human_size,
    note,
    option,
    print_files,
    print_json,
    print_table,
    print_text,
)
from stargazer.mcp.cli.progress import moving, working
from stargazer.mcp.cli.selection import bring, some_records
from stargazer.mcp.records import as_dict
from stargazer.storage import bundles

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Store

__all__ = ["bundle"]

USAGE = """\
make NAME CID ...|key=value ...|--run RUN [--with-lineage [--intermediates]] [--to FOLDER]
                        [--description TEXT] [--manifest-only] [--mirror URL ...] [--json]
       stargazer bundle list [--json]
       stargazer bundle show NAME|FILE|FOLDER|URL [--requirements | --json]
       stargazer bundle fetch NAME|FILE|FOLDER|URL [--only key=value ...] [--records-only] [--trust] [--force]
                        [--json]
       stargazer bundle verify NAME|FILE|FOLDER|URL [--store | --download] [--json]"""

EXAMPLES = """\
  stargazer bundle fetch demo
  stargazer bundle make na12878 sample=NA12878 --to na12878-bundle
  stargazer bundle make na12878-calls bafkrei... --with-lineage
  stargazer bundle make calls asset=variants --manifest-only --mirror 'https://example.org/data/{cid}'
  stargazer bundle show https://example.org/data/na12878.bundle.json
  stargazer bundle fetch na12878-bundle --only asset=r1 --only asset=r2
  stargazer bundle verify na12878-bundle"""


def bundle(argv: Sequence[str]) -> None:
    """Make, list, show, fetch or verify bundles."""
    parser = Parser(
        "bundle",
        USAGE,
        "A bundle is a manifest: files, what they are, and where they can be had. Whatever comes is verified against\n"
        "its CID (or a published sha256 or md5), so it does not matter from whom. Fetching again goes on where it\n"
        "stopped.",
        EXAMPLES,
        {
            "--to": option("FOLDER", "make: where it is written; NAME by default", type=Path),
            "--description": option("TEXT", "make: what is in it, for people"),
            "--mirror": option(
                "URL",
                "make: where the files can be had, with {cid} or {name}; may be repeated",
                action="append",
            ),
            "--manifest-only": "make: copy no files",
            "--run": option("RUN", "make: all results of a run, by the id that it printed"),
            "--with-lineage": "make: a capsule, which `stargazer replay` computes again: with all that was imported "
            "for it, and the environment",
            "--intermediates": "make: with the files on the way as well",
            "--requirements": "show: the packages of a capsule's environment, for `pip install -r`",
            "--only": option(
                "key=value", "fetch: only these; the same key again means any of them", action="append"
            ),
            "--records-only": "fetch: register the records, and bring the bytes when they are needed",
            "--trust": "fetch: what its provenance says was computed is not computed here again",
            "--force": "fetch: register what a check refuses; provenance says that it was forced",
            "--store": "verify: what is in the store, not the folder",
            "--download": "verify: fetch what is missing, then look",
            "--json": "print the answer as JSON",
        },
    )
    words = parser.sort(argv)
    action, *rest = words.plain or [""]
    if action not in ACTIONS:
        parser.error(
            f"say what to do with bundles: {', '.join(ACTIONS)}" + (f", not {action!r}" if action else "")
        )
    do, options = ACTIONS[action]
    parser.only(words, options, f"bundle {action}")
    if len(rest) != (action != "list") and not (action == "make" and rest):
        expected = {"list": "nothing more", "make": "a name"}
        parser.error(f"bundle {action}: expected {expected.get(action, 'one name, file or URL')}")
    if words.pairs and action != "make":
        parser.error(
            f"bundle {action} takes no key=value" + (" (--only key=value)" if action == "fetch" else "")
        )
    name = rest[0] if rest else ""
    do(parser, Words(rest[1:], words.pairs, words.options), name, storage.get_client().store)


def _make(parser: Parser, words: Words, name: str, store: Store) -> None:
    options = words.options
    if bool(words.plain) + bool(words.pairs) + bool(options.run) != 1:
        parser.error(
            "bundle make: say which files: CIDs, key=value such as sample=NA12878 or asset=variants, or --run RUN"
        )
    if options.intermediates and not options.with_lineage:
        parser.error("--intermediates goes with --with-lineage")
    bundles.check_name(name)
    records = _of_run(store, options.run) if options.run else some_records(store, words)
    if not options.manifest_only:
        on_the_way = options.intermediates
        bring(store, bundles.with_lineage(store, records, intermediates=True) if on_the_way else records)
    with working(f"making the bundle {name}"):
        made = bundles.make(
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
        bundles.remember_bundle(bundles.find_bundle(str(made.path), store.root), store.root)
    except StorageError as error:  # a store that may only be read
        note(f"it is made, and not listed by `stargazer bundle list`: {error}")
    files, size, documents = len(made.manifest.files), made.manifest.size, len(made.manifest.provenance)
    if options.json:
        print_json({"name": name, "path": str(made.path), "files": files, "size": size, "copied": made.copied,
                    "provenance": documents})  # fmt: skip
        return
    size_text, documents_text = human_size(size), count(documents, "provenance document")
    print_text(f"{made.path}: {count(files, 'file')}, {size_text}, {documents_text}")
    source = made.path if options.manifest_only else made.path.parent
    again = f"; compute it again with: stargazer replay {source}" if options.with_lineage else ""
    print_text(f"fetch it with: stargazer bundle fetch {source}{again}")


def _of_run(store: Store, id: str) -> list[IpFile]:
    """The records of a run's results.

    Raises:
        AssetNotFoundError: no such run here, or it has none.
    """
    from stargazer.workflows import find_run, records_of

    records = records_of(store, find_run(id).results)
    if not records:
        raise AssetNotFoundError(f"the run {id!r} has no results that are registered here")
    return records


def _list(parser: Parser, words: Words, _: str, store: Store) -> None:
    found = list(bundles.known_bundles(store.root))
    if words.options.json:
        print_json([_as_dict(item) for item in found])
        return
    rows = [
        [item.manifest.name, str(len(item.manifest.files)), human_size(item.manifest.size), item.where,
         item.manifest.description.replace("\n", " ").partition(". ")[0][:100]]
        for item in found
    ]  # fmt: skip
    print_table(["NAME", "FILES", "SIZE", "WHERE", "WHAT"], rows)


def _show(parser: Parser, words: Words, word: str, store: Store) -> None:
    found = bundles.find_bundle(word, store.root)
    manifest = found.lock.apply(found.manifest)
    if words.options.requirements:
        if manifest.environment is None:
            raise AssetNotFoundError(
                f"the bundle {manifest.name!r} has no environment: it was not made --with-lineage"
            )
        print_text(bundles.requirements(manifest.environment).rstrip())
        return
    files = [
        (entry, bool(entry.cid) and store.objects.stat(entry.cid) is not None) for entry in manifest.files
    ]
    if words.options.json:
        entries = [
            {"name": entry.name, "size": entry.size, "cid": entry.cid, **entry.sums, "here": is_here,
             "keyvalues": dict(entry.keyvalues), "links": dict(entry.links)}
            for entry, is_here in files
        ]  # fmt: skip
        print_json({**_as_dict(found), "mirrors": list(manifest.mirrors), "provenance": list(manifest.provenance),
                    "entries": entries})  # fmt: skip
        return
    print_text(f"{manifest.name} ({found.where})")
    if manifest.description:
        print_text(manifest.description)
    documents = f", {count(len(manifest.provenance), 'provenance document')}" if manifest.provenance else ""
    here = sum(is_here for _, is_here in files)
    print_text(f"{count(len(files), 'file')}, {human_size(manifest.size)}{documents}; {here} here\n")
    rows = [
        [entry.keyvalues["asset"], fields_text(entry.keyvalues), entry.name, human_size(entry.size),
         "yes" if is_here else "", entry.cid or next(f"{kind} {text}" for kind, text in entry.sums.items())]
        for entry, is_here in files
    ]  # fmt: skip
    print_table(["TYPE", "WHAT", "NAME", "SIZE", "HERE", "CID"], rows)


def _fetch(parser: Parser, words: Words, word: str, store: Store) -> None:
    options = words.options
    only: dict[str, list[str]] = {}
    for text in options.only or []:
        key, mark, value = text.partition("=")
        if not mark or not key:
            parser.error(f"--only {text!r}: expected key=value")
        only.setdefault(key, []).append(value)
    found = bundles.find_bundle(word, store.root)
    with moving() as observer:
        done = bundles.fetch(
            store,
            found,
            only=only,
            records_only=options.records_only,
            force=options.force,
            trust=options.trust,
            observer=observer,
        )
    if options.json:
        print_json({"name": found.manifest.name, "records": [as_dict(record) for record in done.records],
                    "failed": [{"name": item.name, "reason": item.reason} for item in done.failed],
                    "moved": done.moved, "trusted": done.trusted})  # fmt: skip
    elif done.records:
        print_files(done.records)
    if done.trusted and not options.json:
        note(f"{count(len(done.trusted), 'execution')} trusted: what they made is not computed here again")
    done.check(found)


def _verify(parser: Parser, words: Words, word: str, store: Store) -> None:
    options = words.options
    if os.path.isdir(word) and any(Path(word).glob(f"*{bundles.SUFFIX}")):
        word = f"{word.rstrip('/')}/"  # the folder of that name first: it is what people see
    found = bundles.find_bundle(word, store.root)
    if options.download:
        with moving() as observer:
            bundles.fetch(store, found, observer=observer)
    folder = None if options.store or options.download else found.folder
    checked: list[bundles.Checked] = []
    with working(f"reading the files of {found.manifest.name}"):
        for item in bundles.verify(found, store, in_store=folder is None):
            checked.append(item)
            if item.state != "good":
                note(f"{item.name}: {item.state}: {item.note}")
    wrong = [item for item in checked if item.state != "good"]
    where = str(folder or "the store")
    if options.json:
        files = [attrs.asdict(item) for item in checked]
        print_json({"name": found.manifest.name, "where": where, "files": files})
    else:
        good = count(len(checked), "file")
        size = human_size(sum(item.size for item in checked if item.state == "good"))
        print_text(
            f"{found.manifest.name}: {len(checked) - len(wrong)} of {good} good in {where}, {size} read"
        )
    if wrong:
        kind = IntegrityError if any(item.state == "damaged" for item in wrong) else StorageError
        names = ", ".join(item.name for item in wrong[:5]) + (" ..." if len(wrong) > 5 else "")
        raise kind(
            f"{len(wrong)} of the bundle {found.manifest.name!r} damaged or missing in {where}: {names}"
        )


def _as_dict(found: bundles.Bundle) -> dict[str, Any]:
    manifest = found.manifest
    return {"name": manifest.name, "description": manifest.description, "files": len(manifest.files),
            "size": manifest.size, "where": found.where}  # fmt: skip


ACTIONS: dict[str, tuple[Callable[[Parser, Words, str, Store], None], set[str]]] = {
    "make": (_make, {"to", "description", "mirror", "manifest_only", "run", "with_lineage", "intermediates"}),
    "list": (_list, set()),
    "show": (_show, {"requirements"}),
    "fetch": (_fetch, {"only", "records_only", "trust", "force"}),
    "verify": (_verify, {"store", "download"}),
}
"""What each action does, and which options it takes beside --json."""
