"""`stargazer serve`, spoken to by FastMCP's own client over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from stargazer.mcp.cli import main
from stargazer.mcp.server import make_server
from stargazer.mcp.tools.runs import so_far
from stargazer.workflows import find_run, new_run, watch_run

from .talk import answer, refusal

COMMAND = [sys.executable, "-m", "stargazer.mcp.cli"]
INITIALIZE = {
    "method": "initialize",
    "id": 1,
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
LIMIT = 10_000  # characters that all tools may take in a client's context


def size(tool: Any) -> int:
    """Characters of a tool's name, description and input schema."""
    return len(tool.name) + len(tool.description or "") + len(json.dumps(tool.input_schema))


@pytest.fixture
def reference(tmp_path: Path) -> None:
    """A registered reference."""
    path = tmp_path / "tiny.fa"
    path.write_text(">c\n" + "ACGTTGCA" * 50 + "\n")
    assert main(["add", str(path), "build=tiny"]) == 0


@asynccontextmanager
async def connected(tmp_path: Path) -> AsyncIterator[Client[Any]]:
    with open(tmp_path / "stderr", "w") as log:
        transport = StdioTransport(
            COMMAND[0], [*COMMAND[1:], "serve"], env=dict(os.environ), keep_alive=False, log_file=log
        )
        async with Client(transport) as client:
            yield client


