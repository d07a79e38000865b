"""The tool `why`: how a file came to be in small pages, where two differ, and what depends on one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from stargazer import workflows
from stargazer.mcp.server import make_server
from stargazer.storage import get_client

from .command import Command, added


def asked(body: Callable[[Client[Any]], Awaitable[Any]]) -> Any:
    """What comes of a conversation with a server in this process."""

    async def run() -> Any:
        async with Client(make_server()) as client:
            return await body(client)

    return asyncio.run(asyncio.wait_for(run(), 60))


async def why(client: Client[Any], **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await client.call_tool("why", arguments)).structured_content or {}
    return found


async def refused(client: Client[Any], **arguments: Any) -> str:
    result = await client.call_tool("why", arguments, raise_on_error=False)
    assert result.is_error
    return str(result.content[0].text)


@pytest.fixture
def made(stargazer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Two references, and of each what `prepare_reference` makes: CIDs by what they are."""
    monkeypatch.chdir(tmp_path)
    cids = {}
    for build, base in (("one", "A"), ("two", "C")):
        Path(f"{build}.fa").write_text(f">c\n{'ACGTTGCA' * 30}{base}\n")
        cids[build] = added(stargazer, f"{build}.fa", f"build={build}")[0]["cid"]
        done = asyncio.run(workflows.run("prepare_reference", build=build, aligner="none"))
        cids |= {f"{name} {build}": result["cid"] for name, result in done.results.items() if result}
    return cids


def test_a_result_is_explained_back_to_what_was_imported(made: dict[str, str]) -> None:
    async def body(client: Client[Any]) -> None:
        told = await why(client, cid=made["dictionary one"])
        assert told["total"] == 2
        step, first = told["steps"]
        assert step["task"] == "htslib.sequence_dictionary"
        assert [file["cid"] for file in step["made"]] == [made["dictionary one"]]
        assert [(file["as"], file["cid"]) for file in step["inputs"]] == [("reference", made["one"])]
        assert any(tool.startswith("samtools 1.") for tool in step["tools"])
        assert "parameters" in step
        assert step["at"] > first["at"]
        assert (first["task"], first["made"][0]["origin"]) == ("import", "one.fa")
        assert "next" not in told

        page = await why(client, cid=made["dictionary one"], limit=1)
        assert page["steps"] == [step]
        assert '1 older steps: call why with {"cid": "' in page["next"]
        assert '"offset": 1' in page["next"]
        assert (await why(client, cid=made["dictionary one"], offset=1))["steps"] == [first]
        assert (await why(client, cid=made["dictionary one"], offset=9))["steps"] == []

        of_execution = await why(client, cid=step["execution"])
        assert any("samtools dict" in line for line in of_execution["steps"][0]["commands"])
        record = get_client().store.query({"cid": made["one"]})[0]
        assert (await why(client, cid=record.id))["cid"] == made["one"]

    asked(body)


def test_two_files_are_told_apart_where_their_ways_part(
    made: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(client: Client[Any]) -> None:
        told = await why(client, cid=made["dictionary one"], other=made["dictionary two"])
        assert told["same_bytes"] is False
        assert [each["kind"] for each in told["divergences"]] == ["file"]
        assert told["divergences"][0]["cids"] == [made["one"], made["two"]]
        assert told["contents"]
        monkeypatch.setattr("stargazer.mcp.tools.evidence.SHOWN", len(told["contents"]) - 1)
        cut = await why(client, cid=made["dictionary one"], other=made["dictionary two"])
        assert cut["contents"] == [*told["contents"][:-1], "... and 1 line more"]
        same = await why(client, cid=made["one"], other=made["one"])
        assert (same["same_bytes"], same["divergences"]) == (True, [])

    asked(body)


def test_what_depends_on_a_file_a_tool_or_a_task_is_listed(made: dict[str, str]) -> None:
    async def body(client: Client[Any]) -> None:
        told = await why(client, cid=made["one"], stale=True)
        outputs = {cid for step in told["steps"] for cid in step["made"]}
        assert {made["dictionary one"], made["reference_index one"]} <= outputs
        assert made["dictionary two"] not in outputs
        assert told["again"]["htslib.sequence_dictionary"] == 1
        assert made["dictionary one"] in told["ends"]
        page = await why(client, cid=made["one"], stale=True, limit=1)
        assert '"stale": true, "offset": 1' in page["next"]
        both = await why(client, cid="sequence_dictionary", stale=True)
        assert both["total"] == 2
        assert (await why(client, cid=made["dictionary one"], stale=True))["steps"] == []

    asked(body)


def test_what_is_unknown_is_refused_with_the_call_that_helps(made: dict[str, str]) -> None:
    async def body(client: Client[Any]) -> None:
        for name in ("bafk", "x" * 5_000, "bafkreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"):
            text = await refused(client, cid=name)
            assert "call query_files" in text
            assert len(text) < 2_000
        run = workflows.list_runs()[0]
        text = await refused(client, cid=run.id)
        assert f"{run.id} is a run, and no file; of its results give a CID: " in text
        assert f"dictionary {made['dictionary two']}" in text
        assert f'`get_run {{"run_id": "{run.id}"}}` shows all of it' in text
        result = await client.call_tool("delete_file", {"id": run.id}, raise_on_error=False)
        assert "is a run, and no file" in result.content[0].text
        assert "known: " in await refused(client, cid="sequence_dictionry", stale=True)
        assert "not both" in await refused(client, cid=made["one"], other=made["two"], stale=True)
        assert "call query_files" in await refused(client, cid=made["one"], other="bafk")

    asked(body)


def test_without_a_store_nothing_is_known_and_none_is_made() -> None:
    for arguments in ({"cid": "bafk"}, {"cid": "markdup", "stale": True}, {"cid": "a", "other": "b"}):
        assert "call upload_file" in asked(lambda client, given=arguments: refused(client, **given))
    assert not get_client().store.root.exists()
