"""Workspaces: a private folder for each task call, on the store's filesystem, with its inputs laid out as links."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import Asset, StorageClient, StorageError, fetch

from stargazer.tasks.execution.values import assets_in, replaced

__all__ = ["lay_out", "open_workspace", "sweep", "workspace"]

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

    A lock on `<folder>.lock` tells others that it is in use; `sweep` removes what a killed process left.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        lock, held = _locked_name(parent, name)
        folder = lock.with_suffix("")
        folder.mkdir()
    except OSError as error:
        raise StorageError(f"cannot make a workspace in {parent}: {error.strerror}") from error
    token = _current.set(folder)
    try:
        yield folder
    finally:
        _current.reset(token)
        _remove(folder)
        lock.unlink(missing_ok=True)
        os.close(held)


def sweep(parent: Path) -> None:
    """Remove the workspaces of processes that are gone."""
    for lock in parent.glob("*.lock"):
        with contextlib.suppress(OSError), open(lock) as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(lock.with_suffix(""))
            lock.unlink(missing_ok=True)


async def lay_out(arguments: dict[str, Any], folder: Path, client: StorageClient, unpacked: Path) -> dict[str, Any]:
    """The arguments with every asset's bytes on disk: `<folder>/<parameter>/<file>`, companions beside it.

    Args:
        unpacked: where folder assets are unpacked once, for all tasks.
    """
    laid: dict[int, Asset] = {}
    for name, value in arguments.items():
        found = list(assets_in(value, name))
        for number, (_, asset) in enumerate(found):
            place = folder / name if len(found) == 1 else folder / name / str(number)
            ready = await fetch(asset, place, client=client)
            if asset.folder and ready.path is not None:
                target = place / asset.asset_key
                target.symlink_to(_unpack(ready.path, unpacked / str(asset.cid)))
                ready = attrs.evolve(ready, path=target)
            laid[id(asset)] = ready
    return {name: replaced(value, lambda asset: laid[id(asset)]) for name, value in arguments.items()}


def _locked_name(parent: Path, name: str) -> tuple[Path, int]:
    """A new lock file, held before anybody can sweep it."""
    while True:
        lock = parent / f"{name}-{secrets.token_hex(6)}.lock"
        held = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        if lock.exists():
            return lock, held
        os.close(held)


def _unpack(archive: Path, target: Path) -> Path:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
            with contextlib.suppress(OSError):  # another process was first
                temporary.rename(target)
        finally:
            _remove(temporary)
    return target


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        for parent, folders, _ in os.walk(folder):
            for inner in [parent, *(os.path.join(parent, name) for name in folders)]:
                with contextlib.suppress(OSError):
                    os.chmod(inner, 0o700)
        shutil.rmtree(folder, ignore_errors=True)
