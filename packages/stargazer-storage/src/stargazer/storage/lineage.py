"""Walking provenance: how a file came to be, back to what was imported, from the store alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import attrs
from stargazer.assets.errors import AssetNotFoundError, StargazerError
from stargazer.assets.provenance import Document, Entry, Execution, Import
from stargazer.storage.reading import StoreReader

__all__ = ["Step", "render", "why"]

_DEEPEST = 24  # columns of indentation: a longer chain goes on below


@attrs.frozen(kw_only=True, eq=False)
class Step:
    """One file of a lineage: what made it, and the steps of what that read.

    Attributes:
        entry: the file.
        provenance_cid: the document that says how it was made; empty when none can be read.
        document: that document.
        others: CIDs of other documents that name it as an output: computed again, handed on, imported twice.
        inputs: a step for each file that the execution read; the same file in the same role is the same object.
    """

    entry: Entry
    provenance_cid: str = ""
    document: Document | None = None
    others: list[str] = attrs.field(factory=list)
    inputs: list[Step] = attrs.field(factory=list, repr=False)


def why(store: StoreReader, cid: str) -> Step:
    """The lineage of a file, back to imports.

    Raises:
        AssetNotFoundError: the store knows nothing of this CID.
    """
    records = store.query({"cid": cid})
    if not records and not store.documents(cid):
        raise AssetNotFoundError(f"nothing is known of {cid!r} in {str(store.root)!r}: see `stargazer query`")
    asked = Entry(cid=cid, keyvalues={})
    for record in records[:1]:
        pairs = dict(record.keyvalues)
        made_by = pairs.pop("provenance_cid", "")
        asked = Entry(cid=cid, keyvalues=pairs, name=record.name, size=record.size, provenance_cid=made_by)
    return _Walk(store).from_file(asked)


class _Walk:
    """One walk through a store, which reads every document once."""

    def __init__(self, store: StoreReader):
        self.store = store
        self.documents: dict[str, Document | None] = {}
        self.steps: dict[tuple[str, str, str], Step] = {}

    def from_file(self, entry: Entry) -> Step:
        """The step of a file, with all steps before it."""
        first = self._step(entry)
        waiting = [first]
        while waiting:
            step = waiting.pop()
            if not isinstance(step.document, Execution) or step.inputs:
                continue
            for read in step.document.inputs:
                if read.cid != step.entry.cid:  # else it was handed on
                    step.inputs.append(self._step(read))
            waiting += step.inputs
        return first

    def _step(self, entry: Entry) -> Step:
        """The step of a file as far as its own document tells; the same one for the same file and role."""
        key = entry.cid, entry.role, entry.provenance_cid
        if key in self.steps:
            return self.steps[key]
        named = list(dict.fromkeys(filter(None, [entry.provenance_cid, *self.store.documents(entry.cid)])))
        makers = [cid for cid in named if _output(self._document(cid), entry)]
        makers.sort(key=lambda cid: _reads(self._document(cid), entry))  # who made it before who handed it on
        document = self._document(makers[0]) if makers else None
        made = _output(document, entry)
        self.steps[key] = Step(
            entry=attrs.evolve(made, role=entry.role) if made else entry,
            provenance_cid=[*makers, *named, ""][0],
            document=document,
            others=makers[1:],
        )
        return self.steps[key]

    def _document(self, cid: str) -> Document | None:
        """A document; None if it cannot be read here."""
        if cid not in self.documents:
            try:
                self.documents[cid] = self.store.document(cid)
            except StargazerError:
                self.documents[cid] = None
        return self.documents[cid]


def _output(document: Document | None, file: Entry) -> Entry | None:
    """A document's entry of a file that it registered: the one of this meaning, if the bytes have several."""
    match document:
        case Execution(outputs=entries) | Import(files=entries):
            found = [entry for entry in entries if entry.cid == file.cid]
            return next((entry for entry in found if entry.keyvalues == file.keyvalues), [*found, None][0])
    return None


def _reads(document: Document | None, file: Entry) -> bool:
    return isinstance(document, Execution) and any(entry.cid == file.cid for entry in document.inputs)


def render(step: Step) -> str:
    """A lineage as an indented text tree; a file that occurs again is shown in full only once."""
    lines: list[str] = []
    shown: set[str] = set()
    waiting = [(step, 0)]
    while waiting:
        here, depth = waiting.pop()
        indent = " " * min(depth, _DEEPEST)
        lines += (f"{indent}{line}" for line in _lines(here, again=here.entry.cid in shown))
        if here.entry.cid not in shown:
            shown.add(here.entry.cid)
            waiting += [(child, depth + 4) for child in reversed(here.inputs)]
    return "\n".join(lines)


def _lines(step: Step, again: bool) -> Iterator[str]:
    entry, document = step.entry, step.document
    pairs = [f"{key}={_shown(value)}" for key, value in entry.keyvalues.items() if _is_field(key)]
    role = f"{entry.role}: " if entry.role else ""
    yield " ".join([f"{role}{entry.keyvalues.get('asset', 'file')}", _shown(entry.name), *pairs])
    yield f"  cid {entry.cid}"
    if again:
        yield "  (its lineage is shown above)"
        return
    match document:
        case Import():
            origin = _shown(entry.origin or entry.name)
            yield f"  imported from {origin} by {document.account} at {document.at[:19]} ({document.command})"
        case Execution():
            yield from _execution(document)
        case _ if step.provenance_cid:
            yield f"  how it came to be is not known here: no readable document {step.provenance_cid}"
        case _:
            yield "  how it came to be is not known here"
    for other in step.others:
        yield f"  see also {other}"


def _execution(document: Execution) -> Iterator[str]:
    source = f" ({document.distribution})" if document.distribution else ""
    yield f"  made by {document.task}{source} at {document.started[:19]}, {document.seconds:.1f} s"
    for tool in document.tools:
        yield f"    tool {tool.name} {tool.version}" + (f" ({tool.source})" if tool.source else "")
    for name, value in document.parameters.items():
        yield f"    {name} = {_shown(str(value))}"
    for command in document.commands:
        yield f"    $ {_shown(shlex.join(command))}"


def _is_field(key: str) -> bool:
    return key != "asset" and not key.endswith("_cid")


def _shown(text: str) -> str:
    """A text on one line, with nothing in it that moves a terminal's cursor."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
