"""Registering what a bundle brought: its provenance documents take effect, and what none of them tells is imported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
from stargazer.assets import FormatError, StargazerError, StorageError, asset_class, record_id
from stargazer.assets.provenance import Document, Entry, Execution, Import
from stargazer.storage import verified
from stargazer.storage.arrivals import arriving
from stargazer.storage.bundles import getting
from stargazer.storage.bundles.documents import accepted, needed
from stargazer.storage.bundles.manifest import BundleFile
from stargazer.storage.bundles.mirrors import fill, is_url, targets_of
from stargazer.storage.bundles.screening import named, screened
from stargazer.storage.bundles.scrutiny import scrutinised
from stargazer.storage.bundles.selecting import as_stored, settled
from stargazer.storage.checking import Checked
from stargazer.storage.objects import Objects
from stargazer.storage.recording import account, now
from stargazer.storage.statements import statements_of

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage.bundles.finding import Bundle
    from stargazer.storage.objects import StoredObject
    from stargazer.storage.store import LocalStore

__all__ = ["Documents", "Registration", "take_documents"]

_AT_ONCE = 200  # TinyDB looks through the list for each answer


@attrs.define
class Documents:
    """The provenance documents of a bundle that may take effect.

    Attributes:
        found: by CID.
        files: of those that are not in the store yet; they are kept when they take effect.
        failures: of those that could not be had, or that no store should follow.
    """

    found: dict[str, Document] = attrs.field(factory=dict)
    files: dict[str, Path] = attrs.field(factory=dict)
    failures: dict[str, str] = attrs.field(factory=dict)


def take_documents(store: LocalStore, bundle: Bundle, folder: Path) -> Documents:
    """Bring the provenance documents of a bundle into a folder and read them.

    They are not objects of the store before they take effect: whatever is there counts as the store's own word.
    """
    taken = Documents()
    mirrors = [mirror for mirror in bundle.manifest.mirrors if "{cid}" in mirror]
    aside = Objects(folder)
    for cid in bundle.manifest.provenance:
        try:
            targets = [fill(mirror, bundle.place, cid=cid, name=cid) for mirror in mirrors]
            path = _document_file(store, aside, cid, list(filter(None, targets)))
            taken.found[cid] = scrutinised(path.read_bytes())
            if path != store.objects.path(cid):
                taken.files[cid] = path
        except StargazerError as error:
            taken.failures[cid] = str(error)
    try:
        taken.found = accepted(store, taken.found)
    except FormatError as error:
        taken.failures.update(dict.fromkeys(taken.found, str(error)))
        taken.found = {}
    return taken


def _document_file(store: LocalStore, aside: Objects, cid: str, targets: Sequence[str]) -> Path:
    """The verified file of a document: the store's own, or one brought to a store aside."""
    if getting.present(store, cid):
        return store.objects.path(cid)
    if not targets:
        raise StorageError("it is not here, and no mirror with {cid} says where it can be had")
    getting.bring_by_cid(
        cid, targets, aside, size=None, most=getting.LARGEST_DOCUMENT, progress=lambda done, size: None
    )
    return aside.path(cid)


