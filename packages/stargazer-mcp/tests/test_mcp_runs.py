"""Runs by the server: started and followed, with progress and logs, listed, stopped, resumed; single tasks, too."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from stargazer.mcp.access import Access
from stargazer.workflows import find_run, new_run, watch_run

from .command import COMMAND, Command
from .talk import answer, refusal, with_client
from .waiting import until, waiting

PREPARE = {"name": "prepare_reference", "arguments": {"build": "tiny", "aligner": "none"}}


def test_a_run_is_followed_stopped_and_resumed(gate: Path) -> None:
    told: list[tuple[float, str]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, message or ""))

    async def body(client: Client[Any]) -> None:
        started = await answer(client, "run_workflow", **PREPARE)
        id = started["run"]
        await asyncio.to_thread(waiting)
        seen = await answer(client, "get_run", run_id=id, wait_s=0.1)
        assert (seen["state"], seen["kind"], seen["workflow"]) == ("running", "workflow", "prepare_reference")
        assert any("samtools_faidx" in task for task in seen["doing"])
        assert any("samtools_faidx" in message for _, message in told)
        assert "wait_s" in seen["next"]
        listed = await answer(client, "list_runs", state="running")
        assert [(run["run"], run["arguments"]["build"]) for run in listed["runs"]] == [(id, "tiny")]
        text = ""
        while not text.endswith("[1 samtools faidx] indexing\n"):  # a busy machine writes it a little later
            (text,) = (await answer(client, "get_run", run_id=id, logs="samtools_faidx"))["logs"].values()
        stopped = await answer(client, "cancel_run", run_id=id)
        assert stopped["state"] == "cancelled"
        assert "resume_run" in stopped["next"]
        assert "has ended" in await refusal(client, "cancel_run", run_id=id)
        gate.touch()
        assert (await answer(client, "resume_run", run_id=id))["state"] in ("running", "succeeded")
        done = await answer(client, "get_run", run_id=id, wait_s=50)
        assert (done["state"], done["memo_hits"]) == ("succeeded", 1)
        assert done["results"]["reference_index"]["cid"]
        assert "check_claims" in done["next"]

    with_client(body, progress_handler=progress)


def test_a_cancelled_request_does_not_cancel_the_run(gate: Path) -> None:
    async def body(client: Client[Any]) -> None:
        id = (await answer(client, "run_workflow", **PREPARE))["run"]
        asking = asyncio.ensure_future(answer(client, "get_run", run_id=id, wait_s=50))
        await asyncio.to_thread(waiting)
        asking.cancel()
        gate.touch()
        assert (await watch_run(id)).state == "succeeded"

    with_client(body)


def test_a_run_that_was_killed_is_lost_for_any_server_and_goes_on(gate: Path) -> None:
    async def first(client: Client[Any]) -> None:
        assert (await answer(client, "run_workflow", **PREPARE))["state"] == "running"

    with_client(first)
    run = waiting()
    os.kill(run.pid, signal.SIGKILL)
    until(lambda: find_run(run.id).state == "lost")
    gate.touch()

    async def second(client: Client[Any]) -> None:
        lost = await answer(client, "get_run", run_id=run.id)
        assert lost["state"] == "lost"
        assert "resume_run" in lost["next"]
        await answer(client, "resume_run", run_id=run.id)
        assert (await answer(client, "get_run", run_id=run.id, wait_s=50))["state"] == "succeeded"

    with_client(second)


def test_no_more_runs_are_started_than_allowed(stargazer: Command) -> None:
    going = new_run("flow", {}, detached=True)

    async def body(client: Client[Any]) -> None:
        text = await refusal(client, "run_workflow", **PREPARE)
        assert going.id in text
        assert "no more are allowed" in text

    try:
        with_client(body, Access(runs=1))
    finally:
        going.release()


def test_calls_at_once_start_as_many_runs_as_are_allowed(gate: Path) -> None:
    async def body(client: Client[Any]) -> None:
        calls = [client.call_tool("run_workflow", PREPARE, raise_on_error=False) for _ in range(6)]
        results = await asyncio.gather(*calls)
        assert sum(not result.is_error for result in results) == 2
        gate.touch()
        for result in results:
            if not result.is_error:
                await watch_run(result.structured_content["run"])

    with_client(body, Access(runs=2))


def test_a_job_is_not_resumed_with_what_others_may_do(stargazer: Command) -> None:
    allowed = {"roots": ["/"], "size": 1}
    job = new_run(
        "upload", {"sources": [f"{n}.fa" for n in range(100)], "allowed": allowed}, kind="job", detached=True
    )
    job.state, job.error = "failed", "no such file"
    job.save()
    job.release()

    async def body(client: Client[Any]) -> None:
        assert "make the call again" in await refusal(client, "resume_run", run_id=job.id)
        (listed,) = (await answer(client, "list_runs"))["runs"]
        assert listed["arguments"] == {"sources": [*(f"{n}.fa" for n in range(10)), "... and 90 more"]}
        assert "resume_run" not in (await answer(client, "get_run", run_id=job.id))["next"]

    with_client(body)


def test_a_job_that_dies_keeps_what_its_process_said(
    monkeypatch: pytest.MonkeyPatch, stargazer: Command
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "no number")  # no Python starts with it

    async def body(client: Client[Any]) -> None:
        text = await refusal(client, "check_claims", claims=[{"cid": "x", "field": "size", "value": 1}])
        assert "unexpected" in text
        (listed,) = (await answer(client, "list_runs"))["runs"]
        assert listed["run"] in text
        logs = (await answer(client, "get_run", run_id=listed["run"], logs="all"))["logs"]
        assert any("PYTHONHASHSEED" in log for log in logs.values())

    with_client(body)


def test_a_single_task_takes_its_files_by_filters(gate: Path) -> None:
    gate.touch()

    async def body(client: Client[Any]) -> None:
        described = await answer(client, "describe_task", name="samtools_faidx")
        assert described["arguments"]["reference"] == {"type": "reference", "required": True}
        assert 'run_task {"name": "samtools_faidx", "filters": {"build": "GRCh38"}' in described["call"]
        assert "the error lists them with what separates them" in described["text"]
        run = await answer(client, "run_task", name="samtools_faidx", filters={"build": "tiny"})
        done = await answer(client, "get_run", run_id=run["run"], wait_s=50)
        assert (done["state"], done["kind"]) == ("succeeded", "task")
        text = await refusal(client, "run_task", name="samtools_faidx", filters={"build": "GRCh38"})
        assert "no reference with build=GRCh38; there are" in text
        text = await refusal(client, "run_task", name="samtools_faidx", filters={"sample": "x"})
        assert "unknown filter 'sample'" in text
        text = await refusal(client, "run_task", name="samtools_faidx", inputs={"threads": 2})
        assert "for example: run_task" in text
        assert "call run_workflow" in await refusal(client, "run_task", name="prepare_reference")
        assert "did you mean samtools_faidx" in await refusal(client, "describe_task", name="samtools_fadix")

    with_client(body)


def test_logs_hold_no_control_characters_and_are_cut(stargazer: Command) -> None:
    run = new_run("flow", {})
    (run.logs / "001-shout.log").write_bytes(b"\x1b[31mred\x07" + b"x" * 100_000 + b"\nend\xff")
    run.state = "failed"
    run.error = "it shouted"
    run.save()
    run.release()

    async def body(client: Client[Any]) -> None:
        seen = await answer(client, "get_run", run_id=run.id, logs="all")
        (text,) = seen["logs"].values()
        assert text.endswith("x\nend\N{REPLACEMENT CHARACTER}")
        assert len(text) <= 4_000
        assert seen["error"] == "it shouted"
        assert "\x1b" not in text

    with_client(body)


def test_runs_that_did_not_succeed_say_why_in_the_list_and_which_logs_there_are(stargazer: Command) -> None:
    for state, error in (("failed", "no mates: `stargazer rm x`\nmore"), ("lost", ""), ("succeeded", "")):
        run = new_run("flow", {})
        (run.logs / "002-tools.shout.log").write_text("no\n")
        run.state, run.error = state, error
        run.save()
        run.release()

    async def body(client: Client[Any]) -> None:
        done, lost, failed = (await answer(client, "list_runs"))["runs"]
        assert "error" not in done
        again = f'resume_run {{"run_id": "{lost["run"]}"}} goes on where it was'
        assert (await answer(client, "get_run", run_id=lost["run"]))["next"] == again
        assert lost["error"] == "lost"
        assert failed["error"] == 'no mates: `delete_file {"id": "x"}`'
        seen = await answer(client, "get_run", run_id=failed["run"], logs="whisper")
        assert seen["logs"] == {}
        assert "Where an argument was wrong, call run_workflow with the right ones" in seen["next"]
        assert 'no log of "whisper": there are logs of 002-tools.shout\n' in seen["next"]
        named = await answer(client, "get_run", run_id=failed["run"], logs="002-tools.shout")
        assert named["logs"] == {"002-tools.shout": "no\n"}

    with_client(body)


@pytest.mark.parametrize("outdir", ["", "results"])
def test_a_run_that_succeeded_shows_what_is_needed_of_its_results(outdir: str, stargazer: Command) -> None:
    pairs = {"asset": "qc_report", "sample": "S", "variants_cid": "bafkreiv", "provenance_cid": "bafkreip"}
    file = {"asset": "qc_report", "cid": "bafkreis", "path": "/store/s", "keyvalues": pairs}
    run = new_run("flow", {}, outdir=outdir)
    run.state, run.results = (
        "succeeded",
        {"report": file | {"cid": "bafkreir"}, "summary": file, "many": [file]},
    )
    run.save()
    run.release()

    async def body(client: Client[Any]) -> None:
        seen = await answer(client, "get_run", run_id=run.id)
        shown = {"asset": "qc_report", "cid": "bafkreis", "keyvalues": {"sample": "S"}}
        shown |= {"path": "/store/s"} if outdir else {}
        assert seen["results"] == {"report": shown | {"cid": "bafkreir"}, "summary": shown, "many": [shown]}
        assert seen["next"].startswith("read stargazer://assets/bafkreis/content, the summary; ")

    with_client(body)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Client[Any], int]]:
    """A server in a process of its own: a client of it, and its pid."""
    before = set(children())
    with open(folder / "stderr", "a") as log:
        words = [*COMMAND[1:], "serve"]
        transport = StdioTransport(COMMAND[0], words, env=dict(os.environ), keep_alive=False, log_file=log)
        async with Client(transport) as client:
            (server,) = set(children()) - before
            yield client, server


def children() -> list[int]:
    """The servers among the processes that this one has started."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in pids if "serve" in Path(f"/proc/{pid}/cmdline").read_text()]


