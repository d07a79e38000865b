"""What was executed for assets, read from provenance in the form that the report takes."""

from __future__ import annotations

import asyncio
import datetime
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from stargazer.assets import Asset, current_client
from stargazer.assets.provenance import Execution
from stargazer.storage import Store
from stargazer.storage.lineage import executions_of
from stargazer.workflows.report.origins import origins, worked_on

__all__ = ["lineage_steps", "steps_of"]

LISTED = 100
"""Executions of one task that are told one by one: a cohort has thousands that differ in their piece alone."""


async def lineage_steps(*assets: Asset) -> list[dict[str, Any]]:
    """What was executed for assets, task by task, in the order they first started.

    Returns:
        Of each the full name of the `task`, its `distribution` or the `notebook` and cell that it is of, and its
        `tools`; how many executions there were (`count`),
        the `seconds` they took together, the `longest` of them, and the largest `peak_memory` and `cores`; when they
        ran (`spans`: `start` in seconds since 1970, `seconds`, how many `calls`, and what a single one worked `on`);
        its `nodes` in the drawing of the lineage (see `origins`); and of the first of its `executions` what they worked
        `on`, `seconds`, `commands`, and the CID and name of each of their `outputs`.
    """
    store = current_client().store  # type: ignore[attr-defined]
    return await asyncio.to_thread(steps_of, store, [asset.cid or "" for asset in assets])


def steps_of(store: Store, cids: Sequence[str]) -> list[dict[str, Any]]:
    """What was executed for files with these CIDs, as `lineage_steps` gives it."""
    executions = executions_of(store, cids)
    return _steps(dict(sorted(executions.items(), key=lambda item: (item[1].started, item[0]))))


def _steps(executions: Mapping[str, Execution]) -> list[dict[str, Any]]:
    """The steps of executions that are given in the order they started."""
    keys = {
        cid: (
            execution.task,
            execution.place,
            *(f"{tool.name} {tool.version}" for tool in execution.tools),
        )
        for cid, execution in executions.items()
    }
    drawn = origins(executions, keys)
    steps: dict[tuple[str, ...], list[Execution]] = {}
    for cid, execution in executions.items():
        steps.setdefault(keys[cid], []).append(execution)
    return [{**_step(calls), "nodes": drawn[key]} for key, calls in steps.items()]


def _step(calls: Sequence[Execution]) -> dict[str, Any]:
    first = calls[0]
    return {
        "task": first.task,
        "distribution": first.distribution,
        **({"notebook": first.place} if first.notebook else {}),
        "tools": [
            {"name": tool.name, "version": tool.version, "source": tool.source} for tool in first.tools
        ],
        "count": len(calls),
        "seconds": round(sum(call.seconds for call in calls), 3),
        "longest": max(call.seconds for call in calls),
        "peak_memory": max(call.peak_memory for call in calls),
        "cores": max(call.cores for call in calls),
        "spans": _spans(calls),
        "executions": [
            {
                "on": worked_on(call),
                "seconds": call.seconds,
                "commands": call.commands,
                "outputs": [{"cid": entry.cid, "name": entry.name} for entry in call.outputs],
            }
            for call in calls[:LISTED]
        ],
    }


def _spans(calls: Sequence[Execution]) -> list[dict[str, Any]]:
    """When executions ran: one by one, or of very many those together between which there was the least time."""
    known = [(start, call) for call in calls if (start := _instant(call.started))]
    gaps, last = [], 0.0
    for number, (start, call) in enumerate(known):
        gaps.append((start - last, number))
        last = max(last, start + call.seconds)
    borders = sorted(number for _, number in sorted(gaps, reverse=True)[:LISTED])
    parts = [known[first:end] for first, end in itertools.pairwise([*borders, len(known)])]
    return [
        {
            "start": round(start := part[0][0], 3),
            "seconds": round(max(begun + call.seconds for begun, call in part) - start, 3),
            "calls": len(part),
            "on": worked_on(part[0][1]) if len(part) == 1 else [],
        }
        for part in parts
    ]


def _instant(at: str) -> float:
    """Seconds since 1970; 0 if a document, which others may have written, has no such time."""
    try:
        return datetime.datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0
