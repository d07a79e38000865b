"""How two files were made in different ways: the first differences upstream, without those that follow from them."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs
from stargazer.assets.provenance import Entry, Execution, Import
from stargazer.storage.lineage._render import one_line, title, version_of
from stargazer.storage.lineage._why import Step, why
from stargazer.storage.store import Store

__all__ = ["Difference", "Divergence", "Kind", "Place", "between", "changed", "diff", "difference_as_json",
           "inputs_between", "render_difference", "told"]  # fmt: skip

_SHOWN = 4  # tasks named for one divergence

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


@attrs.frozen
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
    cids: tuple[str, str] = attrs.field(default=("", ""), kw_only=True)
    parts: list[str] = attrs.field(factory=list, kw_only=True)
    places: list[Place] = attrs.field(factory=list, kw_only=True)


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
        names = a.place, b.place
        if names[0] == names[1]:
            names = f"code {a.code_digest[:12]}", f"code {b.code_digest[:12]}"
        parts = sorted(name for name in {*a.code, *b.code} if a.code.get(name) != b.code.get(name))
        yield Divergence("code", a.task, *names, parts=parts if a.code and b.code else [])
    both = a.parameters.keys() & b.parameters.keys()
    files = {_parameter(entry) for entry in (*a.inputs, *b.inputs)} - both  # of a parameter that may be none
    values = [
        {name: json.dumps(value, sort_keys=True) for name, value in given.items() if name not in files}
        for given in (a.parameters, b.parameters)
    ]
    yield from _unequal("parameter", values[0], values[1])
    for name in sorted({tool.name for tool in (*a.tools, *b.tools)}):
        used = [[tool for tool in side.tools if tool.name == name] for side in (a, b)]
        tools = [", ".join(sorted(map(version_of, side))) for side in used]
        scripts = [", ".join(sorted(tool.script for tool in side)) for side in used]
        if tools[0] != tools[1]:
            yield Divergence("tool", name, *tools)
        elif all(scripts) and scripts[0] != scripts[1]:  # where both have written down the code that runs it
            yield Divergence("code", f"what runs {name}", f"code {scripts[0]}", f"code {scripts[1]}")
    for name in ("platform", "python", "image"):
        if getattr(a, name) != getattr(b, name):
            yield Divergence("platform", name, getattr(a, name), getattr(b, name))


def _unequal(kind: Kind, a: Mapping[str, str], b: Mapping[str, str], of: str = "") -> Iterator[Divergence]:
    for name in sorted({*a, *b}):
        values = a.get(name, ""), b.get(name, "")
        if values[0] != values[1]:
            yield Divergence(kind, f"{name} of {of}" if of else name, *values)


def _parted(here: Step, there: Step) -> tuple[list[Divergence], list[tuple[Step, Step]]]:
    """What differs at two steps, and the pairs of steps before them that are not the same bytes."""
    one, other = here.document, there.document
    cids = here.entry.cid, there.entry.cid
    same_bytes, role = cids[0] == cids[1], here.entry.role
    if isinstance(one, Execution) and isinstance(other, Execution):
        if one.task == other.task:
            if same_bytes and here.provenance_cid == there.provenance_cid:
                return [], []
            found, deeper = inputs_between(here.inputs, there.inputs)
            found = [*between(one, other), *found]
            results = [step.made_as or step.entry.keyvalues.get("kind", "") for step in (here, there)]
            if not same_bytes and results[0] != results[1]:
                found.append(Divergence("result", one.task, *results, cids=cids))
            elif not same_bytes and not found and not deeper:
                found.append(Divergence("unexplained", one.task, "", "", cids=cids))
            return found, deeper
    elif same_bytes:
        return [], []
    if isinstance(one, Import) and isinstance(other, Import):
        name = role or here.entry.keyvalues.get("asset", "file")
        return [Divergence("file", name, told(here), told(there), cids=cids)], []
    if one is None or other is None:
        return [Divergence("unknown", role, told(here), told(there), cids=cids)], []
    return [Divergence("task", role, _made_by(here), _made_by(there), cids=cids)], []


def inputs_between(a: list[Step], b: list[Step]) -> tuple[list[Divergence], list[tuple[Step, Step]]]:
    """How the inputs of two executions of a task differ, and the pairs that stand for each other with other bytes."""
    found: list[Divergence] = []
    alone: list[Divergence] = []
    deeper: list[tuple[Step, Step]] = []
    lists: dict[str, tuple[list[Step], list[Step]]] = {}
    for side, steps in enumerate((a, b)):
        for step in steps:
            lists.setdefault(_parameter(step.entry), ([], []))[side].append(step)
    for name, (left, right) in lists.items():
        pairs, left, right = _paired(left, right)
        for one, other in pairs:
            if one.entry.cid != other.entry.cid:
                deeper.append((one, other))
            else:
                found += _unequal("metadata", _fields(one.entry), _fields(other.entry), one.entry.role)
        alone += [Divergence("input", name, told(step), "", cids=(step.entry.cid, "")) for step in left]
        alone += [Divergence("input", name, "", told(step), cids=("", step.entry.cid)) for step in right]
    found += alone
    if not (found or deeper):  # the same files, perhaps in another order
        for name, sides in lists.items():
            if len({tuple(step.entry.cid for step in side) for side in sides}) > 1:
                texts = [", ".join(f"{told(step)} {step.entry.cid}" for step in side) for side in sides]
                found.append(Divergence("parameter", f"order of {name}", *texts))
    return found, deeper


def _parameter(entry: Entry) -> str:
    """The parameter of a task that a file was given for, alone or in a list."""
    return entry.role.partition("[")[0]


def _paired(left: list[Step], right: list[Step]) -> tuple[list[tuple[Step, Step]], list[Step], list[Step]]:
    """Inputs of one parameter that stand for each other, and those of either side without a partner.

    Within a list, first the same bytes, then the same fields (sample, lane), then what is left in its order: a lane
    more in the middle of a list is one input more, not a change of all that follow.
    """
    is_list = any("[" in step.entry.role for step in left + right)
    pairs: list[tuple[Step, Step]] = []
    for same in (lambda step: step.entry.cid, lambda step: frozenset(_fields(step.entry).items())):
        waiting: defaultdict[Hashable, deque[Step]] = defaultdict(deque)
        for step in right:
            waiting[same(step)].append(step)
        alike = [(step, others.popleft()) for step in left if (others := waiting[same(step)])]
        partners = {step for pair in alike for step in pair}
        left, right = ([step for step in side if step not in partners] for side in (left, right))
        pairs += alike
    rest = min(len(left), len(right)) if not is_list or len(left) == len(right) else 0
    return [*pairs, *zip(left[:rest], right[:rest], strict=True)], left[rest:], right[rest:]


def _fields(entry: Entry) -> dict[str, str]:
    """The metadata of a file but for links to others, which change with those."""
    return {key: value for key, value in entry.keyvalues.items() if not key.endswith("_cid")}


def _made_by(step: Step) -> str:
    return str(getattr(step.document, "task", "") or getattr(step.document, "command", "unknown"))


def told(step: Step) -> str:
    """A file in a few words."""
    entry = step.entry
    pairs = [f"{key}={value}" for key, value in _fields(entry).items() if key != "asset"]
    words = [entry.keyvalues.get("asset", "file"), entry.origin or entry.name, *pairs]
    return " ".join(filter(None, words))


def render_difference(difference: Difference, contents: Sequence[str] = ()) -> str:
    """What differs upstream, next to the imports first, then in the contents."""
    lines = []
    for side, step in (("A", difference.a), ("B", difference.b)):
        lines += [f"{side} {title(step.entry)}".rstrip(), f"  cid {step.entry.cid}"]
    if difference.same_bytes:
        lines.append("the same bytes")
    if difference.divergences:
        lines.append("what differs upstream:")
        for divergence in difference.divergences:
            lines += (f"  {line}" for line in _lines(divergence))
    else:
        lines.append("nothing differs upstream")
    if contents:
        lines += ["how the contents differ:", *(f"  {line}" for line in contents)]
    return "\n".join(lines)


def difference_as_json(difference: Difference, contents: Sequence[str] = ()) -> dict[str, Any]:
    """The same for programs."""
    files = {
        side: {
            "cid": step.entry.cid,
            "name": step.entry.name,
            "keyvalues": dict(step.entry.keyvalues),
            "provenance_cid": step.provenance_cid,
        }
        for side, step in (("a", difference.a), ("b", difference.b))
    }
    divergences = [attrs.asdict(divergence) for divergence in difference.divergences]
    same = difference.same_bytes
    return {**files, "same_bytes": same, "divergences": divergences, "contents": list(contents)}


def changed(divergence: Divergence, here: str, there: str) -> str:
    """What one thing was on either side, in a line: `parameter depth: 10 in A, 20 in B`."""
    a, b, name = (one_line(text) for text in (divergence.a, divergence.b, divergence.name))
    parts = f" ({', '.join(map(one_line, divergence.parts))})" if divergence.parts else ""
    of = " of" if divergence.kind == "code" else ""
    return f"{divergence.kind}{of} {name}{parts}: {a or 'absent'} {here}, {b or 'absent'} {there}"


def _lines(divergence: Divergence) -> Iterator[str]:
    a, b, name = (one_line(text) for text in (divergence.a, divergence.b, divergence.name))
    two_files = [
        " ".join(filter(None, words)) for words in zip(("  A", "  B"), (a, b), divergence.cids, strict=True)
    ]
    match divergence.kind:
        case "input":
            side, file = ("A", a) if divergence.a else ("B", b)
            yield f"only {side} read {name}: {file} {max(divergence.cids)}"
        case "file":
            yield from (f"{name or 'file'} (imported):", *two_files)
        case "unknown":
            yield from (f"{name or 'file'} (how it came to be is not known):", *two_files)
        case "task":
            yield f"{name or 'the file'} made by {a} in A, by {b} in B"
        case "result":
            yield f"two results of {name}: {a or 'result'} in A, {b or 'result'} in B"
        case "unexplained":
            why = f"nothing recorded explains why two runs of {name} differ: it is not deterministic"
            yield from (why, *two_files)
        case _:
            yield changed(divergence, "in A", "in B")
    if divergence.kind in (
        "input",
        "parameter",
        "tool",
        "platform",
        "metadata",
    ):  # which do not name the task
        tasks = list(dict.fromkeys(one_line(place.task) for place in divergence.places))
        more = f" and {len(tasks) - _SHOWN} more" if len(tasks) > _SHOWN else ""
        yield f"  in {', '.join(tasks[:_SHOWN])}{more}"
    for place in divergence.places[:1]:
        if place.a and place.b and divergence.kind not in ("file", "unknown"):
            yield from (f"  stargazer why {cid}" for cid in dict.fromkeys([place.a, place.b]))
