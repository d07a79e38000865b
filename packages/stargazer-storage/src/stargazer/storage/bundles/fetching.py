"""Fetching a bundle: its files from whoever has them, verified, several at once, then its records all together."""

from __future__ import annotations

import contextlib
import functools
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
from stargazer.assets import FormatError, IntegrityError, StargazerError, StorageError
from stargazer.assets.addresses import without_secrets
from stargazer.assets.provenance import Execution
from stargazer.storage import verified
from stargazer.storage.bundles import getting
from stargazer.storage.bundles.finding import Bundle, remember_bundle
from stargazer.storage.bundles.locks import Pinned
from stargazer.storage.bundles.manifest import BundleFile
from stargazer.storage.bundles.mirrors import is_url, targets_of
from stargazer.storage.bundles.registering import Registration, take_documents
from stargazer.storage.bundles.selecting import check_entries, select, settled
from stargazer.storage.documents import refuse_document
from stargazer.storage.recording import now
from stargazer.storage.threads import each
from stargazer.storage.workspaces import private_folder

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage.objects import StoredObject
    from stargazer.storage.store import LocalStore

__all__ = ["Failure", "Fetched", "News", "fetch_bundle"]

AT_ONCE = 3


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


Observer = Callable[[News], None]


def fetch_bundle(
    store: LocalStore,
    bundle: Bundle,
    *,
    only: Mapping[str, Sequence[str]] | None = None,
    records_only: bool = False,
    force: bool = False,
    trust: bool = False,
    observer: Observer = lambda news: None,
) -> Fetched:
    """Bring the files of a bundle that are not here, verify them, and register them with what the bundle says.

    A file that fails leaves nothing visible; the others are registered. Fetching again continues. Installed checks look
    at the files first (`stargazer.storage.checking`), and hold back what contradicts the file it belongs to; provenance
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
    fetch = _Fetch(store, attrs.evolve(bundle, manifest=manifest), observer)
    if records_only:
        fetch.know(entries)
    else:
        fetch.bring(entries)
    with private_folder(store.objects.work, "bundle") as folder:
        documents = take_documents(store, fetch.bundle, folder)
        registration = Registration(
            store, fetch.bundle, fetch.cids, fetch.origins, folder, brought=fetch.brought, force=force
        )
        records = registration.register(entries, documents)
    trusted: list[str] = []
    if trust:
        done = [cid for cid, document in documents.found.items() if isinstance(document, Execution)]
        known = [cid for cid in done if store.is_registered(cid)]
        trusted = store.trust(known, f"bundle fetch {manifest.name} --trust")
    remember_bundle(bundle, store.root, now())
    wrong = {**fetch.failures, **registration.failures}
    failed = [Failure(entry.name, wrong[entry.name]) for entry in entries if entry.name in wrong]
    failed += [Failure(f"provenance {cid}", reason) for cid, reason in documents.failures.items()]
    return Fetched(records=records, failed=failed, moved=fetch.moved, trusted=trusted)


class _Fetch:
    """One fetch: the CIDs of what is here, which of them were brought just now, and why the rest is not."""

    def __init__(self, store: LocalStore, bundle: Bundle, observer: Observer):
        self.store, self.bundle = store, bundle
        self.cids: dict[str, str] = {}
        self.brought: set[str] = set()
        self.origins: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self.moved = 0
        self._observer = observer
        self._telling = threading.Lock()
        self._stopped = threading.Event()

    def know(self, entries: Iterable[BundleFile]) -> None:
        """Take the CIDs that the manifest or the lock gives."""
        for entry in entries:
            if entry.cid:
                self._arrived(entry, entry.cid)
            else:
                self.failures[entry.name] = (
                    "its CID is not known before it was fetched once: leave out --records-only"
                )

    def bring(self, entries: Sequence[BundleFile]) -> None:
        """Bring the bytes of entries, each CID once."""
        groups: dict[str, list[BundleFile]] = {}
        for entry in entries:
            groups.setdefault(entry.cid or f"name {entry.name}", []).append(entry)
        self._check_room([group[0] for group in groups.values()])
        with _making(self.bundle, self.store.objects.work) as making:
            bring = functools.partial(self._bring_group, making=making)
            each(bring, groups.values(), AT_ONCE, "stargazer-bundle", self._stopped)
        for entry in entries:
            self._check_links(entry)

    def _bring_group(self, group: Sequence[BundleFile], making: _Making | None) -> None:
        """Bring the one file that several entries may name."""
        first = group[0]
        try:
            for entry in group[1:]:
                if entry.size != first.size:
                    raise FormatError(f"entries {first.name!r} and {entry.name!r} give one file two sizes")
            found = self._here(first) or self._moved(first, making)
            for entry in group:
                if found.size != entry.size:
                    raise IntegrityError(
                        f"the manifest says {entry.size:,} bytes, the file with its CID has {found.size:,}"
                    )
                self._arrived(entry, found.cid)
        except StargazerError as error:
            for entry in group:
                self.failures[entry.name] = str(error)
                self._tell(News(entry.name, "failed", size=entry.size, note=str(error)))

    def _here(self, entry: BundleFile) -> StoredObject | None:
        found = getting.present(self.store, entry.cid) if entry.cid else None
        if found:
            refuse_document(self.store.objects.path(found.cid))
            self._tell(News(entry.name, "here", entry.size, entry.size))
        return found

    def _moved(self, entry: BundleFile, making: _Making | None) -> StoredObject:
        """The object of an entry that was not here."""
        targets = targets_of(self.bundle.manifest, self.bundle.place, entry)
        objects = self.store.objects

        def progress(done: int, size: int | None) -> None:
            if self._stopped.is_set():
                raise StorageError("interrupted")
            self._tell(News(entry.name, "moving", done, entry.size))

        self._tell(News(entry.name, "moving", 0, entry.size))
        if making is not None:
            found = getting.take_made(entry, making() / entry.name, objects)
        elif entry.cid:
            if not targets:
                raise StorageError("it is not here, and no mirror says where it can be had")
            found = getting.bring_by_cid(
                entry.cid, targets, objects, size=entry.size, progress=progress, accept=refuse_document
            )
        else:
            found = getting.bring_by_sums(entry, targets, objects, progress)
            self.bundle.lock.pin(entry.name, Pinned(found.cid, found.size, entry.sums))
        with self.store.index.transaction() as connection:
            verified.remember(connection, [found])
        with self._telling:
            self.brought.add(found.cid)
            self.moved += found.size
        self._tell(News(entry.name, "done", entry.size, entry.size))
        return found

    def _arrived(self, entry: BundleFile, cid: str) -> None:
        targets = targets_of(self.bundle.manifest, self.bundle.place, attrs.evolve(entry, cid=cid))
        public = next((without_secrets(target) for target in targets if is_url(target)), "")
        origin = f"{entry.name}, {self.bundle.origin}" if self.bundle.origin else public or entry.name
        with self._telling:
            self.cids[entry.name] = cid
            self.origins[entry.name] = origin

    def _check_links(self, entry: BundleFile) -> None:
        """Hold an entry back whose link leads to what could not be had."""
        missing = [target for target in entry.links.values() if target not in self.cids]
        if missing and entry.name in self.cids and settled(entry, self.cids) is None:
            self.failures[entry.name] = f"it is linked to {missing[0]!r}, which could not be had"

    def _check_room(self, entries: Iterable[BundleFile]) -> None:
        """Refuse what cannot fit before anything is moved."""
        objects = self.store.objects
        needed = sum(entry.size for entry in entries if not (entry.cid and objects.stat(entry.cid)))
        free = shutil.disk_usage(objects.work).free
        if needed > free:
            raise StorageError(
                f"the bundle {self.bundle.manifest.name!r} needs {needed:,} bytes and {str(self.store.root)!r} has "
                f"{free:,} free: choose with --only, or use a store on a larger disk (STARGAZER_LOCAL)"
            )

    def _tell(self, news: News) -> None:
        with self._telling:
            self._observer(news)


class _Making:
    """The files of a built-in bundle, made when the first of them is asked for."""

    def __init__(self, maker: Callable[[Path], object], folder: Path):
        self._maker, self._folder = maker, folder
        self._once = threading.Lock()

    def __call__(self) -> Path:
        """The folder in which they are."""
        with self._once:
            if not self._folder.exists():
                self._maker(self._folder)
        return self._folder


@contextlib.contextmanager
def _making(bundle: Bundle, work: Path) -> Iterator[_Making | None]:
    """How the files of a bundle are made, if that is how they come."""
    if bundle.maker is None:
        yield None
        return
    with private_folder(work, "bundle") as folder:
        yield _Making(bundle.maker, folder / "made")
