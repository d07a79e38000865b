"""Verifying a bundle: every byte of a folder, or of what is in the store; nothing is downloaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
from stargazer.assets import IntegrityError, StargazerError, StorageError
from stargazer.storage.bundles.mirrors import is_url, local_path, targets_of
from stargazer.storage.cid import compute_cid

if TYPE_CHECKING:
    from stargazer.storage.bundles.finding import Bundle
    from stargazer.storage.bundles.manifest import BundleFile
    from stargazer.storage.store import Store

__all__ = ["Checked", "is_folder_bundle", "verify_folder", "verify_store"]

_PIECE = 1 << 20


@attrs.frozen
class Checked:
    """One file or provenance document of a bundle.

    Attributes:
        note: what is wrong with it.
    """

    name: str
    state: Literal["good", "damaged", "missing"]
    size: int = 0
    note: str = ""


Tell = Callable[[str], None]


def is_folder_bundle(bundle: Bundle) -> bool:
    """Whether a bundle has its files beside its manifest."""
    mirrors = [
        *bundle.manifest.mirrors,
        *(mirror for entry in bundle.manifest.files for mirror in entry.mirrors),
    ]
    beside = any(not is_url(mirror) for mirror in mirrors)
    return bool(bundle.place) and not is_url(bundle.place) and beside


def verify_folder(bundle: Bundle) -> Iterator[Checked]:
    """Read every file beside a manifest, one after the other."""
    manifest = bundle.lock.apply(bundle.manifest)
    for entry in manifest.files:
        yield _checked_copies(entry, [path for target in targets_of(manifest, bundle.place, entry)
                                      if (path := local_path(target))])  # fmt: skip
    for cid in manifest.provenance:
        document = _document(cid)
        paths = [
            path for target in targets_of(manifest, bundle.place, document) if (path := local_path(target))
        ]
        yield _checked_copies(document, paths)


def verify_store(bundle: Bundle, store: Store) -> Iterator[Checked]:
    """Read every object of a bundle that is in the store, one after the other."""
    manifest = bundle.lock.apply(bundle.manifest)
    for entry in [*manifest.files, *map(_document, manifest.provenance)]:
        found = store.objects.stat(entry.cid) if entry.cid else None
        if found is None:
            yield Checked(entry.name, "missing", entry.size, "not in the store")
            continue
        try:
            store.objects.verify(entry.cid)
            _check_size(entry, found.size)
        except StargazerError as error:
            yield Checked(entry.name, "damaged", entry.size, str(error))
        else:
            yield Checked(entry.name, "good", found.size)


def _document(cid: str) -> BundleFile:
    """A provenance document as an entry, whose size nobody says."""
    from stargazer.storage.bundles.manifest import BundleFile

    return BundleFile(name=f"provenance {cid}", size=-1, cid=cid, keyvalues={})


def _checked_copies(entry: BundleFile, paths: list[Path]) -> Checked:
    """An entry by the first of its copies that is there; one that is damaged counts."""
    for path in paths:
        try:
            size = path.stat().st_size
            _check(entry, path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            reason = str(error) if isinstance(error, StorageError) else error.strerror
            return Checked(entry.name, "damaged", entry.size, f"{str(path)!r}: {reason}")
        return Checked(entry.name, "good", size)
    where = f"no file {str(paths[0])!r}" if paths else "no mirror is a file beside the manifest"
    return Checked(entry.name, "missing", entry.size, where)


def _check(entry: BundleFile, path: Path) -> None:
    """Raise an error unless a file holds the bytes of an entry."""
    if not path.is_file():
        raise StorageError("not a regular file")
    _check_size(entry, path.stat().st_size)
    if entry.cid:
        found = compute_cid(path)
        if found != entry.cid:
            raise IntegrityError(f"its bytes hash to {found}, expected {entry.cid}")
        return
    for kind, text in entry.sums.items():
        digest = hashlib.new(kind, usedforsecurity=False)
        with open(path, "rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        if digest.hexdigest() != text:
            raise IntegrityError(f"{kind} is {digest.hexdigest()}, expected {text}")


def _check_size(entry: BundleFile, size: int) -> None:
    if entry.size >= 0 and size != entry.size:
        raise IntegrityError(f"{size:,} bytes, the manifest says {entry.size:,}")
