"""fsck: a store is checked against itself, and what can be repaired is repaired; nothing else is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets import StorageError
from stargazer.storage import verified
from stargazer.storage.cid import is_cid
from stargazer.storage.download.http import Progress
from stargazer.storage.files import is_there
from stargazer.storage.index.schema import IndexDamaged, mark_checked
from stargazer.storage.locks import Tell, silent
from stargazer.storage.maintenance import evictions, indexing, known
from stargazer.storage.maintenance.hashing import hash_all
from stargazer.storage.maintenance.problems import FsckReport, Kind, Problem
from stargazer.storage.maintenance.repairing import Repairs
from stargazer.storage.maintenance.sweep import SweepReport, sweep
from stargazer.storage.objects import StoredObject, Stray, shard_of
from stargazer.storage.store import check_format

if TYPE_CHECKING:
    from stargazer.storage.objects import Objects
    from stargazer.storage.store import Store

__all__ = ["FsckReport", "Kind", "Problem", "fsck"]


def fsck(
    store: Store,
    *,
    full: bool = False,
    repair: bool = True,
    tell: Tell = silent,
    progress: Progress | None = None,
) -> FsckReport:
    """Check the index, the objects, and that each record has its bytes; repair what can be repaired.

    Quick, an object is trusted while its size, times and inode are those it was hashed with. Full, every byte is
    hashed. A damaged or lost index is made again from the provenance among the objects; damaged or missing bytes are
    fetched from a source that has them. A second run finds nothing but what is lost. Other processes may go on.

    Args:
        repair: False changes nothing and reports what would be done.
        tell: told what takes long.
        progress: called with the bytes that are hashed and those in all.

    Raises:
        StorageError: the index is of a newer version, or the store cannot be read or (to repair it) written.
    """
    if not any((store.root / name).is_dir() for name in ("objects", "ledger")) and not is_there(
        store.index_path
    ):
        return FsckReport(full=full, repair=repair)
    check_format(store.root)
    store.is_checked = True
    try:
        check = _Check(store, full=full, repair=repair, tell=tell, progress=progress)
        check.index()
        try:
            check.rest()
        except IndexDamaged as error:  # in a part that was not looked at before
            check.index(why=str(error.__cause__ or error))
            check.rest()
        check.acknowledge()
        return check.report(sweep(store, dry_run=not repair))
    finally:
        store.is_checked = False


def _within(strays: Iterable[Stray], here: Collection[str]) -> list[Stray]:
    """Strays that are the store's own: of a folder that leads out of it, the link, and nothing behind it."""
    own: dict[Path, Stray] = {}
    for stray in strays:
        folder = stray.path.parent
        if not folder.is_symlink():
            own[stray.path] = stray
        elif not any(shard_of(cid) == folder.name for cid in here):
            own[folder] = Stray(folder, "a link out of the store")
    return list(own.values())


