"""Why a call of a task has to be executed: what differs from the earlier execution that is most like it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import attrs
from stargazer.assets import StargazerError
from stargazer.assets.provenance import Execution
from stargazer.storage.ledger.memo import executions
from stargazer.storage.lineage._diff import Divergence, between, changed, inputs_between, told
from stargazer.storage.lineage._render import one_line
from stargazer.storage.lineage._why import Step
from stargazer.storage.store import Store

__all__ = ["Nearest", "find_nearest", "then_and_now"]

_LOOKED_AT = (
    40  # executions that are compared in full: those that read most of the same files, then the latest
)

_CANDIDATES = """
WITH sharing AS (
    SELECT run, count(*) AS files FROM files JOIN reads ON reads.file = files.number
    WHERE files.cid IN (SELECT value FROM json_each(?)) GROUP BY run)
SELECT document FROM runs LEFT JOIN sharing ON sharing.run = runs.number
WHERE task = ? ORDER BY files DESC, at DESC LIMIT ?
"""


@attrs.frozen
class Nearest:
    """The earlier execution of a task whose run key differs least from that of a call.

    Attributes:
        provenance_cid: of its document.
        note: why it does not answer although its run key is the same; empty if that differs.
        divergences: what differs: `a` is what it was then, `b` what it is now.
    """

    provenance_cid: str
    note: str = ""
    divergences: list[Divergence] = attrs.field(factory=list)

    def explain(self) -> str:
        """What differs, a line each."""
        if self.note:
            return f"{self.note}: stargazer why {self.provenance_cid}"
        lines = [line for divergence in self.divergences for line in then_and_now(divergence)]
        lines = lines or ["nothing that provenance tells differs: an older version wrote it down otherwise"]
        return "\n".join([*lines, f"the nearest execution: stargazer why {self.provenance_cid}"])


def find_nearest(store: Store, call: Execution) -> Nearest | None:
    """The nearest earlier execution of a call that the memo does not answer; None if its task was never executed.

    Args:
        call: what is known of the execution before it.
    """
    for cid in executions(store.index, call.run_key) if call.run_key else ():
        if note := _why_it_does_not_count(store, cid):
            return Nearest(cid, note)
    read = {entry.cid for entry in call.inputs}
    found: list[tuple[bool, Nearest]] = []
    for (cid,) in store.index.rows(_CANDIDATES, json.dumps(sorted(read)), call.task, _LOOKED_AT):
        with contextlib.suppress(StargazerError):
            document = store.document(cid)
            if isinstance(document, Execution):
                shares = any(entry.cid in read for entry in document.inputs)
                found.append((not shares, Nearest(cid, divergences=list(_differing(document, call)))))
    found.sort(key=lambda pair: (pair[0], len(pair[1].divergences)))
    return found[0][1] if found else None


def _differing(then: Execution, now: Execution) -> Iterator[Divergence]:
    """What of the run key differs; the machine and where a tool comes from are no part of it."""
    no_machine: dict[str, Any] = {"platform": "", "python": "", "image": ""}
    keyed = [
        attrs.evolve(side, tools=[attrs.evolve(tool, source="") for tool in side.tools], **no_machine)
        for side in (then, now)
    ]
    yield from between(*keyed)
    differing, others = inputs_between(*([Step(entry=entry) for entry in side.inputs] for side in keyed))
    yield from differing
    for one, other in others:
        cids = one.entry.cid, other.entry.cid
        yield Divergence("input", one.entry.role, told(one), told(other), cids=cids)


def _why_it_does_not_count(store: Store, cid: str) -> str:
    """Why an execution with the same run key is no answer."""
    try:
        document = store.document(cid)
    except StargazerError:
        return "its provenance cannot be read"
    for role in store.taken_back(cid, document) if isinstance(document, Execution) else ():
        return f"its result {role!r} was taken back"
    if not store.is_trusted(cid):
        return "it was done by somebody else, who is not trusted here (`stargazer bundle fetch --trust`)"
    return ""


def then_and_now(divergence: Divergence) -> Iterator[str]:
    """One difference of an execution and a later call, in lines."""
    then, now = one_line(divergence.a), one_line(divergence.b)
    match divergence.kind, divergence.cids:
        case "input", ("", cid):
            yield f"input {divergence.name} was not read then: {now} {cid}"
        case "input", (cid, ""):
            yield f"input {divergence.name} is not read now: {then} {cid}"
        case "input", (before, after):
            yield from (f"input {divergence.name}:", f"  then {then} {before}", f"  now {now} {after}")
        case _:
            yield changed(divergence, "then", "now")
