"""Done again and compared: one file, or a whole lineage in the order in which it was done."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import pytest
from stargazer.assets import ToolError
from stargazer.assets.catalogue import Alignment, AlignmentIndex, QcReport
from stargazer.assets.provenance import Execution, dump
from stargazer.storage import bundles, get_client
from stargazer.storage.bundles import Bundle, find_bundle
from stargazer.tasks.execution import AssetEnvironment, Event, execution_of, observe, repeat, workspace
from stargazer.tasks.execution.digest.run_key import _kept_digest
from stargazer.tasks.execution.registry import TASKS
from stargazer.tasks.execution.reproduce.repeat import Again, Compared
from stargazer.tasks.execution.reproduce.replay import Replay, replay, replay_bundle

env = AssetEnvironment(name="repeat")
FACTOR = 2
VARIABLE = "REPEAT_TEST_NOISE"  # what a task reads that no run key knows


class Two(NamedTuple):
    bam: Alignment
    report: QcReport


@env.task
async def aligned(raw: QcReport) -> Two:
    (workspace() / "bam").write_text(f"bam of {raw.path.read_text()}{os.environ.get(VARIABLE, '')}")
    (workspace() / "txt").write_text("report")
    return Two(Alignment(path=workspace() / "bam", sample="s"), QcReport(path=workspace() / "txt", kind="r"))


@env.task
async def indexed(alignment: Alignment) -> AlignmentIndex:
    (workspace() / "bai").write_text(f"bai of {alignment.path.read_text()}")
    return AlignmentIndex(path=workspace() / "bai", alignment_cid=alignment)


@env.task
async def counted(alignment: Alignment, times: int) -> QcReport:
    index = alignment.path.with_name(alignment.path.name + ".bai")
    (workspace() / "txt").write_text(
        f"{times * FACTOR} x {alignment.path.read_text()} with {index.read_text()}"
    )
    return QcReport(path=workspace() / "txt", kind="count")


@env.task
async def failing(alignment: Alignment) -> QcReport:
    if os.environ.get(VARIABLE):
        raise ToolError("the tool is broken")
    (workspace() / "txt").write_text("fine")
    return QcReport(path=workspace() / "txt", kind="fine")


class Made(NamedTuple):
    raw: QcReport
    bam: Alignment
    index: AlignmentIndex
    count: QcReport


@pytest.fixture
def made(tmp_path: Path) -> Made:
    path = tmp_path / "raw.txt"
    path.write_text("raw")

    async def run() -> Made:
        raw = QcReport.from_record(await get_client().upload_file(path, QcReport(kind="raw").keyvalues))
        two = await aligned(raw)
        index = await indexed(two.bam)
        return Made(raw, two.bam, index, await counted(two.bam, 2))

    return asyncio.run(run())


def again(cid: str | None) -> Again:
    found = execution_of(get_client().store, cid or "")
    assert found is not None
    return asyncio.run(repeat(get_client(), found[1]))


def files(done: Again) -> list[Compared]:
    return [result for result in done.results if result.kind == "file"]


def test_the_same_comes_of_it_and_nothing_is_registered(made: Made) -> None:
    store = get_client().store
    before = {record.id for record in store.query({})}

    done = again(made.bam.cid)

    assert done.same
    assert [(result.name, result.now) for result in files(done)] == [
        ("bam", made.bam.cid),
        ("report", done.execution.outputs[1].cid),
    ]
    assert [result.name for result in done.results if result.kind == "field"][:2] == [
        "asset of bam",
        "sample of bam",
    ]
    assert {record.id for record in store.query({})} == before


def test_other_bytes_are_said_and_not_kept(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "!")

    done = again(made.bam.cid)

    assert not done.same
    bam, report = files(done)
    assert report.same
    assert (bam.same, bam.then) == (False, made.bam.cid)
    assert bam.explain() == f"gives other bytes for 'bam': {bam.now}, not {made.bam.cid}"
    assert get_client().store.objects.stat(bam.now) is None
    assert done.explain() == f"{bam.explain()} (all that is recorded is as it was: it is not deterministic)"


def test_what_changed_since_is_named(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 3)
    _kept_digest.cache_clear()

    done = again(made.count.cid)

    assert not done.same
    assert done.reasons[0].startswith("code of repeat.counted (FACTOR): ")


def test_an_execution_is_named_by_its_document_too(made: Made) -> None:
    assert again(made.count.provenance_cid).execution.task == "repeat.counted"


def test_an_import_has_nothing_to_do_again(made: Made) -> None:
    assert execution_of(get_client().store, made.raw.cid or "") is None


# capsules


@pytest.fixture
def capsule(made: Made, tmp_path: Path) -> Path:
    store = get_client().store
    records = store.query({"cid": made.count.cid or ""})
    return bundles.make(store, "counts", records, tmp_path / "out", lineage=True).path.parent


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsule: Path) -> Bundle:
    """An empty machine, and the capsule as it is found there."""
    home = tmp_path / "empty"
    monkeypatch.setenv("STARGAZER_HOME", str(home))
    monkeypatch.setenv("STARGAZER_LOCAL", str(home / "local"))
    return find_bundle(str(capsule), get_client().store.root)


def replayed(bundle: Bundle) -> tuple[Replay, list[str]]:
    events: list[Event] = []

    async def main() -> Replay:
        with observe(events.append):
            return await replay_bundle(get_client(), bundle)

    done = asyncio.run(main())
    return done, [event.task for event in events if event.kind == "finished"]


def states(done: Replay) -> dict[str, str]:
    return {item.execution.task.rpartition(".")[2]: item.state for item in done.executions}


def test_on_an_empty_machine_every_file_comes_out_the_same(empty: Bundle, made: Made) -> None:
    done, ran = replayed(empty)

    assert done.same
    assert states(done) == {"aligned": "same", "indexed": "same", "counted": "same"}
    assert set(ran) == {"repeat.aligned", "repeat.indexed", "repeat.counted"}
    assert done.environment == []
    store = get_client().store
    assert store.read(made.count.cid or "").read_text() == "4 x bam of raw with bai of bam of raw"


def test_what_was_confirmed_is_remembered(empty: Bundle, made: Made) -> None:
    done, _ = replayed(empty)
    events: list[Event] = []

    async def run() -> QcReport:
        raw = await QcReport.one(kind="raw")
        with observe(events.append):
            two = await aligned(raw)
            await indexed(two.bam)
            return await counted(two.bam, 2)  # type: ignore[no-any-return]

    assert asyncio.run(run()).cid == made.count.cid
    assert {event.kind for event in events} == {"memo hit"}
    store = get_client().store
    foreign = [item.provenance_cid for item in done.executions]
    assert not any(store.is_trusted(cid) for cid in foreign)  # it is what was done here that answers


def test_what_differs_is_named_and_what_reads_it_is_not_done(
    empty: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "!")

    done, _ = replayed(empty)

    assert states(done) == {"aligned": "differs", "indexed": "skipped", "counted": "skipped"}
    notes = {item.execution.task.rpartition(".")[2]: item.note for item in done.executions}
    assert notes["aligned"].startswith("gives other bytes for 'bam'")
    assert "which repeat.aligned did not make" in notes["counted"]
    assert [event for event in again_remembered() if event == "memo hit"] == []


def again_remembered() -> list[str]:
    """The events of doing the first step as a run does it."""
    events: list[Event] = []

    async def run() -> None:
        raw = await QcReport.one(kind="raw")
        with observe(events.append):
            await aligned(raw)

    asyncio.run(run())
    return [event.kind for event in events]


def test_a_file_that_comes_out_otherwise_is_taken_as_it_was_where_the_bundle_has_it(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = get_client().store
    records = store.query({"cid": made.count.cid or ""})
    folder = bundles.make(
        store, "all", records, tmp_path / "all", lineage=True, intermediates=True
    ).path.parent
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path / "new"))
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "new" / "local"))
    monkeypatch.setenv(VARIABLE, "!")

    done, _ = replayed(find_bundle(str(folder), get_client().store.root))

    assert states(done) == {"aligned": "differs", "indexed": "same", "counted": "same"}


@pytest.mark.parametrize("forged", ["field", "value", "run key"])
def test_what_a_stranger_says_beside_the_bytes_is_compared_or_not_believed(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forged: str
) -> None:
    """Given a capsule whose execution tells the bytes right and something else wrong."""
    store = get_client().store
    (document,) = [
        found
        for record in store.query({"asset": "provenance", "kind": "execution"})
        if isinstance(found := store.document(record.cid), Execution) and found.task == "repeat.aligned"
    ]
    bam, report = document.outputs
    changed = {
        "field": attrs.evolve(
            document, outputs=[attrs.evolve(bam, keyvalues={**bam.keyvalues, "sample": "forged"}), report]
        ),
        "value": attrs.evolve(document, result=["forged", *document.result]),
        "run key": attrs.evolve(document, run_key="f" * 64),
    }[forged]
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "other"))
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path / "other-home"))
    other = get_client().store
    path = tmp_path / "raw.txt"
    asyncio.run(get_client().upload_file(path, QcReport(kind="raw").keyvalues))
    work = other.objects.work / "document"
    work.write_bytes(dump(changed))
    cid = other.ledger.foreign.adopt(work).cid
    other.replay([cid])

    (done,) = asyncio.run(replay(get_client(), {cid: changed}, register=True))

    assert done.state == ("same" if forged == "run key" else "differs")
    assert other.remembered("f" * 64) is None
    assert again_remembered() == (["memo hit"] if forged == "run key" else ["waiting", "started", "finished"])


def test_a_task_that_fails_or_is_not_installed_is_one_that_could_not_be_done(
    empty: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(TASKS, "repeat.indexed")

    done, _ = replayed(empty)

    assert states(done)["indexed"] == "failed"
    notes = [item.note for item in done.executions if item.state == "failed"]
    assert "repeat.indexed is not installed here (it was part of a script)" in notes[0]


def test_a_task_that_raises_stops_no_other(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    store = get_client().store
    asyncio.run(failing(made.bam))
    executions: dict[str, Any] = {
        record.cid: store.document(record.cid)
        for record in store.query({"asset": "provenance", "kind": "execution"})
    }
    monkeypatch.setenv(VARIABLE, "")
    assert {item.state for item in asyncio.run(replay(get_client(), executions))} == {"same"}
    only = {
        cid: item for cid, item in executions.items() if item.task in ("repeat.failing", "repeat.indexed")
    }
    monkeypatch.setenv(VARIABLE, "!")

    done = asyncio.run(replay(get_client(), only))

    assert {item.execution.task: item.state for item in done} == {
        "repeat.failing": "failed",
        "repeat.indexed": "same",
    }
    assert "the tool is broken" in next(item.note for item in done if item.state == "failed")


@env.task
async def turned(report: QcReport) -> QcReport:
    (workspace() / "txt").write_text(report.path.read_text()[::-1])
    return QcReport(path=workspace() / "txt", kind="turned")


def test_two_files_made_of_each_other_do_not_wait_for_ever(made: Made) -> None:
    async def run() -> None:
        await turned(await turned(made.count))

    asyncio.run(run())
    store = get_client().store
    executions: dict[str, Any] = {
        record.cid: store.document(record.cid)
        for record in store.query({"asset": "provenance", "task": "repeat.turned"})
    }

    done = asyncio.run(asyncio.wait_for(replay(get_client(), executions), 60))

    assert [item.state for item in done] == ["same", "same"]
