"""What was executed for an asset, read from provenance in the form that the report takes."""

from __future__ import annotations

import asyncio
from typing import Any

from stargazer.assets import Asset, current_client
from stargazer.assets.provenance import Execution
from stargazer.storage.lineage import executions_of

__all__ = ["lineage_steps"]


async def lineage_steps(asset: Asset) -> list[dict[str, Any]]:
    """What was executed for an asset, in the order it started, with times, tools, commands and outputs."""
    store = current_client().store  # type: ignore[attr-defined]
    executions = await asyncio.to_thread(executions_of, store, [asset.cid or ""])
    return [
        {
            "task": execution.task,
            "distribution": execution.distribution,
            "on": _worked_on(execution),
            "seconds": execution.seconds,
            "tools": [
                {"name": tool.name, "version": tool.version, "source": tool.source}
                for tool in execution.tools
            ],
            "commands": execution.commands,
            "outputs": [{"cid": entry.cid, "name": entry.name} for entry in execution.outputs],
        }
        for execution in sorted(executions.values(), key=lambda execution: execution.started)
    ]


def _worked_on(execution: Execution) -> list[str]:
    """Samples, lanes and interval names of what an execution read."""
    words = [entry.keyvalues.get(field) for field in ("sample", "lane", "name") for entry in execution.inputs]
    return list(dict.fromkeys(word for word in words if word))
