"""Workspaces: a private folder for each task call, on the store's filesystem, with its inputs laid out as links."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import Asset, InvalidAssetError, StorageClient, StorageError, fetch
from stargazer.storage import make_folder, make_folders, new_lock
from stargazer.tasks.execution.archives import remove_tree, unpacked
from stargazer.tasks.execution.locks import key_lock
from stargazer.tasks.execution.threads import to_the_end
from stargazer.tasks.execution.values import assets_in, replaced
from stargazer.tasks.tools import expect

__all__ = ["Shared", "claim", "lay_out", "open_workspace", "sweep", "workspace"]

_current: ContextVar[Path] = ContextVar("stargazer_workspace")


@attrs.frozen
class Shared:
    """Where what several tasks use is kept: `unpacked` folder assets, on the store's filesystem, and `locks`."""

    unpacked: Path
    locks: Path


def workspace() -> Path:
    """The folder of the running task: whatever it writes goes here.

    Raises:
        RuntimeError: called outside a task.
    """
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("workspace() is the folder of a running task: call it inside one") from None


@contextlib.contextmanager
def open_workspace(parent: Path, name: str) -> Iterator[Path]:
    """A new folder, the current workspace within a `with` block, removed at its end.

    A lock on `<folder>.lock` tells others that it is in use; `sweep` removes what a killed process left. Other users
    of a shared store can see what it links to, for gc leaves that alone.
    """
    try:
        make_folders(parent)
        lock, held = new_lock(parent, name)
    except OSError as error:
        raise StorageError(f"cannot make a workspace in {str(parent)!r}: {error.strerror}") from error
    folder = lock.with_suffix("")
    token = _current.set(folder)
    try:
        make_folder(folder, parent)
        yield folder
    finally:
        _current.reset(token)
        _clear(lock)
        os.close(held)


def sweep(parent: Path) -> None:
    """Remove the workspaces of processes that are gone; those in use are left alone."""
    for lock in parent.glob("*.lock"):
        with contextlib.suppress(OSError), open(lock) as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear(lock)


async def lay_out(
    arguments: dict[str, Any], folder: Path, client: StorageClient, shared: Shared
) -> dict[str, Any]:
    """The arguments with every asset's bytes on disk: `<folder>/<parameter>/<file>`, companions beside it.

    Where a parameter has several assets, each is in a numbered folder of its own. A folder asset's path is a link
    to a read-only folder, unpacked once for all tasks.
    """
    laid: dict[str, Any] = {}
    for name, value in arguments.items():
        found = list(assets_in(value, name))
        places = (
            [folder / name]
            if len(found) == 1
            else [folder / name / str(number) for number in range(len(found))]
        )
        _make_places(places)
        ready = [
            await _fetched(asset, place, client, shared)
            for (_, asset), place in zip(found, places, strict=True)
        ]
        laid[name] = replaced(value, _one_by_one(ready))
    return laid


def _make_places(places: Iterable[Path]) -> None:
    """Make the folders of inputs, so that other users of a shared store see what is in use."""
    for place in places:
        try:
            make_folders(place)
        except OSError as error:
            raise StorageError(f"cannot lay out inputs in {str(place)!r}: {error.strerror}") from error


async def _fetched(asset: Asset, place: Path, client: StorageClient, shared: Shared) -> Asset:
    """An asset with its files in this place."""
    ready = await fetch(asset, place, client=client)
    if not (asset.folder and asset.cid and ready.path):
        return ready
    link = place / asset.asset_key
    async with key_lock(shared.locks, f"unpack-{asset.cid}"):
        link.symlink_to(await to_the_end(unpacked, ready.path, shared.unpacked / asset.cid, place))
    return ready.copy(path=link)


def claim(outputs: Iterable[tuple[str, Asset]], folder: Path, task: str) -> None:
    """Make sure that every new asset has a file of its own in the workspace, before any is registered.

    A path becomes that of the file itself: absolute, links within the workspace followed.

    Raises:
        InvalidAssetError: a result has no path, or one that cannot be its own: outside the workspace, a folder,
            an input's file, or another result's.
        ToolError: its file is missing or empty.
    """
    claimed: dict[Path, tuple[str, Asset]] = {}
    for role, asset in outputs:
        if asset.cid:
            continue
        if asset.path is None:
            raise InvalidAssetError(f"{task}: the result {role!r} has no path: give it the file it holds")
        path = folder / asset.path
        file = Path(os.path.realpath(path))
        if not file.is_relative_to(os.path.realpath(folder)):
            what = "is a link to a file" if path.is_symlink() else "lies"
            raise InvalidAssetError(
                f"{task}: the file of the result {role!r} {what} outside of the task's workspace: {str(asset.path)!r}; "
                "copy it into workspace(), or return the input itself to hand it on"
            )
        expect(file, by=f"{task} ({role})")
        if not file.is_file():
            raise InvalidAssetError(
                f"{task}: the result {role!r} is no file: {file.name!r}; pack(folder, archive) makes one of a folder"
            )
        other, owner = claimed.setdefault(file, (role, asset))
        if owner is not asset:
            raise InvalidAssetError(
                f"{task}: the results {other!r} and {role!r} are the same file {file.name!r}"
            )
        asset.path = file


def _one_by_one(assets: Iterable[Asset]) -> Callable[[Asset], Asset]:
    """A replacement of assets by these, in their order: the same asset may be given twice."""
    remaining = iter(assets)
    return lambda _: next(remaining)


def _clear(lock: Path) -> None:
    """Remove a workspace and then its lock; what cannot be removed keeps its lock file, for a later sweep."""
    if remove_tree(lock.with_suffix("")):
        with contextlib.suppress(OSError):
            lock.unlink()
