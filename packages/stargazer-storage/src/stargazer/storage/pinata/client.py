"""PinataClient: the storage contract on a local store that an account at Pinata completes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stargazer.storage.client import StoreClient
from stargazer.storage.pinata.api import Patience, PinataApi
from stargazer.storage.pinata.remote import PinataRemote
from stargazer.storage.settings import PUBLIC_GATEWAY
from stargazer.storage.store import open_store

if TYPE_CHECKING:
    from stargazer.storage.settings import Settings

__all__ = ["PinataClient"]

_INTERACTIVE = Patience(attempts=4, seconds=90.0)


class PinataClient(StoreClient):
    """Keeps files on this machine and in an account at Pinata.

    Everything is registered here first and sent then; a service that is down fails nothing. What is here already is
    never downloaded again.

    Args:
        settings: with a Pinata token.
        patience: with a service that does not answer.
    """

    def __init__(self, settings: Settings, patience: Patience | None = None):
        cloud = settings.mode == "cloud"
        api = PinataApi(
            settings.pinata_jwt,
            api=settings.pinata_api,
            uploads=settings.pinata_uploads,
            patience=patience or (Patience() if cloud else _INTERACTIVE),
        )
        self.remote = PinataRemote(
            api,
            gateway=settings.gateway_url,
            token=settings.pinata_gateway_token,
            private_gateway="" if settings.pinata_gateway == PUBLIC_GATEWAY else settings.gateway_url,
            public=settings.pinata_visibility == "public",
            everything=cloud,
        )
        super().__init__(open_store(settings.local, settings.index, self.remote))
