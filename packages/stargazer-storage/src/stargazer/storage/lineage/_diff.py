"""Comparing two lineages: the first points upstream at which they part, not everything that follows from them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Literal

import attrs
from stargazer.assets.provenance import Entry, Execution, Import
from stargazer.storage.lineage.walking import Step, output_of, why
from stargazer.storage.store import Store

__all__ = ["Difference", "Divergence", "Kind", "Place", "between", "diff", "inputs_between", "told"]

Kind = Literal[
    "file", "input", "parameter", "code", "tool", "platform", "metadata", "task", "result", "unexplained",
    "unknown",
]  # fmt: skip


@attrs.frozen
class Place:
    """Where two lineages part: a task, and the provenance documents of its two executions."""

    task: str
    a: str
    b: str


@attrs.frozen(kw_only=True)
class Divergence:
    """One thing that differs although nothing before it explains that.

    Attributes:
        kind: `file`: an import, `input`: a file that only one read, `parameter`, `code`, `tool`, `platform` (also
            Python and the image), `metadata` of the same bytes, `task`: made in different ways, `result`: two results
            of the same task, `unexplained`: the same was done with the same, and `unknown`: no readable document says
            how a file was made.
        name: of the parameter, tool, role of the input and the like.
        a, b: what it was on either side; empty where there was none.
        cids: of the two files, for kinds that are about files.
        parts: the functions and constants that differ, for `code`, where both sides have written them down.
        places: the executions it was seen in; the one next to the imports first.
    """

    kind: Kind
    name: str
    a: str
    b: str
    cids: tuple[str, str] = ("", "")
    parts: list[str] = attrs.field(factory=list)
    places: list[Place] = attrs.field(factory=list)


@attrs.frozen
class Difference:
    """Two files, and where their lineages part; nothing if they are the same bytes, made in the same way."""

    a: Step
    b: Step
    divergences: list[Divergence]

    @property
    def same_bytes(self) -> bool:
        """Whether the two are one file."""
        return self.a.entry.cid == self.b.entry.cid


def diff(store: Store, a: str, b: str) -> Difference:
    """What differed upstream of two files, or of two executions named by their provenance documents.

    Raises:
        AssetNotFoundError: the store knows nothing of one of these CIDs.
    """
    left, right = why(store, a), why(store, b)
    found: dict[tuple[Any, ...], Divergence] = {}
    waiting, seen = [(left, right)], set()
    for here, there in waiting:
        if (id(here), id(there)) in seen:
            continue
        seen.add((id(here), id(there)))
        place = Place(_made_by(here), here.provenance_cid, there.provenance_cid)
        divergences, deeper = _parted(here, there)
        for divergence in divergences:
            name = "" if divergence.kind in ("file", "unknown") else divergence.name  # read in several roles
            key = divergence.kind, name, divergence.a, divergence.b, divergence.cids
            found.setdefault(key, divergence).places.append(place)
        waiting += deeper
    for divergence in found.values():
        divergence.places.reverse()
    return Difference(left, right, list(reversed(found.values())))


def between(a: Execution, b: Execution) -> Iterator[Divergence]:
    """What differs between two executions of a task besides their inputs."""
    if a.code_digest != b.code_digest:
        told_apart = a.distribution != b.distribution
        yield Divergence(
            kind="code",
            name=a.task,
            a=a.distribution if told_apart else f"code {a.code_digest[:12]}",
            b=b.distribution if told_apart else f"code {b.code_digest[:12]}",
            parts=_other_parts(a, b),
        )
    files = {
        entry.role.partition("[")[0] for entry in (*a.inputs, *b.inputs)
    }  # of a parameter that may be none
    for name in sorted({*a.parameters, *b.parameters}):
        if name in files and not (name in a.parameters and name in b.parameters):
            continue
        values = [_json(side.parameters, name) for side in (a, b)]
        if values[0] != values[1]:
            yield Divergence(kind="parameter", name=name, a=values[0], b=values[1])
    tools = [_tools(side) for side in (a, b)]
    for name in sorted({*tools[0], *tools[1]}):
        used = [side.get(name, "") for side in tools]
        if used[0] != used[1]:
            yield Divergence(kind="tool", name=name, a=used[0], b=used[1])
        elif all(scripts := [_scripts(side, name) for side in (a, b)]) and scripts[0] != scripts[1]:
            yield Divergence(
                kind="code", name=f"what runs {name}", a=f"code {scripts[0]}", b=f"code {scripts[1]}"
            )
    for name in ("platform", "python", "image"):
        if getattr(a, name) != getattr(b, name):
            yield Divergence(kind="platform", name=name, a=getattr(a, name), b=getattr(b, name))


def _parted(here: Step, there: Step) -> tuple[list[Divergence], list[tuple[Step, Step]]]:
    """What differs at two steps, and the pairs of steps before them that are not the same bytes."""
    cids = here.entry.cid, there.entry.cid
    one, other = here.document, there.document
    if here.provenance_cid == there.provenance_cid and cids[0] == cids[1]:
        return [], []
    if isinstance(one, Execution) and isinstance(other, Execution):
        if one.task != other.task:
            return [Divergence(kind="task", name=here.entry.role, a=one.task, b=other.task, cids=cids)], []
        return _executions(here, there)
    if cids[0] == cids[1]:
        return [], []
    if isinstance(one, Import) and isinstance(other, Import):
        name = here.entry.role or here.entry.keyvalues.get("asset", "file")
        return [Divergence(kind="file", name=name, a=told(here), b=told(there), cids=cids)], []
    if one is None or other is None:
        return [Divergence(kind="unknown", name=here.entry.role, a=told(here), b=told(there), cids=cids)], []
    made = [_made_by(step) for step in (here, there)]
    return [Divergence(kind="task", name=here.entry.role, a=made[0], b=made[1], cids=cids)], []


def _executions(here: Step, there: Step) -> tuple[list[Divergence], list[tuple[Step, Step]]]:
    """The same for two executions of one task."""
    assert isinstance(here.document, Execution)
    assert isinstance(there.document, Execution)
    found = list(between(here.document, there.document))
    differing, deeper = inputs_between(here.inputs, there.inputs)
    found += differing
    if here.entry.cid != there.entry.cid:
        cids = here.entry.cid, there.entry.cid
        results = [_result(step) for step in (here, there)]
        if results[0] != results[1]:
            found.append(
                Divergence(kind="result", name=_made_by(here), a=results[0], b=results[1], cids=cids)
            )
        elif not found and not deeper:
            found.append(Divergence(kind="unexplained", name=_made_by(here), a="", b="", cids=cids))
    return found, deeper


def inputs_between(a: list[Step], b: list[Step]) -> tuple[list[Divergence], list[tuple[Step, Step]]]:
    """How the inputs of two executions of a task differ, and the pairs that stand for each other with other bytes."""
    found: list[Divergence] = []
    deeper: list[tuple[Step, Step]] = []
    pairs, alone = _paired(a, b)
    for one, other in pairs:
        if one.entry.cid != other.entry.cid:
            deeper.append((one, other))
        elif (fields := _fields(one.entry)) != (others := _fields(other.entry)):
            name = one.entry.role
            for key in sorted(key for key in {*fields, *others} if fields.get(key) != others.get(key)):
                values = fields.get(key, ""), others.get(key, "")
                found.append(Divergence(kind="metadata", name=f"{key} of {name}", a=values[0], b=values[1]))
    for step, only_here in alone:
        sides = (told(step), "") if only_here else ("", told(step))
        cids = (step.entry.cid, "") if only_here else ("", step.entry.cid)
        name = step.entry.role.partition("[")[0]
        found.append(Divergence(kind="input", name=name, a=sides[0], b=sides[1], cids=cids))
    if not (found or deeper):
        found += _reordered(a, b)
    return found, deeper


def _reordered(a: list[Step], b: list[Step]) -> Iterator[Divergence]:
    """The lists that hold the same files in another order."""
    orders = []
    for side in (a, b):
        lists: dict[str, list[Step]] = {}
        for step in side:
            lists.setdefault(step.entry.role.partition("[")[0], []).append(step)
        orders.append(lists)
    for name in orders[0]:
        left, right = (lists.get(name, []) for lists in orders)
        if [step.entry.cid for step in left] != [step.entry.cid for step in right]:
            texts = [", ".join(f"{told(step)} {step.entry.cid}" for step in side) for side in (left, right)]
            yield Divergence(kind="parameter", name=f"order of {name}", a=texts[0], b=texts[1])


def _paired(a: list[Step], b: list[Step]) -> tuple[list[tuple[Step, Step]], list[tuple[Step, bool]]]:
    """Inputs that stand for each other, parameter by parameter, and those without a partner (and if they are a's).

    Within a list, first the same bytes, then the same fields (sample, lane), then what is left in its order: a lane
    more in the middle of a list is one input more, not a change of all that follow.
    """
    pairs: list[tuple[Step, Step]] = []
    alone: list[tuple[Step, bool]] = []
    by_name: dict[str, tuple[list[Step], list[Step]]] = {}
    for number, side in enumerate((a, b)):
        for step in side:
            by_name.setdefault(step.entry.role.partition("[")[0], ([], []))[number].append(step)
    for left, right in by_name.values():
        is_list = any("[" in step.entry.role for step in left + right)
        for same in (lambda step: step.entry.cid, lambda step: tuple(sorted(_fields(step.entry).items()))):
            left, right, found = _alike(left, right, same)
            pairs += found
        rest = min(len(left), len(right)) if not is_list or len(left) == len(right) else 0
        pairs += zip(left[:rest], right[:rest], strict=True)
        alone += [(step, True) for step in left[rest:]] + [(step, False) for step in right[rest:]]
    return pairs, alone


def _alike(
    left: list[Step], right: list[Step], same: Callable[[Step], Hashable]
) -> tuple[list[Step], list[Step], list[tuple[Step, Step]]]:
    """What is left of two lists, and each of the first with the first of the second that is like it."""
    waiting: dict[Hashable, deque[Step]] = {}
    for step in right:
        waiting.setdefault(same(step), deque()).append(step)
    alone, pairs = list[Step](), list[tuple[Step, Step]]()
    for step in left:
        if others := waiting.get(same(step)):
            pairs.append((step, others.popleft()))
        else:
            alone.append(step)
    taken = {id(partner) for _, partner in pairs}
    return alone, [step for step in right if id(step) not in taken], pairs


def _result(step: Step) -> str:
    """Which of its execution's results a file is."""
    made = output_of(step.document, step.entry)
    return made.role if made else step.entry.keyvalues.get("kind", "")


def _fields(entry: Entry) -> dict[str, str]:
    """The metadata of a file but for links to others, which change with those."""
    return {key: value for key, value in entry.keyvalues.items() if not key.endswith("_cid")}


def _json(values: Any, name: str) -> str:
    return json.dumps(values[name], sort_keys=True) if name in values else ""


def _tools(execution: Execution) -> dict[str, str]:
    tools: dict[str, list[str]] = {}
    for tool in execution.tools:
        tools.setdefault(tool.name, []).append(tool.version + (f" ({tool.source})" if tool.source else ""))
    return {name: ", ".join(sorted(versions)) for name, versions in tools.items()}


def _scripts(execution: Execution, name: str) -> str:
    """The digest of the code of ours that runs a tool, where it was written down."""
    return ", ".join(sorted(tool.script for tool in execution.tools if tool.name == name))


def _other_parts(a: Execution, b: Execution) -> list[str]:
    """The names of what differs in the code of two executions; none where one of them did not write it down."""
    if not (a.code and b.code):
        return []
    return sorted(name for name in {*a.code, *b.code} if a.code.get(name) != b.code.get(name))


def _made_by(step: Step) -> str:
    match step.document:
        case Execution(task=task):
            return task
        case Import(command=command):
            return command
    return "unknown"


def told(step: Step) -> str:
    """A file in a few words."""
    entry = step.entry
    pairs = [f"{key}={value}" for key, value in _fields(entry).items() if key != "asset"]
    words = [entry.keyvalues.get("asset", "file"), entry.origin or entry.name, *pairs]
    return " ".join(filter(None, words))
