"""What a task call needs: its tools and input files, brought to this machine; the files are laid out where it works."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import Asset, IpFile, StorageClient, StorageError, fetch
from stargazer.storage import in_thread, make_folders
from stargazer.tasks.execution._workspace import to_the_end
from stargazer.tasks.execution.archives import unpacked
from stargazer.tasks.execution.locks import key_lock
from stargazer.tasks.execution.values import assets_in, replaced

if TYPE_CHECKING:
    from stargazer.storage import Store
    from stargazer.tasks.tools import ResolvedTool

__all__ = ["lay_out", "obtain", "obtain_tool"]

TOLD = 4
"""Parts of a download after each of which one is told."""


async def obtain_tool(tool: ResolvedTool, tell: Callable[..., object]) -> None:
    """Bring what of a tool is not on this machine yet.

    Args:
        tell: told in this thread, as `note`, that something is downloaded, and how far it is.

    Raises:
        StargazerError: it is not to be had.
    """
    if tool.install is None:
        return
    loop, context, lock = asyncio.get_running_loop(), contextvars.copy_context(), threading.Lock()
    sizes: dict[str, tuple[int, int]] = {}
    told = 0

    def progress(name: str, done: int, total: int | None) -> None:
        nonlocal told
        with lock:
            sizes[name] = done, total or done
            here, size = (sum(numbers) for numbers in zip(*sizes.values(), strict=True))
            if here * TOLD < size * told or not here:
                return
            told = here * TOLD // size + 1
        note = f"{tool.name} is downloaded first: {here / 1e6:.0f} of {size / 1e6:.0f} MB"
        loop.call_soon_threadsafe(functools.partial(tell, note=note), context=context)

    await in_thread(tool.install, progress)


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
