"""Fetching a bundle: its files from whoever has them, verified, several at once, then its records all together."""

from __future__ import annotations

import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import attrs
from stargazer.assets import (
    AssetNotFoundError,
    FormatError,
    IntegrityError,
    InvalidAssetError,
    IpFile,
    StargazerError,
    StorageError,
    asset_class,
    has_value,
)
from stargazer.assets.addresses import without_secrets
from stargazer.assets.provenance import Document, Entry, Execution
from stargazer.storage import changes
from stargazer.storage.bundles.find import Bundle, Maker, remember_bundle
from stargazer.storage.bundles.manifest import BundleFile, Manifest, is_url
from stargazer.storage.bundles.review import accepted, check_arrived, enders_first, needed, scrutinised
from stargazer.storage.checks import Checked
from stargazer.storage.cid import compute_cid
from stargazer.storage.download.fetch import fetch_file, fetch_object
from stargazer.storage.download.sources import source_of
from stargazer.storage.ledger.claims import ended_by, statements_of
from stargazer.storage.locks import private_folder
from stargazer.storage.objects import Objects, StoredObject
from stargazer.storage.store import Store, import_of
from stargazer.storage.threads import each

__all__ = ["Failure", "Fetched", "News", "fetch"]

AT_ONCE = 3
LARGEST_DOCUMENT = 64_000_000  # bytes of a provenance document, at most


@attrs.frozen
class News:
    """What is going on with one file of a bundle that is being fetched.

    Attributes:
        state: `here` was there before, `moving` has `done` bytes so far.
        note: why it failed.
    """

    name: str
    state: Literal["moving", "done", "here", "failed"]
    done: int = 0
    size: int = 0
    note: str = ""


@attrs.frozen
class Failure:
    """A file or provenance document of a bundle that could not be had, and why."""

    name: str
    reason: str


@attrs.frozen(kw_only=True)
class Fetched:
    """What came of a fetch.

    Attributes:
        records: of the files that are registered now, in the order of the manifest.
        failed: the files that are not, and provenance documents.
        moved: bytes that were downloaded, copied or made.
        trusted: CIDs of the provenance of executions that are trusted from now on.
    """

    records: list[IpFile]
    failed: list[Failure]
    moved: int
    trusted: list[str] = attrs.field(factory=list)

    def check(self, bundle: Bundle) -> None:
        """Raise an error if something is missing.

        Raises:
            StorageError: it names what is, and why.
        """
        if self.failed:
            lines = [f"  {item.name}: {item.reason}".replace("\n", "\n    ") for item in self.failed]
            raise StorageError(
                f"{len(self.failed)} of the bundle {bundle.manifest.name!r} could not be had; the rest is registered; "
                "fetching it again continues:\n" + "\n".join(lines)
            )


def fetch(
    store: Store,
    bundle: Bundle,
    *,
    only: Mapping[str, Sequence[str]] | None = None,
    records_only: bool = False,
    force: bool = False,
    trust: bool = False,
    observer: Callable[[News], None] = lambda news: None,
) -> Fetched:
    """Bring the files of a bundle that are not here, verify them, and register them with what the bundle says.

    A file that fails leaves nothing visible; the others are registered. Fetching again continues. Installed checks look
    at the files first (`stargazer.storage.checks`), and hold back what contradicts the file it belongs to; provenance
    names those that did.

    Args:
        only: values of metadata keys, any of which will do: other files stay where they are.
        records_only: register the records; the bytes come from a mirror when they are needed.
        force: register what a check refuses, too; provenance says why it does.
        trust: the memo answers with what the bundle's provenance says was computed, as if that had been done here.
        observer: told what happens, from several threads, one at a time.

    Raises:
        AssetNotFoundError: nothing is selected by `only`.
        InvalidAssetError: metadata that its type does not take; nothing was brought.
        IntegrityError: the lock says other than the manifest.
        StorageError: the store cannot be written, or is too small.
    """
    locked = attrs.evolve(bundle, manifest=bundle.lock.apply(bundle.manifest))
    entries = select(locked.manifest, only or {})
    check_entries(entries)
    store.open_index()
    with private_folder(store.objects.work, "bundle") as folder:
        work = _Fetch(store, locked, entries, folder, Objects(folder), observer)
        if records_only:
            work.know()
        else:
            work.bring()
        documents = work.take_documents()
        records = work.register(documents, force)
    runs = [cid for cid, document in documents.items() if isinstance(document, Execution)]
    known = [cid for cid in runs if trust and store.is_registered(cid)]
    trusted = changes.trust(store, known, f"bundle fetch {bundle.manifest.name} --trust")
    remember_bundle(bundle, store.root)
    names = [entry.name for entry in (*entries, *locked.manifest.documents) if entry.name in work.failures]
    failed = [Failure(name, work.failures[name]) for name in names]
    return Fetched(records=records, failed=failed, moved=sum(work.brought.values()), trusted=trusted)


