"""The MCP tools `list_tasks` and `run_workflow`: what can be run, started and waited for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from pydantic import Field
from stargazer.mcp.access import Access
from stargazer.mcp.tools.answers import JsonObject, told
from stargazer.mcp.tools.limits import brief, error_text, fitting
from stargazer.mcp.tools.runs import so_far
from stargazer.workflows import (
    Entry,
    Run,
    convert,
    describe_type,
    entries,
    find_entry,
    sample_arguments,
    start_run,
    watch_run,
)

from mcp.types import ToolAnnotations

__all__ = ["example_call", "register"]

PATIENCE = 25  # seconds; clients give up after 60, some earlier
MANY = 50  # members of a list that are shown


def register(server: FastMCP, access: Access) -> None:
    """Add the tools about tasks and workflows to a server."""

    @server.tool(
        annotations=ToolAnnotations(title="What can be run", read_only_hint=True, open_world_hint=False)
    )
    async def list_tasks(
        search: Annotated[str, Field(description="Words that all occur in name or description.")] = "",
        kind: Annotated[
            Literal["workflow", "task", "any"],
            Field(description="Only workflows can be run with run_workflow."),
        ] = "any",
    ) -> dict[str, Any]:
        """Workflows (pipelines to run) and the tasks (single operations) they are made of, with their arguments."""
        with told():
            found = await asyncio.to_thread(entries, None if kind == "any" else kind, search)
            tasks = fitting(_described(entry) for entry in found)
            answer: dict[str, Any] = {"total": len(found), "tasks": tasks}
            if len(tasks) < len(found):
                answer["note"] = (
                    f"{len(found) - len(tasks)} are not shown: give words to search for, or a kind"
                )
        return answer

    @server.tool(
        annotations=ToolAnnotations(
            title="Run a workflow",
            read_only_hint=False,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=False,
        )
    )
    async def run_workflow(
        name: Annotated[str, Field(description="Of the workflow; see list_tasks.")] = "",
        arguments: Annotated[
            JsonObject, Field(description='By name, e.g. {"samples": ["NA12878"], "build": "GRCh38"}.')
        ] = {},  # noqa: B006
        run_id: Annotated[
            str, Field(description="Ask again for a run that was started; give nothing else.")
        ] = "",
        refresh: Annotated[bool, Field(description="Compute anew what is remembered.")] = False,
    ) -> dict[str, Any]:
        """Start a workflow; answers with results, or within half a minute with a run id to ask again for."""
        with told():
            if not run_id:
                if not name:
                    raise ToolError(
                        'name the workflow: {"name": "germline_short_variant_discovery", "arguments": {...}}'
                    )
                workflow = await asyncio.to_thread(find_entry, name)
                convert(workflow, arguments, example=example_call)
                anew = {"tasks": [], "below": False} if refresh else None
                run_id = (await asyncio.to_thread(start_run, name, arguments, refresh=anew)).id
            elif name or arguments:
                raise ToolError("give run_id alone to ask for a run, or name and arguments to start one")
            return _answer(await watch_run(run_id, seconds=PATIENCE))


def example_call(entry: Entry) -> str:
    """A call of run_workflow with all that a workflow requires."""
    return json.dumps({"name": entry.name, "arguments": sample_arguments(entry)})


def _described(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "summary": entry.summary,
        "arguments": {
            parameter.name: {
                "type": describe_type(parameter.annotation),
                **({"required": True} if parameter.required else {"default": parameter.default}),
                **({"about": parameter.text} if parameter.text else {}),
            }
            for parameter in entry.parameters
        },
    }


def _answer(run: Run) -> dict[str, Any]:
    """A run as it is; a failed one as an error."""
    if run.state == "failed":
        # a tool that was refused its arguments has printed nothing
        has_logs = any(log.stat().st_size for log in run.logs.glob("*"))
        printed = f"\n(what its tools printed: {run.logs})" if has_logs else ""
        raise ToolError(f"run {run.id} failed: {run.error}{printed}")
    record = run.as_dict()
    keys = ["run", "workflow", "state", "seconds", "computed", "memo_hits"]
    answer = {key: record[key] for key in keys}
    if run.state == "running":
        then = f'still running: call run_workflow with {{"run_id": "{run.id}"}} to wait for it'
        return {**answer, **so_far(run), "next": then}
    if run.state != "succeeded":
        return {**answer, "error": error_text(str(run.error))}
    return {**answer, **_in_part({"notes": record["notes"]}), "results": _in_part(record["results"])}


def _in_part(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name; of a long list the first ones, and how many more there are."""
    shown: dict[str, Any] = {}
    for name, value in values.items():
        shown[name] = fitting(value[:MANY]) if isinstance(value, list) else brief(value)
        if isinstance(value, list) and len(shown[name]) < len(value):
            shown[f"{name} (not shown)"] = f"{len(value) - len(shown[name]):,} more"
    return shown
