"""The asynchronous face of a store, and get_client(), which gives that of the store that the settings ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import ParamSpec, TypeVar

import attrs
from stargazer.assets import ConfigurationError, IpFile, StorageError, asset_class
from stargazer.storage.additions import Addition
from stargazer.storage.changes import amend, retract
from stargazer.storage.recompute import computed_again
from stargazer.storage.settings import Settings
from stargazer.storage.store import Store, open_store
from stargazer.storage.threads import in_thread

__all__ = ["LocalStorageClient", "PinataClient", "StoreClient", "get_client"]

P = ParamSpec("P")
T = TypeVar("T")

_clients: dict[Hashable, StoreClient] = {}
_making = threading.Lock()


def get_client(settings: Settings | None = None) -> StoreClient:
    """The client for the mode in force: Pinata in cloud mode or with a token, else the local store.

        >>> client = get_client()
        >>> await client.query_files({"asset": "reference", "build": "GRCh38"})
        [IpFile(cid='bafkrei...', ...)]

    The same settings have the same client. Nothing is sent, and nothing made on disk, by asking for it.

    Raises:
        ConfigurationError: a setting is wrong or missing; the message names it.
    """
    settings = settings or Settings.load()
    if settings.mode == "cloud" and not settings.pinata_jwt:
        raise ConfigurationError(
            f"cloud mode keeps files on Pinata, but PINATA_JWT is not set ({settings.mode_reason}). "
            "Set PINATA_JWT to a token of your Pinata account, or STARGAZER_MODE=local to store and run here"
        )
    key: Hashable = settings if settings.pinata_jwt else (settings.local, settings.index)
    with _making:
        if key not in _clients:
            _clients[key] = (
                PinataClient(settings)
                if settings.pinata_jwt
                else LocalStorageClient(settings.local, index=settings.index)
            )
        return _clients[key]


class StoreClient:
    """The storage contract on a store.

    Attributes:
        store: the store itself, for what only a store of this machine can do.
        views: folder of the links that `Asset.fetch()` lays out, of this user.
    """

    def __init__(self, store: Store):
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
        try:
            path = await in_thread(self._bring, ipfile, dest)
        except StorageError as error:
            here = self.store.objects.stat(ipfile.cid) is not None
            if here or not await computed_again(self, ipfile.cid, error):
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
        return await _in_thread(amend, self.store, ipfile, keyvalues)

    async def delete_file(self, ipfile: IpFile) -> None:
        """Remove one record.

        Raises:
            AssetNotFoundError: no such record.
        """
        await _in_thread(retract, self.store, ipfile)

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
        super().__init__(open_store(root, index))


class PinataClient(StoreClient):
    """Keeps files on this machine and in an account at Pinata.

    Everything is registered here first and sent then; a service that is down fails nothing. What is here already is
    never downloaded again.

    Args:
        settings: with a Pinata token.
    """

    def __init__(self, settings: Settings):
        from stargazer.storage.pinata.api import Patience, PinataApi
        from stargazer.storage.pinata.remote import PinataRemote

        cloud = settings.mode == "cloud"
        api = PinataApi(
            settings.pinata_jwt,
            api=settings.pinata_api,
            uploads=settings.pinata_uploads,
            patience=Patience() if cloud else Patience(attempts=4, seconds=90.0),
        )
        remote = PinataRemote(
            api,
            gateway=settings.gateway_url,
            token=settings.pinata_gateway_token,
            public=settings.pinata_visibility == "public",
            sends_results=cloud,
        )
        super().__init__(open_store(settings.local, settings.index, remote))


def _base_name(name: str) -> str:
    """The last part of a record's name: whoever made the record may not choose a folder here."""
    base = name.replace("\0", "").rpartition("/")[2]
    return "" if base in (".", "..") else base


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    import asyncio  # here: the command line uses the store below, and starts without it

    return await asyncio.to_thread(function, *args, **kwargs)
