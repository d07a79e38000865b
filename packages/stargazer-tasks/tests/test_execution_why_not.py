"""Why a call is not remembered, told before anything runs; and another's results, trusted, that start no tool."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets.catalogue import QcReport
from stargazer.storage import bundles, get_client
from stargazer.storage.bundles import find_bundle
from stargazer.storage.changes import retract
from stargazer.tasks.execution import AssetEnvironment, asking_why, refreshing, workspace
from stargazer.tasks.execution.options import Miss, NotRemembered

from .changing_tasks import ChangingTasks


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
    changing: ChangingTasks, old: str, new: str, build: str, expected: str
) -> None:
    changing("run")
    assert json.loads(changing("ask")) == []

    ((task, said),) = json.loads(changing("ask", old, new, build))

    assert task == "changing.first"
    lines = said.splitlines()
    assert lines[0].startswith(expected)
    assert [line for line in lines[1:] if not line.startswith("  ")] == [lines[-1]]
    assert lines[-1].startswith("the nearest execution: stargazer why bafkrei")
    assert changing.started == 1


def test_a_task_that_was_never_executed_says_so(changing: ChangingTasks) -> None:
    assert json.loads(changing("ask")) == [["changing.first", "it was never executed here"]]
    assert changing.started == 0


def test_a_colleague_with_the_records_starts_no_tool(changing: ChangingTasks, tmp_path: Path) -> None:
    """No byte of any file is there: records and provenance are enough."""
    cid = changing("run")
    store = get_client().store
    folder = tmp_path / "out"
    bundles.make(store, "results", store.query({"cid": cid}), folder, lineage=True)
    theirs = tmp_path / "theirs"
    env = {"STARGAZER_HOME": str(theirs), "STARGAZER_LOCAL": str(theirs / "local")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        other = get_client().store
        found = find_bundle(str(folder), other.root)
        bundles.fetch(other, found, records_only=True)
        assert "not trusted" in json.loads(changing("ask", **env))[0][1]
        bundles.fetch(other, found, records_only=True, trust=True)
    folder.rename(tmp_path / "gone")

    assert json.loads(changing("ask", **env)) == []
    assert changing("run", **env) == cid
    assert changing.started == 1
    here = {path.name for path in (theirs / "local" / "objects").rglob("baf*")}
    assert here == set()
    assert other.ledger.cids() == {record.cid for record in other.query({"asset": "provenance"})}


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
    retract(get_client().store, report.record)

    (miss,) = asked(lambda: made("a"))

    assert miss.explain().startswith("its result 'result' was taken back: stargazer why bafkrei")


def test_what_is_to_be_refreshed_is_said() -> None:
    asyncio.run(made("a"))

    with refreshing("made"):
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