@attrs.define
class Registration:
    """The registering of one fetch.

    Attributes:
        cids: of the entries that arrived, by name.
        origins: where each came from.
        folder: of the store's work, for this fetch alone.
        brought: the CIDs of what was not here before.
        force: entries that a check refuses are registered, too.
        failures: of entries whose file is not of its type, or that a check refuses.
        checked: what came of the checks, by name of the entry.
    """

    store: LocalStore
    bundle: Bundle
    cids: Mapping[str, str]
    origins: Mapping[str, str]
    folder: Path
    brought: Collection[str] = frozenset()
    force: bool = False
    failures: dict[str, str] = attrs.field(factory=dict)
    checked: dict[str, Checked] = attrs.field(factory=dict)

    def register(self, entries: Sequence[BundleFile], documents: Documents) -> list[IpFile]:
        """The records of the entries that arrived, which all appear together.

        A document that tells of an entry which did not arrive, or is held back, waits for it; until then the others of
        it count as imported from here.
        """
        store = self.store
        told = {entry.name: pairs for entry in entries if entry.name in self.cids
                and (pairs := settled(entry, self.cids)) is not None}  # fmt: skip
        ids = {name: record_id(self.cids[name], pairs) for name, pairs in told.items()}
        self._check(entries, told, ids, documents.found)
        for name in self.failures:
            del told[name], ids[name]
        missing = {self.cids.get(entry.name, entry.cid) for entry in entries if entry.name not in told} - {""}
        ready = {
            cid: document
            for cid, document in documents.found.items()
            if not any(item.file.cid in missing for item in statements_of(cid, document))
        }
        wanted = needed(ready, ids.values())
        with arriving(store.root, store.objects, lambda: store.index) as kept:
            store.note_foreign(wanted, self._checked_of(ready, wanted, ids))
            kept += [store.objects.keep(path, cid) for cid, path in documents.files.items() if cid in wanted]
            with store.index.transaction() as connection:
                verified.remember(connection, kept)
                store.replay(wanted)
                fresh = self._untold([entry for entry in entries if entry.name in told], told, ids)
                if fresh:
                    written = self._write_import(fresh, told, kept)
                    verified.remember(connection, [written])
                    store.replay([written.cid])
                store.add_mirrors(self._mirrors())
        found = [store.here(id) for id in ids.values()]
        return [record for record in found if record is not None]

    def _check(
        self,
        entries: Sequence[BundleFile],
        told: Mapping[str, Mapping[str, str]],
        ids: Mapping[str, str],
        documents: Mapping[str, Document],
    ) -> None:
        """Look at the entries that are here, as when they are added.

        Of those that were registered with their bytes before there is nothing left to hold back.
        """
        as_added = {name: record_id(self.cids[name], as_stored(pairs)) for name, pairs in told.items()}
        here = self._here({*ids.values(), *as_added.values()})
        new = {
            name: pairs
            for name, pairs in told.items()
            if self.cids[name] in self.brought or not here & {ids[name], as_added[name]}
        }
        made = _made(documents)
        for number, entry in enumerate(entries):  # what a task made is taken as the task's own store took it
            if entry.name in new and ids[entry.name] not in made and not self._is_of_its_type(entry, number):
                del new[entry.name]
        self.checked = screened(self.store, new, self.cids, self.folder / "named")
        if not self.force:
            hint = "`stargazer bundle fetch --force` registers it all the same, and provenance says so"
            refused = {name: checked.forced[0] for name, checked in self.checked.items() if checked.forced}
            self.failures.update({name: f"{reason} ({hint})" for name, reason in refused.items()})

    def _checked_of(
        self, documents: Mapping[str, Document], wanted: Iterable[str], ids: Mapping[str, str]
    ) -> Checked:
        """What came of the checks of the entries that these documents tell of."""
        told = {statement.id for cid in wanted for statement in statements_of(cid, documents[cid])}
        return Checked.together(checked for name, checked in self.checked.items() if ids.get(name) in told)

    def _untold(
        self, entries: Sequence[BundleFile], told: dict[str, dict[str, str]], ids: dict[str, str]
    ) -> list[BundleFile]:
        """The entries that no document told of; they get the metadata that adding them would give them."""
        here = self._here(ids.values())
        untold = [entry for entry in entries if ids[entry.name] not in here]
        for entry in untold:
            told[entry.name] = as_stored(told[entry.name])
            ids[entry.name] = record_id(self.cids[entry.name], told[entry.name])
        here = self._here(ids[entry.name] for entry in untold)
        return [entry for entry in untold if ids[entry.name] not in here]

    def _here(self, ids: Iterable[str]) -> set[str]:
        """Those of these records that this store has."""
        from tinydb import where

        table, asked = self.store.index.table("records"), list(ids)
        groups = (asked[at : at + _AT_ONCE] for at in range(0, len(asked), _AT_ONCE))
        return {document["id"] for group in groups for document in table.search(where("id").one_of(group))}

    def _is_of_its_type(self, entry: BundleFile, number: int) -> bool:
        """Look at the head and tail of a file that is here, as when it is added."""
        path = self.store.objects.path(self.cids[entry.name])
        check = asset_class(entry.keyvalues["asset"]).check
        if check is not None and path.exists():
            try:
                check(named(path, self.folder / "typed" / str(number), entry.name))
            except FormatError as error:
                self.failures[entry.name] = str(error)
        return entry.name not in self.failures

    def _write_import(
        self,
        entries: Sequence[BundleFile],
        told: Mapping[str, Mapping[str, str]],
        kept: list[StoredObject],
    ) -> StoredObject:
        """The document of an import of these entries, as an object."""
        files = [
            Entry(
                cid=self.cids[entry.name],
                keyvalues=told[entry.name],
                name=entry.name,
                size=entry.size,
                origin=self.origins[entry.name],
            )
            for entry in entries
        ]
        command = f"bundle fetch {self.bundle.manifest.name}"
        checked = Checked.together(
            self.checked[entry.name] for entry in entries if entry.name in self.checked
        )
        document = Import(
            files=files,
            command=command,
            checks=checked.ran,
            forced=checked.forced,
            account=account(),
            at=now(),
        )
        return self.store.write_document(document, kept)

    def _mirrors(self) -> dict[str, list[str]]:
        """Where the files may be had again; a URL with a query is left out, for it may be signed."""
        found: dict[str, list[str]] = {}
        for entry in self.bundle.manifest.files:
            cid = self.cids.get(entry.name) or entry.cid
            targets = (
                targets_of(self.bundle.manifest, self.bundle.place, attrs.evolve(entry, cid=cid))
                if cid
                else []
            )
            urls = [target if is_url(target) else Path(target).absolute().as_uri() for target in targets]
            found.setdefault(cid, []).extend(url for url in urls if not urlsplit(url).query)
        return {cid: urls for cid, urls in found.items() if cid and urls}


def _made(documents: Mapping[str, Document]) -> set[str]:
    """The ids of the records of what tasks made."""
    return {
        item.id
        for cid, document in documents.items()
        if isinstance(document, Execution)
        for item in statements_of(cid, document)
    }
