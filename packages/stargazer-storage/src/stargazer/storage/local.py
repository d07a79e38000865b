"""LocalStorageClient: the storage contract on the local store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ParamSpec, TypeVar

import attrs
from stargazer.assets import IpFile, StorageError, asset_class
from stargazer.storage.remaking import made_again
from stargazer.storage.store import Addition, LocalStore

__all__ = ["LocalStorageClient", "StoreClient"]

P = ParamSpec("P")
T = TypeVar("T")


class StoreClient:
    """The storage contract on a store.

    Attributes:
        store: the store itself, for what only a store of this machine can do.
        views: folder of the links that `Asset.fetch()` lays out, of this user.
    """

    def __init__(self, store: LocalStore):
        self.store = store
        self.views = store.views

    async def upload_file(
        self, path: Path, keyvalues: Mapping[str, str], public: bool | None = None, *, name: str | None = None
    ) -> IpFile:
        """Register a file as an import; `public` has a meaning where the store has a public network.

        Raises:
            InvalidAssetError: an unknown type, or metadata that it does not take.
            FormatError: the file is missing, empty or not of its type.
            StorageError: the store cannot take it.
        """
        asset = asset_class(keyvalues.get("asset", "")).from_keyvalues(keyvalues)
        addition = Addition(path=Path(path), asset=asset, name=name or "", public=public)
        return (await _in_thread(self.store.add, [addition], "upload"))[0]

    async def download_file(self, ipfile: IpFile, dest: Path | None = None) -> IpFile:
        """The store's own verified read-only file, or a copy of it in `dest` (a file or an existing folder).

        Bytes that are not here come from a source that has them, or are computed again where provenance says how.

        Raises:
            StorageError: the bytes are not to be had, or `dest` cannot be written.
            IntegrityError: the bytes are not what the CID says.
        """
        from stargazer.storage.threads import in_thread  # here: with it comes asyncio

        try:
            path = await in_thread(self._bring, ipfile, dest)
        except StorageError as error:
            if self.store.objects.stat(ipfile.cid) is not None or not await made_again(
                self, ipfile.cid, error
            ):
                raise
            path = await in_thread(self._bring, ipfile, dest)
        return attrs.evolve(ipfile, path=path)

    async def query_files(self, keyvalues: Mapping[str, str], public: bool | None = None) -> list[IpFile]:
        """All records with every one of these pairs, oldest first; of one network, if `public` is said."""
        return await _in_thread(self.store.query, keyvalues, public)

    async def update_file(self, ipfile: IpFile, keyvalues: Mapping[str, str | None]) -> IpFile:
        """Merge metadata into one record; None removes a key.

        Raises:
            AssetNotFoundError: no such record.
            InvalidAssetError: metadata that its type does not take.
        """
        return await _in_thread(self.store.amend, ipfile, keyvalues)

    async def delete_file(self, ipfile: IpFile) -> None:
        """Remove one record.

        Raises:
            AssetNotFoundError: no such record.
        """
        await _in_thread(self.store.retract, ipfile)

    def _bring(self, ipfile: IpFile, dest: Path | None) -> Path:
        if dest is None:
            return self.store.read(ipfile.cid)
        target = dest / (_base_name(ipfile.name) or ipfile.cid) if dest.is_dir() else dest
        return self.store.export(ipfile.cid, target)


class LocalStorageClient(StoreClient):
    """Keeps files in one folder of this machine.

    Args:
        root: the store's folder, made at first use.
        index: folder of its index, if that is not to be in the store.
    """

    def __init__(self, root: Path, index: Path | None = None):
        super().__init__(LocalStore(root, index))


def _base_name(name: str) -> str:
    """The last part of a record's name: whoever made the record may not choose a folder here."""
    base = name.replace("\0", "").rpartition("/")[2]
    return "" if base in (".", "..") else base


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    import asyncio  # here: the command line uses the store below, and starts without it

    return await asyncio.to_thread(function, *args, **kwargs)
