"""The workspace of a task call: a private folder on the store's filesystem, locked while in use, removed at its end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import ParamSpec, TypeVar

from stargazer.assets import Asset, InvalidAssetError, StorageError
from stargazer.storage import make_folder, make_folders, new_lock, try_lock
from stargazer.storage.maintenance import remove_tree
from stargazer.tasks.execution.options import bound
from stargazer.tasks.tools import expect
from stargazer.tasks.tools.pipelines import ended

__all__ = ["claim", "open_workspace", "sweep", "to_the_end", "workspace"]

P = ParamSpec("P")
T = TypeVar("T")

_current: ContextVar[Path] = ContextVar("stargazer_workspace")


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
    try:
        make_folder(folder, parent)
        with bound(_current, folder):
            yield folder
    finally:
        _clear(lock)
        os.close(held)


async def to_the_end(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread; a cancellation meanwhile takes effect when the function has ended.

    So a workspace does not go while something still works in it.
    """
    call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
    running = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        await ended({running})
    except asyncio.CancelledError:
        running.exception()  # seen, so that the loop does not complain about it
        raise
    return running.result()


def sweep(parent: Path) -> None:
    """Remove the workspaces of processes that are gone; those in use are left alone."""
    for lock in parent.glob("*.lock"):
        with contextlib.suppress(OSError), open(lock) as held:
            if try_lock(held.fileno()):
                _clear(lock)


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


def _clear(lock: Path) -> None:
    """Remove a workspace and then its lock; what cannot be removed keeps its lock file, for a later sweep."""
    if remove_tree(lock.with_suffix("")):
        with contextlib.suppress(OSError):
            lock.unlink()
