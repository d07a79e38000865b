"""The MCP tools that list, describe and start workflows and tasks."""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import Annotated, Any, Literal, NotRequired

from fastmcp import FastMCP
from pydantic import Field
from stargazer.assets import InvalidAssetError
from stargazer.mcp.access import Access
from stargazer.mcp.tools.answers import JsonObject, told
from stargazer.mcp.tools.jobs import start
from stargazer.mcp.tools.limits import fitting
from stargazer.mcp.tools.runs import RunAnswer, answer_soon
from stargazer.workflows import (
    Entry,
    asset_types,
    convert,
    describe_type,
    entries,
    find_entry,
    sample_arguments,
    task_arguments,
)
from typing_extensions import TypedDict

from mcp.types import ToolAnnotations

__all__ = ["register"]

SHOWN = 100
FILTERS = {"sample": "NA12878", "samples": "NA12878", "build": "GRCh38", "name": "exome"}
"""Examples of filters, the most usual first."""
RESOLVED = (
    "Which files: each argument that takes a file gets the registered one of its type that the filters select; of "
    "several, the one that is linked with the other files (the reference of the alignment, the mates of the reads). "
    "Where several are left, nothing is run, and the error lists them with what separates them: add that as a filter, "
    "or give the id of one in inputs."
)
"""What is said of each single task."""


class Listed(TypedDict):
    """A workflow or task of a list."""

    name: str
    kind: str
    summary: str


class TaskList(TypedDict):
    """Workflows and tasks that were found."""

    total: int
    tasks: list[Listed]
    note: NotRequired[str]


class Described(Listed):
    """A workflow or task with all that a call needs."""

    text: str
    arguments: dict[str, dict[str, Any]]
    call: str


def register(server: FastMCP, access: Access) -> None:
    """Add the tools about workflows and tasks to a server."""
    reads = {"read_only_hint": True, "open_world_hint": False}
    starts = {
        "read_only_hint": False,
        "destructive_hint": False,
        "idempotent_hint": True,
        "open_world_hint": False,
    }

    @server.tool(annotations=ToolAnnotations(title="What can be run", **reads))
    async def list_tasks(
        search: Annotated[str, Field(description="Words that all occur in name or description.")] = "",
        kind: Annotated[Literal["workflow", "task", "any"], Field(description="A workflow is made of tasks.")] = "any",
        limit: Annotated[int, Field(ge=1, le=500, description="At most so many.")] = SHOWN,
        offset: Annotated[int, Field(ge=0, le=10**6, description="Leave out so many.")] = 0,
    ) -> TaskList:  # fmt: skip
        """Find the workflow (whole pipeline) or task (single operation) for a job; describe_task says what it takes."""
        with told():
            found = await asyncio.to_thread(entries, None if kind == "any" else kind, search)
            asked = found[offset : offset + limit]
            tasks = fitting({"name": one.name, "kind": one.kind, "summary": one.summary} for one in asked)
            answer: TaskList = {"total": len(found), "tasks": tasks}
            if offset + len(tasks) < len(found):
                answer["note"] = f"more with offset={offset + len(tasks)}, or give words to search for"
            if not found:
                answer["note"] = "nothing has all these words: give fewer, or none"
        return answer

    @server.tool(annotations=ToolAnnotations(title="What a workflow or task takes", **reads))
    async def describe_task(
        name: Annotated[str, Field(description="As list_tasks has it.")],
    ) -> Described:
        """Read what a workflow or task does, its arguments with types and defaults, and a call to start it."""
        with told():
            entry = await asyncio.to_thread(_entry, name)
            return {
                "name": entry.name,
                "kind": entry.kind,
                "summary": entry.summary,
                "text": "\n\n".join(filter(None, [entry.text, RESOLVED if asset_types(entry) else ""])),
                "arguments": {
                    parameter.name: {
                        "type": describe_type(parameter.annotation),
                        **({"required": True} if parameter.required else {"default": parameter.default}),
                        **({"about": parameter.text} if parameter.text else {}),
                    }
                    for parameter in entry.parameters
                },
                "call": _call_of(entry),
            }

    @server.tool(tags={"write"}, annotations=ToolAnnotations(title="Run a workflow", **starts))
    async def run_workflow(
        name: Annotated[str, Field(description="Of the workflow; see list_tasks.")],
        arguments: Annotated[
            JsonObject, Field(description='By name, e.g. {"samples": ["NA12878"], "build": "GRCh38"}.')
        ] = {},  # noqa: B006
        refresh: Annotated[bool, Field(description="Compute anew what is remembered.")] = False,
        outdir: Annotated[str, Field(description="Also copy the results to this folder, under readable names.")] = "",
    ) -> RunAnswer:  # fmt: skip
        """Start a pipeline on registered files, by sample and build; it finds them itself. Follow it with get_run."""
        with told():
            workflow = await asyncio.to_thread(find_entry, name)
            convert(workflow, arguments, example=_call_of)
            folder = str(access.inside(outdir, writing=True)) if outdir else ""
            anew = {"tasks": [], "below": False} if refresh else None
            run = await start(name, arguments, kind="workflow", most=access.runs, refresh=anew, outdir=folder)
            return await answer_soon(run.id)

    @server.tool(tags={"write"}, annotations=ToolAnnotations(title="Run a single task", **starts))
    async def run_task(
        name: Annotated[str, Field(description="Of the task; see list_tasks.")],
        filters: Annotated[
            JsonObject,
            Field(description='Metadata of its files, e.g. {"sample": "NA12878"}; each counts where its type has it.'),
        ] = {},  # noqa: B006
        inputs: Annotated[
            JsonObject,
            Field(description="By argument: a plain value; for files a CID, an id, a list of these, or filters."),
        ] = {},  # noqa: B006
        refresh: Annotated[bool, Field(description="Compute anew what is remembered.")] = False,
    ) -> RunAnswer:  # fmt: skip
        """Start one operation on registered files, for ad-hoc work that no workflow does. Follow it with get_run."""
        with told():
            task = await asyncio.to_thread(_entry, name)
            if task.kind != "task":
                raise InvalidAssetError(f"{name} is a workflow: call run_workflow with it")
            looking = task_arguments(task, filters, inputs, example=_call_of)
            arguments = await asyncio.to_thread(
                asyncio.run, looking
            )  # an index, or a network, in no loop of ours
            anew = {"tasks": [], "below": False} if refresh else None
            run = await start(task.name, arguments, kind="task", most=access.runs, refresh=anew)
            return await answer_soon(run.id)


def _entry(name: str) -> Entry:
    """The workflow or task of a name.

    Raises:
        InvalidAssetError: there is none; the message names the nearest.
    """
    kinds = {entry.name: entry.kind for entry in entries()}
    (nearest,) = difflib.get_close_matches(name.rpartition(".")[2], kinds, n=1, cutoff=0) or [""]
    return find_entry(name, kinds[nearest] if nearest else "workflow")


def _call_of(entry: Entry) -> str:
    """A call that starts a workflow or task with all that it requires."""
    if entry.kind == "task":
        known = {name for cls in asset_types(entry) for name in cls.fields()}
        filters = {name: value for name, value in FILTERS.items() if name in known}
        call = {"name": entry.name, "filters": dict([*filters.items()][:1]), "inputs": {}}
        return f"run_task {json.dumps(call)}"
    return f"run_workflow {json.dumps({'name': entry.name, 'arguments': sample_arguments(entry)})}"
