"""The provenance documents of a bundle: which of a stranger's words may take effect here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from stargazer.assets import FormatError
from stargazer.assets.provenance import Amendment, Document, Execution, Retraction
from stargazer.storage.ledger.claims import ended_by, statements_of

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage.store import Store

__all__ = ["accepted", "documents_of", "needed"]


def documents_of(store: Store, records: Iterable[IpFile]) -> dict[str, Document]:
    """The documents from which records follow, those of the files that these were made from, and what ended a claim.

    Raises:
        StorageError: a document is not here.
    """
    walk = _Walk(store)
    for record in records:
        walk.add_makers(record.cid, record.id)
    return walk.finish()


def accepted(store: Store, documents: Mapping[str, Document]) -> dict[str, Document]:
    """Those documents of a bundle that may take effect: none may change a record that was here before.

    An import or execution only adds. An amendment or retraction ends claims, so it counts only where all that it ends
    came in this very bundle and was not known here, and speaks of the same record. What an amendment makes of a record
    must not be one that is here, which would be superseded where the other is.

    Raises:
        FormatError: one ends what the bundle does not hold.
    """
    taken: dict[str, Document] = {}
    claims = _Claims()
    for cid, document in documents.items():
        ended = {claimant for _, claimant in ended_by(document)}
        if not ended <= documents.keys():
            missing = sorted(ended - documents.keys())[0]
            raise FormatError(f"provenance {cid}: ends what {missing} says, which is not in the bundle")
        if store.is_registered(cid) or not (
            any(map(store.is_registered, ended)) or _touches_others(store, cid, document, documents, claims)
        ):
            taken[cid] = document
    return taken


def _touches_others(
    store: Store, cid: str, document: Document, documents: Mapping[str, Document], claims: _Claims
) -> bool:
    """Whether an amendment or retraction speaks of other files than what it ends, or makes a record that is here."""
    files = {
        file
        for record, claimant in set(ended_by(document))
        for file in claims.of(claimant, documents[claimant]).get(record, ())
    }
    if isinstance(document, Amendment | Retraction) and files != {document.cid}:
        return True
    return isinstance(document, Amendment) and any(
        store.here(item.id) is not None for item in statements_of(cid, document)
    )


def needed(documents: Mapping[str, Document], records: Iterable[str]) -> set[str]:
    """The documents that these records rest on, by CID: their own, what ends or is ended by them, those of inputs."""
    claims: dict[str, set[str]] = {}
    makers: dict[str, set[str]] = {}
    endings: dict[str, set[str]] = {}
    for cid, document in documents.items():
        for _, claimant in ended_by(document):
            endings.setdefault(claimant, set()).add(cid)
        for statement in statements_of(cid, document):
            claims.setdefault(statement.id, set()).add(cid)
            makers.setdefault(statement.file.cid, set()).add(cid)
    found: set[str] = set()
    waiting = [cid for record in records for cid in claims.get(record, ())]
    while waiting:
        cid = waiting.pop()
        if cid not in found:
            found.add(cid)
            waiting += endings.get(cid, ())
            waiting += _before(
                documents[cid], documents, makers
            )  # those of a file are taken out: once is enough
    return found


def _before(
    document: Document, documents: Mapping[str, Document], makers: dict[str, set[str]]
) -> Iterator[str]:
    yield from (claimant for _, claimant in ended_by(document) if claimant in documents)
    if isinstance(document, Execution):
        for entry in document.inputs:
            yield from makers.pop(entry.cid, ())


class _Claims:
    """What documents claim, each read through once: they may hold as many files as there are documents."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, set[str]]] = {}

    def of(self, cid: str, document: Document) -> Mapping[str, set[str]]:
        """The CIDs of the files of each record that a document claims."""
        if cid not in self._known:
            claims = self._known[cid] = {}
            for item in statements_of(cid, document):
                claims.setdefault(item.id, set()).add(item.file.cid)
        return self._known[cid]


class _Walk:
    """One walk through the documents of a store."""

    def __init__(self, store: Store):
        self.store = store
        self.found: dict[str, Document] = {}
        self._read: dict[str, Document] = {}
        self._asked: set[tuple[str, str]] = set()
        self._waiting: list[str] = []
        self._claims = _Claims()
        self._endings: dict[tuple[str, str], dict[str, None]] = {}
        self._looked_up: set[str] = set()

    def add_makers(self, cid: str, record: str = "") -> None:
        """The documents that claim a record, or any record of a file."""
        if (cid, record) in self._asked:
            return
        self._asked.add((cid, record))
        for document in [*self.store.documents(cid), *self.store.documents(cid, "amended")]:
            if not record or record in self._claims.of(document, self._document(document)):
                self._add(document)

    def finish(self) -> dict[str, Document]:
        """All documents that belong to those found so far."""
        while self._waiting:
            cid = self._waiting.pop()
            document = self.found[cid]
            for _, claimant in ended_by(document):
                self._add(claimant)
            if isinstance(document, Execution):
                for entry in document.inputs:
                    self.add_makers(entry.cid)
            for file in {file for files in self._claims.of(cid, document).values() for file in files}:
                self._look_up_endings(file)
                for ending in self._endings.get((cid, file), ()):
                    self._add(ending)
        return self.found

    def _look_up_endings(self, file: str) -> None:
        """Know what ends a claim on a file, by the document that made the claim."""
        if file in self._looked_up:
            return
        self._looked_up.add(file)
        for role in ("amended", "retracted"):
            for candidate in self.store.documents(file, role):
                for _, claimant in ended_by(self._document(candidate)):
                    self._endings.setdefault((claimant, file), {})[candidate] = None

    def _add(self, cid: str) -> None:
        if cid not in self.found:
            self.found[cid] = self._document(cid)
            self._waiting.append(cid)

    def _document(self, cid: str) -> Document:
        if cid not in self._read:
            self._read[cid] = self.store.document(cid)
        return self._read[cid]
