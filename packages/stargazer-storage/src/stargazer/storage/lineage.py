"""Walking provenance: how a file came to be, back to what was imported, from the store alone."""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Iterator

import attrs
from stargazer.assets.errors import AssetNotFoundError, StargazerError
from stargazer.assets.provenance import Amendment, Document, Entry, Execution, Import, Retraction
from stargazer.storage.cid import is_cid
from stargazer.storage.reading import StoreReader

__all__ = ["Other", "Step", "render", "why"]

_DEEPEST = 24  # columns of indentation: a longer chain goes on below
_LABELS = ("sample", "samples", "lane", "name", "build")  # fields by which people tell inputs apart


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


def why(store: StoreReader, cid: str) -> Step:
    """The lineage of a file, or of what the execution of a provenance document made, back to imports.

    Raises:
        AssetNotFoundError: the store knows nothing of this CID.
    """
    walk = _Walk(store)
    records = store.query({"cid": cid})
    named = store.documents(cid)
    unlike = [record for record in records if record.keyvalues.get("asset") != "provenance"]
    if not (named or unlike) and is_cid(cid) and (document := walk.document(cid)):
        kind = {"asset": "provenance", "kind": type(document).__name__.lower()}
        entry = Entry(cid=cid, keyvalues=kind, name=records[0].name if records else "")
        return walk.back_from(Step(entry=entry, provenance_cid=cid, document=document))
    if not records and not named:
        raise AssetNotFoundError(f"nothing is known of {cid!r} in {str(store.root)!r}: see `stargazer query`")
    asked = Entry(cid=cid, keyvalues={})
    for record in records[:1]:
        pairs = dict(record.keyvalues)
        made_by = pairs.pop("provenance_cid", "")
        asked = Entry(cid=cid, keyvalues=pairs, name=record.name, size=record.size, provenance_cid=made_by)
    return walk.back_from(walk.step(asked))


class _Walk:
    """One walk through a store, which reads every document once."""

    def __init__(self, store: StoreReader):
        self.store = store
        self.documents: dict[str, Document | None] = {}
        self.steps: dict[tuple[str, str, str], Step] = {}

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
        key = entry.cid, entry.role, entry.provenance_cid
        if key in self.steps:
            return self.steps[key]
        named = list(dict.fromkeys(filter(None, [entry.provenance_cid, *self.store.documents(entry.cid)])))
        makers = [cid for cid in named if _output(self.document(cid), entry)]
        makers.sort(key=lambda cid: (_hands_on(self.document(cid), entry), cid != entry.provenance_cid))
        groups = self._grouped(makers, entry)
        first = groups[0] if groups else None
        made = _output(first.document, entry) if first else None
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


def _output(document: Document | None, file: Entry) -> Entry | None:
    """A document's entry of a file that it registered: the one of this meaning, if the bytes have several."""
    match document:
        case Execution(outputs=entries) | Import(files=entries):
            found = [entry for entry in entries if entry.cid == file.cid]
            return next((entry for entry in found if entry.keyvalues == file.keyvalues), [*found, None][0])
    return None


def _hands_on(document: Document | None, file: Entry) -> bool:
    """Whether a document gives a file as it was read: the same bytes with the same meaning."""
    made = _output(document, file)
    reads = document.inputs if isinstance(document, Execution) else []
    return made is not None and any(
        (entry.cid, entry.keyvalues) == (made.cid, made.keyvalues) for entry in reads
    )


def _follows(first: Other | None, other: Other, file: Entry) -> bool:
    """Whether what made a file read the same bytes as the other made them: a step that changed no byte."""
    reads = first.document.inputs if first and isinstance(first.document, Execution) else []
    return any((entry.cid, entry.provenance_cid) == (file.cid, other.provenance_cid) for entry in reads)


def _identity(document: Execution | Import, file: Entry) -> Hashable:
    """What two documents share that say the same of a file, but for when and how fast."""
    if isinstance(document, Import):
        entry = _output(document, file) or file
        return entry.origin, frozenset(entry.keyvalues.items())
    inputs = tuple((entry.role, entry.cid, frozenset(entry.keyvalues.items())) for entry in document.inputs)
    tools = tuple((tool.name, tool.version, tool.source) for tool in document.tools)
    return document.task, document.code_digest, inputs, str(sorted(document.parameters.items())), tools


def render(step: Step) -> str:
    """A lineage as an indented text tree; a file that occurs again is shown in full only once."""
    lines: list[str] = []
    shown: set[tuple[str, str]] = set()
    waiting = [(step, 0)]
    while waiting:
        here, depth = waiting.pop()
        indent, key = " " * min(depth, _DEEPEST), (here.entry.cid, here.provenance_cid)
        lines += (f"{indent}{line}" for line in _lines(here, again=key in shown))
        if key not in shown:
            shown.add(key)
            waiting += [(child, depth + 4) for child in reversed(here.inputs)]
    return "\n".join(lines)


