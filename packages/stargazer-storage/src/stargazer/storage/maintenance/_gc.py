"""Removes objects that no record refers to, unpacked copies, old quarantine and leftovers, after a grace (`gc`)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import attrs
from stargazer.assets import StorageError
from stargazer.storage.locks import Tell, alone, silent
from stargazer.storage.maintenance.leftovers import (
    GRACE,
    SweepReport,
    age,
    cids_in_use,
    entries,
    remove_tree,
    size_of,
    statuses,
    sweep,
)
from stargazer.storage.maintenance.rebuild import recorded, unknown
from stargazer.storage.objects import StoredObject, Stray
from stargazer.storage.store import Store, check_format

__all__ = ["Garbage", "GcReport", "gc"]

Kind: TypeAlias = Literal["object", "link", "unpacked", "quarantine", "leftover"]


@attrs.frozen
class Garbage:
    """One thing that nobody needs.

    Attributes:
        name: the CID of an object, the path within the store of anything else.
        size: bytes that are freed; none for a link to a user's file.
    """

    kind: Kind
    name: str
    size: int


@attrs.define(kw_only=True)
class GcReport:
    """What gc removed, or would.

    Attributes:
        removed: in the order of kinds and names.
        waiting: objects without a record that stay, since the grace is not over or they are in use.
        waiting_bytes: their bytes.
    """

    dry_run: bool
    removed: list[Garbage] = attrs.field(factory=list)
    waiting: int = 0
    waiting_bytes: int = 0

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(found.size for found in self.removed)


def gc(store: Store, *, dry_run: bool = False, grace: float = GRACE, tell: Tell = silent) -> GcReport:
    """Remove what no record refers to and has been so for the grace; nothing arrives in the store meanwhile.

    An object's grace begins when it arrived, or when the last record of it was taken back, whichever is later.
    Provenance stays, and so does what a running task reads.

    Args:
        dry_run: remove nothing and report the same.
        grace: seconds.
        tell: told whom it waits for.

    Raises:
        StorageError: the index does not know documents that are here, so it does not know what is referred to; or
            the store is of another format, or cannot be written.
    """
    root, report = store.root, GcReport(dry_run=dry_run)
    if not root.is_dir():
        return report
    check_format(root)
    with alone(root, tell):
        # first what needs no index: on a full disk that cannot even be read
        swept = SweepReport() if dry_run else sweep(store, grace=grace, alone=True)
        used = cids_in_use(root)
        loose, dead_links = _unreferenced(store)
        old = [found for found in loose if found.cid not in used and _idle(store, found.cid) > grace]
        for found in old:
            is_link = store.objects.is_link(found.cid)
            report.removed.append(
                Garbage("link" if is_link else "object", found.cid, 0 if is_link else found.size)
            )
        if old and not dry_run:
            with store.index.transaction() as connection:  # forget that they were verified
                connection.executemany("DELETE FROM objects WHERE cid = ?", [(found.cid,) for found in old])
            for found in old:
                store.objects.remove(found.cid)
        others: list[tuple[Kind, Path]] = [("unpacked", path) for path in _unpacked(root, used, grace)]
        others += [("quarantine", path) for path in entries(root / "quarantine") if age(path) > grace]
        others += [("link", path) for path in dead_links]
        for kind, path in others:
            size = 0 if kind == "link" else size_of(path)
            report.removed.append(Garbage(kind, str(path.relative_to(root)), size))
            if not dry_run and not remove_tree(path):
                raise StorageError(f"{str(path)!r} cannot be removed: check its permissions")
        last = sweep(store, grace=grace, alone=True, dry_run=dry_run)
    if names := [*swept.removed, *last.removed]:
        report.removed.append(Garbage("leftover", ", ".join(names), swept.freed + last.freed))
    report.waiting = len(loose) - len(old)
    report.waiting_bytes = sum(found.size for found in loose) - sum(found.size for found in old)
    return report


def _unreferenced(store: Store) -> tuple[list[StoredObject], list[Path]]:
    """What no record refers to, by name: objects, and links to users' files that are gone.

    Raises:
        StorageError: there are documents that the index does not know.
    """
    needed = recorded(store.index)
    objects = list(store.objects.scan())
    if missed := sorted(unknown(store)):
        raise StorageError(
            f"the index of {str(store.root)!r} does not know {len(missed)} provenance document(s) of the store "
            f"({missed[0]}{' ...' if len(missed) > 1 else ''}), so it cannot tell what is referred to: "
            "run `stargazer fsck` first"
        )
    loose = [found for found in objects if isinstance(found, StoredObject) and found.cid not in needed]
    strays = [found.path for found in objects if isinstance(found, Stray)]
    dead = [path for path in strays if path.is_symlink() and path.name not in needed]
    return sorted(loose, key=lambda found: found.cid), sorted(dead)


def _idle(store: Store, cid: str) -> float:
    """Seconds since an object arrived or lost its last record; none if that is in the future or cannot be told."""
    ends = [*store.documents(cid, "retracted"), *store.documents(cid, "amended")]
    documents = [(store.ledger.folder(end) or store.ledger.own).path(end) for end in ends]
    try:
        return time.time() - max(path.lstat().st_ctime for path in [store.objects.path(cid), *documents])
    except OSError:
        return 0.0


def _unpacked(root: Path, used: set[str], grace: float) -> Iterator[Path]:
    """Unpacked folders that no task has read for the grace; of another user, who alone can remove them, none."""
    for path in entries(root / "unpacked"):
        last = max((max(found.st_atime, found.st_ctime) for found in statuses(path)), default=0.0)
        removable = os.geteuid() in (0, path.lstat().st_uid)
        if path.name not in used and removable and time.time() - last > grace:
            yield path