def select(manifest: Manifest, only: Mapping[str, Sequence[str]]) -> list[BundleFile]:
    """The entries whose metadata has one of the values of every key, and the entries that their links need.

    Raises:
        AssetNotFoundError: there is none.
    """
    entries = {entry.name: entry for entry in manifest.files}
    waiting = [
        name
        for name, entry in entries.items()
        if all(has_value(entry.keyvalues, key, values) for key, values in only.items())
    ]
    if not waiting:
        asked = " ".join(f"{key}={value}" for key, values in only.items() for value in values)
        have = {entry.keyvalues[key] for key in only for entry in manifest.files if key in entry.keyvalues}
        known = ", ".join(map(repr, sorted(have)[:20])) or "no such key"
        raise AssetNotFoundError(f"the bundle {manifest.name!r} has nothing with {asked}; it has {known}")
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += entries[name].links.values()
    return [entry for entry in manifest.files if entry.name in found]


def check_entries(entries: Iterable[BundleFile]) -> None:
    """Look at the types and metadata of entries, before a byte is brought.

    Raises:
        InvalidAssetError: a type that is not installed, or metadata that it does not take; it names the entry.
    """
    for entry in entries:
        try:
            # for a CID that is not known yet stands some text
            pairs = {**entry.keyvalues, **dict.fromkeys(entry.links, "pending")}
            as_stored(attrs.evolve(entry, keyvalues=pairs))
        except InvalidAssetError as error:
            raise InvalidAssetError(f"entry {entry.name!r}: {error}") from None


def as_stored(entry: BundleFile) -> BundleFile:
    """An entry with the metadata that its type writes: with the defaults of fields that somebody left out."""
    asset = asset_class(entry.keyvalues["asset"]).from_keyvalues(entry.keyvalues)
    return attrs.evolve(entry, keyvalues=asset.keyvalues)