def with_client(tmp_path: Path, body: Callable[[Client[Any]], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with connected(tmp_path) as client:
            return await body(client)

    return asyncio.run(asyncio.wait_for(run(), 120))


def test_a_client_sees_tools_with_their_character(tmp_path: Path) -> None:
    async def body(client: Client[Any]) -> None:
        tools = {tool.name: tool for tool in await client.list_tools()}
        assert {"list_tasks", "run_workflow", "query_files"} <= set(tools)
        assert len(tools) <= 16
        assert sum(map(size, tools.values())) < LIMIT
        for tool in tools.values():
            assert tool.annotations is not None
            assert tool.annotations.title
            assert tool.annotations.read_only_hint is not None
            assert tool.annotations.read_only_hint or tool.annotations.destructive_hint is not None
            assert all("description" in schema for schema in tool.input_schema["properties"].values())
            assert tool.output_schema is not None
            assert len(tool.output_schema["properties"]) > 1

    with_client(tmp_path, body)


def test_what_can_be_run_is_listed_and_searched(tmp_path: Path) -> None:
    async def body(client: Client[Any]) -> None:
        everything = await answer(client, "list_tasks")
        assert {"workflow", "task"} == {entry["kind"] for entry in everything["tasks"]}
        found = await answer(client, "list_tasks", search="short variant", kind="workflow")
        assert [entry["name"] for entry in found["tasks"]] == ["germline_short_variant_discovery"]
        germline = await answer(client, "describe_task", name=found["tasks"][0]["name"])
        assert '"samples": ["NA12878", "NA12891"]' in germline["call"]
        assert germline["arguments"]["samples"] == {
            "type": "list of text",
            "required": True,
            "about": "their names, as registered with their reads or alignments.",
        }

    with_client(tmp_path, body)


def test_a_workflow_runs_to_its_results(tmp_path: Path, reference: None) -> None:
    async def body(client: Client[Any]) -> None:
        started = await answer(client, "run_workflow", name="prepare_reference", arguments={"build": "tiny"})
        done = await answer(client, "get_run", run_id=started["run"], wait_s=50)
        assert done["state"] == "succeeded"
        assert done["computed"] == 4
        assert done["results"]["dictionary"].keys() == {"asset", "cid"}
        assert done["results"]["aligner_index"]["keyvalues"].keys() == {"aligner"}
        again = await answer(client, "get_run", run_id=done["run"])
        assert again["results"] == done["results"]
        files = await answer(client, "query_files", filters={"asset": ["sequence_dict", "reference_index"]})
        assert files["total"] == 2

    with_client(tmp_path, body)


def test_arguments_may_come_as_json_text(tmp_path: Path, reference: None) -> None:
    async def body(client: Client[Any]) -> None:
        arguments = json.dumps({"build": "tiny", "aligner": None})
        done = await answer(client, "run_workflow", name="prepare_reference", arguments=arguments)
        assert done["state"] in ("running", "succeeded")
        assert (await answer(client, "query_files", filters='{"asset": "reference"}'))["total"] == 1

    with_client(tmp_path, body)


def test_wrong_calls_are_told_what_was_expected(tmp_path: Path, reference: None) -> None:
    async def body(client: Client[Any]) -> None:
        text = await refusal(client, "run_workflow", name="prepare_reference", arguments={"bild": "tiny"})
        assert "did you mean 'build'" in text
        assert 'run_workflow {"name": "prepare_reference", "arguments": {"build": "GRCh38"}}' in text
        assert "did you mean prepare_reference" in await refusal(
            client, "run_workflow", name="prepare_refrence"
        )
        started = await client.call_tool("run_workflow", {"name": "prepare_reference", "arguments": {"build": "none"}},
                                         raise_on_error=False)  # fmt: skip
        if started.is_error:
            text = started.content[0].text
        else:  # on a machine that is at something else it takes longer to fail
            text = (await answer(client, "get_run", run_id=started.structured_content["run"], wait_s=50))[
                "error"
            ]
        assert "no reference build=none" in text
        text = await refusal(client, "query_files", filters=[1])
        assert 'for example: {"filters": {"asset": "alignment"' in text
        assert "pydantic" not in text
        assert "one of" in await refusal(client, "list_tasks", kind="everything")
        none = await answer(client, "query_files", filters={"build": "tinny"})
        assert (none["total"], none["note"]) == (0, 'no record has build "tinny"; there are "tiny"')
        text = await refusal(client, "query_files", filters={"lain": 1})
        assert "'lain'" in text
        assert 'for example: {"filters": {"asset": "alignment"' in text
        text = await refusal(client, "query_files", filters={"sample": {"equals": "NA12878"}})
        assert (
            'filters.sample: expected text, a number, true or false, or a list of these, got {"equals"'
            in text
        )
        assert 'for example: {"filters": {"asset": "alignment"' in text
        text = await refusal(client, "run_workflow", name="prepare_reference", arguments={"build": {"a": 1}})
        assert "build: expected text, got {'a': 1}" in text
        assert 'for example: run_workflow {"name": "prepare_reference"' in text
        assert "there are list_tasks, describe_task" in await refusal(client, "query")
        assert "no run '../../x'" in await refusal(client, "get_run", run_id="../../x")

    with_client(tmp_path, body)


def test_long_lists_come_in_parts_that_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for n in range(7):
        Path(tmp_path, f"{n}_R1.fq").write_text(f"@r{n}\nACGT\n+\nIIII\n")
        assert main(["add", str(tmp_path / f"{n}_R1.fq"), f"sample=S{n}"]) == 0

    async def run() -> None:
        async with Client(make_server()) as client:
            newest = await answer(client, "query_files", limit=3)
            assert [file["keyvalues"]["sample"] for file in newest["files"]] == ["S4", "S5", "S6"]
            assert newest["total"] == 7
            assert "4 older files are not shown" in newest["note"]
            assert "offset=3" in newest["note"]
            rest = await answer(client, "query_files", limit=50, offset=3)
            assert [file["keyvalues"]["sample"] for file in rest["files"]] == ["S0", "S1", "S2", "S3"]
            assert "note" not in rest
            assert (await answer(client, "query_files", offset=70))["files"] == []
            monkeypatch.setattr("stargazer.mcp.tools.limits.ANSWER", 1_000)
            small = await answer(client, "query_files")
            assert 0 < len(small["files"]) < 7
            assert f"offset={len(small['files'])}" in small["note"]
            tasks = await answer(client, "list_tasks")
            assert len(tasks["tasks"]) < tasks["total"]
            assert f"offset={len(tasks['tasks'])}" in tasks["note"]

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_fault_of_our_own_is_told_as_one_with_its_traceback_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise RuntimeError("k" * 10_000)

    monkeypatch.setattr("stargazer.mcp.tools.files.find_page", broken)

    async def run() -> str:
        async with Client(make_server()) as client:
            return await refusal(client, "query_files")

    text = asyncio.run(asyncio.wait_for(run(), 60))
    assert text.startswith("unexpected RuntimeError: kkk")
    assert len(text) < 800
    (kept,) = Path(os.environ["STARGAZER_HOME"], "logs").glob("*-traceback.txt")
    assert kept.name in text
    assert "in broken" in kept.read_text()


def test_a_long_run_is_answered_with_an_id_to_ask_again(
    monkeypatch: pytest.MonkeyPatch, reference: None
) -> None:
    monkeypatch.setattr("stargazer.mcp.tools.runs.PATIENCE", 0)

    async def run() -> None:
        async with Client(make_server()) as client:
            done = await answer(client, "run_workflow", name="prepare_reference", arguments={"build": "tiny"})
            assert done["state"] == "running"
            assert done["run"] in done["next"]
            assert "results" not in done
            assert done["seconds"] >= 0
            assert (done["computed"], done["memo_hits"]) == (0, 0)
            assert isinstance(done["doing"], list)
            done = await answer(client, "get_run", run_id=done["run"], wait_s=50)
            assert done["results"]["reference_index"]["asset"] == "reference_index"

    asyncio.run(asyncio.wait_for(run(), 60))


def test_what_goes_on_outlives_the_server(monkeypatch: pytest.MonkeyPatch, reference: None) -> None:
    monkeypatch.setattr("stargazer.mcp.tools.runs.PATIENCE", 0)

    async def run() -> str:
        async with Client(make_server()) as client:
            done = await answer(client, "run_workflow", name="prepare_reference", arguments={"build": "tiny"})
            return str(done["run"])

    id = asyncio.run(asyncio.wait_for(run(), 60))
    assert asyncio.run(asyncio.wait_for(watch_run(id), 60)).state == "succeeded"


def test_how_far_a_run_is_shows_whichever_process_runs_it(tmp_path: Path) -> None:
    run = new_run("w", {})
    for call, kind in [(1, "started"), (2, "waiting"), (1, "finished"), (2, "memo hit"), (3, "started")]:
        run.append({"kind": kind, "task": "align", "call": call, "label": f"L{call}"})
    with open(run.folder / "events.jsonl", "a") as file:
        file.write('{"kind": "fini')
    found = so_far(find_run(run.id))
    run.release()
    assert (found["computed"], found["memo_hits"], found["doing"]) == (1, 1, ["align L3"])


def test_a_client_that_hangs_up_ends_the_server(reference: None) -> None:
    initialized, listing = {"method": "notifications/initialized"}, {"method": "tools/list", "id": 2}
    process = subprocess.Popen([*COMMAND, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    answers = []
    for message in (INITIALIZE, initialized, listing):
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()
        if "id" in message:
            answers.append(json.loads(process.stdout.readline()))
    rest, _ = process.communicate(timeout=60)
    assert rest == ""
    assert process.returncode == 0
    assert answers[0]["result"]["serverInfo"]["version"] == version("stargazer-mcp")
    assert "get_run" in {tool["name"] for tool in answers[1]["result"]["tools"]}


@pytest.mark.parametrize(
    ("number", "wait"),
    [
        *[(signal.SIGTERM, wait) for wait in (0, 0.0001, 0.0003, 0.001, 0.003)],
        (signal.SIGINT, 0.003),
    ],
)
def test_a_signal_ends_the_server_whatever_it_is_at(number: signal.Signals, wait: float) -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a test may run without
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **INITIALIZE}) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == 1
    time.sleep(wait)  # its answer is out, and it is about to wait for the next request
    process.send_signal(number)
    _, text = process.communicate(timeout=30)
    assert process.returncode == 128 + number, text
    assert "Traceback" not in text
