"""What an account holds, as the service lists it: asked anew when the last answer is older than a few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from stargazer.assets.asset import record_id
from stargazer.assets.client import IpFile
from stargazer.storage.pinata.api import PinataApi, PinataFile
from stargazer.storage.pinata.retrying import Unavailable

__all__ = ["Listing", "as_record"]

T = TypeVar("T")
FRESH = 20.0  # seconds: a workflow asks the same many times, and the service allows 60 requests a minute


class Listing:
    """The files of an account on one network or both, from a short memory of our own or from the service.

    Raises, from every method:
        Unavailable: the service cannot be asked now.
        Refused: it does not answer this account.
    """

    def __init__(self, api: PinataApi, fresh: float = FRESH):
        self._api = api
        self._fresh = fresh
        self._known: dict[object, tuple[float, object]] = {}
        self._lock = threading.RLock()
        self._failed = 0.0
        self._failure: Unavailable | None = None

    def files(
        self, keyvalues: Mapping[str, str], *, cid: str = "", public: bool | None = None
    ) -> list[PinataFile]:
        """The files with every one of these pairs (and this CID, if one is given)."""
        networks = (False, True) if public is None else (public,)
        pairs = tuple(sorted(keyvalues.items()))
        return [
            file
            for network in networks
            for file in self._remembered(
                (pairs, cid, network),
                lambda network=network: list(self._api.files(public=network, keyvalues=keyvalues, cid=cid)),  # type: ignore[misc]
            )
        ]

    def documents(self) -> dict[str, PinataFile]:
        """The provenance documents by CID."""
        return {file.cid: file for file in self.files({"asset": "provenance"})}

    def forget(self) -> None:
        """The account was changed by us."""
        with self._lock:
            self._known.clear()
            self._failure = None

    def _remembered(self, key: object, ask: Callable[[], T]) -> T:
        with self._lock:
            if self._failure is not None and time.monotonic() - self._failed < self._fresh:
                raise self._failure
            at, value = self._known.get(key, (0.0, None))
            if not at or time.monotonic() - at > self._fresh:
                try:
                    value = ask()
                except (
                    Unavailable
                ) as error:  # not asked again for a while: everybody would wait for it in turn
                    self._failed, self._failure = time.monotonic(), error
                    raise
                self._known[key] = (time.monotonic(), value)
            return value  # type: ignore[return-value]


def as_record(file: PinataFile) -> IpFile:
    """A file of the account as a record: the same bytes and metadata are the same record on both sides."""
    return IpFile(
        id=record_id(file.cid, file.keyvalues),
        cid=file.cid,
        name=file.name,
        size=file.size,
        keyvalues=file.keyvalues,
        public=file.public,
        created_at=file.created_at,
    )
