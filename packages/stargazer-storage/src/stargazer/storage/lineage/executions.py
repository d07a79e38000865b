"""The steps of several lineages, each once: what replaying and carrying a lineage go by."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from stargazer.assets.provenance import Execution
from stargazer.storage.lineage.walking import Step, why_each

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage.store import Store

__all__ = ["executions_of", "steps_of"]


def steps_of(store: Store, records: Iterable[IpFile]) -> list[Step]:
    """The steps of records and of everything that they were made from, those asked for first."""
    found: dict[Hashable, Step] = {}
    waiting = deque(why_each(store, {record.id: record for record in records}.values()))
    while waiting:
        step = waiting.popleft()
        key = step.entry.cid, frozenset(step.entry.keyvalues.items()), step.provenance_cid
        if key not in found:
            found[key] = step
            waiting += step.inputs
    return list(found.values())


def executions_of(store: Store, records: Iterable[IpFile]) -> dict[str, Execution]:
    """The executions among those steps, by the CIDs of their documents."""
    return {
        step.provenance_cid: step.document
        for step in steps_of(store, records)
        if isinstance(step.document, Execution)
    }
