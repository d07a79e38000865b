"""Walking provenance: how a file came to be, back to what was imported, from the store alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import attrs
from stargazer.assets import AssetNotFoundError, IpFile, StargazerError
from stargazer.assets.provenance import Document, Entry, Execution, Import
from stargazer.storage.cid import is_cid
from stargazer.storage.store import Store

__all__ = ["Other", "Step", "output_of", "why", "why_each"]


@attrs.frozen(kw_only=True, eq=False)
class Other:
    """Another document that names a file of a lineage as its output.

    Attributes:
        provenance_cid: of the document.
        document: an execution or an import.
        handed_on: it did not make the file, which is among its inputs.
        again: when the same was done again, ISO 8601 in UTC, oldest first.
    """

    provenance_cid: str
    document: Execution | Import
    handed_on: bool = False
    again: list[str] = attrs.field(factory=list)

    @property
    def started(self) -> str:
        """When it was done, ISO 8601 in UTC."""
        return self.document.started if isinstance(self.document, Execution) else self.document.at


@attrs.frozen(kw_only=True, eq=False)
class Step:
    """One file of a lineage: what made it, and the steps of what that read.

    Attributes:
        entry: the file.
        provenance_cid: the document that says how it was made; empty when none can be read.
        document: that document.
        again: when the same was done again with the same outcome, ISO 8601 in UTC, oldest first.
        others: what else made the same bytes, or handed them on.
        inputs: a step for each file that the execution read; the same file in the same role is the same object.
    """

    entry: Entry
    provenance_cid: str = ""
    document: Document | None = None
    again: list[str] = attrs.field(factory=list)
    others: list[Other] = attrs.field(factory=list)
    inputs: list[Step] = attrs.field(factory=list, repr=False)


def why(store: Store, cid: str) -> Step:
    """The lineage of a file, or of what the execution of a provenance document made, back to imports.

    Raises:
        AssetNotFoundError: the store knows nothing of this CID.
    """
    return why_each(store, [cid])[0]


def why_each(store: Store, files: Iterable[str | IpFile]) -> list[Step]:
    """The lineages of several files, which share the steps that they have in common.

    Args:
        files: CIDs, or records where bytes may have several.

    Raises:
        AssetNotFoundError: the store knows nothing of one of these CIDs.
    """
    walk = _Walk(store)
    firsts = [
        _first_step(store, walk, file) if isinstance(file, str) else walk.step(_entry_of(file))
        for file in files
    ]
    return [walk.back_from(first) for first in firsts]


def _entry_of(record: IpFile) -> Entry:
    pairs = dict(record.keyvalues)
    made_by = pairs.pop("provenance_cid", "")
    return Entry(cid=record.cid, keyvalues=pairs, name=record.name, size=record.size, provenance_cid=made_by)


def _first_step(store: Store, walk: _Walk, cid: str) -> Step:
    records = store.query({"cid": cid})
    named = store.documents(cid)
    unlike = [record for record in records if record.keyvalues.get("asset") != "provenance"]
    if not (named or unlike) and is_cid(cid) and (document := walk.document(cid)):
        kind = {"asset": "provenance", "kind": type(document).__name__.lower()}
        entry = Entry(cid=cid, keyvalues=kind, name=records[0].name if records else "")
        return Step(entry=entry, provenance_cid=cid, document=document)
    if not records and not named:
        raise AssetNotFoundError(f"nothing is known of {cid!r} in {str(store.root)!r}: see `stargazer query`")
    return walk.step(_entry_of(records[0]) if records else Entry(cid=cid, keyvalues={}))


MOST_KNOWN = 100
"""Documents whose files are kept by what they are asked for."""


class _Walk:
    """One walk through a store, which reads every document once."""

    def __init__(self, store: Store):
        self.store = store
        self.documents: dict[str, Document | None] = {}
        self.steps: dict[Hashable, Step] = {}

    def back_from(self, first: Step) -> Step:
        """A step, with all steps before it."""
        waiting = [first]
        while waiting:
            step = waiting.pop()
            if not isinstance(step.document, Execution) or step.inputs:
                continue
            for read in step.document.inputs:
                if (read.cid, read.keyvalues) != (step.entry.cid, step.entry.keyvalues):  # else handed on
                    step.inputs.append(self.step(read))
            waiting += step.inputs
        return first

    def step(self, entry: Entry) -> Step:
        """The step of a file as far as its own document tells; the same one for the same file and role."""
        key = entry.cid, frozenset(entry.keyvalues.items()), entry.role, entry.provenance_cid
        if key in self.steps:
            return self.steps[key]
        named = list(dict.fromkeys(filter(None, [entry.provenance_cid, *self.store.documents(entry.cid)])))
        makers = [cid for cid in named if output_of(self.document(cid), entry)]
        makers.sort(key=lambda cid: (_hands_on(self.document(cid), entry), cid != entry.provenance_cid))
        groups = self._grouped(makers, entry)
        first = groups[0] if groups else None
        made = output_of(first.document, entry) if first else None
        self.steps[key] = Step(
            entry=attrs.evolve(made, role=entry.role) if made else entry,
            provenance_cid=[*makers, *named, ""][0],
            document=first.document if first else None,
            again=first.again if first else [],
            others=[other for other in groups[1:] if not _follows(first, other, entry)],
        )
        return self.steps[key]

    def _grouped(self, makers: list[str], file: Entry) -> list[Other]:
        """The documents that name a file as output, each with the times at which the same was done again."""
        groups: dict[Hashable, Other] = {}
        for cid in makers:
            document = self.document(cid)
            assert isinstance(document, Execution | Import)
            other = Other(provenance_cid=cid, document=document, handed_on=_hands_on(document, file))
            first = groups.setdefault(_identity(document, file), other)
            if first is not other:
                first.again.append(other.started)
        return [attrs.evolve(group, again=sorted(group.again)) for group in groups.values()]

    def document(self, cid: str) -> Document | None:
        """A document; None if it cannot be read here."""
        if cid not in self.documents:
            try:
                self.documents[cid] = self.store.document(cid)
            except StargazerError:
                self.documents[cid] = None
        return self.documents[cid]


def output_of(document: Document | None, file: Entry) -> Entry | None:
    """A document's entry of a file that it registered: the one of this meaning, if the bytes have several."""
    if not isinstance(document, Execution | Import):
        return None
    found = _files_of(document).outputs.get(file.cid, [])
    return next((entry for entry in found if entry.keyvalues == file.keyvalues), [*found, None][0])


