"""gc: objects that no record refers to any more, and other things that nobody will miss, are removed after a grace."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
from stargazer.assets import StargazerError, StorageError
from stargazer.assets.provenance import Amendment, Retraction
from stargazer.storage.locks import Tell, alone, silent
from stargazer.storage.maintenance import indexing, known, leftovers
from stargazer.storage.maintenance.sweep import SweepReport, sweep_alone
from stargazer.storage.objects import StoredObject
from stargazer.storage.store import check_format

if TYPE_CHECKING:
    from stargazer.storage.store import Store

__all__ = ["GRACE", "Garbage", "GcReport", "gc"]

GRACE = 14 * leftovers.DAY
"""Seconds for which what nobody refers to stays."""


@attrs.frozen
class Garbage:
    """One thing that nobody needs.

    Attributes:
        name: the CID of an object, the path within the store of anything else.
        size: bytes that are freed; none for a link to a user's file.
    """

    kind: Literal["object", "link", "unpacked", "quarantine", "leftover"]
    name: str
    size: int


@attrs.frozen(kw_only=True)
class GcReport:
    """What gc removed, or would.

    Attributes:
        removed: in the order of kinds and names.
        waiting: objects without a record that stay, since the grace is not over or they are in use.
        waiting_bytes: their bytes.
    """

    dry_run: bool
    removed: list[Garbage]
    waiting: int
    waiting_bytes: int

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
            the store cannot be written.
    """
    if not store.root.is_dir():
        return GcReport(dry_run=dry_run, removed=[], waiting=0, waiting_bytes=0)
    check_format(store.root)
    with alone(store.root, tell):
        # first what needs no index: on a full disk that cannot even be read
        swept_first = (
            sweep_alone(store.root, grace, alone=True, dry_run=False) if not dry_run else SweepReport()
        )
        used = leftovers.cids_in_use(store.root)
        unreferenced, dead_links = _unreferenced(store)
        old = [found for found in unreferenced if found.cid not in used and _idle(store, found) > grace]
        removed = [_described(store, found) for found in old]
        if not dry_run:
            _drop(store, [found.cid for found in old])
        removed += [
            _removed(store.root, "unpacked", path, dry_run) for path in _unpacked(store.root, used, grace)
        ]
        removed += [
            _removed(store.root, "quarantine", path, dry_run) for path in _quarantined(store.root, grace)
        ]
        removed += [_removed(store.root, "link", path, dry_run) for path in dead_links]
        swept = sweep_alone(store.root, grace, alone=True, dry_run=dry_run)
    if names := [*swept_first.removed, *swept.removed]:
        removed.append(Garbage("leftover", ", ".join(names), swept_first.freed + swept.freed))
    gone = {found.cid for found in old}
    waiting = [found for found in unreferenced if found.cid not in gone]
    return GcReport(
        dry_run=dry_run,
        removed=removed,
        waiting=len(waiting),
        waiting_bytes=sum(found.size for found in waiting),
    )


def _unreferenced(store: Store) -> tuple[list[StoredObject], list[Path]]:
    """What no record refers to, documents aside: objects, and links to users' files that are gone.

    Raises:
        StorageError: there are documents that the index does not know.
    """
    with store.index.reading() as connection:
        expected = known.recorded(connection)
    loose: list[StoredObject] = []
    dead: list[Path] = []
    for found in store.objects.scan():
        if isinstance(found, StoredObject):
            loose += [found] if found.cid not in expected else []
        elif found.path.is_symlink() and found.path.name not in expected:
            dead.append(found.path)
    if unknown := sorted(indexing.unknown(store)):
        raise StorageError(
            f"the index of {str(store.root)!r} does not know {len(unknown)} provenance document(s) of the store "
            f"({unknown[0]}{' ...' if len(unknown) > 1 else ''}), so it cannot tell what is referred to: "
            "run `stargazer fsck` first"
        )
    return sorted(loose, key=lambda found: found.cid), sorted(dead)


def _idle(store: Store, found: StoredObject) -> float:
    """Seconds since an object arrived or lost its last record; none if that is in the future or cannot be told."""
    since = os.lstat(store.objects.path(found.cid)).st_ctime
    for cid in [*store.documents(found.cid, "retracted"), *store.documents(found.cid, "amended")]:
        try:
            document = store.document(cid)
        except StargazerError:
            return 0.0
        if isinstance(document, Amendment | Retraction):
            since = max(since, _seconds(document.at), os.lstat(store.read_here(cid)).st_ctime)
    return time.time() - since


def _seconds(at: str) -> float:
    """A document's time in seconds; the far future if it is none, so that nothing is removed for it."""
    try:
        return datetime.datetime.fromisoformat(at).timestamp()
    except ValueError:
        return float("inf")


def _described(store: Store, found: StoredObject) -> Garbage:
    if store.objects.is_link(found.cid):
        return Garbage("link", found.cid, 0)
    return Garbage("object", found.cid, found.size)


def _drop(store: Store, cids: list[str]) -> None:
    """Forget that these objects were verified, then remove them."""
    if not cids:
        return
    with store.index.transaction() as connection:
        connection.executemany("DELETE FROM objects WHERE cid = ?", [(cid,) for cid in cids])
    for cid in cids:
        store.objects.remove(cid)


def _unpacked(root: Path, used: set[str], grace: float) -> Iterator[Path]:
    """Unpacked folders that no task has read for the grace; of another user, who alone can remove them, none."""
    for path in leftovers.entries(root / "unpacked"):
        removable = os.geteuid() in (0, path.lstat().st_uid)
        if path.name not in used and removable and _unread(path) > grace:
            yield path


def _unread(folder: Path) -> float:
    """Seconds since anything below a folder was read or made."""
    last = 0.0
    for path in [folder, *folder.rglob("*")]:
        with contextlib.suppress(OSError):
            status = path.lstat()
            last = max(last, status.st_atime, status.st_ctime)
    return time.time() - last


def _quarantined(root: Path, grace: float) -> Iterator[Path]:
    yield from (path for path in leftovers.entries(root / "quarantine") if leftovers.age(path) > grace)


def _removed(
    root: Path, kind: Literal["link", "unpacked", "quarantine"], path: Path, dry_run: bool
) -> Garbage:
    garbage = Garbage(kind, str(path.relative_to(root)), 0 if kind == "link" else leftovers.size_of(path))
    if not dry_run and not leftovers.remove_tree(path):
        raise StorageError(f"{str(path)!r} cannot be removed: check its permissions")
    return garbage
