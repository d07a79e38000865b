"""How a file came to be: provenance documents of the store are followed from it back to what was imported."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import attrs
from stargazer.assets import AssetNotFoundError, IpFile, StargazerError, provenance
from stargazer.assets.provenance import Document, Entry, Execution, Import
from stargazer.storage.additions import without_provenance
from stargazer.storage.cid import is_cid
from stargazer.storage.store import Store

__all__ = ["Step", "as_json", "executions_of", "executions_of_task", "walk", "why", "why_each"]


@attrs.frozen(kw_only=True, eq=False)
class Step:
    """One file of a lineage: what made it, and the steps of what that read.

    Attributes:
        entry: the file.
        made_as: the role of the file among the results of what made it.
        handed_on: it is also among what that read.
        provenance_cid: the document that says how it was made; empty when none can be read.
        document: that document.
        again: when the same was done again with the same outcome, ISO 8601 in UTC, oldest first.
        others: what else made the same bytes, or handed them on; without what that read.
        inputs: a step for each file that the execution read; the same file in the same role is the same object.
    """

    entry: Entry
    made_as: str = ""
    handed_on: bool = False
    provenance_cid: str = ""
    document: Document | None = None
    again: list[str] = attrs.field(factory=list)
    others: list[Step] = attrs.field(factory=list)
    inputs: list[Step] = attrs.field(factory=list, repr=False)

    @property
    def at(self) -> str:
        """When that was done, ISO 8601 in UTC; empty if it is not known."""
        return str(getattr(self.document, "started" if isinstance(self.document, Execution) else "at", ""))


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


def walk(*first: Step) -> Iterator[Step]:
    """Steps and all steps before them, each once and before what its execution read, in that order."""
    waiting, seen = list(reversed(first)), set()
    while waiting:
        step = waiting.pop()
        key = step.entry.cid, _pairs(step.entry), step.provenance_cid
        if key not in seen:
            seen.add(key)
            yield step
            waiting += reversed(step.inputs)


def executions_of(store: Store, files: Iterable[str | IpFile]) -> dict[str, Execution]:
    """The executions in the lineages of files, by the CIDs of their documents; raises as `why_each` does."""
    documents = {step.provenance_cid: step.document for step in walk(*why_each(store, files))}
    return {cid: document for cid, document in documents.items() if isinstance(document, Execution)}


def executions_of_task(store: Store, task: str) -> Iterator[tuple[str, Execution]]:
    """What this store's user had a task do, by its full name: each document's CID and execution, the newest first."""
    sql = "SELECT document FROM runs WHERE task = ? ORDER BY at DESC, number DESC"
    for (cid,) in store.index.rows(sql, task):
        with contextlib.suppress(StargazerError):  # a document that cannot be read tells nothing
            document = None if store.is_foreign(cid) else store.document(cid)
            if isinstance(document, Execution):
                yield cid, document


def as_json(step: Step) -> dict[str, Any]:
    """A lineage for programs: the file asked for, and all files by CID with what made them and what that read."""
    files: dict[str, Any] = {}
    for here in walk(step):
        entry = here.entry
        told = {
            "asset": entry.keyvalues.get("asset", ""),
            "name": entry.name,
            "keyvalues": dict(entry.keyvalues),
            "provenance_cid": here.provenance_cid,
            "inputs": [child.entry.cid for child in here.inputs],
            "made_by": json.loads(provenance.dump(here.document)) if here.document else None,
            "again": here.again,
            "others": [  # `stargazer why CID` follows them
                {
                    "cid": other.provenance_cid,
                    "task": getattr(other.document, "task", ""),
                    "started": other.at,
                    "again": other.again,
                }
                for other in here.others
            ],
        }
        if entry.cid in files:  # the same bytes, before only their name changed
            files[entry.cid].setdefault("before", []).append(told)
        else:
            files[entry.cid] = told
    return {"cid": step.entry.cid, "files": files}


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
        makers = [made for cid in named if (made := self.read(cid).maker_of(entry))]
        makers.sort(key=lambda made: (made.handed_on, made.provenance_cid != entry.provenance_cid))
        groups: dict[Hashable, Step] = {}
        for made in makers:
            done = self.read(made.provenance_cid).done or (made.entry.origin, _pairs(made.entry))
            same = groups.setdefault(done, made)
            if same is not made:
                same.again.append(made.at)
        for made in makers:
            made.again.sort()
        if not makers:
            return self.steps.setdefault(key, Step(entry=entry, provenance_cid=named[0] if named else ""))
        first, *others = groups.values()
        before = self.read(first.provenance_cid).made_by  # the same bytes, before a step that changed none
        self.steps[key] = attrs.evolve(
            first,
            entry=attrs.evolve(first.entry, role=entry.role),
            others=[other for other in others if (entry.cid, other.provenance_cid) not in before],
        )
        return self.steps[key]


class _Read:
    """A document, with its files by what they are asked for, many times.

    Attributes:
        document: None if it cannot be read here.
        outputs: the files that it registered, by CID.
        read: those that it read, by bytes and meaning.
        made_by: the same, each with the document that says how it was made.
        done: what two executions share that did the same, but for when and how fast.
    """

    def __init__(self, store: Store, cid: str):
        self.cid = cid
        self.document: Document | None = None
        with contextlib.suppress(StargazerError):
            self.document = store.document(cid)
        document = self.document
        self.done: Hashable = None
        inputs: list[Entry] = []
        self.outputs: dict[str, list[Entry]] = {}
        if isinstance(document, Execution):
            inputs = document.inputs
            files = tuple((entry.role, entry.cid, _pairs(entry)) for entry in inputs)
            tools = tuple((tool.name, tool.version, tool.source) for tool in document.tools)
            parameters = str(sorted(document.parameters.items()))
            self.done = document.task, document.code_digest, files, parameters, tools
        self.read = {(entry.cid, _pairs(entry)) for entry in inputs}
        self.made_by = {(entry.cid, entry.provenance_cid) for entry in inputs}
        if isinstance(document, Execution | Import):
            for entry in document.outputs if isinstance(document, Execution) else document.files:
                self.outputs.setdefault(entry.cid, []).append(entry)

    def maker_of(self, file: Entry) -> Step | None:
        """The step that the document tells of a file: of this meaning, if the bytes have several."""
        if file.cid not in self.outputs:
            return None
        found = self.outputs[file.cid]
        made = next((entry for entry in found if entry.keyvalues == file.keyvalues), found[0])
        return Step(
            entry=made,
            made_as=made.role,
            handed_on=(made.cid, _pairs(made)) in self.read,
            provenance_cid=self.cid,
            document=self.document,
        )


def _entry_of(record: IpFile) -> Entry:
    made_by, pairs = record.keyvalues.get("provenance_cid", ""), without_provenance(record.keyvalues)
    return Entry(cid=record.cid, keyvalues=pairs, name=record.name, size=record.size, provenance_cid=made_by)


def _pairs(entry: Entry) -> frozenset[tuple[str, str]]:
    return frozenset(entry.keyvalues.items())
