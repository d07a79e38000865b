"""verify: one object is read in full and compared with its CID."""

from __future__ import annotations

import datetime

from stargazer.assets import IntegrityError
from stargazer.storage.objects import StoredObject
from stargazer.storage.store import Store

__all__ = ["verify"]


def verify(store: Store, cid: str) -> StoredObject:
    """Read the bytes of a CID in full; the object as it was when it was found right.

    Raises:
        IntegrityError: they are not what the CID says; tells how they differ from when they were last right.
        StorageError: they are not here, or cannot be read.
    """
    try:
        found = store.objects.verify(cid)
    except IntegrityError as error:
        raise IntegrityError(f"{error}{_difference(store, cid)}") from None
    store.verified.remember(found)
    return found


def _difference(store: Store, cid: str) -> str:
    """How an object's file differs from when it was hashed."""
    now, before = store.objects.stat(cid), store.verified.state(cid)
    if now is None or before is None:
        return ""
    if now.size < before.size:
        return f" The file ends at byte {now.size:,} of {before.size:,}."
    if now.size > before.size:
        return f" The file goes on beyond its {before.size:,} bytes, to {now.size:,}."
    if now == before:
        return " Its size and times are as they were when its bytes were right, so nobody edited it: check the disk."
    changed = datetime.datetime.fromtimestamp(now.mtime_ns / 1e9, datetime.UTC)
    return f" Its size is as it was; it was last modified at {changed:%Y-%m-%d %H:%M:%S} UTC."
