"""A store whose remote is the emulated account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stargazer.storage.pinata import Patience, PinataApi
from stargazer.storage.pinata.remote import PinataRemote
from stargazer.storage.store import Store, open_store

from .pinata_emulator import PinataEmulator, PinataProcess

__all__ = ["make_store"]


def make_store(root: Path, pinata: PinataEmulator | PinataProcess, **options: Any) -> Store:
    """A store on disk with the account; a request is sent once, and no wait is waited."""
    api = PinataApi(
        pinata.jwt,
        api=pinata.api,
        uploads=pinata.uploads,
        patience=Patience(attempts=1),
        sleep=lambda seconds: None,
    )
    return open_store(root, remote=PinataRemote(api, gateway=pinata.gateway, **options))
