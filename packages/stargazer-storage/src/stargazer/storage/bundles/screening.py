"""What the installed checks say of the files that a bundle brought, before any of them is registered."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets import asset_class
from stargazer.storage.additions import Addition
from stargazer.storage.checking import Checked, checked_one_by_one
from stargazer.storage.store import Store

if TYPE_CHECKING:
    from stargazer.storage.store import Store

__all__ = ["named", "screened"]


def screened(
    store: Store, told: Mapping[str, Mapping[str, str]], cids: Mapping[str, str], folder: Path
) -> dict[str, Checked]:
    """What came of the checks of those files whose bytes are here, by name.

    They are compared with one another and with what this store has, as when they are added.

    Args:
        told: the metadata of entries, by name.
        cids: of entries, by name.
        folder: of the store's work, for links to the files.
    """
    additions = []
    for number, (name, pairs) in enumerate(told.items()):
        path = store.objects.path(cids[name])
        if path.exists():
            asset = asset_class(pairs["asset"]).from_keyvalues(pairs, cid=cids[name])
            additions.append(Addition(named(path, folder / str(number), name), asset, name=name))
    find = store.query_here  # this machine's records: no account is asked
    return {item.name: checked for item, checked in checked_one_by_one(additions, find)}


def named(path: Path, folder: Path, name: str) -> Path:
    """An object under the name of its file, by which checks call it; as it is where links cannot be made."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True)
        (folder / name).symlink_to(path.absolute())
        return folder / name
    return path
