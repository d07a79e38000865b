"""Checks a store against itself and repairs what can be repaired (`fsck`): its index, ledger, objects and records."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
from stargazer.assets import FormatError, IntegrityError, StargazerError, StorageError
from stargazer.assets.provenance import Execution, Import
from stargazer.storage import verified
from stargazer.storage.cid import compute_cid, is_cid
from stargazer.storage.files import is_there, place_link
from stargazer.storage.index.schema import CHECKED, IndexDamaged, set_mark
from stargazer.storage.locks import Tell, alone, silent
from stargazer.storage.maintenance import rebuild
from stargazer.storage.maintenance.leftovers import SweepReport, remove_tree, sweep
from stargazer.storage.objects import Objects, StoredObject, Stray, shard_of
from stargazer.storage.settings import available_cores
from stargazer.storage.store import Store, check_format
from stargazer.storage.threads import each

if TYPE_CHECKING:
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
        swept: what killed processes had left.
    """

    full: bool
    repair: bool
    objects: int = 0
    bytes: int = 0
    hashed: int = 0
    hashed_bytes: int = 0
    unhashed: int = 0
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
            check.make_index(str(error.__cause__ or error))
            check.rest()
        if repair and check.is_readable() and store.doubt():
            with store.index.transaction() as connection:
                set_mark(connection, CHECKED)
        report.swept = sweep(store, dry_run=not repair)
        return report
    finally:
        store.is_checked = False


