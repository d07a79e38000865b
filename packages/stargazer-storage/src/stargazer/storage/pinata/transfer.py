"""push and pull: records with their provenance, and bytes, between the store of this machine and Pinata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from stargazer.assets import ConfigurationError, IpFile, StargazerError
from stargazer.storage.companions import with_companions
from stargazer.storage.threads import each

if TYPE_CHECKING:
    from stargazer.storage.download.http import FileProgress
    from stargazer.storage.outbox import Sent
    from stargazer.storage.pinata.remote import PinataRemote
    from stargazer.storage.store import Store

__all__ = ["Pulled", "account_of", "pull", "push"]

AT_ONCE = 3


@attrs.frozen
class Pulled:
    """What came of a pull.

    Attributes:
        records: known here now.
        fetched: CIDs whose bytes came.
        failed: CIDs whose bytes or provenance could not be had, with why.
    """

    records: list[IpFile]
    fetched: list[str]
    failed: dict[str, str]


def account_of(store: Store) -> PinataRemote:
    """The account of a store.

    Raises:
        ConfigurationError: it has none.
    """
    from stargazer.storage.pinata.remote import PinataRemote  # here: `add` loads no HTTP without an account

    remote = store.remote
    if not isinstance(remote, PinataRemote):
        raise ConfigurationError(
            "this needs an account at Pinata: set PINATA_JWT to a token of it (https://app.pinata.cloud/developers)"
        )
    return remote


def push(
    store: Store,
    records: Sequence[IpFile] = (),
    *,
    public: bool = False,
    progress: FileProgress | None = None,
) -> Sent:
    """Send records with their companions and the provenance that leads to them, and whatever waits besides.

    What is there already is not sent again. A cut upload goes on where it stopped.

    Args:
        public: to the public network, for ever; provenance is always private.

    Raises:
        ConfigurationError: the store has no account.
    """
    account = account_of(store)
    store.enqueue(with_companions(store, records), public=public)
    return account.send(store, progress)


def pull(
    store: Store, records: Sequence[IpFile], *, bytes_too: bool = True, progress: FileProgress | None = None
) -> Pulled:
    """Bring records that Pinata has, with companions and provenance; nothing that is here is brought again.

    One file that cannot be had does not keep the others; the same command goes on where it stopped.

    Raises:
        ConfigurationError: the store has no account.
        Unavailable: the service cannot be asked for the provenance now.
    """
    account = account_of(store)
    failed: dict[str, str] = {}
    known = account.take_over(store, with_companions(store, records), failed)

    def bring(record: IpFile) -> None:
        try:
            store.read(
                record.cid, lambda done, total: progress(record.name, done, total) if progress else None
            )
        except StargazerError as error:
            failed[record.cid] = error.explain()

    missing = {
        record.cid: record
        for record in known
        if record.path is None and (store.mirrors(record.cid) or account.listing.files({}, record.cid))
    }
    if bytes_too:
        each(bring, missing.values(), AT_ONCE, "stargazer-pull")
    return Pulled(known, [cid for cid in missing if bytes_too and cid not in failed], failed)