class _Check:
    """One run: the state of the store as it was found, and the problems so far."""

    def __init__(
        self, store: Store, *, full: bool, repair: bool, tell: Tell, progress: Progress | None
    ) -> None:
        self.store, self.full, self.repair, self.tell, self.progress = store, full, repair, tell, progress
        self.repairs = Repairs(store, repair=repair, tell=tell)
        self.problems: list[Problem] = []
        self.here: dict[str, StoredObject] = {}
        self.places: dict[str, Objects] = {}
        self.strays: list[tuple[Stray, Objects]] = []
        for folder in (store.ledger.foreign, store.ledger.own, store.objects):
            found = list(folder.scan())
            here = {item.cid: item for item in found if isinstance(item, StoredObject)}
            self.here |= here
            self.places |= dict.fromkeys(here, folder)
            strays = _within([item for item in found if isinstance(item, Stray)], here)
            self.strays += [(stray, folder) for stray in strays]
        self.index_is_sound = True
        self.hashed: dict[str, int] = {}
        self.damaged: set[str] = set()
        self.replayed = 0
        self.unhashed = 0
        self.elsewhere = 0

    def index(self, why: str = "") -> None:
        """The index: sound, or made again."""
        store, path = self.store, self.store.index_path
        if self.repair:
            indexing.set_aside_before(store)
        there = is_there(path)
        why = why or indexing.damage(store, full=self.full)
        if there and not why:
            return
        if not there and not store.ledger.cids():
            return
        found = f"damaged: {why}" if there else "it is missing"
        if not self.repair:
            self.index_is_sound = False
            done = "would be made again from the provenance in the store"
            self.problems.append(Problem("index", path.name, found, done))
            return
        self.tell(f"the index is {'damaged' if there else 'missing'}: making it again")
        rebuilt = indexing.rebuild(store, self.tell)
        self.replayed += rebuilt.documents
        done = f"made again from {rebuilt.documents} provenance documents"
        kept = f"; the old one is {str(rebuilt.aside.relative_to(store.root))!r}" if rebuilt.aside else ""
        self.problems.append(Problem("index", path.name, found, done + kept, fixed=True))
        for cid in rebuilt.damaged:
            if item := self.here.get(cid):
                self._damaged(item, "its bytes are not what its CID says")

    def rest(self) -> None:
        """Everything but the index itself."""
        if self._is_readable():
            self.documents()
        self.objects()
        if self._is_readable():
            self.missing()

    def objects(self) -> None:
        """The objects: in their places, and with the bytes that their CIDs say."""
        expected = self._recorded()
        for stray, folder in self.strays:
            if is_cid(stray.path.name) and stray.path.is_symlink():
                continue  # a link to a file that is gone: missing, if a record needs it
            problem = self.repairs.stray(stray, folder)
            self.problems += [problem] if problem else []
        suspicious = self._suspicious()
        sound: list[StoredObject] = []
        for item, why in hash_all(self.places, suspicious, self.progress):
            self.hashed[item.cid] = item.size
            if why:
                self._damaged(item, why)
            else:
                sound.append(item)
        if self.repair and self.index_is_sound and sound:
            known_before = [item for item in sound if item.cid in expected]
            try:
                with self.store.index.transaction() as connection:
                    verified.remember(connection, known_before)
            except IndexDamaged:
                raise
            except StorageError:  # a store that can only be read is hashed every time
                pass

    def missing(self) -> None:
        """Records whose bytes are not here, unless they were dropped on purpose."""
        with self.store.index.reading() as connection:
            evicted = evictions.evicted(connection)
            were_here = known.hashed(connection)
        expected = self._recorded()
        if self.repair and (back := evicted & set(self.here)):
            with self.store.index.transaction() as connection:
                evictions.forget(
                    connection, [cid for cid in back if self.store.objects.stat(cid) is not None]
                )
        for cid in sorted(expected - set(self.here) - evicted - self.damaged):
            if self.store.is_here(cid):  # it has arrived meanwhile
                continue
            if (
                cid not in were_here
            ):  # known from provenance: of another machine, a bundle, or before the index was lost
                self.elsewhere += 1
            else:
                self.problems.append(self.repairs.missing(cid))

    def documents(self) -> None:
        """Provenance that the index does not know takes effect."""
        sound, _ = indexing.sound_documents(self.store, indexing.unknown(self.store))
        if not sound:
            return
        cids = indexing.replay_unknown(self.store, self.tell) if self.repair else [item.cid for item in sound]
        self.replayed += len(cids) if self.repair else 0
        done = "it took effect" if self.repair else "it would take effect"
        for cid in cids:
            self.problems.append(
                Problem("document", cid, "provenance that the index did not know", done, self.repair)
            )

    def acknowledge(self) -> None:
        """Note that the index knows all that can be known."""
        if self.repair and self._is_readable() and self.store.doubt():
            with self.store.index.transaction() as connection:
                mark_checked(connection)

    def report(self, swept: SweepReport) -> FsckReport:
        """Everything, in one."""
        return FsckReport(
            full=self.full,
            repair=self.repair,
            objects=len(self.here),
            bytes=sum(item.size for item in self.here.values()),
            hashed=len(self.hashed),
            hashed_bytes=sum(self.hashed.values()),
            unhashed=self.unhashed,
            elsewhere=self.elsewhere,
            replayed=self.replayed,
            problems=self.problems,
            swept=swept,
        )

    def _damaged(self, item: StoredObject, why: str) -> None:
        if item.cid not in self.damaged:
            self.damaged.add(item.cid)
            needed = item.cid in self._recorded()
            self.problems.append(self.repairs.damaged(item, why, self.places[item.cid], needed=needed))

    def _recorded(self) -> set[str]:
        if not self._is_readable():
            return set()
        with self.store.index.reading() as connection:
            return known.recorded(connection)

    def _is_readable(self) -> bool:
        return self.index_is_sound and is_there(self.store.index_path)

    def _suspicious(self) -> list[StoredObject]:
        """What is to be hashed: everything, or objects that have changed since they were."""
        items = [item for item in self.here.values() if item.cid not in self.damaged]
        if self.full:
            return items
        if not self._is_readable():
            return []
        with self.store.index.reading() as connection:
            figures = {row[0]: StoredObject(*row) for row in connection.execute("SELECT * FROM objects")}
            fresh = [item for item in items if item.cid not in figures]
            self.unhashed = len({item.cid for item in fresh} & known.recorded(connection))
            sizes = known.record_sizes(connection) if fresh else {}
        return [
            item
            for item in items
            if (
                figures[item.cid] != item
                if item.cid in figures
                else sizes.get(item.cid, item.size) != item.size
            )
        ]
