"""Making a bundle: a manifest of records, and their files by CID beside it, to be copied anywhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
from stargazer.assets import AssetNotFoundError, InvalidAssetError, StorageError
from stargazer.storage.bundles.capsules import with_companions, with_lineage
from stargazer.storage.bundles.documents import documents_of
from stargazer.storage.bundles.environment import Environment, environment_here
from stargazer.storage.bundles.locks import write_file
from stargazer.storage.bundles.manifest import SUFFIX, BundleFile, Manifest, check_name, dump, parse
from stargazer.storage.bundles.mirrors import is_url
from stargazer.storage.cid import compute_cid
from stargazer.storage.lineage._why import executions_of

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage.store import LocalStore

__all__ = ["Made", "make_bundle"]

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


def make_bundle(
    store: LocalStore,
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
    check_name(name)
    chosen = with_companions(store, records)
    if chosen and lineage:
        chosen = with_lineage(store, chosen, intermediates=intermediates)
    if not chosen:
        raise AssetNotFoundError(
            f"the bundle {name!r} would be empty: no record is selected; see `stargazer query`"
        )
    documents = documents_of(store, chosen)
    manifest = Manifest(
        name=name,
        description=description,
        mirrors=tuple(dict.fromkeys([*([] if manifest_only else [BESIDE]), *mirrors])),
        files=tuple(_entries(store, chosen)),
        provenance=tuple(sorted(documents)),
        environment=_environment(store, chosen) if lineage else None,
    )
    if manifest_only and not mirrors:
        lost = next((entry.name for entry in manifest.files if not entry.mirrors), "")
        if lost:
            raise InvalidAssetError(f"nobody could fetch {lost!r}: give --mirror URL with {{cid}} in it")
    if not any("{cid}" in mirror for mirror in manifest.mirrors):
        manifest = attrs.evolve(manifest, provenance=())
    data = dump(manifest)
    parse(data, remote=False)
    copied = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not manifest_only:
            copied = _copy_files(store, manifest, folder, tell)
        path = folder / f"{name}{SUFFIX}"
        write_file(path, data)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"cannot write to {str(folder)!r}: {error.strerror}; name another folder"
        ) from error
    return Made(manifest, path, copied)


def _environment(store: LocalStore, records: Iterable[IpFile]) -> Environment:
    return environment_here(executions_of(store, records).values())


def _entries(store: LocalStore, records: Sequence[IpFile]) -> list[BundleFile]:
    taken: set[str] = set()
    entries = []
    for record in records:
        name = _unique_name(record, taken)
        taken.add(name)
        pairs = {key: value for key, value in record.keyvalues.items() if key != "provenance_cid"}
        urls = tuple(url for url in store.mirrors(record.cid) if is_url(url) and not urlsplit(url).query)
        entries.append(BundleFile(name=name, size=record.size, cid=record.cid, keyvalues=pairs, mirrors=urls))
    return entries


def _unique_name(record: IpFile, taken: set[str]) -> str:
    """The record's file name, with a part of its CID where another is called the same."""
    base = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in os.path.basename(record.name))
    base = base.encode()[:200].decode(errors="ignore")
    name = record.cid if base in ("", ".", "..") else base
    stem, dot, suffix = name.partition(".")
    if name in taken:
        stem = f"{stem}-{record.cid[-9:-1]}"
    number, found = 1, f"{stem}{dot}{suffix}"
    while found in taken:
        number, found = number + 1, f"{stem}-{number + 1}{dot}{suffix}"
    return found


def _copy_files(store: LocalStore, manifest: Manifest, folder: Path, tell: Callable[[str], None]) -> int:
    """Copy what is not in the folder yet, and say how many bytes that was."""
    sizes = {entry.cid: entry.size for entry in manifest.files}
    names = {entry.cid: entry.name for entry in manifest.files}
    missing = [cid for cid in [*sizes, *manifest.provenance] if not _is_there(folder / cid, cid)]
    needed, free = sum(sizes.get(cid, 0) for cid in missing), shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(f"the bundle needs {needed:,} bytes and {str(folder)!r} has {free:,} free")
    copied = 0
    for cid in missing:
        if cid in names:
            tell(f"copying {names[cid]}")
        copied += store.export(cid, folder / cid).stat().st_size
    return copied


def _is_there(path: Path, cid: str) -> bool:
    return path.is_file() and compute_cid(path) == cid
