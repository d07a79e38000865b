"""What messages say to people is said to agents as calls of tools, wherever it comes from."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from fastmcp import Client
from stargazer.mcp.server import make_server
from stargazer.mcp.tools.calls import for_clients
from stargazer.workflows import new_run

from .talk import answer, with_client

CALLS = {
    "stargazer add FILE.bam asset=alignment 'sample=a b' ...": 'upload_file {"source": "FILE.bam", "metadata": '
    '{"asset": "alignment", "sample": "a b"}}',
    "stargazer add R1.fq R2.fq": 'upload_file {"source": ["R1.fq", "R2.fq"]}',
    "stargazer add URL --sha256 SUM asset=r1": 'upload_file {"source": "URL", "metadata": {"asset": "r1"}, '
    '"checksum": "SUM"}',
    "stargazer add --samplesheet SHEET": 'upload_file {"source": "SHEET", "samplesheet": true}',
    "stargazer add": "upload_file",
    "stargazer amend ID lane=L001 library=": 'update_file {"id": "ID", "metadata": {"lane": "L001", "library": null}}',
    "stargazer get CID": 'download_file {"cid": "CID", "folder": "FOLDER"}',
    "stargazer query": "query_files",
    "stargazer query asset=r1 asset=r2": 'query_files {"filters": {"asset": ["r1", "r2"]}}',
    "stargazer rm CID": 'delete_file {"id": "CID"}',
    "stargazer run flow build=tiny": 'run_workflow {"name": "flow", "arguments": {"build": "tiny"}}',
    "stargazer runs": "list_runs",
    "stargazer runs resume RUN": 'resume_run {"run_id": "RUN"}',
    "stargazer runs cancel RUN": 'cancel_run {"run_id": "RUN"}',
    "stargazer runs watch RUN": 'get_run {"run_id": "RUN", "wait_s": 50}',
    "stargazer runs logs RUN": 'get_run {"run_id": "RUN", "logs": "all"}',
    "stargazer why CID": 'why {"cid": "CID"}',
    "stargazer diff A B": 'why {"cid": "A", "other": "B"}',
    "stargazer stale CID": 'why {"cid": "CID", "stale": true}',
    "stargazer claims FILE": "check_claims",
    "stargazer bundle fetch demo": 'bundles {"fetch": "demo"}',
    "stargazer bundle list": "bundles",
}


@pytest.mark.parametrize("command", CALLS)
def test_a_command_is_a_call(command: str) -> None:
    assert for_clients(f"do `{command}`, then more") == f"do `{CALLS[command]}`, then more"


def test_calls_are_such_that_tools_take_them() -> None:
    async def run() -> dict[str, Any]:
        async with Client(make_server()) as client:
            return {tool.name: tool.input_schema["properties"] for tool in await client.list_tools()}

    tools = asyncio.run(asyncio.wait_for(run(), 60))
    for call in CALLS.values():
        name, _, arguments = call.partition(" ")
        assert json.loads(arguments or "{}").keys() <= tools[name].keys()


def test_several_files_are_several_calls() -> None:
    assert (
        for_clients("`stargazer rm --all a b`") == '`delete_file {"id": "a"}` and `delete_file {"id": "b"}`'
    )


@pytest.mark.parametrize(
    "command", ["stargazer fsck", "stargazer add F --force", "stargazer runs rm R", "stargazer bundle fetch"]
)
def test_what_no_tool_does_is_for_people(command: str) -> None:
    text = for_clients(f"run `{command}` first")
    assert text == f"run `{command}` (a person can run it) first"
    assert for_clients(text) == text
    assert "can run" not in for_clients(f"a person does it with `{command}` on the command line")


@pytest.mark.parametrize("text", ["`stargazer add 'x`", "`stargazer nothing x`", "stargazer rm x", "`rm x`"])
def test_what_is_no_command_stays(text: str) -> None:
    assert for_clients(text) == text


def test_a_run_tells_agents_of_calls_and_leaves_what_tools_printed() -> None:
    run = new_run("flow", {})
    (run.logs / "001-shout.log").write_text("try `stargazer rm x`")
    (run.folder / "worker.log").write_text("failed: try `stargazer rm x`")
    run.state, run.error = "failed", "wrong lane: `stargazer amend x lane=L1`"
    run.save()
    run.release()

    async def body(client: Client[Any]) -> None:
        seen = await answer(client, "get_run", run_id=run.id, logs="all")
        assert seen["error"] == 'wrong lane: `update_file {"id": "x", "metadata": {"lane": "L1"}}`'
        assert seen["logs"] == {
            "001-shout": "try `stargazer rm x`",
            "worker": 'failed: try `delete_file {"id": "x"}`',
        }
        (shown,) = await client.read_resource(f"stargazer://runs/{run.id}")
        assert json.loads(shown.text)["error"] == seen["error"]
        result = await client.call_tool("get_run", {"run_id": "../x"}, raise_on_error=False)
        assert re.search(r"no run '../x' in .*; `list_runs` lists them", result.content[0].text)

    with_client(body)
