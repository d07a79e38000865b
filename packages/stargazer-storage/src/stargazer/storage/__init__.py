"""Content-addressed storage: get_client() gives the client that the settings ask for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets.errors import ConfigurationError

if TYPE_CHECKING:
    from stargazer.storage.local import LocalStorageClient
    from stargazer.storage.settings import Settings

__all__ = ["get_client"]

_clients: dict[Path, LocalStorageClient] = {}
_making = threading.Lock()


def get_client(settings: Settings | None = None) -> LocalStorageClient:
    """The client for the mode in force; the same object for the same store.

        >>> client = get_client()
        >>> await client.query_files({"asset": "reference", "build": "GRCh38"})
        [IpFile(cid='bafkrei...', ...)]

    Raises:
        ConfigurationError: a setting is wrong, or asks for a store that this version does not have.
    """
    from stargazer.storage.settings import Settings

    settings = settings or Settings.load()
    if settings.mode == "cloud":
        raise ConfigurationError(
            "STARGAZER_MODE is 'cloud', but this version runs and stores locally only: "
            "unset STARGAZER_MODE, or set it to 'local'"
        )
    if settings.pinata_jwt:
        raise ConfigurationError(
            "PINATA_JWT is set, but this version stores locally only and sends nothing: "
            "unset PINATA_JWT to use the local store"
        )
    with _making:
        if settings.local not in _clients:
            from stargazer.storage.local import LocalStorageClient

            _clients[settings.local] = LocalStorageClient(settings.local)
        return _clients[settings.local]
