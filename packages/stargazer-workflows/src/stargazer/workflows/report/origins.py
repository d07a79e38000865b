"""Which task calls and imported files led to a result, few enough to be drawn: calls of one task can be one node."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Container, Hashable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from stargazer.assets.provenance import Entry, Execution

__all__ = ["origins", "worked_on"]

MOST = 36
"""Nodes of task calls, as far as calls of one task can be drawn as one."""
BESIDE = 8
"""The same for nodes that are equally far from what was imported."""
WORDS = 2
"""Words that tell apart the calls of a task."""

Groups = Mapping[tuple[int, Hashable], Sequence[str]]


def origins(
    executions: Mapping[str, Execution], steps: Mapping[str, Hashable]
) -> dict[Hashable, list[dict[str, Any]]]:
    """What the drawing of a lineage has of each step.

    Args:
        executions: by the CIDs of their documents, in the order they started.
        steps: the key of each execution's step.

    Returns:
        By step its nodes: of each the number of the `node`, how many executions there are up to it, one after the other
        (`layer`), how many `calls` it stands for, what a single one works `on` that others do not, the nodes that it
        comes right `after`, and what was `imported` for it: number of that `node`, its `kinds`, how many `files`, and
        what a single one is `of`: sample or build.
    """
    before, layers = _before(executions)
    groups: dict[tuple[int, Hashable], list[str]] = defaultdict(list)
    for cid in executions:
        groups[layers[cid], steps[cid]].append(cid)
    nodes = _nodes(groups)
    node_of = {cid: number for number, calls in enumerate(nodes) for cid in calls}
    parents = [{node_of[cid] for call in calls for cid in before[call]} for calls in nodes]
    ancestors: list[set[int]] = []
    for number in range(len(nodes)):  # those of earlier layers have lower numbers
        ancestors.append(parents[number].union(*(ancestors[parent] for parent in parents[number])))
    imported = _imported([[executions[cid] for cid in calls] for calls in nodes], executions, ancestors)
    found: dict[Hashable, list[dict[str, Any]]] = defaultdict(list)
    for number, calls in enumerate(nodes):
        group = [executions[cid] for cid in groups[layers[calls[0]], steps[calls[0]]]]
        implied = set[int]().union(*(ancestors[parent] for parent in parents[number]))
        found[steps[calls[0]]].append(
            {
                "node": number,
                "layer": layers[calls[0]],
                "calls": len(calls),
                "on": _distinct(executions[calls[0]], group) if len(calls) == 1 else [],
                "after": sorted(parents[number] - implied),
                "imported": imported[number],
            }
        )
    return found


def _distinct(execution: Execution, group: Sequence[Execution]) -> list[str]:
    """What an execution worked on, and not every one of a group; nothing where these are many words."""
    words = worked_on(execution)
    common = set(words).intersection(*(worked_on(other) for other in group)) if len(group) > 1 else set()
    left = [word for word in words if word not in common]
    return left if len(left) <= WORDS else []


def worked_on(execution: Execution) -> list[str]:
    """Samples, lanes and interval names of what an execution read."""
    words = [entry.keyvalues.get(field) for field in ("sample", "lane", "name") for entry in execution.inputs]
    return list(dict.fromkeys(word for word in words if word))


def _before(executions: Mapping[str, Execution]) -> tuple[dict[str, set[str]], dict[str, int]]:
    """Of each execution those that made what it read, and how many there are up to it, one after the other."""
    makers = _makers(executions)
    for known in (makers, {}):
        before = {
            cid: {by for entry in execution.inputs if (by := _maker(entry, executions, known)) and by != cid}
            for cid, execution in executions.items()
        }
        layers: dict[str, int] = {}
        with contextlib.suppress(
            CycleError
        ):  # of bytes that were made from each other, but for their documents
            for cid in TopologicalSorter(before).static_order():
                layers[cid] = 1 + max((layers[each] for each in before[cid]), default=0)
            break
    return before, layers


def _makers(executions: Mapping[str, Execution]) -> dict[str, str]:
    """Who made a file, by its CID: not who handed it on."""
    made: dict[str, str] = {}
    for cid, execution in executions.items():
        read = {entry.cid for entry in execution.inputs}
        made |= {entry.cid: cid for entry in execution.outputs if entry.cid not in read}
    return made


def _maker(entry: Entry, executions: Container[str], known: Mapping[str, str]) -> str:
    """The execution that made what was read: that of which it is said, else one that made these bytes; or none."""
    return entry.provenance_cid if entry.provenance_cid in executions else known.get(entry.cid, "")


def _nodes(groups: Groups) -> list[list[str]]:
    """Calls that are drawn as one, by layer: each alone, unless there are too many nodes."""
    drawn = {key: len(calls) for key, calls in groups.items()}
    layers = sorted({layer for layer, _ in groups})
    for most, keys in (
        (MOST, list(groups)),
        *((BESIDE, [key for key in groups if key[0] == n]) for n in layers),
    ):
        while sum(drawn[key] for key in keys) > most and max(drawn[key] for key in keys) > 1:
            drawn[max(keys, key=lambda key: drawn[key])] = 1
    return [
        part
        for key in sorted(groups, key=lambda key: key[0])
        for part in ([list(groups[key])] if drawn[key] == 1 else [[cid] for cid in groups[key]])
    ]


def _imported(
    nodes: Sequence[Sequence[Execution]], executions: Mapping[str, Execution], ancestors: Sequence[set[int]]
) -> list[list[dict[str, Any]]]:
    """What was imported for each node, and not for one before it: types of files that the same nodes read are one."""
    known = _makers(executions)
    read: list[dict[str, dict[str, str]]] = []
    for calls in nodes:
        kinds: dict[str, dict[str, str]] = {}
        for entry in (entry for call in calls for entry in call.inputs):
            if not _maker(entry, executions, known):
                kinds.setdefault(entry.keyvalues.get("asset", "file"), {})[entry.cid] = _of(entry)
        read.append(kinds)
    readers: dict[str, list[int]] = defaultdict(list)
    for number, kinds in enumerate(read):
        for kind, files in kinds.items():
            earlier = set[str]().union(*(read[node].get(kind, {}) for node in ancestors[number]))
            if not earlier.issuperset(files):
                readers[kind].append(number)
    together: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for kind in sorted(readers):
        together[tuple(readers[kind])].append(kind)
    found: list[list[dict[str, Any]]] = [[] for _ in nodes]
    for number, (numbers, names) in enumerate(together.items(), len(nodes)):
        files = {
            cid: of for node in numbers for kind in names for cid, of in read[node].get(kind, {}).items()
        }
        of = next(iter(files.values())) if len(files) == 1 else ""
        for node in numbers:
            found[node].append({"node": number, "kinds": names, "files": len(files), "of": of})

    return found


def _of(entry: Entry) -> str:
    """What an imported file is of: its sample, or the build of a reference."""
    return next((entry.keyvalues[field] for field in ("sample", "build") if field in entry.keyvalues), "")
