"""Files that come and go: registered from here, from a URL or by a sample sheet, copied out, fetched as a bundle."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer import storage
from stargazer.assets import AmbiguousAssetError, AssetNotFoundError, InvalidAssetError
from stargazer.mcp.access import Access
from stargazer.mcp.records import as_dict, bring, named_registrations
from stargazer.mcp.registration import described, downloaded, register, register_rows
from stargazer.mcp.strict_json import shortened
from stargazer.mcp.tools.calls import for_clients
from stargazer.mcp.tools.limits import brief, fitting
from stargazer.storage import bundles

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Addition, Store
    from stargazer.storage.bundles import Bundle

__all__ = ["bundle_of", "download", "fetch_bundle", "upload"]

FAILED = 20
"""Files that could not be had, which an answer names."""


async def upload(
    sources: list[str],
    metadata: dict[str, Any],
    allowed: dict[str, Any],
    samplesheet: bool = False,
    checksum: str = "",
) -> dict[str, Any]:
    """Register files, all or none, as `stargazer add` does; nothing is published.

    Args:
        sources: paths, or one URL, or one sample sheet.
        allowed: what `Access` is made of.
        checksum: of the file behind a URL: sha256 or md5.

    Returns:
        `total`, `files` with ids, CIDs and metadata, and `notes`: what was registered before, what looks wrong.
    """
    store, access = storage.get_client().store, Access(**allowed)
    pairs = {key: value for key, value in metadata.items() if value is not None}
    if not isinstance(pairs.get("asset", ""), str):
        raise InvalidAssetError(f"asset: expected the name of a type, got {shortened(pairs['asset'])}")
    work = _sheet if samplesheet else _url if checksum else _paths
    records, notes = await asyncio.to_thread(work, store, access, sources, pairs, checksum)
    different = list({record.id: record for record in records}.values())
    return {
        "total": len(different),
        "files": fitting(map(as_dict, different)),
        "notes": fitting(map(for_clients, notes)),
    }


def _paths(
    store: Store, access: Access, sources: Sequence[str], pairs: Mapping[str, Any], _: str
) -> tuple[list[IpFile], list[str]]:
    paths = [access.inside(source) for source in sources]
    with described(store, paths, pairs, look=lambda items: _look(access, items)) as items:
        return register(store, _private(items))


def _url(
    store: Store, access: Access, sources: Sequence[str], pairs: Mapping[str, Any], checksum: str
) -> tuple[list[IpFile], list[str]]:
    (url,) = map(access.address, sources)
    sums = {"md5" if len(checksum) == 32 else "sha256": checksum}
    with downloaded(store, url, sums, pairs, lambda _: None, most=access.size, reach=access.reach) as items:
        return register(store, _private(items))


def _sheet(
    store: Store, access: Access, sources: Sequence[str], pairs: Mapping[str, Any], _: str
) -> tuple[list[IpFile], list[str]]:
    from stargazer.workflows import read_samplesheet

    (path,) = map(access.inside, sources)
    if pairs:
        raise InvalidAssetError("a sample sheet says itself what its files are: leave metadata out")
    sheet = read_samplesheet(path, inside=access.inside)
    for row in sheet.rows:
        for file in row.files.values():
            for part in _parts(file):
                if part != file:
                    access.inside(part)
                _refuse_large(access, part)
    records, notes = register_rows(store, sheet, agreed=_private)
    return records, [*(f"note: {line}" for line in sheet.notes), *notes]


def _private(items: list[Addition]) -> list[Addition]:
    """The same, not to be published, whatever the settings say: that is for people to decide."""
    return [attrs.evolve(item, public=False) for item in items]


def _look(access: Access, items: Sequence[Addition]) -> None:
    """Refuse what is too large, and a folder of which a file is a link out of where clients may read."""
    for item in items:
        for part in _parts(item.path, item.asset.asset_key):
            access.inside(part)
            _refuse_large(access, part)


def _parts(path: Path, key: str = "tenx_mtx") -> list[Path]:
    """A file itself, or the files that count of a folder."""
    if not path.is_dir():
        return [path]
    return [path / name for name in storage.folder_parts(key, os.listdir(path)).values()]


def _refuse_large(access: Access, path: Path) -> None:
    size = os.stat(path).st_size
    if size > access.size:
        raise InvalidAssetError(
            f"{shortened(path.name)} has {size:,} bytes; this server takes {access.size:,} at most: register it "
            "on the command line"
        )


async def download(names: list[str], folder: str) -> dict[str, Any]:
    """Copy registered files with their companions into a folder, brought back or computed again if they are not here.

    Args:
        names: CIDs or ids.
        folder: absolute.

    Returns:
        `total`, and `files` with where each copy is.
    """
    store = storage.get_client().store
    records = [
        record for name in names for record in await asyncio.to_thread(named_registrations, store, name)
    ]
    await bring(store, records)
    exported = await asyncio.to_thread(storage.export, store, records, Path(folder))
    files = ({"path": str(path), **as_dict(record)} for path, record in exported)
    return {"total": len(exported), "files": fitting(files)}


async def fetch_bundle(name: str) -> dict[str, Any]:
    """Bring and register the files of a bundle that is built in, or was fetched or made here before.

    Args:
        name: its name, or its place.

    Returns:
        `name`, `total`, `files` with ids, CIDs and metadata, and the bytes that were moved.
    """
    store = storage.get_client().store
    found = await asyncio.to_thread(bundle_of, store, name)
    done = await asyncio.to_thread(bundles.fetch, store, found)
    done.check(found)
    return {"name": found.manifest.name, "total": len(done.records), "files": fitting(map(as_dict, done.records)),
            "moved": done.moved}  # fmt: skip


def bundle_of(store: Store, name: str) -> Bundle:
    """The bundle of this name or place among those that are known here.

    Raises:
        AssetNotFoundError: there is none.
        AmbiguousAssetError: there are several.
    """
    known = list(bundles.known_bundles(store.root))
    found = [one for one in known if name in (one.manifest.name, one.place)]
    if not found:
        names = ", ".join(dict.fromkeys(one.manifest.name for one in known)) or "none"
        raise AssetNotFoundError(
            f"no bundle {shortened(name)} is known here; there are {names}. One of a file or URL is fetched by "
            "`stargazer bundle fetch` on the command line, once"
        )
    found = [one for one in found if not one.place][:1] or found
    if len(found) > 1:
        places = ", ".join(brief(one.place) for one in found)
        raise AmbiguousAssetError(
            f"several bundles are named {shortened(name)}; fetch one by its place: {places}"
        )
    return found[0]
