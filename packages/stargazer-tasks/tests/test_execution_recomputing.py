"""Bytes that are nowhere are computed again, by what provenance says made them, and only if they are the same."""

from __future__ import annotations

import asyncio
import uuid
from typing import NamedTuple

import pytest
from stargazer.assets import IpFile, StorageError, fetch
from stargazer.assets.catalogue import Alignment, AlignmentIndex, QcReport
from stargazer.storage import get_client
from stargazer.tasks.execution import AssetEnvironment, Event, observe, workspace
from stargazer.tasks.execution.registry import TASKS

env = AssetEnvironment(name="again")


class Two(NamedTuple):
    alignment: Alignment
    report: QcReport


@env.task
async def aligned(sample: str) -> Two:
    (workspace() / "bam").write_text(f"bam of {sample}")
    (workspace() / "txt").write_text(f"report of {sample}")
    made = Alignment(path=workspace() / "bam", sample=sample, reference_cid="bafkref")
    return Two(made, QcReport(path=workspace() / "txt", kind="report"))


@env.task
async def indexed(alignment: Alignment) -> AlignmentIndex:
    (workspace() / "bai").write_text(f"bai of {alignment.path.read_text()}")
    return AlignmentIndex(path=workspace() / "bai", alignment_cid=alignment)


@env.task
async def joined(parts: list[Alignment], names: dict[str, QcReport], factor: float = 1.5) -> QcReport:
    texts = [part.path.read_text() for part in [*parts, *names.values()]]
    (workspace() / "all").write_text(" ".join([*texts, str(factor)]))
    return QcReport(path=workspace() / "all", kind="joined")


@env.task
async def needs_index(alignment: Alignment) -> QcReport:
    index = alignment.path.with_name(alignment.path.name + ".bai")
    (workspace() / "out").write_text(f"with {index.read_text()}")
    return QcReport(path=workspace() / "out", kind="out")


@env.task
async def changing(sample: str) -> QcReport:
    (workspace() / "x").write_text(uuid.uuid4().hex)
    return QcReport(path=workspace() / "x", kind="random")


def lose(*assets) -> None:
    """Remove the bytes and keep the records."""
    for asset in assets:
        get_client().store.objects.remove(asset.cid)


def texts(*assets) -> list[str]:
    async def read():
        return [(await fetch(asset)).path.read_text() for asset in assets]

    return asyncio.run(read())


def finished() -> tuple[list[str], object]:
    seen: list[str] = []

    def note(event: Event) -> None:
        if event.kind == "finished":
            seen.append(event.task)

    return seen, observe(note)


def test_lost_bytes_are_made_again_and_nothing_is_registered():
    made = asyncio.run(aligned("a"))
    store = get_client().store
    before = store.query({})
    lose(made.alignment, made.report)
    seen, watching = finished()

    with watching:
        assert texts(made.alignment, made.report) == ["bam of a", "report of a"]

    assert seen == ["again.aligned"]
    assert [record.id for record in store.query({})] == [record.id for record in before]


def test_a_chain_is_made_again_from_its_beginning():
    async def run():
        parts = [(await aligned(sample)).alignment for sample in "ab"]
        report = (await aligned("c")).report
        return [*parts, report, await joined(parts, {"x": report})]

    made = asyncio.run(run())
    lose(*made)
    seen, watching = finished()

    with watching:
        assert texts(made[-1]) == ["bam of a bam of b report of c 1.5"]
    assert sorted(seen) == ["again.aligned", "again.aligned", "again.aligned", "again.joined"]


def test_an_index_is_made_again_though_it_accompanies_what_it_is_made_of():
    async def run():
        made = await aligned("a")
        return made.alignment, await indexed(made.alignment)

    alignment, index = asyncio.run(run())
    lose(alignment, index)

    assert texts(index) == ["bai of bam of a"]


def test_a_task_gets_its_inputs_and_their_companions_before_it_takes_slots(monkeypatch):
    monkeypatch.setenv("STARGAZER_CORES", "1")

    async def run():
        made = await aligned("a")
        return made.alignment, await indexed(made.alignment)

    alignment, index = asyncio.run(run())
    lose(alignment, index)

    report = asyncio.run(asyncio.wait_for(needs_index(alignment), 60))
    assert texts(report) == ["with bai of bam of a"]


def test_two_that_want_the_same_bytes_compute_once():
    made = asyncio.run(aligned("a"))
    lose(made.alignment, made.report)
    seen, watching = finished()

    async def both():
        return await asyncio.gather(fetch(made.alignment), fetch(made.report))

    with watching:
        asyncio.run(both())
    assert seen == ["again.aligned"]


def test_other_bytes_are_refused_and_said():
    made = asyncio.run(changing("a"))
    lose(made)
    before = len(get_client().store.query({}))

    with pytest.raises(StorageError) as caught:
        texts(made)

    said = caught.value.explain()
    assert made.cid in said
    assert "it is not deterministic" in said
    assert len(get_client().store.query({})) == before
    assert get_client().store.objects.stat(made.cid) is None


def test_a_task_that_is_not_installed_is_said(monkeypatch):
    made = asyncio.run(aligned("a"))
    lose(made.alignment)
    monkeypatch.delitem(TASKS, "again.aligned")

    with pytest.raises(StorageError) as caught:
        texts(made.alignment)
    assert "again.aligned is not installed here" in caught.value.explain()


def test_imports_are_not_made_again(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("x")
    client = get_client()
    record = asyncio.run(client.upload_file(path, {"asset": "qc_report", "kind": "x"}))
    client.store.objects.remove(record.cid)

    with pytest.raises(StorageError, match="add the file again"):
        asyncio.run(client.download_file(IpFile(cid=record.cid)))


@env.task
async def several(counted: str) -> list[QcReport]:
    with open(counted) as file:
        count = int(file.read())
    for number in range(count):
        (workspace() / f"{number}").write_text(f"report {number}")
    return [QcReport(path=workspace() / f"{number}", kind=f"report {number}") for number in range(count)]


@pytest.mark.planted_secret  # a path is a parameter
def test_a_result_that_does_not_come_any_more_is_said(tmp_path):
    (tmp_path / "count").write_text("2")
    made = asyncio.run(several(str(tmp_path / "count")))
    lose(*made)
    (tmp_path / "count").write_text("1")

    with pytest.raises(StorageError) as caught:
        texts(made[1])
    assert "does not give 'result[1]' any more" in caught.value.explain()
    assert get_client().store.objects.stat(made[0].cid) is None
