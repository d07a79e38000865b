"""Making a bundle: a manifest of records, and their files by CID beside it, to be copied anywhere.

A capsule is a bundle that carries what its files were made from, so that they can be computed again.
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import attrs
from stargazer.assets import AssetNotFoundError, InvalidAssetError, IpFile, StorageError, record_id
from stargazer.assets.provenance import Document, Execution
from stargazer.storage.additions import without_provenance
from stargazer.storage.bundles.manifest import (
    SUFFIX,
    BundleFile,
    Manifest,
    dump,
    environment_here,
    is_url,
    parse,
)
from stargazer.storage.bundles.review import followed
from stargazer.storage.cid import compute_cid_like
from stargazer.storage.companions import with_companions
from stargazer.storage.files import write_file
from stargazer.storage.ledger.claims import ended_by, statements_of
from stargazer.storage.lineage._why import Step, executions_of, walk, why_each
from stargazer.storage.store import Store

__all__ = ["Made", "documents_of", "make", "with_lineage"]

BESIDE = "{cid}"
"""The mirror of a bundle whose files are beside its manifest."""


@attrs.frozen
class Made:
    """A bundle that was written.

    Attributes:
        path: of its manifest.
        copied: bytes that were written beside it.
    """

    manifest: Manifest
    path: Path
    copied: int


def make(
    store: Store,
    name: str,
    records: Iterable[IpFile],
    folder: Path,
    *,
    description: str = "",
    mirrors: Sequence[str] = (),
    manifest_only: bool = False,
    lineage: bool = False,
    intermediates: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Made:
    """Write a bundle of records, with the companions and the provenance of each.

    Args:
        mirrors: URL templates with `{cid}` or `{name}` at which the files can be had too.
        manifest_only: write no files: they are at the mirrors.
        lineage: a capsule: also the imports that the records were made from, and the environment, so that all can be
            computed again.
        intermediates: of a capsule: also the files on the way.
        tell: told which file is being copied.

    Raises:
        AssetNotFoundError: no records, or a lineage that is not known here.
        InvalidAssetError: nobody could fetch it: no mirror.
        FormatError: a name or mirror that no manifest takes.
        StorageError: bytes or provenance are missing, or the folder cannot be written.
    """
    chosen = with_companions(store, _files(records))
    if lineage:
        chosen = with_lineage(store, chosen, intermediates=intermediates)
    if not chosen:
        raise AssetNotFoundError(
            f"the bundle {name!r} would be empty: no record is selected; see `stargazer query`"
        )
    manifest = Manifest(
        name=name,
        description=description,
        mirrors=tuple(dict.fromkeys([*([] if manifest_only else [BESIDE]), *mirrors])),
        files=tuple(_entries(store, chosen)),
        provenance=tuple(sorted(documents_of(store, chosen))),
        environment=environment_here(executions_of(store, chosen).values()) if lineage else None,
    )
    if lost := [entry.name for entry in manifest.files if not (entry.mirrors or manifest.mirrors)]:
        raise InvalidAssetError(f"nobody could fetch {lost[0]!r}: give --mirror URL with {{cid}} in it")
    if not any("{cid}" in mirror for mirror in manifest.mirrors):
        manifest = attrs.evolve(manifest, provenance=())
    data = dump(manifest)
    parse(data, remote=False)
    path = folder / f"{name}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copied = 0 if manifest_only else _copy_files(store, manifest, folder, tell)
        write_file(path, data)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        reason = f"cannot write to {str(folder)!r}: {error.strerror}; name another folder"
        raise StorageError(reason) from error
    return Made(manifest, path, copied)


def with_lineage(store: Store, records: Iterable[IpFile], *, intermediates: bool = False) -> list[IpFile]:
    """Records with the imports that they were made from, and what accompanies any file on the way.

    Args:
        intermediates: also the files on the way, which are computed again otherwise.

    Raises:
        AssetNotFoundError: how a file came to be is not known here, or an import was taken back.
    """
    chosen = with_companions(store, _files(records))
    while True:
        steps = [(_record(store, step), step.document) for step in walk(*why_each(store, chosen))]
        between = [record for record, document in steps if isinstance(document, Execution)]
        imports = [record for record, document in steps if not isinstance(document, Execution)]
        made = {record.id for record in between}
        accompanying = [record for record in with_companions(store, between) if record.id not in made]
        more = [*chosen, *imports, *accompanying, *(between if intermediates else [])]
        found = {record.id: record for record in more}
        if len(found) == len(chosen):
            return chosen
        chosen = with_companions(store, found.values())


def documents_of(store: Store, records: Iterable[IpFile]) -> dict[str, Document]:
    """The documents from which records follow, those of the files that these were made from, and what ended a claim.

    Raises:
        StorageError: a document is not here.
    """
    read = functools.cache(store.document)

    enders: dict[str, list[str]] = defaultdict(list)

    def makers(file: str) -> list[str]:
        return [*store.documents(file), *store.documents(file, "amended")]

    @functools.cache
    def claimed(cid: str) -> dict[str, str]:
        """The files of a document by their records."""
        return {statement.id: statement.file.cid for statement in statements_of(cid, read(cid))}

    @functools.cache
    def look_up_endings(file: str) -> None:
        for ending in [*store.documents(file, "amended"), *store.documents(file, "retracted")]:
            for _, claimant in ended_by(read(ending)):
                enders[claimant].append(ending)

    def endings(cid: str) -> list[str]:
        for file in claimed(cid).values():
            look_up_endings(file)
        return enders[cid]

    first = [cid for item in records for cid in makers(item.cid) if item.id in claimed(cid)]
    return followed(first, read, endings, makers)


def _files(records: Iterable[IpFile]) -> list[IpFile]:
    """The records without those of provenance, which travels as such."""
    return [record for record in records if record.keyvalues.get("asset") != "provenance"]


def _record(store: Store, step: Step) -> IpFile:
    """The record of a step's file."""
    entry = step.entry
    title = f"{entry.name or entry.keyvalues.get('asset', 'a file')} ({entry.cid})"
    if step.document is None:
        raise AssetNotFoundError(
            f"how {title} came to be is not known here, so its lineage cannot be carried: bring its provenance "
            "(`stargazer pull`, `stargazer bundle fetch`)"
        )
    known = store.here(record_id(entry.cid, entry.keyvalues))
    found = [known] if known else store.query({"cid": entry.cid})
    if not found:
        raise AssetNotFoundError(
            f"{title} belongs to the lineage, and its record was taken back: add it again"
        )
    return found[0]


