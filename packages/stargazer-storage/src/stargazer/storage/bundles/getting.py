"""Bringing the bytes of a bundle: its manifest, one file by CID or by published checksums, and what a maker makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stargazer.assets import IntegrityError, InvalidAssetError, StorageError
from stargazer.storage.bundles.mirrors import local_path
from stargazer.storage.cid import compute_cid
from stargazer.storage.documents import refuse_document
from stargazer.storage.objects import Objects, StoredObject

if TYPE_CHECKING:
    from stargazer.storage.bundles.manifest import BundleFile
    from stargazer.storage.reading import StoreReader

__all__ = [
    "LARGEST_DOCUMENT",
    "bring_by_cid",
    "bring_by_sums",
    "get_manifest",
    "present",
    "take_made",
]

LARGEST_DOCUMENT = 64_000_000
"""Bytes of a provenance document, at most."""

Progress = Callable[[int, "int | None"], None]


def get_manifest(url: str, *, most: int) -> tuple[bytes, str]:
    """The bytes of a manifest behind a URL, at most `most + 1` of them, and the URL without secrets.

    Raises:
        InvalidAssetError: not http or https, or with credentials.
        StorageError: the server does not give it.
    """
    from stargazer.storage.http import SourceError, open_url, without_secrets

    try:
        parts = urlsplit(url)
        fit, named = (
            parts.scheme in ("http", "https") and bool(parts.hostname),
            parts.username or parts.password,
        )
    except ValueError:
        fit, named = False, None
    if not fit or named is not None:
        raise InvalidAssetError(
            f"{without_secrets(url)!r}: a manifest's URL begins with http:// or https:// and carries no credentials"
        )
    place = without_secrets(url)
    found = bytearray()
    try:
        with open_url(url) as body:
            for piece in body.pieces:
                found += piece[: most + 1 - len(found)]
                if len(found) > most:
                    break
            if body.size is not None and len(found) < min(body.size, most):
                raise StorageError(f"{place}: ended after {len(found):,} of {body.size:,} bytes; try again")
    except SourceError as error:
        raise StorageError(f"{place}: {error}") from None
    return bytes(found), place


def present(store: StoreReader, cid: str) -> StoredObject | None:
    """The object, if it is here and sound; a damaged one is put out of the way."""
    found = store.objects.stat(cid)
    if found is None:
        return None
    try:
        store.read(cid)
    except IntegrityError:
        store.objects.quarantine(cid)
        return None
    return found


def bring_by_cid(
    cid: str,
    targets: Sequence[str],
    objects: Objects,
    *,
    size: int | None,
    most: int | None = None,
    progress: Progress,
    accept: Callable[[Path], None] | None = None,
) -> StoredObject:
    """An object from the first of these URLs and paths that gives its bytes.

    Args:
        size, most, accept: as those of fetch_object().

    Raises:
        StorageError: none does; the message says what was wrong with each.
    """
    from stargazer.storage.downloading import fetch_object
    from stargazer.storage.sources import source_of

    sources = [source_of(target) for target in targets]
    return fetch_object(cid, sources, objects, size=size, most=most, progress=progress, accept=accept)


def bring_by_sums(
    entry: BundleFile, targets: Sequence[str], objects: Objects, progress: Progress
) -> StoredObject:
    """The object of an entry whose checksums alone are known, from the first URL or path that gives those bytes.

    Raises:
        StorageError: none does; the message says what was wrong with each.
    """
    from stargazer.storage.downloading import fetch_file, file_name

    def told(done: int, size: int | None) -> None:
        progress(done, entry.size)

    urls: list[str] = []
    wrong: list[str] = []
    for target in targets:
        url = target if (local := local_path(target)) is None else local.absolute().as_uri()
        try:
            file_name(url)
            urls.append(url)
        except InvalidAssetError as error:
            wrong.append(str(error))
    if not urls:
        raise StorageError("\n".join(wrong) or "no mirror says where it can be had")
    with fetch_file(
        urls[0],
        entry.sums,
        objects.work,
        lambda text: None,
        others=urls[1:],
        size=entry.size,
        progress=told,
    ) as path:
        refuse_document(path)
        return objects.adopt(path)


def take_made(entry: BundleFile, path: Path, objects: Objects) -> StoredObject:
    """The object of an entry that was made here, if it is what the bundle says.

    Raises:
        IntegrityError: it is not.
    """
    if not path.is_file() or path.is_symlink():
        raise StorageError(f"{entry.name!r} was not made")
    found = compute_cid(path)
    if found != entry.cid:
        raise IntegrityError(
            f"{entry.name!r} was made as {found}, expected {entry.cid}: other versions of the libraries that made it "
            "(compression, most often) write other bytes"
        )
    refuse_document(path)
    return objects.keep(path, found)
