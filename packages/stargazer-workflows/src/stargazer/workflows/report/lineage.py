"""What was executed for assets, read from provenance in the form that the report takes."""

from __future__ import annotations

import asyncio
from typing import Any

from stargazer.assets import Asset, current_client
from stargazer.assets.provenance import Execution
from stargazer.storage.lineage import executions_of

__all__ = ["lineage_steps"]

LISTED = 100
"""Executions of one task that are told one by one: a cohort has thousands that differ in their piece alone."""


async def lineage_steps(*assets: Asset) -> list[dict[str, Any]]:
    """What was executed for assets, task by task, in the order they first started.

    Returns:
        Of each the full name of the `task`, its `distribution` and `tools`; how many executions there were (`count`)
        and the `seconds` they took together; and of the first of them what they worked `on`, `seconds`, `commands`, and
        the CID and name of each of their `outputs`.
    """
    store = current_client().store  # type: ignore[attr-defined]
    executions = await asyncio.to_thread(executions_of, store, [asset.cid or "" for asset in assets])
    steps: dict[tuple[str, ...], dict[str, Any]] = {}
    for execution in sorted(executions.values(), key=lambda execution: execution.started):
        tools = [
            {"name": tool.name, "version": tool.version, "source": tool.source} for tool in execution.tools
        ]
        key = (
            execution.task,
            execution.distribution,
            *(f"{tool['name']} {tool['version']}" for tool in tools),
        )
        step = steps.setdefault(key, {"task": execution.task, "distribution": execution.distribution, "tools": tools,
                                      "count": 0, "seconds": 0.0, "executions": []})  # fmt: skip
        step["count"] += 1
        step["seconds"] = round(step["seconds"] + execution.seconds, 3)
        if step["count"] <= LISTED:
            step["executions"].append(
                {
                    "on": _worked_on(execution),
                    "seconds": execution.seconds,
                    "commands": execution.commands,
                    "outputs": [{"cid": entry.cid, "name": entry.name} for entry in execution.outputs],
                }
            )
    return list(steps.values())


def _worked_on(execution: Execution) -> list[str]:
    """Samples, lanes and interval names of what an execution read."""
    words = [entry.keyvalues.get(field) for field in ("sample", "lane", "name") for entry in execution.inputs]
    return list(dict.fromkeys(word for word in words if word))