class _Files:
    """The files of a document by what they are asked for: it is asked for every one of them."""

    def __init__(self, document: Execution | Import) -> None:
        self.document = document
        self.outputs: dict[str, list[Entry]] = {}
        for entry in document.outputs if isinstance(document, Execution) else document.files:
            self.outputs.setdefault(entry.cid, []).append(entry)
        inputs = document.inputs if isinstance(document, Execution) else []
        self.inputs = [(entry.cid, frozenset(entry.keyvalues.items())) for entry in inputs]
        self.read = frozenset(self.inputs)
        self.made_by = frozenset((entry.cid, entry.provenance_cid) for entry in inputs)
        self.identity = tuple((entry.role, *read) for entry, read in zip(inputs, self.inputs, strict=True))


_known: dict[int, _Files] = {}


def _files_of(document: Execution | Import) -> _Files:
    """The same for the same document, of the last hundred."""
    found = _known.get(id(document))
    if found is None or found.document is not document:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        found = _known[id(document)] = _Files(document)
    return found


def _hands_on(document: Document | None, file: Entry) -> bool:
    """Whether a document gives a file as it was read: the same bytes with the same meaning."""
    made = output_of(document, file)
    if made is None or not isinstance(document, Execution):
        return False
    return (made.cid, frozenset(made.keyvalues.items())) in _files_of(document).read


def _follows(first: Other | None, other: Other, file: Entry) -> bool:
    """Whether what made a file read the same bytes as the other made them: a step that changed no byte."""
    if first is None or not isinstance(first.document, Execution):
        return False
    return (file.cid, other.provenance_cid) in _files_of(first.document).made_by


def _identity(document: Execution | Import, file: Entry) -> Hashable:
    """What two documents share that say the same of a file, but for when and how fast."""
    if isinstance(document, Import):
        entry = output_of(document, file) or file
        return entry.origin, frozenset(entry.keyvalues.items())
    inputs = _files_of(document).identity
    tools = tuple((tool.name, tool.version, tool.source) for tool in document.tools)
    return document.task, document.code_digest, inputs, str(sorted(document.parameters.items())), tools
