"""Content-addressed storage: get_client() gives the client that the settings ask for."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets.errors import ConfigurationError

if TYPE_CHECKING:
    from stargazer.storage.local import LocalStorageClient
    from stargazer.storage.settings import Settings

__all__ = ["get_client"]


def get_client(settings: Settings | None = None) -> LocalStorageClient:
    """The client for the mode in force; the same object for the same store.

    Raises:
        ConfigurationError: a setting is wrong, or asks for a store that this version does not have.
    """
    from stargazer.storage.settings import Settings

    settings = settings or Settings.load()
    if settings.mode == "cloud":
        raise ConfigurationError("STARGAZER_MODE=cloud: this version runs and stores locally only; unset STARGAZER_MODE")
    if settings.pinata_jwt:
        raise ConfigurationError(
            "PINATA_JWT is set: this version stores locally only and sends nothing; unset PINATA_JWT to use the local store"
        )
    return _local(settings.local)


@functools.cache
def _local(root: Path) -> LocalStorageClient:
    from stargazer.storage.local import LocalStorageClient

    return LocalStorageClient(root)
