"""Files that are registered already: told by their status and the index, without opening one of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stargazer.assets import InvalidAssetError, record_id
from stargazer.storage import statcache, verified
from stargazer.storage.additions import Addition, keyvalues_of, with_links

if TYPE_CHECKING:
    from stargazer.storage.objects import StoredObject
    from stargazer.storage.reading import StoreReader

__all__ = ["registered_ids"]


def registered_ids(store: StoreReader, additions: Sequence[Addition]) -> list[str] | None:
    """The ids under which these files have to be records if nothing about them is new; None if something is.

    Nothing is new where each file has the size, times and inode it had when it was added, and its object those it
    had when it was hashed. Whether there are records of these ids is for the caller to look up. What is wrong with a
    file or with what is said of it is not told here: such a file is new.
    """
    if not store.index_path.exists():  # asking makes no store
        return None
    with store.index.reading() as connection:
        cids = [cid for cid in statcache.known_cids(connection, [item.path for item in additions]) if cid]
        if len(cids) < len(additions):
            return None
        stored = [found for cid in cids if (found := store.objects.stat(cid))]
        if len(stored) < len(cids) or not verified.are_verified(connection, stored):
            return None
    together = {id(item.asset): cid for item, cid in zip(additions, cids, strict=True)}
    ids = []
    for item, found in zip(additions, stored, strict=True):
        if not os.access(item.path, os.R_OK) or not _is_kept(store, found, item):
            return None
        try:
            ids.append(record_id(found.cid, keyvalues_of(with_links(item.asset, together))))
        except InvalidAssetError:
            return None
    return ids


def _is_kept(store: StoreReader, stored: StoredObject, item: Addition) -> bool:
    """Whether an object is what adding makes of a file: in place a link to this very one, else bytes of our own."""
    if item.in_place:
        return store.objects.original(stored.cid) == item.path.resolve()
    return not store.objects.is_link(stored.cid)