@attrs.define
class _Fetch:
    """One fetch.

    Attributes:
        folder: of the store's work, for this fetch alone.
        aside: where documents are until they were reviewed: whatever is in the ledger takes effect.
        arrived: the entries that are here, or whose records alone are wanted, with their CIDs; by name.
        brought: the bytes of what was not here before, by CID.
        failures: why an entry is not registered, or a provenance document not taken, by name.
    """

    store: Store
    bundle: Bundle
    entries: Sequence[BundleFile]
    folder: Path
    aside: Objects
    observer: Callable[[News], None]
    arrived: dict[str, BundleFile] = attrs.field(factory=dict)
    brought: dict[str, int] = attrs.field(factory=dict)
    failures: dict[str, str] = attrs.field(factory=dict)
    _telling: threading.Lock = attrs.field(factory=threading.Lock)
    _making: threading.Lock = attrs.field(factory=threading.Lock)

    # bytes

    def know(self) -> None:
        """Take the CIDs that the manifest or the lock gives."""
        self.arrived = {entry.name: entry for entry in self.entries if entry.cid}
        reason = "its CID is not known before it was fetched once: leave out --records-only"
        self.failures = {entry.name: reason for entry in self.entries if not entry.cid}

    def bring(self) -> None:
        """Bring the bytes of the entries, each CID once.

        Raises:
            StorageError: they cannot fit; nothing was moved.
        """
        groups: dict[str, list[BundleFile]] = {}
        for entry in self.entries:
            groups.setdefault(entry.cid or f"name {entry.name}", []).append(entry)
        objects = self.store.objects
        firsts = (group[0] for group in groups.values())
        wanted = sum(entry.size for entry in firsts if not (entry.cid and objects.stat(entry.cid)))
        if wanted > (free := shutil.disk_usage(objects.work).free):
            raise StorageError(
                f"the bundle {self.bundle.manifest.name!r} needs {wanted:,} bytes and {str(self.store.root)!r} has "
                f"{free:,} free: choose with --only, or use a store on a larger disk (STARGAZER_LOCAL)"
            )
        each(self._bring_group, groups.values(), AT_ONCE, "stargazer-bundle")

    def _bring_group(self, group: Sequence[BundleFile]) -> None:
        """Bring the one file that several entries may name."""
        first = group[0]
        try:
            found = self._present(first.cid)
            state: Literal["done", "here"] = "here" if found else "done"
            if found is None:
                self._tell(News(first.name, "moving", 0, first.size))
                found = self._make(first, maker) if (maker := self.bundle.maker) else self._download(first)
                self.store.verified.remember(found)
                self.brought[found.cid] = found.size
            for entry in group:
                if entry.size != found.size:
                    raise IntegrityError(
                        f"the manifest says {entry.size:,} bytes, the file with its CID has {found.size:,}"
                    )
            self._tell(News(first.name, state, first.size, first.size))
            self.arrived |= {entry.name: attrs.evolve(entry, cid=found.cid) for entry in group}
        except StargazerError as error:
            for entry in group:
                self.failures[entry.name] = str(error)
                self._tell(News(entry.name, "failed", size=entry.size, note=str(error)))

    def _present(self, cid: str) -> StoredObject | None:
        """The object, if it is here and sound; a damaged one is put out of the way."""
        objects = self.store.objects
        if cid and (found := objects.stat(cid)):
            try:
                self.store.verified.path(found)
                return found
            except IntegrityError:
                objects.quarantine(cid)
        return None

    def _make(self, entry: BundleFile, maker: Maker) -> StoredObject:
        """The object of an entry of a built-in bundle; all its files are made when the first is asked for."""
        folder = self.folder / "made"
        with self._making:
            if not folder.exists():
                maker(folder)
        found = compute_cid(folder / entry.name)
        if found != entry.cid:
            raise IntegrityError(
                f"{entry.name!r} was made as {found}, expected {entry.cid}: other versions of the libraries that made "
                "it (compression, most often) write other bytes"
            )
        return self.store.objects.keep(folder / entry.name, found)

    def _download(self, entry: BundleFile) -> StoredObject:
        """An object from the first mirror that gives its bytes."""
        objects, targets = self.store.objects, self.bundle.targets(entry)

        def progress(done: int, size: int | None) -> None:
            self._tell(News(entry.name, "moving", done, entry.size))

        if not targets:
            raise StorageError("it is not here, and no mirror says where it can be had")
        if entry.cid:
            sources = [source_of(target) for target in targets]
            return fetch_object(entry.cid, sources, objects, size=entry.size, progress=progress)
        # the first has to name a file
        first, *others = sorted(map(_as_url, targets), key=lambda url: urlsplit(url).path.endswith("/"))
        with fetch_file(
            first, entry.sums, objects.work, lambda _: None, others=others, size=entry.size, progress=progress
        ) as path:
            found = objects.adopt(path)
        self.bundle.lock.pin(attrs.evolve(entry, cid=found.cid))
        return found

    def _tell(self, news: News) -> None:
        with self._telling:
            self.observer(news)

    # what is said of them

    def take_documents(self) -> dict[str, Document]:
        """The provenance documents of the bundle that may take effect, by CID."""
        found: dict[str, Document] = {}
        for entry in self.bundle.manifest.documents:
            try:
                found[entry.cid] = scrutinised(self._document(entry).read_bytes())
            except StargazerError as error:
                self.failures[entry.name] = str(error)
        try:
            return accepted(self.store, found)
        except FormatError as error:
            self.failures |= {f"provenance {cid}": str(error) for cid in found}
            return {}

    def _document(self, entry: BundleFile) -> Path:
        """The file of a document, in the ledger or aside; a damaged one in the ledger is put out of the way."""
        ledger = self.store.ledger
        try:
            if path := ledger.path(entry.cid):
                return path
        except IntegrityError:
            if folder := ledger.folder(entry.cid):
                folder.quarantine(entry.cid)
        sources = [source_of(target) for target in self.bundle.targets(entry)]
        if not sources:
            raise StorageError("it is not here, and no mirror with {cid} says where it can be had")
        fetch_object(entry.cid, sources, self.aside, most=LARGEST_DOCUMENT)
        return self.aside.path(entry.cid)

    def register(self, documents: Mapping[str, Document], force: bool) -> list[IpFile]:
        """The records of the entries that arrived, which all appear together.

        A document that tells of an entry which did not arrive, or is held back, waits for it; until then the others of
        it count as imported from here. What no document tells of gets the metadata that adding it would give it.
        """
        store, entries = self.store, self._linked()
        as_added = {entry.name: as_stored(entry) for entry in entries}
        ids = [entry.id for entry in (*entries, *as_added.values())]
        before = store.claims.records(ids).keys()
        new = [
            entry  # of those that were registered with their bytes before there is nothing left to hold back
            for entry in entries
            if entry.cid in self.brought or before.isdisjoint((entry.id, as_added[entry.name].id))
        ]
        checked, wrong = check_arrived(store, new, documents, self.folder)
        hint = "`stargazer bundle fetch --force` registers it all the same, and provenance says so"
        forced = {name: item.forced[0] for name, item in checked.items() if item.forced and not force}
        self.failures |= wrong | {name: f"{reason} ({hint})" for name, reason in forced.items()}
        entries = [entry for entry in entries if entry.name not in self.failures]
        missing = (entry for entry in self.entries if entry.name in self.failures)
        absent = {self.arrived.get(entry.name, entry).cid for entry in missing}
        ready = {
            cid: document
            for cid, document in documents.items()
            if absent.isdisjoint(item.file.cid for item in statements_of(cid, document))
        }
        wanted = needed(ready, (entry.id for entry in entries))
        unknown = {cid: ready[cid] for cid in wanted if not store.is_registered(cid)}
        ended = {claim for document in unknown.values() for claim in ended_by(document)}
        told = {
            item.id
            for cid, document in unknown.items()
            for item in statements_of(cid, document)
            if (item.id, cid) not in ended
        }
        here = (
            told | store.claims.records(ids).keys()
        )  # again: another process may have registered them meanwhile
        entries = [entry if entry.id in here else as_added[entry.name] for entry in entries]
        own = import_of(
            [self._as_imported(entry) for entry in entries if entry.id not in here],
            f"bundle fetch {self.bundle.manifest.name}",
            Checked.together(checked[entry.name] for entry in entries if entry.name in checked),
        )
        with store.arriving() as arrived:
            written = store.write_document(own, arrived) if own.files or own.checks or own.forced else None
            for cid in enders_first(unknown):
                if self.aside.stat(cid):
                    arrived.documents.append(store.ledger.keep(self.aside.path(cid), cid))
            with store.index.transaction():
                store.replay(wanted)
                if written:
                    store.apply(written, own, live=False)
                store.add_mirrors(self._mirrors())
        return [record for entry in entries if (record := store.here(entry.id)) is not None]

    def _linked(self) -> list[BundleFile]:
        """The entries that arrived, with the CIDs of what they link to; one whose link did not arrive is held back."""
        linked = []
        for entry in (self.arrived[entry.name] for entry in self.entries if entry.name in self.arrived):
            missing = [target for target in entry.links.values() if target not in self.arrived]
            if missing:
                self.failures[entry.name] = f"it is linked to {missing[0]!r}, which could not be had"
            else:
                links = {key: self.arrived[target].cid for key, target in entry.links.items()}
                linked.append(attrs.evolve(entry, keyvalues={**entry.keyvalues, **links}, links={}))
        return linked

    def _as_imported(self, file: BundleFile) -> Entry:
        urls = (without_secrets(target) for target in self.bundle.targets(file) if is_url(target))
        origin = f"{file.name}, {self.bundle.origin}" if self.bundle.origin else next(urls, file.name)
        return Entry(cid=file.cid, keyvalues=file.keyvalues, name=file.name, size=file.size, origin=origin)

    def _mirrors(self) -> dict[str, list[str]]:
        """Where the files may be had again; a URL with a query is left out, for it may be signed."""
        found: dict[str, list[str]] = defaultdict(list)
        for entry in (self.arrived.get(entry.name, entry) for entry in self.bundle.manifest.files):
            if entry.cid:
                urls = map(_as_url, self.bundle.targets(entry))
                found[entry.cid] += [url for url in urls if not urlsplit(url).query]
        return found


def _as_url(target: str) -> str:
    return target if is_url(target) else Path(target).absolute().as_uri()
