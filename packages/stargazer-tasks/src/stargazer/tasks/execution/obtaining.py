"""Having the bytes of a task's inputs before it starts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from stargazer.assets import Asset, IpFile, StargazerError, StorageClient, companions_of

if TYPE_CHECKING:
    from stargazer.storage import Store

__all__ = ["obtain"]


async def obtain(asset: Asset, client: StorageClient, store: Store) -> None:
    """Bring an asset's bytes, and those of one companion of each type, to this machine if they are not here.

    Raises:
        StorageError: the asset's own are not to be had.
    """
    if asset.cid and not _is_here(store, asset.cid):
        await client.download_file(asset.record or IpFile(cid=asset.cid))
    for cls, link in companions_of(type(asset)):
        records = await client.query_files({"asset": cls.asset_key, link: asset.cid or ""})
        if any(_is_here(store, record.cid) for record in records):
            continue
        for record in records:
            with contextlib.suppress(StargazerError):  # fetch() says what is missing in the end
                await client.download_file(record)
                break


def _is_here(store: Store, cid: str) -> bool:
    return store.objects.stat(cid) is not None
