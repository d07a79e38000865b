"""The input files of a task call: brought to this machine, then linked into the folder that the task works in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import Asset, IpFile, StorageClient, StorageError, fetch
from stargazer.storage import make_folders
from stargazer.tasks.execution.archives import unpacked
from stargazer.tasks.execution.locks import key_lock
from stargazer.tasks.execution.threads import to_the_end
from stargazer.tasks.execution.values import assets_in, replaced

if TYPE_CHECKING:
    from stargazer.storage import Store

__all__ = ["Shared", "lay_out", "obtain"]


@attrs.frozen
class Shared:
    """Where what several tasks use is kept: `unpacked` folder assets, on the store's filesystem, and `locks`."""

    unpacked: Path
    locks: Path


async def obtain(asset: Asset, client: StorageClient, store: Store) -> None:
    """Bring an asset's bytes, and those of one companion of each type, to this machine if they are not here.

    Raises:
        StorageError: the asset's own are not to be had.
    """
    if asset.cid and store.objects.stat(asset.cid) is None:
        await client.download_file(asset.record or IpFile(cid=asset.cid))
    await asset.companions(client=client)


async def lay_out(
    arguments: dict[str, Any], folder: Path, client: StorageClient, shared: Shared
) -> dict[str, Any]:
    """The arguments with every asset's bytes on disk: `<folder>/<parameter>/<file>`, companions beside it.

    Where a parameter has several assets, each is in a numbered folder of its own. A folder asset's path is a link
    to a read-only folder, unpacked once for all tasks.
    """
    laid: dict[str, Any] = {}
    for name, value in arguments.items():
        found = [asset for _, asset in assets_in(value, name)]
        ready = []
        for number, asset in enumerate(found):
            place = folder / name / str(number) if len(found) > 1 else folder / name
            try:
                make_folders(place)  # which other users of a shared store see: gc leaves what is in use alone
            except OSError as error:
                raise StorageError(f"cannot lay out inputs in {str(place)!r}: {error.strerror}") from error
            ready.append(await _fetched(asset, place, client, shared))
        remaining = iter(ready)  # one by one: the same asset may be given twice
        laid[name] = replaced(value, partial(_following, remaining))
    return laid


def _following(remaining: Iterator[Asset], _: Asset) -> Asset:
    return next(remaining)


async def _fetched(asset: Asset, place: Path, client: StorageClient, shared: Shared) -> Asset:
    """An asset with its files in this place."""
    ready = await fetch(asset, place, client=client)
    if not (asset.folder and asset.cid and ready.path):
        return ready
    link = place / asset.asset_key
    async with key_lock(shared.locks, f"unpack-{asset.cid}"):
        link.symlink_to(await to_the_end(unpacked, ready.path, shared.unpacked / asset.cid, place))
    return ready.copy(path=link)