def _lines(step: Step, again: bool) -> Iterator[str]:
    entry, document = step.entry, step.document
    pairs = [f"{key}={_shown(value)}" for key, value in entry.keyvalues.items() if _is_field(key)]
    yield " ".join([f"{_role(entry)}{entry.keyvalues.get('asset', 'file')}", _shown(entry.name), *pairs])
    yield f"  cid {entry.cid}"
    if again:
        yield "  (its lineage is shown above)"
        return
    match document:
        case Import() if entry.cid == step.provenance_cid:
            yield f"  import by {document.account} at {document.at[:19]} ({document.command})"
            yield from _registered(document.files)
        case Import():
            yield f"  {_imported(document, entry)}"
        case Execution():
            yield from _execution(document)
            if entry.cid == step.provenance_cid:
                yield from _registered(document.outputs)
        case Amendment() | Retraction():
            yield f"  of a record of {document.cid}, by {document.account} at {document.at[:19]}"
        case _ if step.provenance_cid:
            yield f"  how it came to be is not known here: no readable document {step.provenance_cid}"
        case _:
            yield "  how it came to be is not known here"
    if step.again:
        yield f"  {_again(document, step.again)}"
    for other in step.others:
        yield f"  {_other(other, step)}: stargazer why {other.provenance_cid}"


def _registered(entries: list[Entry]) -> Iterator[str]:
    """The files that an execution made or an import brought."""
    for entry in entries:
        yield f"  -> {_role(entry)}{entry.keyvalues.get('asset', 'file')} {_shown(entry.name)} {entry.cid}"


def _imported(document: Import, entry: Entry) -> str:
    origin = _shown(entry.origin or entry.name)
    return f"imported from {origin} by {document.account} at {document.at[:19]} ({document.command})"


def _again(document: Document | None, times: list[str]) -> str:
    done = "imported" if isinstance(document, Import) else "computed"
    count = "once" if len(times) == 1 else f"{len(times)} times, last"
    return f"{done} again {count} at {times[-1][:19]}"


def _other(other: Other, step: Step) -> str:
    """One line about what else made a file: how it differs from what is shown in full."""
    document = other.document
    again = f", {_again(document, other.again)}" if other.again else ""
    if isinstance(document, Import):
        entry = _output(document, step.entry) or step.entry
        pairs = [f"{key}={_shown(value)}" for key, value in entry.keyvalues.items() if _is_field(key)]
        return " ".join([f"also {_imported(document, entry)}", *(["as", *pairs] if pairs else [])]) + again
    tools = ", ".join(f"{tool.name} {tool.version}" for tool in document.tools)
    made = "handed on" if other.handed_on else "also made"
    return (
        f"{made} by {document.task}{f' ({tools})' if tools else ''} from {_labels(document, step)} "
        f"at {document.started[:19]}{again}"
    )


def _labels(document: Execution, step: Step) -> str:
    """Those inputs of an execution that are not inputs of the one shown in full, for people."""
    shown = step.document.inputs if isinstance(step.document, Execution) else []
    others = {entry.cid for entry in shown}
    fresh = [entry for entry in document.inputs if entry.cid not in others]
    if not fresh:
        return "some of the same files" if len(document.inputs) < len(shown) else "the same files"
    words = []
    for entry in fresh:
        values = [entry.keyvalues[key] for key in _LABELS if entry.keyvalues.get(key)]
        part = f"...{entry.cid[-9:]}" if entry.cid else ""
        words.append(" ".join([entry.keyvalues.get("asset", "file"), *map(_shown, values), part]).rstrip())
    return ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")


def _execution(document: Execution) -> Iterator[str]:
    source = f" ({document.distribution})" if document.distribution else ""
    yield f"  made by {document.task}{source} at {document.started[:19]}, {document.seconds:.1f} s"
    for tool in document.tools:
        yield f"    tool {tool.name} {tool.version}" + (f" ({tool.source})" if tool.source else "")
    for name, value in document.parameters.items():
        yield f"    {name} = {_shown(str(value))}"
    for command in document.commands:
        yield f"    $ {_shown(shlex.join(command))}"


def _role(entry: Entry) -> str:
    return f"{entry.role}: " if entry.role else ""


def _is_field(key: str) -> bool:
    return key != "asset" and not key.endswith("_cid")


def _shown(text: str) -> str:
    """A text on one line, with nothing in it that moves a terminal's cursor."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
