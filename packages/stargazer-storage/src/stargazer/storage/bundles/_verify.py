"""Verifying a bundle: every byte of it is read, in its folder or in the store; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import attrs
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.bundles.find import Bundle
from stargazer.storage.bundles.manifest import BundleFile, is_url
from stargazer.storage.cid import SumHasher, compute_cid_like
from stargazer.storage.store import Store

__all__ = ["Checked", "verify"]


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
    manifest, beside = bundle.lock.apply(bundle.manifest), not in_store and bundle.folder is not None
    for entry in (*manifest.files, *manifest.documents):
        try:
            size = _size_of_copy(entry, bundle) if beside else _size_in_store(entry, store)
        except FileNotFoundError as error:
            yield Checked(entry.name, "missing", entry.size, str(error))
        except OSError as error:
            yield Checked(entry.name, "damaged", entry.size, str(error))
        else:
            yield Checked(entry.name, "good", size)


def _size_in_store(entry: BundleFile, store: Store) -> int:
    """The size of the object or document of an entry, which was read.

    Raises:
        FileNotFoundError: it is not there.
        StorageError: it is damaged, or cannot be read.
    """
    folder = store.objects if entry.keyvalues else store.ledger.folder(entry.cid)
    found = folder.stat(entry.cid) if folder and entry.cid else None
    if not folder or not found:
        raise FileNotFoundError("not in the store")
    folder.verify(entry.cid)
    _check_size(entry, found.size)
    return found.size


def _size_of_copy(entry: BundleFile, bundle: Bundle) -> int:
    """The size of the first copy of an entry that is a file, which was read; one that is damaged counts.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is damaged, or cannot be read.
    """
    paths = [Path(target) for target in bundle.targets(entry) if not is_url(target)]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        raise FileNotFoundError(
            f"no file {str(paths[0])!r}" if paths else "no mirror is a file beside the manifest"
        )
    size, title = path.stat().st_size, f"{str(path)!r}: "
    if not path.is_file():
        raise StorageError(f"{title}not a regular file")
    _check_size(entry, size, title)
    with open(path, "rb") as file:
        hasher = SumHasher(file.fileno(), entry.sums)
        found = compute_cid_like(path, entry.cid) if entry.cid else hasher.finish(size)
    if found != (wanted := entry.cid or entry.sums):
        raise IntegrityError(f"{title}its bytes hash to {found}, expected {wanted}")
    return size


def _check_size(entry: BundleFile, size: int, title: str = "") -> None:
    if entry.keyvalues and size != entry.size:
        raise IntegrityError(f"{title}{size:,} bytes, the manifest says {entry.size:,}")
