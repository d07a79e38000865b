"""Fetching a bundle: its files from whoever has them, verified, several at once, then its records all together."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import attrs
from stargazer.assets import (
    AssetNotFoundError,
    FormatError,
    IntegrityError,
    InvalidAssetError,
    StargazerError,
    StorageError,
    asset_class,
    has_value,
)
from stargazer.assets.addresses import without_secrets
from stargazer.assets.provenance import Document, Entry, Execution
from stargazer.storage import changes, verified
from stargazer.storage.bundles.find import Bundle, Pinned, remember_bundle
from stargazer.storage.bundles.manifest import BundleFile, Manifest, is_url, targets_of
from stargazer.storage.bundles.review import accepted, check_arrived, enders_first, needed, scrutinised
from stargazer.storage.checks import Checked
from stargazer.storage.cid import compute_cid
from stargazer.storage.download.fetch import fetch_file, fetch_object
from stargazer.storage.download.sources import file_name, source_of
from stargazer.storage.ledger.claims import ended_by, statements_of
from stargazer.storage.locks import private_folder
from stargazer.storage.objects import Objects
from stargazer.storage.store import Store, import_of
from stargazer.storage.threads import each

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage.objects import StoredObject

__all__ = ["Failure", "Fetched", "News", "fetch"]

AT_ONCE = 3
LARGEST_DOCUMENT = 64_000_000  # bytes of a provenance document, at most
_PENDING = "pending"  # stands for a CID that is not known yet


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
        if not self.failed:
            return
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
    manifest = bundle.lock.apply(bundle.manifest)
    entries = select(manifest, only or {})
    check_entries(entries)
    store.open_index()
    with private_folder(store.objects.work, "bundle") as folder:
        work = _Fetch(store, attrs.evolve(bundle, manifest=manifest), entries, folder, observer)
        if records_only:
            work.know()
        else:
            work.bring()
        documents = work.take_documents()
        records = work.register(documents, force)
    done = [cid for cid, document in documents.items() if isinstance(document, Execution)]
    known = [cid for cid in done if trust and store.is_registered(cid)]
    trusted = changes.trust(store, known, f"bundle fetch {manifest.name} --trust")
    remember_bundle(bundle, store.root)
    names = [entry.name for entry in entries if entry.name in work.failures]
    failed = [Failure(name, work.failures[name]) for name in names]
    failed += [Failure(f"provenance {cid}", reason) for cid, reason in work.refused.items()]
    return Fetched(records=records, failed=failed, moved=work.moved, trusted=trusted)


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
            pairs = {**entry.keyvalues, **dict.fromkeys(entry.links, _PENDING)}
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
        arrived: the entries that are here, or whose records alone are wanted, with their CIDs; by name.
        brought: the CIDs of what was not here before.
        failures: why an entry is not registered, by name.
        refused: why a provenance document is not taken, by CID.
        moved: bytes that were downloaded, copied or made.
    """

    store: Store
    bundle: Bundle
    entries: Sequence[BundleFile]
    folder: Path
    observer: Callable[[News], None]
    arrived: dict[str, BundleFile] = attrs.field(factory=dict)
    brought: set[str] = attrs.field(factory=set)
    failures: dict[str, str] = attrs.field(factory=dict)
    refused: dict[str, str] = attrs.field(factory=dict)
    moved: int = 0
    _documents: dict[str, Path] = attrs.field(factory=dict)  # files of those that are not in the store yet
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
            for entry in group[1:]:
                if entry.size != first.size:
                    raise FormatError(f"entries {first.name!r} and {entry.name!r} give one file two sizes")
            found = self._present(first.cid)
            if found:
                self._tell(News(first.name, "here", first.size, first.size))
            else:
                found = self._move(first)
            if found.size != first.size:
                raise IntegrityError(
                    f"the manifest says {first.size:,} bytes, the file with its CID has {found.size:,}"
                )
            self.arrived |= {entry.name: attrs.evolve(entry, cid=found.cid) for entry in group}
        except StargazerError as error:
            for entry in group:
                self.failures[entry.name] = str(error)
                self._tell(News(entry.name, "failed", size=entry.size, note=str(error)))

    def _present(self, cid: str) -> StoredObject | None:
        """The object, if it is here and sound; a damaged one is put out of the way."""
        found = self.store.objects.stat(cid) if cid else None
        try:
            if found:
                self.store.read(cid)
        except IntegrityError:
            self.store.objects.quarantine(cid)
            return None
        return found

    def _move(self, entry: BundleFile) -> StoredObject:
        """The object of an entry that was not here."""
        self._tell(News(entry.name, "moving", 0, entry.size))
        found = self._make(entry, self.bundle.maker) if self.bundle.maker else self._download(entry)
        with self.store.index.transaction() as connection:
            verified.remember(connection, [found])
        with self._telling:
            self.brought.add(found.cid)
            self.moved += found.size
        self._tell(News(entry.name, "done", entry.size, entry.size))
        return found

    def _make(self, entry: BundleFile, maker: Callable[[Path], object]) -> StoredObject:
        """The object of an entry of a built-in bundle; all its files are made when the first is asked for."""
        folder = self.folder / "made"
        with self._making:
            if not folder.exists():
                maker(folder)
        path = folder / entry.name
        if not path.is_file() or path.is_symlink():
            raise StorageError(f"{entry.name!r} was not made")
        found = compute_cid(path)
        if found != entry.cid:
            raise IntegrityError(
                f"{entry.name!r} was made as {found}, expected {entry.cid}: other versions of the libraries that made "
                "it (compression, most often) write other bytes"
            )
        return self.store.objects.keep(path, found)

    def _download(self, entry: BundleFile) -> StoredObject:
        """An object from the first mirror that gives its bytes."""
        objects, targets = self.store.objects, self._targets(entry)

        def progress(done: int, size: int | None) -> None:
            self._tell(News(entry.name, "moving", done, entry.size))

        if entry.cid:
            if not targets:
                raise StorageError("it is not here, and no mirror says where it can be had")
            sources = [source_of(target) for target in targets]
            return fetch_object(entry.cid, sources, objects, size=entry.size, progress=progress)
        urls, wrong = [], []
        for url in map(_as_url, targets):
            try:
                file_name(url)
                urls.append(url)
            except InvalidAssetError as error:
                wrong.append(str(error))
        if not urls:
            raise StorageError("\n".join(wrong) or "no mirror says where it can be had")
        first, *others = urls
        with fetch_file(
            first, entry.sums, objects.work, lambda _: None, others=others, size=entry.size, progress=progress
        ) as path:
            found = objects.adopt(path)
        self.bundle.lock.pin(entry.name, Pinned(found.cid, found.size, entry.sums))
        return found

    def _targets(self, entry: BundleFile) -> list[str]:
        return targets_of(self.bundle.manifest, self.bundle.place, entry)

    def _tell(self, news: News) -> None:
        with self._telling:
            self.observer(news)

    # what is said of them

    def take_documents(self) -> dict[str, Document]:
        """The provenance documents of the bundle that may take effect, by CID.

        They are kept aside until they were reviewed: whatever is in the ledger takes effect.
        """
        found: dict[str, Document] = {}
        mirrors = tuple(mirror for mirror in self.bundle.manifest.mirrors if "{cid}" in mirror)
        manifest = attrs.evolve(self.bundle.manifest, mirrors=mirrors)
        aside = Objects(self.folder)
        for cid in manifest.provenance:
            entry = BundleFile(name=cid, size=0, cid=cid, keyvalues={})
            sources = [source_of(target) for target in targets_of(manifest, self.bundle.place, entry)]
            try:
                path = self._document(cid)
                if path is None:
                    if not sources:
                        raise StorageError(
                            "it is not here, and no mirror with {cid} says where it can be had"
                        )
                    fetch_object(cid, sources, aside, most=LARGEST_DOCUMENT)
                    path = self._documents[cid] = aside.path(cid)
                found[cid] = scrutinised(path.read_bytes())
            except StargazerError as error:
                self.refused[cid] = str(error)
        try:
            return accepted(self.store, found)
        except FormatError as error:
            self.refused |= dict.fromkeys(found, str(error))
            return {}

    def _document(self, cid: str) -> Path | None:
        """The file of a document that is in the ledger and sound; a damaged one is put out of the way."""
        try:
            return self.store.ledger.path(cid)
        except IntegrityError:
            if folder := self.store.ledger.folder(cid):
                folder.quarantine(cid)
            return None

    def register(self, documents: Mapping[str, Document], force: bool) -> list[IpFile]:
        """The records of the entries that arrived, which all appear together.

        A document that tells of an entry which did not arrive, or is held back, waits for it; until then the others of
        it count as imported from here. What no document tells of gets the metadata that adding it would give it.
        """
        store = self.store
        entries = self._linked()
        checked = self._check(entries, documents, force)
        entries = [entry for entry in entries if entry.name not in self.failures]
        there = {entry.name for entry in entries}
        absent = {
            self.arrived.get(entry.name, entry).cid for entry in self.entries if entry.name not in there
        }
        ready = {
            cid: document
            for cid, document in documents.items()
            if absent.isdisjoint(item.file.cid for item in statements_of(cid, document))
        }
        wanted = needed(ready, (entry.id for entry in entries))
        new = {cid: ready[cid] for cid in wanted if not store.is_registered(cid)}
        ended = {claim for document in new.values() for claim in ended_by(document)}
        told = {
            item.id
            for cid, document in new.items()
            for item in statements_of(cid, document)
            if (item.id, cid) not in ended
        }
        here = told | self._registered(entries)
        entries = [entry if entry.id in here else as_stored(entry) for entry in entries]
        here = told | self._registered(entries)
        own = import_of(
            [self._as_imported(entry) for entry in entries if entry.id not in here],
            f"bundle fetch {self.bundle.manifest.name}",
            Checked.together(checked[entry.name] for entry in entries if entry.name in checked),
        )
        with store.arriving() as arrived:
            written = store.write_document(own, arrived) if own.files or own.checks or own.forced else None
            for cid in enders_first(new):
                if cid in self._documents:
                    arrived.documents.append(store.ledger.keep(self._documents[cid], cid))
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

    def _check(
        self, entries: Sequence[BundleFile], documents: Mapping[str, Document], force: bool
    ) -> dict[str, Checked]:
        """Look at the entries that are here, as when they are added.

        Of those that were registered with their bytes before there is nothing left to hold back.
        """
        as_added = [as_stored(entry) for entry in entries]
        here = self._registered([*entries, *as_added])
        new = [
            entry
            for entry, stored in zip(entries, as_added, strict=True)
            if entry.cid in self.brought or here.isdisjoint((entry.id, stored.id))
        ]
        runs = {cid: document for cid, document in documents.items() if isinstance(document, Execution)}
        made = {item.id for cid, document in runs.items() for item in statements_of(cid, document)}
        checked, wrong = check_arrived(self.store, new, made, self.folder)
        self.failures |= wrong
        if not force:
            hint = "`stargazer bundle fetch --force` registers it all the same, and provenance says so"
            refused = {name: item.forced[0] for name, item in checked.items() if item.forced}
            self.failures |= {name: f"{reason} ({hint})" for name, reason in refused.items()}
        return checked

    def _registered(self, entries: Iterable[BundleFile]) -> set[str]:
        """The ids of those records that this store has."""
        return set(self.store.claims.records(entry.id for entry in entries))

    def _as_imported(self, entry: BundleFile) -> Entry:
        origin = next((without_secrets(url) for url in self._targets(entry) if is_url(url)), entry.name)
        if self.bundle.origin:
            origin = f"{entry.name}, {self.bundle.origin}"
        return Entry(
            cid=entry.cid, keyvalues=entry.keyvalues, name=entry.name, size=entry.size, origin=origin
        )

    def _mirrors(self) -> dict[str, list[str]]:
        """Where the files may be had again; a URL with a query is left out, for it may be signed."""
        found: dict[str, list[str]] = {}
        for entry in (self.arrived.get(entry.name, entry) for entry in self.bundle.manifest.files):
            urls = [url for url in map(_as_url, self._targets(entry)) if not urlsplit(url).query]
            if entry.cid and urls:
                found.setdefault(entry.cid, []).extend(urls)
        return found


def _as_url(target: str) -> str:
    return target if is_url(target) else Path(target).absolute().as_uri()
