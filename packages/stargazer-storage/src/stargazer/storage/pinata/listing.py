"""What an account holds, as the service lists it: asked anew when the last answer is older than a few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TypeVar

from stargazer.assets import IpFile, StorageError, record_id
from stargazer.storage.pinata.api import PinataApi, PinataFile, Unavailable

__all__ = ["LEDGER", "Listing", "as_record"]

LEDGER = "ledger"
"""The key under which the account says whose word a provenance document is: `own` or `foreign`."""

T = TypeVar("T")
FRESH = 20.0  # seconds: a workflow asks much, and the service allows 60 requests a minute
FEW = 1000  # files of a network that are listed whole: a page


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
        return [
            file
            for network in ((False, True) if public is None else (public,))
            for file in self._network(network, keyvalues, cid)
        ]

    def _network(self, public: bool, keyvalues: Mapping[str, str], cid: str) -> list[PinataFile]:
        """The same of one network: out of all its files if they are few, for that is one question for many."""
        few = self._remembered(public, lambda: list(islice(self._api.files(public=public), FEW + 1)))
        if len(few) <= FEW:
            return [file for file in few if _fits(file, keyvalues, cid)]
        key = tuple(sorted(keyvalues.items())), cid, public
        return self._remembered(
            key, lambda: list(self._api.files(public=public, keyvalues=keyvalues, cid=cid))
        )

    def documents(self) -> dict[str, PinataFile]:
        """The provenance documents by CID.

        Raises:
            StorageError: they are of an older format.
        """
        found = {file.cid: file for file in self.files({"asset": "provenance"})}
        if any(file.keyvalues.get("kind") == "note" for file in found.values()):
            raise StorageError(
                "the account at Pinata was written by an older Stargazer (format 1): nothing was changed; use another "
                "account, or remove its files and push them again from a store of this version"
            )
        return found

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


def _fits(file: PinataFile, keyvalues: Mapping[str, str], cid: str) -> bool:
    return cid in ("", file.cid) and all(file.keyvalues.get(key) == value for key, value in keyvalues.items())


def as_record(file: PinataFile) -> IpFile:
    """A file of the account as a record: the same bytes and metadata are the same record on both sides."""
    pairs = dict(file.keyvalues)
    if pairs.get("asset") == "provenance":
        pairs.pop(LEDGER, None)
    return IpFile(
        id=record_id(file.cid, pairs),
        cid=file.cid,
        name=file.name,
        size=file.size,
        keyvalues=pairs,
        public=file.public,
        created_at=file.created_at,
    )
