"""Verifying a bundle: every byte of it is read, in its folder or in the store; nothing is downloaded."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
from stargazer.assets import IntegrityError, StargazerError, StorageError
from stargazer.storage.bundles.manifest import BundleFile, is_url, targets_of
from stargazer.storage.cid import compute_cid_like

if TYPE_CHECKING:
    from stargazer.storage.bundles.find import Bundle
    from stargazer.storage.store import Store

__all__ = ["Checked", "verify"]

_UNKNOWN = -1  # the size of a provenance document, which no manifest says


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


def verify(bundle: Bundle, store: Store, *, in_store: bool = False) -> Iterator[Checked]:
    """Read every file and provenance document of a bundle, one after the other.

    Those beside its manifest are read, if it is the folder that was found (`Bundle.folder`), else those in the store.

    Args:
        in_store: read those in the store, whatever was found.
    """
    manifest = bundle.lock.apply(bundle.manifest)
    documents = (
        BundleFile(name=f"provenance {cid}", size=_UNKNOWN, cid=cid, keyvalues={})
        for cid in manifest.provenance
    )
    for entry in [*manifest.files, *documents]:
        if in_store or bundle.folder is None:
            yield _checked_in_store(entry, store)
        else:
            targets = targets_of(manifest, bundle.place, entry)
            yield _checked_copies(entry, [Path(target) for target in targets if not is_url(target)])


def _checked_in_store(entry: BundleFile, store: Store) -> Checked:
    objects = store.ledger.folder(entry.cid) if entry.size == _UNKNOWN else store.objects
    found = objects.stat(entry.cid) if objects and entry.cid else None
    if objects is None or found is None:
        return Checked(entry.name, "missing", entry.size, "not in the store")
    try:
        objects.verify(entry.cid)
        _check_size(entry, found.size)
    except StargazerError as error:
        return Checked(entry.name, "damaged", entry.size, str(error))
    return Checked(entry.name, "good", found.size)


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
    if entry.cid and (found := compute_cid_like(path, entry.cid)) != entry.cid:
        raise IntegrityError(f"its bytes hash to {found}, expected {entry.cid}")
    for kind, text in ({} if entry.cid else entry.sums).items():
        new = functools.partial(hashlib.new, kind, usedforsecurity=False)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, new).hexdigest()
        if digest != text:
            raise IntegrityError(f"{kind} is {digest}, expected {text}")


def _check_size(entry: BundleFile, size: int) -> None:
    if size != entry.size != _UNKNOWN:
        raise IntegrityError(f"{size:,} bytes, the manifest says {entry.size:,}")
