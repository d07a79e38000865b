"""Why a call is not remembered, told before anything runs; and another's results, trusted, that start no tool."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets.catalogue import QcReport
from stargazer.storage import get_client
from stargazer.storage.bundles.fetching import fetch_bundle
from stargazer.storage.bundles.finding import find_bundle
from stargazer.storage.bundles.making import make_bundle
from stargazer.tasks.execution import AssetEnvironment, asking_why, refreshing, workspace
from stargazer.tasks.execution.misses import Miss, NotRemembered

TASKS = '''
"""Two tasks, of which the second knows nothing of what changes."""
from __future__ import annotations
import asyncio, json, sys
from pathlib import Path
from attrs import frozen
from stargazer.assets import Intervals, QcReport, current_client
from stargazer.tasks.execution import AssetEnvironment, asking_why, workspace
from stargazer.tasks.execution.misses import NotRemembered
from stargazer.tasks.tools import ResolvedTool, Tool

@frozen
class Script:
    version: str
    kind: str = "wheel"

    def find(self, name):
        return ResolvedTool(name=name, version=self.version, source="wheel", argv=("/bin/sh", "SCRIPT"))

    def describe(self):
        return "here"

counting = Tool("counting", (Script("1.0"),))
env = AssetEnvironment(name="changing", tools=[counting])
FACTOR = 3

def helper(text):
    return text * FACTOR

@env.task
async def first(intervals: Intervals, times: int) -> QcReport:
    out = workspace() / "out"
    await counting(out, helper(intervals.path.read_text()) * times)
    return QcReport(path=out, kind="first")

@env.task
async def second(report: QcReport) -> QcReport:
    out = workspace() / "out"
    out.write_text(report.path.read_text() + "end")
    return QcReport(path=out, kind="second")

async def work():
    (interval,) = await Intervals.all(name="i", build=sys.argv[1])
    return await second(await first(interval, 1))

async def main():
    if sys.argv[2] == "run":
        print((await work()).cid)
        return
    with asking_why() as misses:
        try:
            await work()
        except NotRemembered:
            pass
    print(json.dumps([[miss.task, miss.explain()] for miss in misses]))
'''

Runner = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    """Runs both tasks in a process of their own, with one replacement in their module."""
    script = tmp_path / "counting.sh"
    script.write_text(f'echo x >> {tmp_path}/started; printf %s "$2" > "$1"\n')
    number = 0

    def call(what: str, old: str = "", new: str = "", build: str = "one", **env: str) -> str:
        nonlocal number
        number += 1
        assert old in TASKS
        folder = tmp_path / str(number)
        folder.mkdir()
        source = TASKS.replace(old, new) if old else TASKS
        (folder / "changing.py").write_text(source.replace("SCRIPT", str(script)))
        main = "import asyncio, changing; asyncio.run(changing.main())"
        done = subprocess.run([sys.executable, "-c", main, build, what], cwd=folder, text=True, capture_output=True,
                              env={**os.environ, "PYTHONPATH": str(folder), **env}, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return call


def started(tmp_path: Path) -> int:
    """How many processes of the tool were started so far."""
    path = tmp_path / "started"
    return path.read_text().count("x") if path.exists() else 0


@pytest.fixture
def inputs(tmp_path: Path) -> None:
    """Two interval lists, told apart by their build."""
    from stargazer.assets import Intervals

    for build, end in (("one", 10), ("two", 11)):
        path = tmp_path / f"{build}.bed"
        path.write_text(f"c\t0\t{end}\n")
        asyncio.run(get_client().upload_file(path, Intervals(name="i", build=build).keyvalues))


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(
    ("old", "new", "build", "expected"),
    [
        ("text * FACTOR", "FACTOR * text", "one", "code of changing.first (helper): "),
        ("FACTOR = 3", "FACTOR = 4", "one", "code of changing.first (FACTOR): "),
        ("(interval, 1)", "(interval, 2)", "one", "parameter times: 1 then, 2 now"),
        ('Script("1.0")', 'Script("1.1")', "one", "tool counting: 1.0 then, 1.1 now"),
        ("", "", "two", "input intervals:"),
    ],
    ids=["a helper", "a constant", "a parameter", "a tool's version", "an input"],
)
def test_exactly_what_changed_is_named_before_anything_runs(
    run: Runner, tmp_path: Path, old: str, new: str, build: str, expected: str
) -> None:
    run("run")
    assert json.loads(run("ask")) == []

    ((task, said),) = json.loads(run("ask", old, new, build))

    assert task == "changing.first"
    lines = said.splitlines()
    assert lines[0].startswith(expected)
    assert [line for line in lines[1:] if not line.startswith("  ")] == [lines[-1]]
    assert lines[-1].startswith("the nearest execution: stargazer why bafkrei")
    assert started(tmp_path) == 1


@pytest.mark.usefixtures("inputs")
def test_a_task_that_was_never_executed_says_so(run: Runner, tmp_path: Path) -> None:
    assert json.loads(run("ask")) == [["changing.first", "it was never executed here"]]
    assert started(tmp_path) == 0


@pytest.mark.usefixtures("inputs")
def test_a_colleague_with_the_records_starts_no_tool(run: Runner, tmp_path: Path) -> None:
    """No byte of any file is there: records and provenance are enough."""
    cid = run("run")
    store = get_client().store
    folder = tmp_path / "out"
    make_bundle(store, "results", store.query({"cid": cid}), folder, lineage=True)
    theirs = tmp_path / "theirs"
    env = {"STARGAZER_HOME": str(theirs), "STARGAZER_LOCAL": str(theirs / "local")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        other = get_client().store
        found = find_bundle(str(folder), other.root)
        fetch_bundle(other, found, records_only=True)
        assert "not trusted" in json.loads(run("ask", **env))[0][1]
        fetch_bundle(other, found, records_only=True, trust=True)
    folder.rename(tmp_path / "gone")

    assert json.loads(run("ask", **env)) == []
    assert run("run", **env) == cid
    assert started(tmp_path) == 1
    here = {path.name for path in (theirs / "local" / "objects").rglob("baf*")}
    assert here == {record.cid for record in other.query({"asset": "provenance"})}


# in this process

env = AssetEnvironment(name="asked")


@env.task
async def made(text: str) -> QcReport:
    path = workspace() / "out"
    path.write_text(text)
    return QcReport(path=path, kind="made")


@env.task
async def undigestable() -> QcReport:
    path = workspace() / "out"
    path.write_text(str(HANDLE))
    return QcReport(path=path, kind="made")


for HANDLE in [object()]:  # noqa: B007 (bound by no statement that a digest could be taken of)
    pass


def asked(work: Callable[[], Any]) -> list[Miss]:
    async def main() -> list[Miss]:
        with asking_why() as misses, pytest.raises(NotRemembered):
            await work()
        return misses

    return asyncio.run(main())


def test_what_was_taken_back_is_said() -> None:
    report = asyncio.run(made("a"))
    get_client().store.retract(report.record)

    (miss,) = asked(lambda: made("a"))

    assert miss.explain().startswith("its result 'result' was taken back: stargazer why bafkrei")


def test_what_is_to_be_refreshed_is_said() -> None:
    asyncio.run(made("a"))

    with refreshing(tasks=["made"]):
        (miss,) = asked(lambda: made("a"))

    assert miss.explain() == "it is to be computed anew"


def test_what_is_never_remembered_is_said() -> None:
    (miss,) = asked(undigestable)
    assert miss.explain().startswith("not memoised: ")


def test_bytes_that_are_gone_are_not_computed_for_an_answer() -> None:
    report = asyncio.run(made("a"))
    store = get_client().store
    store.objects.remove(report.cid)

    async def read() -> None:
        with asking_why():
            await get_client().download_file(report.record)

    with pytest.raises(Exception, match=r"nothing is to be computed|not in the store"):
        asyncio.run(read())
    assert store.objects.stat(report.cid) is None
