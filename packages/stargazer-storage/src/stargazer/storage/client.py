"""get_client() gives the client of the store that the settings ask for."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING

from stargazer.assets import ConfigurationError

if TYPE_CHECKING:
    from stargazer.storage.local import StoreClient
    from stargazer.storage.settings import Settings

__all__ = ["get_client"]

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
    from stargazer.storage.settings import Settings

    settings = settings or Settings.load()
    if settings.mode == "cloud" and not settings.pinata_jwt:
        raise ConfigurationError(
            f"cloud mode keeps files on Pinata, but PINATA_JWT is not set ({settings.mode_reason}). "
            "Set PINATA_JWT to a token of your Pinata account, or STARGAZER_MODE=local to store and run here"
        )
    key: Hashable = settings if settings.pinata_jwt else (settings.local, settings.index)
    with _making:
        if key not in _clients:
            _clients[key] = _new_client(settings)
        return _clients[key]


def _new_client(settings: Settings) -> StoreClient:
    if settings.pinata_jwt:
        from stargazer.storage.pinata.client import PinataClient

        return PinataClient(settings)
    from stargazer.storage.local import LocalStorageClient

    return LocalStorageClient(settings.local, index=settings.index)
