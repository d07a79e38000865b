"""Runs: a folder that says what was asked for, what happened and what came of it, whatever becomes of the run."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from stargazer.assets import AssetNotFoundError, InvalidAssetError, Reference, StorageError
from stargazer.storage import Addition, get_client
from stargazer.tasks.execution import Event, Refresh, observe
from stargazer.workflows import Entry, Run, find_run, new_run, prepare_reference, run, start_run, workflow_env
from stargazer.workflows.catalogue import Parameter


def workflow(function: Callable[..., Any]) -> Entry:
    """A plain coroutine function in the place of a workflow."""
    parameters = tuple(
        Parameter(name, Any, inspect.Parameter.empty) for name in inspect.signature(function).parameters
    )
    return Entry("flow", "workflow", "somewhere", "Does it.", "", parameters, function)


@pytest.fixture
def reference(tmp_path: Path) -> None:
    path = tmp_path / "tiny.fa"
    path.write_text(">c\nACGT\n")
    get_client().store.add([Addition(path, Reference(build="tiny"))])


def only_run() -> Run:
    (folder,) = Path(os.environ["STARGAZER_HOME"], "runs").iterdir()
    return find_run(folder.name)


def test_a_run_is_recorded_with_results_and_events(reference: None) -> None:
    seen: list[Event] = []
    with observe(seen.append):
        done = asyncio.run(run("prepare_reference", build="tiny", aligner="none"))
    assert done.state == "succeeded"
    assert (done.computed, done.memo_hits) == (3, 0)
    assert Path(done.results["reference_index"]["path"]).read_text().startswith("c\t4\t")
    assert done.results["reference_index"]["keyvalues"]["asset"] == "reference_index"
    assert only_run().as_dict() == done.as_dict()
    lines = (done.folder / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == [event.kind for event in seen]
    assert list(done.logs.iterdir())


def test_a_workflow_of_this_process_is_run_here_and_nowhere_else(reference: None) -> None:
    async def of_a_cell(build: str) -> Any:
        return await prepare_reference(build, aligner="none")

    flow = workflow_env.task(of_a_cell)
    done = asyncio.run(run(flow, build="tiny"))
    assert (done.workflow, done.arguments, done.computed, done.detached) == (
        "of_a_cell",
        {"build": "tiny"},
        3,
        False,
    )
    assert asyncio.run(run(flow, build="tiny")).memo_hits == 3
    with pytest.raises(InvalidAssetError, match=r"await run\(\.\.\.\)"):
        start_run(flow, build="tiny")


def test_a_second_run_hits_the_memo_and_refresh_does_not(reference: None) -> None:
    prepare, arguments = "prepare_reference", {"build": "tiny", "aligner": "none"}
    asyncio.run(run(prepare, arguments))
    assert asyncio.run(run(prepare, arguments)).memo_hits == 3
    assert asyncio.run(run(prepare, arguments, refresh=Refresh())).computed == 3


def test_arguments_that_are_refused_record_nothing() -> None:
    with pytest.raises(InvalidAssetError, match=r"unknown argument 'colour'.*build is missing"):
        asyncio.run(run("prepare_reference", colour="red"))
    with pytest.raises(InvalidAssetError, match="did you mean prepare_reference"):
        asyncio.run(run("prepare_referenc", build="tiny"))
    assert not Path(os.environ["STARGAZER_HOME"], "runs").exists()


def test_plain_nested_and_listed_results_are_kept() -> None:
    class Inner(NamedTuple):
        depth: float

    class Outer(NamedTuple):
        count: int
        inner: Inner
        names: list[str]
        nothing: None

    async def flow() -> Outer:
        return Outer(3, Inner(0.5), ["a", "b"], None)

    async def single() -> int:
        return 7

    assert asyncio.run(run(workflow(flow), {})).results == {
        "count": 3, "inner": {"depth": 0.5}, "names": ["a", "b"], "nothing": None,
    }  # fmt: skip
    assert asyncio.run(run(workflow(single), {})).results == {"result": 7}


def test_a_failure_is_recorded_and_raised() -> None:
    async def flow() -> None:
        raise InvalidAssetError("no such thing")

    with pytest.raises(InvalidAssetError):
        asyncio.run(run(workflow(flow), {}))
    assert (only_run().state, only_run().error) == ("failed", "no such thing")


def test_a_cancellation_is_recorded_and_raised() -> None:
    async def flow() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(run(workflow(flow), {}))
        await asyncio.sleep(0.05)
        assert only_run().state == "running"
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert only_run().state == "cancelled"


def test_a_run_whose_process_was_killed_is_lost_and_says_what_it_had_done() -> None:
    code = (
        "import os, signal; from stargazer.workflows import new_run; run = new_run('flow', {})\n"
        "for kind in ('started', 'finished', 'memo hit', 'memo hit', 'failed'): run.append({'kind': kind})\n"
        "open(run.folder / 'events.jsonl', 'a').write('{\"kind\": \"fini'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code])
    lost = only_run()
    assert (lost.state, lost.computed, lost.memo_hits) == ("lost", 1, 2)
    assert "runs resume" in lost.error


def test_runs_at_the_same_time_keep_apart() -> None:
    async def flow(number: int) -> int:
        await asyncio.sleep(0.01)
        return number

    async def main() -> list[Run]:
        return await asyncio.gather(*(run(workflow(flow), {"number": n}) for n in range(20)))

    runs = asyncio.run(main())
    assert len({each.id for each in runs}) == 20
    assert [find_run(each.id).results["result"] for each in runs] == list(range(20))


def test_ids_sort_by_time() -> None:
    ids = [new_run("flow", {}).id for _ in range(20)]
    assert ids == sorted(ids)


@pytest.mark.parametrize("id", ["", "..", "../../etc", "20260101T000000-000000-000000"])
def test_a_run_that_is_not_there(id: str) -> None:
    with pytest.raises(AssetNotFoundError, match="no run"):
        find_run(id)


def test_a_record_is_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    record = new_run("flow", {})
    before = (record.folder / "run.json").read_text()
    record.state = "succeeded"

    def full(self: Path, text: str, *args: Any, **kwargs: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageError, match="No space left"):
        record.save()
    assert (record.folder / "run.json").read_text() == before
    assert {path.name for path in record.folder.iterdir()} == {"run.json", "lock", "logs"}
