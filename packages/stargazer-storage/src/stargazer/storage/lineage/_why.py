"""How a file came to be: provenance documents of the store are followed from it back to what was imported."""

from __future__ import annotations

import contextlib
import functools
import json
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import attrs
from stargazer.assets import AssetNotFoundError, IpFile, StargazerError, provenance
from stargazer.assets.provenance import Document, Entry, Execution, Import
from stargazer.storage.cid import is_cid
from stargazer.storage.store import Store

__all__ = ["Other", "Step", "as_json", "executions_of", "steps_of", "walk", "why", "why_each"]


@attrs.frozen(kw_only=True, eq=False)
class Other:
    """Another document that names a file of a lineage as its output.

    Attributes:
        provenance_cid: of the document.
        document: an execution or an import.
        made: the file as the document names it.
        handed_on: it did not make the file, which is among its inputs.
        again: when the same was done again, ISO 8601 in UTC, oldest first.
    """

    provenance_cid: str
    document: Execution | Import
    made: Entry
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
        made_as: the role of the file among the results of what made it.
        provenance_cid: the document that says how it was made; empty when none can be read.
        document: that document.
        again: when the same was done again with the same outcome, ISO 8601 in UTC, oldest first.
        others: what else made the same bytes, or handed them on.
        inputs: a step for each file that the execution read; the same file in the same role is the same object.
    """

    entry: Entry
    made_as: str = ""
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
    known = _Known(store)
    return [known.back_from(known.first(file)) for file in files]


def walk(first: Step, *, in_order: bool = False) -> Iterator[Step]:
    """A step and all steps before it, each once: what an execution read last comes first, unless `in_order`."""
    waiting, seen = [first], set()
    while waiting:
        step = waiting.pop()
        key = step.entry.cid, step.provenance_cid
        if key not in seen:
            seen.add(key)
            yield step
            waiting += reversed(step.inputs) if in_order else step.inputs


def steps_of(store: Store, records: Iterable[IpFile]) -> list[Step]:
    """The steps of records and of everything that they were made from, each once, those asked for first."""
    found: dict[Hashable, Step] = {}
    waiting = deque(why_each(store, {record.id: record for record in records}.values()))
    while waiting:
        step = waiting.popleft()
        key = step.entry.cid, _pairs(step.entry), step.provenance_cid
        if key not in found:
            found[key] = step
            waiting += step.inputs
    return list(found.values())


def executions_of(store: Store, records: Iterable[IpFile]) -> dict[str, Execution]:
    """The executions among those steps, by the CIDs of their documents."""
    documents = {step.provenance_cid: step.document for step in steps_of(store, records)}
    return {cid: document for cid, document in documents.items() if isinstance(document, Execution)}


def as_json(step: Step) -> dict[str, Any]:
    """A lineage for programs: the file asked for, and all files by CID with what made them and what that read."""
    files: dict[str, Any] = {}
    for here in walk(step):
        told = _step_as_json(here)
        if (
            files.setdefault(here.entry.cid, told) is not told
        ):  # the same bytes, before only their name changed
            files[here.entry.cid].setdefault("before", []).append(told)
    return {"cid": step.entry.cid, "files": files}


def _step_as_json(step: Step) -> dict[str, Any]:
    return {
        "asset": step.entry.keyvalues.get("asset", ""),
        "name": step.entry.name,
        "keyvalues": dict(step.entry.keyvalues),
        "provenance_cid": step.provenance_cid,
        "inputs": [child.entry.cid for child in step.inputs],
        "made_by": json.loads(provenance.dump(step.document)) if step.document else None,
        "again": step.again,
        "others": [  # `stargazer why CID` follows them
            {
                "cid": other.provenance_cid,
                "task": getattr(other.document, "task", ""),
                "started": other.started,
                "again": other.again,
            }
            for other in step.others
        ],
    }


class _Known:
    """What one walk has read of a store: every document once, and the step of every file and role once."""

    def __init__(self, store: Store):
        self.store = store
        self.read = functools.cache(functools.partial(_Read, store))
        self.steps: dict[Hashable, Step] = {}

    def first(self, file: str | IpFile) -> Step:
        """The step of a record, or of a CID: of a file, or of a provenance document itself."""
        if isinstance(file, IpFile):
            return self.step(_entry_of(file))
        records, named = self.store.query({"cid": file}), self.store.documents(file)
        is_file = named or any(record.keyvalues.get("asset") != "provenance" for record in records)
        if not is_file and is_cid(file) and (document := self.read(file).document):
            kind = {"asset": "provenance", "kind": type(document).__name__.lower()}
            entry = Entry(cid=file, keyvalues=kind, name=records[0].name if records else "")
            return Step(entry=entry, provenance_cid=file, document=document)
        if not records and not named:
            place = str(self.store.root)
            raise AssetNotFoundError(f"nothing is known of {file!r} in {place!r}: see `stargazer query`")
        return self.step(_entry_of(records[0]) if records else Entry(cid=file, keyvalues={}))

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
        key = entry.cid, _pairs(entry), entry.role, entry.provenance_cid
        if key in self.steps:
            return self.steps[key]
        named = list(dict.fromkeys(filter(None, [entry.provenance_cid, *self.store.documents(entry.cid)])))
        makers = [other for cid in named if (other := self.read(cid).maker_of(entry))]
        makers.sort(key=lambda other: (other.handed_on, other.provenance_cid != entry.provenance_cid))
        groups: dict[Hashable, Other] = {}
        for other in makers:
            same = groups.setdefault(self.read(other.provenance_cid).what_was_done(other.made), other)
            if same is not other:
                same.again.append(other.started)
        for other in groups.values():
            other.again.sort()
        if not makers:
            return self.steps.setdefault(key, Step(entry=entry, provenance_cid=named[0] if named else ""))
        first, *others = groups.values()
        read = self.read(first.provenance_cid).made_by  # the same bytes, before a step that changed none
        self.steps[key] = Step(
            entry=attrs.evolve(first.made, role=entry.role),
            made_as=first.made.role,
            provenance_cid=first.provenance_cid,
            document=first.document,
            again=first.again,
            others=[other for other in others if (entry.cid, other.provenance_cid) not in read],
        )
        return self.steps[key]


class _Read:
    """A document (None if it cannot be read here), with its files by what they are asked for, many times."""

    def __init__(self, store: Store, cid: str):
        self.cid = cid
        self.document: Document | None = None
        with contextlib.suppress(StargazerError):
            self.document = store.document(cid)
        document = self.document
        self.inputs = document.inputs if isinstance(document, Execution) else []
        self.outputs: dict[str, list[Entry]] = {}
        if isinstance(document, Execution | Import):
            for entry in document.outputs if isinstance(document, Execution) else document.files:
                self.outputs.setdefault(entry.cid, []).append(entry)

    def maker_of(self, file: Entry) -> Other | None:
        """What the document says of a file that it registered: of this meaning, if the bytes have several."""
        if file.cid not in self.outputs or not isinstance(self.document, Execution | Import):
            return None
        found = self.outputs[file.cid]
        made = next((entry for entry in found if entry.keyvalues == file.keyvalues), found[0])
        handed_on = (made.cid, _pairs(made)) in self.read
        return Other(provenance_cid=self.cid, document=self.document, made=made, handed_on=handed_on)

    @functools.cached_property
    def read(self) -> frozenset[Hashable]:
        """The files that were read, by bytes and meaning."""
        return frozenset((entry.cid, _pairs(entry)) for entry in self.inputs)

    @functools.cached_property
    def made_by(self) -> frozenset[tuple[str, str]]:
        """The files that were read, each with the document that says how it was made."""
        return frozenset((entry.cid, entry.provenance_cid) for entry in self.inputs)

    @functools.cached_property
    def _execution(self) -> Hashable:
        """What two executions share that did the same, but for when and how fast."""
        assert isinstance(self.document, Execution)
        inputs = tuple((entry.role, entry.cid, _pairs(entry)) for entry in self.inputs)
        tools = tuple((tool.name, tool.version, tool.source) for tool in self.document.tools)
        parameters = str(sorted(self.document.parameters.items()))
        return self.document.task, self.document.code_digest, inputs, parameters, tools

    def what_was_done(self, made: Entry) -> Hashable:
        """What two documents share that say the same of a file, but for when and how fast."""
        return self._execution if isinstance(self.document, Execution) else (made.origin, _pairs(made))


def _entry_of(record: IpFile) -> Entry:
    pairs = dict(record.keyvalues)
    made_by = pairs.pop("provenance_cid", "")
    return Entry(cid=record.cid, keyvalues=pairs, name=record.name, size=record.size, provenance_cid=made_by)


def _pairs(entry: Entry) -> frozenset[tuple[str, str]]:
    return frozenset(entry.keyvalues.items())
