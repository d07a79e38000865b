"""Runs as tasks, for a client that speaks the extension."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from fastmcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, Request, RequestParams, Result, TextContent
from pydantic import Field
from stargazer.mcp.access import Access
from stargazer.mcp.cli import main
from stargazer.mcp.server import make_server
from stargazer.workflows import find_run, new_run

TASKS = "io.modelcontextprotocol/tasks"
RUN = {"name": "prepare_reference", "arguments": {"build": "tiny", "aligner": None}}


class Created(Result):
    """What a call is answered with that has become a task."""

    result_type: Literal["task"] = Field(alias="resultType")
    task_id: str = Field(alias="taskId")
    status: str
    created_at: str = Field(alias="createdAt")
    ttl: int | None = Field(alias="ttlMs")
    poll: int = Field(alias="pollIntervalMs")


class Found(Result):
    """The answer of tasks/get."""

    task_id: str = Field(alias="taskId")
    status: str
    ttl: int | None = Field(alias="ttlMs")
    updated: str = Field(alias="lastUpdatedAt")
    result: dict[str, Any] | None = None


class About(RequestParams):
    """Which task is meant."""

    task_id: str = Field(serialization_alias="taskId")


class SpeaksTasks(ClientExtension):
    """A client's side of the extension: notes what became a task, and follows it or not."""

    identifier = TASKS

    def __init__(self, follow: bool = True) -> None:
        self.created: list[Created] = []
        self.follow = follow

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=Created, resolve=self._resolve),)

    async def _resolve(self, created: Created, context: ClaimContext) -> CallToolResult:
        self.created.append(created)
        while self.follow:
            found = await asked(context.session, "tasks/get", created.task_id)
            if found.status != "working":
                return CallToolResult.model_validate(found.result)
            await asyncio.sleep(0.05)
        return CallToolResult(content=[TextContent(type="text", text="not followed")], is_error=True)


async def asked(session: Any, method: str, task: str) -> Any:
    request = Request[About, str](method=method, params=About(task_id=task))
    return await session.send_request(request, Found if method == "tasks/get" else Result)


@pytest.fixture(autouse=True)
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered reference, and a server that waits for no run."""
    path = tmp_path / "tiny.fa"
    path.write_text(">c\n" + "ACGTTGCA" * 50 + "\n")
    assert main(["add", str(path), "build=tiny"]) == 0
    monkeypatch.setattr("stargazer.mcp.tools.runs.PATIENCE", 0)


def with_client(
    body: Callable[[Client[Any]], Awaitable[Any]], *extensions: ClientExtension, access: Access | None = None
) -> Any:
    async def run() -> Any:
        async with Client(make_server(access), extensions=extensions) as client:
            return await body(client)

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_a_run_is_a_task_whose_result_is_that_of_the_run() -> None:
    spoken = SpeaksTasks()

    done = with_client(lambda client: client.call_tool("run_workflow", RUN), spoken)

    (created,) = spoken.created
    run = find_run(created.task_id)
    assert created.status == "working"
    assert created.created_at == run.started
    assert run.state == "succeeded"
    assert done.structured_content["run"] == run.id
    assert done.structured_content["results"]["dictionary"]["asset"] == "sequence_dict"


def test_who_does_not_speak_of_tasks_gets_the_id_of_the_run() -> None:
    async def body(client: Client[Any]) -> None:
        started = await client.call_tool("run_workflow", RUN)
        id = (started.structured_content or {})["run"]
        assert (started.structured_content or {})["state"] == "running"
        with pytest.raises(MCPError, match="does not declare"):
            await asked(client.session, "tasks/get", id)
        await client.call_tool("get_run", {"run_id": id, "wait_s": 50})

    with_client(body)


def test_a_task_is_cancelled_as_its_run_is() -> None:
    spoken = SpeaksTasks(follow=False)

    async def body(client: Client[Any]) -> tuple[Any, Any]:
        await client.call_tool("run_workflow", RUN, raise_on_error=False)
        id = spoken.created[0].task_id
        await asked(client.session, "tasks/cancel", id)
        await asked(client.session, "tasks/update", id)
        again = await asked(client.session, "tasks/get", id)
        await asked(
            client.session, "tasks/cancel", id
        )  # one that has ended is not cancelled, and that is no error
        with pytest.raises(MCPError, match="no task"):
            await asked(client.session, "tasks/get", "../../x")
        return id, again

    id, found = with_client(body, spoken)

    assert found.task_id == id
    assert found.status == {"cancelled": "cancelled", "succeeded": "completed"}[find_run(id).state]


def test_a_failed_run_is_a_result_that_is_an_error() -> None:
    spoken = SpeaksTasks()

    async def body(client: Client[Any]) -> Any:
        wrong = {"name": "prepare_reference", "arguments": {"build": "none"}}
        return await client.call_tool("run_workflow", wrong, raise_on_error=False)

    done = with_client(body, spoken)

    assert done.is_error
    assert "no reference build=none" in done.content[0].text


def test_a_client_that_may_only_read_cancels_no_task() -> None:
    run = new_run("w", {})

    async def body(client: Client[Any]) -> None:
        assert (await asked(client.session, "tasks/get", run.id)).status == "working"
        with pytest.raises(MCPError):
            await asked(client.session, "tasks/cancel", run.id)

    try:
        with_client(body, SpeaksTasks(), access=Access(read_only=True))
        assert find_run(run.id).state == "running"
    finally:
        run.release()
