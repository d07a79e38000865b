"""Checks a store against itself and repairs what can be repaired (`fsck`): its index, ledger, objects and records."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
from stargazer.assets import IntegrityError, StargazerError, StorageError
from stargazer.assets.provenance import Execution, Import
from stargazer.storage import verified
from stargazer.storage.cid import compute_cid, is_cid
from stargazer.storage.files import is_there, place_link
from stargazer.storage.index.schema import IndexDamaged, mark_checked
from stargazer.storage.locks import Tell, alone, silent, try_alone
from stargazer.storage.maintenance import rebuild
from stargazer.storage.maintenance._evict import evicted, forget
from stargazer.storage.maintenance.leftovers import SweepReport, remove_tree, sweep
from stargazer.storage.objects import Objects, StoredObject, Stray, shard_of
from stargazer.storage.settings import available_cores
from stargazer.storage.store import Store, check_format
from stargazer.storage.threads import each

if TYPE_CHECKING:
    import sqlite3

    from stargazer.storage.download.http import Progress
    from stargazer.storage.download.sources import Source

__all__ = ["FsckReport", "Kind", "Problem", "fsck"]

Kind = Literal["index", "document", "stray", "damaged", "missing"]

_UNREADABLE = "it cannot be read"  # so begins the reason of an object whose bytes may be right


@attrs.frozen
class Problem:
    """One thing that was not as it should be.

    Attributes:
        what: a CID, or a path within the store.
        names: file names of its records.
        found: what was wrong.
        done: what was done about it, or would be.
        fixed: nothing is lost, and nothing is left to do.
        todo: what is left to do.
    """

    kind: Kind
    what: str
    found: str
    done: str = ""
    fixed: bool = False
    todo: str = ""
    names: list[str] = attrs.field(factory=list)


@attrs.define(kw_only=True)
class FsckReport:
    """What fsck looked at and found.

    Attributes:
        full: whether every byte was hashed.
        repair: whether anything was changed.
        objects, bytes: what the store holds; links to users' files with them.
        hashed, hashed_bytes: what of it was read.
        unhashed: objects of records that were not hashed since the index was made.
        elsewhere: records whose bytes were never here, and can be brought.
        replayed: provenance documents that the index did not know.
        swept: what killed processes had left.
    """

    full: bool
    repair: bool
    objects: int = 0
    bytes: int = 0
    hashed: int = 0
    hashed_bytes: int = 0
    unhashed: int = 0
    elsewhere: int = 0
    replayed: int = 0
    problems: list[Problem] = attrs.field(factory=list)
    swept: SweepReport = attrs.field(factory=SweepReport)

    @property
    def ok(self) -> bool:
        """Whether nothing is lost or left to do."""
        return all(problem.fixed for problem in self.problems)


def fsck(
    store: Store,
    *,
    full: bool = False,
    repair: bool = True,
    tell: Tell = silent,
    progress: Progress | None = None,
) -> FsckReport:
    """Check the index, the files and that each record has its bytes; repair what can be repaired.

    Quick, a file is trusted while its size, times and inode are those it was hashed with. Full, every byte is hashed,
    and the index is compared with one that is made from the ledger. A damaged, lost or wrong index is made again from
    the provenance in the ledger; damaged or missing bytes are fetched from a source that has them. A second run finds
    nothing but what is lost. Other processes may go on.

    Args:
        repair: False changes nothing and reports what would be done.
        tell: told what takes long.
        progress: called with the bytes that are hashed and those in all.

    Raises:
        StorageError: the store or its index is of another version, or the store cannot be read or (to repair it)
            written.
    """
    report = FsckReport(full=full, repair=repair)
    places = (store.objects.folder, store.ledger.own.folder, store.ledger.foreign.folder)
    if not any(place.is_dir() for place in places) and not is_there(store.index_path):
        return report
    check_format(store.root)
    store.is_checked = True
    try:
        check = _Check(store, report, tell, progress)
        check.index()
        try:
            check.rest()
        except IndexDamaged as error:  # in a part that was not looked at before
            check.index(why=str(error.__cause__ or error))
            check.rest()
        if repair and check.is_readable() and store.doubt():
            with store.index.transaction() as connection:
                mark_checked(connection)
        report.swept = sweep(store, dry_run=not repair)
        return report
    finally:
        store.is_checked = False


class _Check:
    """One run: the store as it was found, and what is reported of it so far."""

    def __init__(self, store: Store, report: FsckReport, tell: Tell, progress: Progress | None) -> None:
        self.store, self.report, self.tell, self.progress = store, report, tell, progress
        self.repair = report.repair
        self.own, self.foreign, self.objects = store.ledger.own, store.ledger.foreign, store.objects
        self.here: dict[Objects, dict[str, StoredObject]] = {}
        self.strays: dict[Objects, list[Stray]] = {}
        for folder in (self.own, self.foreign, self.objects):
            found = list(folder.scan())
            self.here[folder] = {item.cid: item for item in found if isinstance(item, StoredObject)}
            strays = [item for item in found if isinstance(item, Stray)]
            self.strays[folder] = _within(strays, self.here[folder])
            report.objects += len(self.here[folder])
            report.bytes += sum(item.size for item in self.here[folder].values())
        self.index_is_sound = True
        self.suspects: set[str] = set()  # documents that were damaged when they were read
        self.damaged: set[tuple[Objects, str]] = set()

    def is_readable(self) -> bool:
        """Whether there is an index to be asked."""
        return self.index_is_sound and is_there(self.store.index_path)

    def index(self, why: str = "") -> None:
        """The index: sound, or made again."""
        store, path = self.store, self.store.index_path
        if self.repair:
            rebuild.quarantine_leftovers(store)
        there = is_there(path)
        why = why or rebuild.damage(store, full=self.report.full)
        if why or (not there and store.ledger.cids()):
            self._make_index(f"damaged: {why}" if there else "it is missing")

    def rest(self) -> None:
        """Everything but the file of the index."""
        self._strays()
        if self.is_readable():
            self._pairs()
        self._bytes(self.own, self.foreign)
        if self.is_readable():
            self._documents()
            self._compare_index()
        self._bytes(self.objects)
        if self.is_readable():
            self._missing()

    # the index and the ledger

    def _make_index(self, found: str) -> None:
        name = self.store.index_path.name
        if not self.repair:
            self.index_is_sound = False
            self._add("index", name, found, "would be made again from the provenance in the store")
            return
        self.tell(f"the index is {'missing' if 'missing' in found else 'damaged'}: making it again")
        rebuilt = rebuild.rebuild(self.store, self.tell)
        count = len(rebuilt.documents.sound)
        self.report.replayed += count
        self.suspects |= set(rebuilt.documents.damaged)
        aside = rebuilt.aside and str(rebuilt.aside.relative_to(self.store.root))
        kept = f"; the old one is {aside!r}" if aside else ""
        done = f"made again from {count} provenance documents{kept}"
        self._add("index", name, found, done, fixed=True)

    def _compare_index(self) -> None:
        """In a full run: whether the index says what the ledger says."""
        if self.report.full and (why := rebuild.difference(self.store)):
            with alone(self.store.root, self.tell):  # a document may have come in between
                why = rebuild.difference(self.store)
            if why:
                self._make_index(f"damaged: {why}")

    def _pairs(self) -> None:
        """Documents that lie in both folders are the store's own: a sound copy of each stays there."""
        with try_alone(self.store.root) as nobody_else:
            for cid in sorted(self.here[self.own].keys() & self.here[self.foreign].keys()):
                if not nobody_else or not (self.own.stat(cid) and self.foreign.stat(cid)):
                    continue  # it is on its way from one to the other
                if _is_right(self.own.path(cid)):
                    done = "removed from ledger/foreign"
                elif _is_right(self.foreign.path(cid)):
                    done = "moved from ledger/foreign to ledger/own, where its bytes were damaged"
                else:
                    continue
                if self.repair:
                    if not done.startswith("removed"):
                        self.own.quarantine(cid)
                        self.store.ledger.adopt(cid)
                    self.foreign.remove(cid)
                    self.here[self.own][cid] = self.own.stat(cid) or self.here[self.own][cid]
                    del self.here[self.foreign][cid]
                found = "the store's own, and in ledger/foreign too"
                self._add("document", cid, found, self._would(done), fixed=self.repair)

    def _documents(self) -> None:
        """The ledger and the index know the same documents: unknown ones take effect, lost ones are fetched."""
        with self.store.index.reading() as connection:
            known = {cid for (cid,) in connection.execute("SELECT cid FROM documents")}
        for cid in sorted(known - self.here[self.own].keys() - self.here[self.foreign].keys()):
            if self.store.ledger.folder(cid) is None:
                self._lost(cid, self.store.folder_for(cid))
        if not (unknown := rebuild.unknown(self.store)):
            return
        documents = rebuild.check_documents(self.store, unknown)
        for cid, why in documents.unreadable.items():
            self._add("document", cid, why, todo="move it out of the ledger, or upgrade Stargazer")
        cids = documents.sound
        if self.repair and cids:
            cids = rebuild.take_effect(self.store, self.tell)
            self.report.replayed += len(cids)
        done = "it took effect" if self.repair else "it would take effect"
        for cid in cids:
            self._add("document", cid, "provenance that the index did not know", done, fixed=self.repair)

    # files

    def _strays(self) -> None:
        """What lies among the objects or documents and is none; but not what is on its way in."""
        for folder, strays in self.strays.items():
            for stray in strays:
                path, why = stray.path, stray.why
                if path.name.startswith(".new-"):
                    with try_alone(self.store.root) as nobody_else:
                        if nobody_else:
                            self._act(path, "left by a process that was killed", "removed", remove_tree)
                elif is_cid(path.name) and path.is_symlink():
                    continue  # to a file that is gone: missing, if a record needs it
                elif is_cid(path.name) and path.is_file() and _is_right(path):
                    self._act(path, why, "put there", partial(_put, folder))
                else:
                    self._act(path, why, "moved to quarantine", self.objects.set_aside)
        self.strays.clear()

    def _act(self, path: Path, found: str, done: str, act: Callable[[Path], object]) -> None:
        """Do something with a stray, and say so; or say what would be done, or why it cannot be."""
        name = str(path.relative_to(self.store.root))
        try:
            if self.repair:
                act(path)
        except OSError as error:
            todo = f"it cannot be {done}: {error.strerror or error}"
            self._add("stray", name, found, todo=todo)
        else:
            self._add("stray", name, found, self._would(done), fixed=self.repair)

    def _bytes(self, *folders: Objects) -> None:
        """The bytes of objects and documents are what their CIDs say."""
        needed, suspicious = self._needed_and_suspicious(folders)
        sound = []
        for item, folder, why in self._hashed(suspicious):
            if why:
                self._damaged(item, folder, why, needed=item.cid in needed)
            elif item.cid in needed:
                sound.append(item)
        if self.repair and self.index_is_sound and sound:
            try:
                with self.store.index.transaction() as connection:
                    verified.remember(connection, sound)
            except IndexDamaged:
                raise
            except StorageError:  # a store that can only be read is hashed every time
                pass

    def _needed_and_suspicious(
        self, folders: Iterable[Objects]
    ) -> tuple[set[str], list[tuple[StoredObject, Objects]]]:
        """What is needed, and what is to be hashed: everything, or what has changed since it was."""
        items = [(item, folder) for folder in folders for item in self.here[folder].values()]
        items = [pair for pair in items if (pair[1], pair[0].cid) not in self.damaged]
        needed = {item.cid for item, folder in items if folder is not self.objects}
        if not self.is_readable():
            return needed, [pair for pair in items if self.report.full or pair[0].cid in self.suspects]
        with self.store.index.reading() as connection:
            needed |= rebuild.recorded(connection)
            if self.report.full:
                return needed, items
            figures = {row[0]: StoredObject(*row) for row in connection.execute("SELECT * FROM objects")}
            fresh = {item.cid for item, _ in items if item.cid not in figures}
            self.report.unhashed += len(fresh & needed)
            sizes = _record_sizes(connection) if fresh else {}
        return needed, [
            (item, folder)
            for item, folder in items
            if item.cid in self.suspects
            or (
                figures[item.cid] != item
                if item.cid in figures
                else sizes.get(item.cid, item.size) != item.size
            )
        ]

    def _hashed(self, items: list[tuple[StoredObject, Objects]]) -> list[tuple[StoredObject, Objects, str]]:
        """Each file as it was when it was hashed, and what is wrong with it; what vanishes meanwhile is left out."""
        before, lock = self.report.hashed_bytes, threading.Lock()
        total = before + sum(item.size for item, _ in items)
        found = []

        def check(pair: tuple[StoredObject, Objects]) -> None:
            item, folder = pair
            why = ""
            try:
                item = folder.verify(item.cid)
            except IntegrityError as error:
                in_place = folder.is_link(item.cid)  # then the text names the user's file
                why = str(error) if in_place else "its bytes are not those that its CID says"
            except StorageError as error:
                if folder.stat(item.cid) is None:
                    return
                why = f"{_UNREADABLE}: {error}"
            with lock:
                found.append((item, folder, why))
                self.report.hashed += 1
                self.report.hashed_bytes += item.size
                if self.progress is not None:
                    self.progress(self.report.hashed_bytes, total)

        large_first = sorted(items, key=lambda pair: -pair[0].size)
        each(check, large_first, available_cores(), "stargazer-fsck")
        return sorted(found, key=lambda entry: entry[0].cid)

    def _damaged(self, item: StoredObject, folder: Objects, why: str, *, needed: bool) -> None:
        """A file whose bytes are not what its CID says: another copy of it, or quarantine."""
        cid, original = item.cid, folder.original(item.cid)
        self.damaged.add((folder, cid))
        sources = self._sources(cid, folder) if needed else []
        if not self.repair:
            done = f"would be fetched from {sources[0].name}" if sources else "would be moved to quarantine"
            self._add("damaged", cid, why, done, todo="" if sources else self._todo(cid))
            return
        kept = fetched = failed = ""
        # without a source the user may bring it back as it was, or make it readable: the bytes may be right
        if sources or (original is None and not why.startswith(_UNREADABLE)):
            aside = folder.quarantine(cid)
            if original is None:
                kept = f"what was here is in {str(aside.relative_to(self.store.root))!r}"
            fetched, failed = self._fetch(cid, sources, folder) if sources else ("", "")
            if not fetched and original is not None:
                with contextlib.suppress(OSError):
                    place_link(original, folder.path(cid))
        todo = _joined(" ", failed, self._todo(cid)) if needed and not fetched else ""
        self._add("damaged", cid, why, _joined("; ", fetched, kept), fixed=not todo, todo=todo)

    def _missing(self) -> None:
        """Records whose bytes are not here, unless they were dropped on purpose."""
        here, documents = self.here[self.objects].keys(), self.here[self.own].keys() | self.here[self.foreign]
        with self.store.index.reading() as connection:
            dropped = evicted(connection)
            were_here = {cid for (cid,) in connection.execute("SELECT cid FROM objects")}
            known = {cid for (cid,) in connection.execute("SELECT cid FROM documents")}
            absent = rebuild.recorded(connection) - here - documents - known - dropped
        if self.repair and (back := [cid for cid in dropped & here if self.objects.stat(cid) is not None]):
            with self.store.index.transaction() as connection:
                forget(connection, back)
        for cid in sorted(absent):
            if self.store.is_here(cid) or (self.objects, cid) in self.damaged:
                continue  # it has arrived meanwhile, or was told of
            if cid in were_here:
                self._lost(cid, self.objects)
            else:  # known from provenance: of another machine, a bundle, or before the index was lost
                self.report.elsewhere += 1

    def _lost(self, cid: str, folder: Objects) -> None:
        """Bytes that should be here and are not: fetched, or lost."""
        if (folder, cid) in self.damaged:
            return
        original = folder.original(cid)
        found = "its bytes are not here"
        if original is not None:
            found = f"the file that it was added from, {str(original)!r}, is gone"
        sources = self._sources(cid, folder)
        if sources and not self.repair:
            self._add("missing", cid, found, f"would be fetched from {sources[0].name}")
            return
        fetched, failed = self._fetch(cid, sources, folder) if sources else ("", "")
        todo = "" if fetched else _joined(" ", failed, self._todo(cid))
        self._add("missing", cid, found, fetched, fixed=bool(fetched), todo=todo)

    # what is said, and where bytes come from

    def _add(
        self, kind: Kind, what: str, found: str, done: str = "", *, fixed: bool = False, todo: str = ""
    ) -> None:
        names = []
        if kind in ("damaged", "missing"):
            with contextlib.suppress(StorageError), self.store.index.reading() as connection:
                names = _names(connection, what)
        self.report.problems.append(Problem(kind, what, found, done, fixed, todo, names))

    def _would(self, done: str) -> str:
        return done if self.repair else f"would be {done}"

    def _sources(self, cid: str, folder: Objects) -> list[Source]:
        """Where the bytes may be had: another folder of the store, then mirrors and the account."""
        from stargazer.storage.download.sources import LocalFile

        copies: list[Source] = [
            LocalFile(other.path(cid))
            for other, here in self.here.items()
            if other is not folder and cid in here
        ]
        with contextlib.suppress(StargazerError):
            return copies + self.store.sources(cid)
        return copies

    def _fetch(self, cid: str, sources: list[Source], folder: Objects) -> tuple[str, str]:
        """Bring bytes from a source: what was done, or else why it could not be."""
        from stargazer.storage.download.fetch import fetch_object

        self.tell(f"fetching {cid} from {sources[0].name}")
        try:
            found = fetch_object(cid, sources, folder)
        except StorageError as error:
            return "", str(error)
        with self.store.index.transaction() as connection:
            verified.remember(connection, [found])
        return "fetched again" if len(sources) > 1 else f"fetched again from {sources[0].name}", ""

    def _todo(self, cid: str) -> str:
        """How people can have the bytes again: by what made them."""
        original = self.objects.original(cid)
        ways = [f"bring {str(original)!r} back as it was"] if original else []
        documents = []
        with contextlib.suppress(StargazerError):
            documents = self.store.documents(cid, "output")
        for document_cid in documents:
            try:
                document = self.store.document(document_cid)
            except StargazerError:
                continue
            if isinstance(document, Execution):
                ways.append(f"`stargazer get` it: {document.task} computes it again")
            elif isinstance(document, Import):
                origins = {entry.origin or entry.name for entry in document.files if entry.cid == cid}
                ways.append(f"add {' or '.join(sorted(origins))!r} again")
        return "; or ".join(dict.fromkeys(ways)) or "add the same file again, if you have a copy"


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


def _put(folder: Objects, path: Path) -> None:
    """Give a file that lies elsewhere its place, unless another copy has it."""
    if folder.stat(path.name) is None:
        folder.keep(path, path.name)
    else:
        path.unlink()


def _is_right(path: Path) -> bool:
    try:
        return compute_cid(path) == path.name
    except OSError:
        return False


def _joined(between: str, *parts: str) -> str:
    return between.join(filter(None, parts))


def _record_sizes(connection: sqlite3.Connection) -> dict[str, int]:
    """The sizes that records state, by CID."""
    sql = (
        "SELECT json_extract(body, '$.cid'), json_extract(body, '$.size') "
        "FROM docs JOIN tables USING(tid) WHERE name = 'records'"
    )
    return {cid: size for cid, size in connection.execute(sql) if isinstance(cid, str)}


def _names(connection: sqlite3.Connection, cid: str) -> list[str]:
    """The file names of the records of a CID."""
    sql = (
        "SELECT DISTINCT json_extract(body, '$.name') FROM terms JOIN tables USING(tid) JOIN docs USING(seq) "
        "WHERE name = 'records' AND key = 'cid' AND value = ?"
    )
    return sorted(name for (name,) in connection.execute(sql, (cid,)) if name)