def _entries(store: Store, records: Iterable[IpFile]) -> Iterator[BundleFile]:
    taken: set[str] = set()
    for record in records:
        name = next(name for name in _names(record) if name not in taken)
        taken.add(name)
        pairs = without_provenance(record.keyvalues)
        urls = tuple(url for url in store.mirrors(record.cid) if is_url(url) and not urlsplit(url).query)
        yield BundleFile(name=name, size=record.size, cid=record.cid, keyvalues=pairs, mirrors=urls)


def _names(record: IpFile) -> Iterator[str]:
    """The record's file name, then, where several are called so, with a part of its CID, then with a number besides."""
    base = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in os.path.basename(record.name))
    base = base.encode()[:200].decode(errors="ignore")
    name = record.cid if base in ("", ".", "..") else base
    yield name
    stem, dot, suffix = name.partition(".")
    stem = f"{stem}-{record.cid[-9:-1]}"
    yield f"{stem}{dot}{suffix}"
    yield from (f"{stem}-{number}{dot}{suffix}" for number in itertools.count(2))


def _copy_files(store: Store, manifest: Manifest, folder: Path, tell: Callable[[str], None]) -> int:
    """Copy what is not in the folder yet, and say how many bytes that was."""
    entries = {entry.cid: entry for entry in manifest.files}
    cids = [*entries, *manifest.provenance]
    missing = [
        cid for cid in cids if not (folder / cid).is_file() or compute_cid_like(folder / cid, cid) != cid
    ]
    needed = sum(entries[cid].size for cid in missing if cid in entries)
    if needed > (free := shutil.disk_usage(folder).free):
        raise StorageError(f"the bundle needs {needed:,} bytes and {str(folder)!r} has {free:,} free")
    copied = 0
    for cid in missing:
        if cid in entries:
            tell(f"copying {entries[cid].name}")
        copied += store.export(cid, folder / cid).stat().st_size
    return copied