class _Check:
    """One run: the store as it was found, and what is reported of it so far."""

    def __init__(self, store: Store, report: FsckReport, tell: Tell, progress: Progress | None) -> None:
        self.store, self.report, self.tell, self.progress = store, report, tell, progress
        self.own, self.foreign, self.objects = store.ledger.own, store.ledger.foreign, store.objects
        self.here: dict[Objects, dict[str, StoredObject]] = {}
        self.strays: list[tuple[Objects, Stray]] = []
        for folder in (self.own, self.foreign, self.objects):
            found = list(folder.scan())
            here = self.here[folder] = {item.cid: item for item in found if isinstance(item, StoredObject)}
            strays = _within([item for item in found if isinstance(item, Stray)], here)
            self.strays += [(folder, stray) for stray in strays]
            report.objects += len(here)
            report.bytes += sum(item.size for item in here.values())
        self.twice = self.here[self.own].keys() & self.here[self.foreign].keys()
        for cid in self.twice:
            del self.here[self.foreign][cid]
        self.suspects = set(self.twice)  # what is to be hashed, whatever it looks like
        self.told: set[tuple[Objects, str]] = set()  # damaged and missing files
        self.index_is_sound = True

    def is_readable(self) -> bool:
        """Whether there is an index to be asked."""
        return self.index_is_sound and is_there(self.store.index_path)

    def index(self) -> None:
        """The file of the index: sound, or made again."""
        why = rebuild.damage(self.store, full=self.report.full)
        if why or (not is_there(self.store.index_path) and self.store.ledger.cids()):
            self.make_index(why)

    def make_index(self, why: str) -> None:
        """Make an index again that is damaged, and why; or that is missing."""
        done = "made again from the provenance in the store"
        if self.report.repair:
            self.tell(f"the index is {'damaged' if why else 'missing'}: making it again")
            sound, bad, aside = rebuild.rebuild(self.store, self.tell)
            self.suspects |= bad.keys()
            done = f"made again from {len(sound)} provenance documents"
            done += f"; the old one is {str(aside.relative_to(self.store.root))!r}" if aside else ""
        self.index_is_sound = self.report.repair
        self._done("index", self.store.index_path.name, f"damaged: {why}" if why else "it is missing", done)

    def rest(self) -> None:
        """Everything else: the ledger first, for what the index says follows from it."""
        for folder, stray in self.strays:
            self._stray(folder, stray)
        self.strays.clear()
        self._bytes(self.own, self.foreign)
        self._documents_of_both()
        if self.is_readable() and self._documents() and self.report.full and rebuild.difference(self.store):
            with alone(self.store.root, self.tell):  # a document may have come in between
                why = rebuild.difference(self.store)
            if why:
                self.make_index(why)
        self._bytes(self.objects)
        if self.is_readable():
            self._missing()

    # documents

    def _documents_of_both(self) -> None:
        """Documents that lie in both folders are the store's own: the copy among those of others goes."""
        with alone(self.store.root, wait=False) as nobody_else:
            for cid in sorted(self.twice if nobody_else else ()):  # else it may be on its way
                if self.own.stat(cid) and self.foreign.stat(cid):
                    if self.report.repair:
                        self.foreign.remove(cid)
                    found = "it lies in ledger/own and in ledger/foreign"
                    self._done("document", cid, found, "removed from ledger/foreign")

    def _documents(self) -> bool:
        """Unknown documents take effect, lost ones are fetched; whether the index knows then those that are here."""
        known = dict(self.store.index.rows("SELECT cid, own FROM documents"))
        own, foreign = self.here[self.own].keys(), self.here[self.foreign].keys()
        for cid in sorted(known.keys() - own - foreign):
            if self.store.ledger.folder(cid) is None:
                folder = self.own if known[cid] else self.foreign
                self._lacks("missing", cid, folder, "its bytes are not here")
        cids = {cid for cid in own if not known.get(cid)} | (foreign - known.keys())
        sound, bad = rebuild.check_documents(self.store, cids)
        todo = "upgrade stargazer-storage, or move it out of the ledger"
        for cid, error in bad.items():
            if isinstance(error, FormatError):
                self.report.problems.append(Problem("document", cid, str(error), todo=todo))
        if sound and self.report.repair:
            with alone(self.store.root, self.tell):  # none is on its way in
                sound, _ = rebuild.check_documents(self.store, rebuild.unknown(self.store))
                self.store.replay(sound)
        for cid in sound:
            self._done("document", cid, "provenance that the index did not know", "taken in")
        return self.report.repair or not sound

    # files

    def _stray(self, folder: Objects, stray: Stray) -> None:
        """Something among the objects or documents that is none; not what is on its way in."""
        path, why, done = stray.path, stray.why, "moved to quarantine"
        act: Callable[[Path], object] = self.objects.set_aside
        if path.name.startswith(".new-"):
            why, done, act = "left by a process that was killed", "removed", remove_tree
            with alone(self.store.root, wait=False) as nobody_else:
                if not nobody_else:
                    return
        elif is_cid(path.name) and path.is_symlink():
            return  # to a file that is gone: missing, if a record needs it
        elif is_cid(path.name) and path.is_file() and _is_right(path):
            done, act = "put there", partial(folder.keep, cid=path.name)
        name = str(path.relative_to(self.store.root))
        try:
            if self.report.repair:
                act(path)
            if done == "put there" and (put := folder.stat(path.name)):
                self.here[folder][path.name] = put
        except OSError as error:
            todo = f"it cannot be {done}: {error.strerror or error}"
            self.report.problems.append(Problem("stray", name, why, todo=todo))
        else:
            self._done("stray", name, why, done)

    def _bytes(self, *folders: Objects) -> None:
        """The bytes of objects or documents are what their CIDs say."""
        items = [(item, folder) for folder in folders for item in self.here[folder].values()]
        recorded: set[str] = set()
        sizes: dict[str, int] = {}
        known: dict[str, tuple[object, ...]] = {}
        if self.is_readable():
            recorded = rebuild.recorded(self.store.index)
            known = {row[0]: row for row in self.store.index.rows("SELECT * FROM objects")}
            fresh = {item.cid for item, _ in items} - known.keys()
            sizes = rebuild.record_sizes(self.store.index) if fresh else {}
            self.report.unhashed += 0 if self.report.full else len(fresh & recorded)

        def is_doubtful(item: StoredObject) -> bool:
            if row := known.get(item.cid):
                return row != (item.cid, item.size, item.mtime_ns, item.ctime_ns, item.inode)
            return sizes.get(item.cid, item.size) != item.size

        if not self.report.full:
            items = [pair for pair in items if pair[0].cid in self.suspects or is_doubtful(pair[0])]
        sound = []
        for item, folder, why in self._hashed(items):
            needed = item.cid in recorded or folder is not self.objects
            if why:
                self._lacks("damaged", item.cid, folder, why, needed=needed)
            elif needed:
                sound.append(item)
        if self.report.repair and self.index_is_sound and sound:
            # a store that can only be read is hashed every time
            with contextlib.suppress(StorageError), self.store.index.transaction() as connection:
                verified.remember(connection, sound)

    def _hashed(
        self, items: Iterable[tuple[StoredObject, Objects]]
    ) -> list[tuple[StoredObject, Objects, str]]:
        """Each file as it was when it was hashed, and what is wrong with it; what vanishes meanwhile is left out."""
        large_first = sorted(items, key=lambda pair: -pair[0].size)
        total = self.report.hashed_bytes + sum(item.size for item, _ in large_first)
        found, lock = [], threading.Lock()

        def check(pair: tuple[StoredObject, Objects]) -> None:
            (item, folder), why = pair, ""
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

        each(check, large_first, available_cores(), "stargazer-fsck")
        return sorted(found, key=lambda entry: entry[0].cid)

    def _lacks(self, kind: Kind, cid: str, folder: Objects, why: str, *, needed: bool = True) -> None:
        """Bytes that are damaged or missing: fetched from where they are, or said to be lost with what to do."""
        from stargazer.storage.download.fetch import fetch_object

        if (folder, cid) in self.told:
            return
        self.told.add((folder, cid))
        original = folder.original(cid)
        sources = self._sources(cid, folder) if needed else []
        # without a source the user may bring it back as it was, or make it readable: the bytes may be right
        moves = kind == "damaged" and bool(sources or (original is None and not why.startswith(_UNREADABLE)))
        done = kept = failed = ""
        if not self.report.repair:
            done = "would be moved to quarantine" if kind == "damaged" else ""
            done = f"would be fetched from {sources[0].name}" if sources else done
        elif moves:
            aside = folder.quarantine(cid)
            kept = "" if original else f"what was here is in {str(aside.relative_to(self.store.root))!r}"
        if self.report.repair and sources:
            self.tell(f"fetching {cid} from {sources[0].name}")
            try:
                self.store.verified.remember(fetch_object(cid, sources, folder))
                done = "fetched again" if len(sources) > 1 else f"fetched again from {sources[0].name}"
            except StorageError as error:
                failed = str(error)
        if self.report.repair and moves and original and not done:
            with contextlib.suppress(OSError):
                place_link(original, folder.path(cid))
        todo = ""
        if (failed or not sources) and (needed or not self.report.repair):
            todo = " ".join(filter(None, [failed, self._todo(cid)]))
        records = self.store.query_here({"cid": cid}) if self.is_readable() else []
        names = sorted({record.name for record in records if record.name})
        done, fixed = "; ".join(filter(None, [done, kept])), self.report.repair and not todo
        self.report.problems.append(Problem(kind, cid, why, done, fixed, todo, names))

    def _missing(self) -> None:
        """Records whose bytes were here: of others they are on another machine, or were dropped on purpose."""
        rows = self.store.index.rows("SELECT cid FROM objects EXCEPT SELECT cid FROM documents")
        lost = {cid for (cid,) in rows} & rebuild.recorded(self.store.index) - self.here[self.objects].keys()
        for cid in sorted(lost):
            if not self.store.is_here(cid):  # else it has arrived meanwhile
                original = self.objects.original(cid)
                why = f"the file that it was added from, {str(original)!r}, is gone"
                self._lacks("missing", cid, self.objects, why if original else "its bytes are not here")

    # what is said, and where bytes come from

    def _done(self, kind: Kind, what: str, found: str, done: str) -> None:
        """Something was put right, or would be."""
        repair = self.report.repair
        done = done if repair else f"would be {done}"
        self.report.problems.append(Problem(kind, what, found, done, fixed=repair))

    def _sources(self, cid: str, folder: Objects) -> list[Source]:
        """Where the bytes may be had: another folder of the store, then mirrors and the account."""
        from stargazer.storage.download.sources import LocalFile

        others = [other for other in self.here if other is not folder and other.stat(cid) is not None]
        sources: list[Source] = [LocalFile(other.path(cid)) for other in others]
        with contextlib.suppress(StargazerError):
            sources += self.store.sources(cid)
        return sources

    def _todo(self, cid: str) -> str:
        """How people can have the bytes again: by what made them."""
        original = self.objects.original(cid)
        ways = [f"bring {str(original)!r} back as it was"] if original else []
        with contextlib.suppress(StargazerError):
            if self.store.is_registered(cid):
                return "bring the document back from a backup, or from a store or an account that has it"
            for document_cid in self.store.documents(cid, "output"):
                with contextlib.suppress(StargazerError):
                    document = self.store.document(document_cid)
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


def _is_right(path: Path) -> bool:
    try:
        return compute_cid(path) == path.name
    except OSError:
        return False
