"""A difference of two lineages as text for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
from stargazer.storage.lineage._diff import Difference, Divergence
from stargazer.storage.lineage.text import is_field, one_line
from stargazer.storage.lineage.walking import Step

__all__ = ["difference_as_json", "render_difference"]

_SHOWN = 4  # tasks named for one divergence
_VERBATIM = {"platform", "metadata", "tool", "parameter"}  # kinds whose name says what it is


def render_difference(difference: Difference, contents: Sequence[str] = ()) -> str:
    """What differs upstream, next to the imports first, then in the contents."""
    lines = [*_side("A", difference.a), *_side("B", difference.b)]
    if difference.same_bytes:
        lines.append("the same bytes")
    if difference.divergences:
        lines.append("what differs upstream:")
        for divergence in difference.divergences:
            lines += (f"  {line}" for line in _told(divergence))
    else:
        lines.append("nothing differs upstream")
    if contents:
        lines += ["how the contents differ:", *(f"  {line}" for line in contents)]
    return "\n".join(lines)


def difference_as_json(difference: Difference, contents: Sequence[str] = ()) -> dict[str, Any]:
    """The same for programs."""
    return {
        **{name: _as_json(step) for name, step in (("a", difference.a), ("b", difference.b))},
        "same_bytes": difference.same_bytes,
        "divergences": [attrs.asdict(divergence) for divergence in difference.divergences],
        "contents": list(contents),
    }


def _as_json(step: Step) -> dict[str, Any]:
    return {
        "cid": step.entry.cid,
        "name": step.entry.name,
        "keyvalues": dict(step.entry.keyvalues),
        "provenance_cid": step.provenance_cid,
    }


def _side(letter: str, step: Step) -> Iterator[str]:
    pairs = [f"{key}={one_line(value)}" for key, value in step.entry.keyvalues.items() if is_field(key)]
    yield " ".join(
        [letter, step.entry.keyvalues.get("asset", "file"), one_line(step.entry.name), *pairs]
    ).rstrip()
    yield f"  cid {step.entry.cid}"


def _told(divergence: Divergence) -> Iterator[str]:
    a, b, name = one_line(divergence.a), one_line(divergence.b), one_line(divergence.name)
    match divergence.kind:
        case "input":
            side, told = ("A", a) if divergence.a else ("B", b)
            yield f"only {side} read {name}: {told} {max(divergence.cids)}"
        case "file" | "unknown":
            known = "imported" if divergence.kind == "file" else "how it came to be is not known"
            yield f"{name or 'file'} ({known}):"
            yield f"  A {a} {divergence.cids[0]}"
            yield f"  B {b} {divergence.cids[1]}"
        case "code":
            parts = f" ({', '.join(map(one_line, divergence.parts))})" if divergence.parts else ""
            yield f"code of {name}{parts}: {a} in A, {b} in B"
        case "task":
            yield f"{name or 'the file'} made by {a} in A, by {b} in B"
        case "result":
            yield f"two results of {name}: {a or 'result'} in A, {b or 'result'} in B"
        case "unexplained":
            yield f"nothing recorded explains why two runs of {name} differ: it is not deterministic"
            yield f"  A {divergence.cids[0]}"
            yield f"  B {divergence.cids[1]}"
        case kind:
            yield f"{kind} {name}: {a or 'absent'} in A, {b or 'absent'} in B"
    tasks = list(dict.fromkeys(place.task for place in divergence.places))
    if divergence.kind in _VERBATIM | {"input"}:
        more = f" and {len(tasks) - _SHOWN} more" if len(tasks) > _SHOWN else ""
        yield f"  in {', '.join(map(one_line, tasks[:_SHOWN]))}{more}"
    for place in divergence.places[:1]:
        if place.a and place.b and divergence.kind not in ("file", "unknown"):
            yield from (f"  stargazer why {cid}" for cid in dict.fromkeys([place.a, place.b]))
