"""Fetching an asset together with its companions, laid out side by side under the names that tools expect."""

from __future__ import annotations

import uuid
import warnings
from pathlib import Path
from typing import TypeVar

from stargazer.assets._asset import Asset, companions_of
from stargazer.assets.client import IpFile, StorageClient, current_client
from stargazer.assets.errors import AssetNotFoundError, StargazerError, StorageError

__all__ = ["companions", "fetch"]

A = TypeVar("A", bound=Asset)


async def fetch(asset: A, folder: Path | None = None, *, client: StorageClient | None = None) -> A:
    """Bring an asset and one companion of each type (the oldest that can be had) to this machine.

    Args:
        asset: stored, that is with a CID.
        folder: where links to the store's read-only files are laid; the client's view of this CID by default.
        client: the store to fetch from; the current one by default.

    Returns:
        The asset with `path` set.

    Raises:
        AssetNotFoundError: it has no CID yet.
        StorageError: the store cannot give its verified bytes, or `folder` has another file of that name.
    """
    if not asset.cid:
        raise AssetNotFoundError(f"this {asset.asset_key or 'asset'} has no CID: store it before fetching it")
    client = current_client(client)
    view = client.views / asset.cid if folder is None else folder
    view.mkdir(parents=True, exist_ok=True)
    bytes_of = await client.download_file(asset.record or IpFile(cid=asset.cid))
    found = asset.copy(path=bytes_of.path)
    path = view / found.file_name(asset.asset_key or "asset")
    _link(path, bytes_of.path, replace=folder is None)
    for companion in await companions(asset, client=client):
        _link(companion_path(path, companion), companion.path, replace=folder is None)
    return found.copy(path=path)


async def companions(asset: Asset, *, client: StorageClient | None = None) -> list[Asset]:
    """One companion of each type, the oldest whose verified bytes can be had, with `path` set."""
    client = current_client(client)
    found: list[Asset] = []
    for cls, link in companions_of(type(asset)):
        for record in await client.query_files({"asset": cls.asset_key, link: asset.cid or ""}):
            companion = cls.from_record(record)
            if not isinstance(companion, cls):  # malformed: from_record has said so
                continue
            try:
                bytes_of = await client.download_file(record)
            except StargazerError as error:
                warnings.warn(f"skipping a {cls.asset_key} of {asset.cid}: {error}", stacklevel=2)
                continue
            found.append(companion.copy(path=bytes_of.path))
            break
    return found


def companion_path(primary: Path, companion: Asset) -> Path:
    """Where tools look for a companion: `x.bam.bai` for `x.bam`; `x.dict` for `x.fa` (suffix `^.dict`)."""
    suffix = companion.own_suffix()
    if not suffix.startswith("^"):
        return primary.with_name(primary.name + suffix)
    stem = Path(primary.name.removesuffix(".gz")).stem
    return primary.with_name(stem + suffix[1:])


def _link(path: Path, file: Path | None, *, replace: bool) -> None:
    """A symbolic link at `path` to a file of the store; another file there stays, unless `replace`."""
    if file is None:
        raise StorageError(f"the store gave no file for {path.name!r}")
    target = file.absolute()
    try:
        path.symlink_to(target)
    except OSError as error:
        if not isinstance(error, FileExistsError):
            raise StorageError(
                f"cannot lay out {path.name!r} in {str(path.parent)!r}: {error.strerror}"
            ) from error
        if path.resolve() == target.resolve():
            return
        if not replace and path.exists():
            raise StorageError(f"{str(path)!r} is another file: fetch into a folder of its own") from None
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        temporary.symlink_to(target)
        temporary.replace(path)
