"""Runs as tasks of the protocol's extension `io.modelcontextprotocol/tasks`, for clients that speak it.

A task is a run of the run store, and its id that of the run: so it outlives server and client, and both `get_run` and
`tasks/get` tell of it.
"""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from fastmcp.exceptions import FastMCPError
from fastmcp.server.dependencies import get_http_request
from fastmcp.server.extensions import MethodBinding, ServerExtension
from fastmcp.tools.base import ToolResult
from fastmcp.utilities.tasks import TASKS_EXTENSION_ID
from pydantic import BaseModel, ConfigDict, Field
from stargazer.assets import StargazerError
from stargazer.mcp.strict_json import shortened
from stargazer.mcp.tools.limits import brief, error_text
from stargazer.mcp.tools.runs import so_far
from stargazer.workflows import Run, find_run

from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp.types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolRequestParams,
    RequestParams,
)

if TYPE_CHECKING:
    from fastmcp.server import Context
    from fastmcp.server.extensions import ToolCallContinuation, ToolCallOutcome

    from mcp.server.context import ServerRequestContext

__all__ = ["RunsAsTasks"]

VERSIONS = frozenset({"2026-07-28"})
ABOUT_RUNS = ("get_run", "cancel_run")
"""Tools that tell of a run without starting one."""
POLL = 2_000  # milliseconds between two questions
KEPT = 365 * 86_400_000  # milliseconds; runs are kept until somebody removes them
STATES: Mapping[str, Literal["working", "completed", "cancelled"]] = {
    "running": "working",
    "cancelled": "cancelled",
}
"""Of a run, as of a task; what ended in another way has a result, be it that of an error."""


class TaskParams(RequestParams):
    """Which task is meant."""

    model_config = ConfigDict(populate_by_name=True)

    task_id: str = Field(alias="taskId", max_length=200)


class Task(BaseModel):
    """A run as a task."""

    taskId: str  # noqa: N815 (as the protocol spells them)
    status: Literal["working", "completed", "cancelled"]
    createdAt: str  # noqa: N815
    lastUpdatedAt: str  # noqa: N815
    ttlMs: int = KEPT  # noqa: N815
    pollIntervalMs: int = POLL  # noqa: N815
    statusMessage: str | None = None  # noqa: N815
    resultType: Literal["task", "complete"]  # noqa: N815
    result: dict[str, Any] | None = None


class RunsAsTasks(ServerExtension):
    """Calls that start a run which goes on are tasks, where the client asks for that."""

    identifier = TASKS_EXTENSION_ID

    def methods(self) -> Sequence[MethodBinding]:
        """`tasks/get`, `tasks/cancel`, and `tasks/update`, which runs have no use for."""
        return [
            MethodBinding("tasks/get", TaskParams, self._get, VERSIONS),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, VERSIONS),
            MethodBinding("tasks/update", TaskParams, self._update, VERSIONS),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, context: Context, call_next: ToolCallContinuation
    ) -> ToolCallOutcome:
        """Call a tool; if it has started a run that goes on, answer with the task."""
        outcome = await call_next()
        request = context.request_context
        if (
            isinstance(outcome, ToolResult)
            and params.name not in ABOUT_RUNS
            and (outcome.structured_content or {}).get("state") == "running"
            and request is not None
            and request.protocol_version in VERSIONS
            and context.client_extension_settings(TASKS_EXTENSION_ID) is not None
        ):
            run = await self._run(str((outcome.structured_content or {})["run"]))
            return _task(run, "task")
        return outcome

    async def _get(self, context: ServerRequestContext[Any, Any], params: TaskParams) -> Task:
        self._check(context, params)
        run = await self._run(params.task_id)
        task = _task(run, "complete")
        if task.status == "completed":
            task.result = await self._result(run)
        return task

    async def _cancel(self, context: ServerRequestContext[Any, Any], params: TaskParams) -> dict[str, Any]:
        self._check(context, params)
        if (await self._run(params.task_id)).state == "running":
            try:
                await self.server.call_tool("cancel_run", {"run_id": params.task_id})
            except FastMCPError as error:
                raise MCPError(code=INVALID_PARAMS, message=str(error)) from None
        return {"resultType": "complete"}

    async def _update(self, context: ServerRequestContext[Any, Any], params: TaskParams) -> dict[str, Any]:
        self._check(context, params)
        await self._run(params.task_id)
        return {"resultType": "complete"}

    async def _result(self, run: Run) -> dict[str, Any]:
        """What the call would have been answered with, had it waited for the end."""
        if run.state != "succeeded":
            text = f"run {run.id} {run.state}: {error_text(str(run.error))}; get_run shows its logs"
            return {"content": [{"type": "text", "text": text}], "isError": True}
        if run.kind == "job":
            answer = brief(run.results["result"])
        else:
            answer = (await self.server.call_tool("get_run", {"run_id": run.id})).structured_content
        return {
            "content": [{"type": "text", "text": json.dumps(answer)}],
            "structuredContent": answer,
            "isError": False,
        }

    async def _run(self, id: str) -> Run:
        try:
            return await asyncio.to_thread(find_run, id)
        except StargazerError:
            raise MCPError(code=INVALID_PARAMS, message=f"no task {shortened(id)}") from None

    def _check(self, context: ServerRequestContext[Any, Any], params: TaskParams) -> None:
        """Refuse what does not speak of tasks, or of another one in its headers."""
        if self.client_settings(context) is None:
            raise MCPError(
                code=MISSING_REQUIRED_CLIENT_CAPABILITY,
                message=f"this request does not declare {TASKS_EXTENSION_ID}",
                data={"requiredCapabilities": {"extensions": {TASKS_EXTENSION_ID: {}}}},
            )
        try:
            header = get_http_request().headers.get(MCP_NAME_HEADER)
        except RuntimeError:  # stdio has none
            return
        if header is not None and decode_header_value(header) != params.task_id:
            raise MCPError(code=HEADER_MISMATCH, message=f"{MCP_NAME_HEADER} names another task than taskId")


def _task(run: Run, kind: Literal["task", "complete"]) -> Task:
    doing = so_far(run)["doing"] if run.state == "running" else []
    return Task(
        taskId=run.id,
        status=STATES.get(run.state, "completed"),
        createdAt=run.started,
        lastUpdatedAt=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        statusMessage="; ".join(doing[:3])[:300] or run.state,
        resultType=kind,
    )
