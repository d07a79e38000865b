"""The input files of a task call: brought to this machine, then linked into the folder that the task works in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import Asset, IpFile, StorageClient, StorageError, fetch
from stargazer.storage import make_folders
from stargazer.tasks.execution._workspace import to_the_end
from stargazer.tasks.execution.archives import unpacked
from stargazer.tasks.execution.locks import key_lock
from stargazer.tasks.execution.values import assets_in, replaced

if TYPE_CHECKING:
    from stargazer.storage import Store

__all__ = ["lay_out", "obtain"]


async def obtain(asset: Asset, client: StorageClient, store: Store) -> None:
    """Bring an asset's bytes, and those of one companion of each type, to this machine if they are not here.

    Raises:
        StorageError: the asset's own are not to be had.
    """
    if asset.cid and store.objects.stat(asset.cid) is None:
        await client.download_file(asset.record or IpFile(cid=asset.cid))
    await asset.companions(client=client)


async def lay_out(
    arguments: dict[str, Any], folder: Path, client: StorageClient, store: Store, locks: Path
) -> dict[str, Any]:
    """The arguments with every asset's bytes on disk: `<folder>/<parameter>/<file>`, companions beside it.

    Where a parameter has several assets, each is in a numbered folder of its own. A folder asset's path is a link
    to a read-only folder on the store's filesystem, unpacked once for all tasks.

    Raises:
        StorageError: there is no room for it, or bytes are not to be had.
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
            fetched = await fetch(asset, place, client=client)
            if asset.folder and asset.cid and fetched.path:
                link, shared = place / asset.asset_key, store.root / "unpacked" / asset.cid
                async with key_lock(locks, f"unpack-{asset.cid}"):
                    link.symlink_to(await to_the_end(unpacked, fetched.path, shared, place))
                fetched = fetched.copy(path=link)
            ready.append(fetched)
        laid[name] = replaced(value, iter(ready))
    return laid