def test_a_server_that_is_killed_takes_no_run_with_it(gate: Path, tmp_path: Path) -> None:
    async def run() -> None:
        with contextlib.suppress(Exception):  # the connection breaks
            async with served(tmp_path) as (client, server):
                id = (await answer(client, "run_workflow", **PREPARE))["run"]
                await asyncio.to_thread(waiting)
                asking = asyncio.ensure_future(answer(client, "get_run", run_id=id, wait_s=50))
                os.kill(server, signal.SIGKILL)
                await asking
        async with served(tmp_path) as (client, _):
            (seen,) = (await answer(client, "list_runs"))["runs"]
            assert (seen["run"], seen["state"]) == (id, "running")
            gate.touch()
            done = await answer(client, "get_run", run_id=id, wait_s=50)
            assert done["state"] == "succeeded"

    asyncio.run(asyncio.wait_for(run(), 120))


def test_two_servers_on_one_store_compute_each_task_once(gate: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as (one, _), served(tmp_path) as (other, _):
            first = await answer(one, "run_workflow", **PREPARE)
            await asyncio.to_thread(waiting)
            second = await answer(other, "run_workflow", **PREPARE)
            listed = (await answer(one, "list_runs", state="running"))["runs"]
            assert {run["run"] for run in listed} == {first["run"], second["run"]}
            gate.touch()
            done = [
                await answer(client, "get_run", run_id=run["run"], wait_s=50)
                for client, run in ((one, second), (other, first))
            ]
            assert [run["state"] for run in done] == ["succeeded", "succeeded"]
            assert done[0]["results"] == done[1]["results"]
            assert done[0]["computed"] == 0 < done[1]["computed"]

    asyncio.run(asyncio.wait_for(run(), 120))
