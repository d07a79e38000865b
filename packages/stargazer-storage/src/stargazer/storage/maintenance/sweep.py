"""sweep: what killed processes left in a store is removed; what running ones hold stays."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from stargazer.storage.locks import try_alone, try_lock, write_lock
from stargazer.storage.maintenance import leftovers

if TYPE_CHECKING:
    from stargazer.storage.store import Store

__all__ = ["PART_GRACE", "SweepReport", "sweep", "sweep_alone"]

PART_GRACE = 14 * leftovers.DAY
"""Seconds for which a download that was cut can be continued."""

_PATIENCE = 30.0  # seconds to wait for whoever writes the index


@attrs.frozen
class SweepReport:
    """What was removed, or would be.

    Attributes:
        removed: paths within the store.
        freed: their bytes.
    """

    removed: list[str] = attrs.field(factory=list)
    freed: int = 0


def sweep(store: Store, *, grace: float = PART_GRACE, dry_run: bool = False) -> SweepReport:
    """Remove the temporary files, workspaces and dangling views of processes that are gone.

    Args:
        grace: seconds for which a download that was cut stays, to be continued.
        dry_run: remove nothing and report the same.

    Raises:
        StorageError: the store cannot be locked.
    """
    if not store.root.is_dir():
        return SweepReport()
    with try_alone(store.root) as nobody_else:
        swept = sweep_alone(store.root, grace, alone=nobody_else, dry_run=dry_run)
    indexes = _half_made_indexes(store.index_path, dry_run)
    return SweepReport(swept.removed + indexes.removed, swept.freed + indexes.freed)


def sweep_alone(root: Path, grace: float, *, alone: bool, dry_run: bool) -> SweepReport:
    """As `sweep`, for a caller who knows whether anybody else is at work in the store."""
    removed: list[str] = []
    freed = 0
    for path in _leftovers(root, grace, alone):
        size = leftovers.size_of(path)
        if dry_run or leftovers.remove_tree(path):
            removed.append(str(path.relative_to(root)))
            freed += size
    for folder, lock in leftovers.free_workspaces(root):
        size = leftovers.size_of(folder)
        if dry_run or _clear(folder, lock):
            removed.append(str(folder.relative_to(root)))
            freed += size
    if not dry_run:
        _remove_empty_views(root)
    return SweepReport(removed, freed)


def _half_made_indexes(index: Path, dry_run: bool) -> SweepReport:
    """Indexes whose maker was killed before they had their name: whoever makes one holds the index's write lock."""
    pattern = f"{glob.escape(index.name)}.new-*"
    if not any(index.parent.glob(pattern)):
        return SweepReport()
    with write_lock(str(index), _PATIENCE):
        found = sorted(index.parent.glob(pattern))
        freed = sum(map(leftovers.size_of, found))
        for path in found:
            if not dry_run:
                leftovers.remove_tree(path)
    return SweepReport([path.name for path in found], freed)


def _leftovers(root: Path, grace: float, alone: bool) -> Iterator[Path]:
    yield from leftovers.temporaries(root, grace, alone)
    yield from list(leftovers.dangling_views(root))
    if alone:  # notes that were being written
        yield from (root / "evictions").glob(".new-*")


def _clear(folder: Path, lock: Path | None) -> bool:
    """Remove a workspace and then its lock, unless somebody holds it now; whether both are gone."""
    if lock is None:
        return leftovers.remove_tree(folder)
    try:
        held = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not try_lock(held) or not leftovers.remove_tree(folder):
            return False
        lock.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(held)


def _remove_empty_views(root: Path) -> None:
    """Folders of views in which nothing is left; a recent one may be about to be filled."""
    for views in root.glob("views-*"):
        for folder in leftovers.entries(views):
            if leftovers.age(folder) > leftovers.SETTLED:
                with contextlib.suppress(OSError):
                    folder.rmdir()
