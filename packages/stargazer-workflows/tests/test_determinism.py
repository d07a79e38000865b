"""Every task that comes with Stargazer gives the same bytes again: in another folder, another store, on other cores."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import Alignment, Asset, IpFile, Reference, fetch
from stargazer.storage import Addition, Store, bundles, get_client
from stargazer.storage.bundles import Bundle, find_bundle
from stargazer.tasks import samtools
from stargazer.tasks.execution import Event, observe, replay_bundle
from stargazer.tasks.execution.registry import TASKS
from stargazer.workflows import germline
from stargazer.workflows.demo.run import prepare
from stargazer.workflows.demo.workflow import demo_trio
from stargazer.workflows.germline import germline_short_variant_discovery

NOT_TRIED = {
    "index.index_with_bwa_mem2": "bwa-mem2 has to be on PATH, and no registry that CI reaches has it",
    "htslib.check_ploidy": "it makes no file",
    "index.check_aligner_index": "it makes no file",
}
"""Tasks whose determinism is not shown here, and why. Nothing that was tried is an exception."""

OURS = ("stargazer.tasks.", "stargazer.workflows.")


def in_store(path: Path, monkeypatch: pytest.MonkeyPatch, cores: int = 2) -> Store:
    """Another home from now on."""
    monkeypatch.setenv("STARGAZER_HOME", str(path))
    monkeypatch.setenv("STARGAZER_LOCAL", str(path / "local"))
    monkeypatch.setenv("STARGAZER_CORES", str(cores))
    return get_client().store


def add(store: Store, path: Path, asset: Asset) -> None:
    store.add([Addition(path, asset)])


def all_made(store: Store) -> list[IpFile]:
    """The records of everything that was computed."""
    documents = {record.cid for record in store.query({"asset": "provenance", "kind": "execution"})}
    return [record for record in store.query({}) if record.keyvalues.get("provenance_cid") in documents]


def unsorted(genome: Any, folder: Path, run_by_hand: Callable[..., bytes], sample: str) -> Path:
    """An alignment of a sample from elsewhere: reads in no order, contigs in another one than in the reference."""
    name, bases = genome.names[0], genome.contigs[genome.names[0]]
    sam = (
        "".join(f"@SQ\tSN:{each}\tLN:{len(genome.contigs[each])}\n" for each in reversed(genome.names))
        + f"@RG\tID:1\tSM:{sample}\n"
    )
    sam += "".join(
        f"r{at}\t0\t{name}\t{at + 1}\t60\t100M\t*\t0\t0\t{bases[at : at + 100]}\t{'I' * 100}\tRG:Z:1\n"
        for at in range(2000, 1000, -10)
    )
    bam = folder / f"{sample}.bam"
    bam.write_bytes(run_by_hand(samtools, "view", "-b", "--no-PG", "-", stdin=sam.encode()))
    return bam


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute on an idle machine
@pytest.mark.debian("bwa")
def test_every_task_gives_the_same_files_on_an_empty_machine(
    genome: Any, run_by_hand: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo, and what it does not do: bwa of PATH, chosen contigs, an alignment from elsewhere."""
    mine = in_store(tmp_path / "mine", monkeypatch)
    prepare()
    add(mine, genome.write_reference(tmp_path / "small.fa"), Reference(build="small"))
    for sample, marked in (("t", False), ("u", True)):
        alignment = Alignment(sample=sample, duplicates_marked=marked)
        add(mine, unsorted(genome, tmp_path, run_by_hand, sample), alignment)
    call = germline_short_variant_discovery

    async def run() -> None:
        await demo_trio()
        await call(
            samples=["demo-child"],
            build="stargazer-demo",
            aligner="bwa",
            contigs=["demo1"],
            caller="bcftools",
        )
        await call(samples=["t", "u"], build="small", caller="bcftools")

    asyncio.run(run())
    folder = bundles.make(mine, "all", all_made(mine), tmp_path / "out", lineage=True).path.parent
    theirs = in_store(tmp_path / "an empty home", monkeypatch, cores=1)
    bundle = find_bundle(str(folder), theirs.root)

    done = asyncio.run(replay_bundle(get_client(), bundle))

    assert [item.note for item in done.executions if item.state != "same"] == []
    tried = {item.execution.task for item in done.executions}
    known = {name for name, code in TASKS.items() if code.function.__module__.startswith(OURS)}
    assert known - tried == NOT_TRIED.keys()
    assert tried <= known


# a colleague's store


class Processes:
    """Counts the processes that Python starts."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.counting = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.counting and event in ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec"):
            self.started.append((event, args))

    def of(self, work: Callable[[], Awaitable[Any]]) -> tuple[Any, list[Event]]:
        """What work gives, and the events of its tasks."""
        events: list[Event] = []

        async def main() -> Any:
            with observe(events.append):
                return await work()

        self.counting = True
        try:
            return asyncio.run(main()), events
        finally:
            self.counting = False


PROCESSES = Processes()


@pytest.fixture
def capsule(small_lab: Any, genome: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Path]:
    """Calls made in one store, and all of it as a capsule."""
    monkeypatch.setattr(germline, "READS_A_PIECE", 300)
    small_lab.add_lane(genome.write_reads(tmp_path), sample="s")
    calls = small_lab.run(germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools")
    results = [
        calls.variants,
        calls.variants_index,
        *calls.alignments,
        calls.stats,
        calls.summary,
        calls.report,
    ]
    records = [asset.record for asset in results]
    bundle = bundles.make(small_lab.client.store, "calls", records, tmp_path / "out", lineage=True)
    return calls, bundle.path.parent


def bundle_at(folder: Path) -> Bundle:
    return find_bundle(str(folder), get_client().store.root)


def test_with_a_colleagues_records_no_process_starts_and_bytes_come_when_they_are_wanted(
    capsule: tuple[Any, Path], tmp_path: Path
) -> None:
    calls, folder = capsule
    store = get_client().store  # an empty one
    bundles.fetch(store, bundle_at(folder), records_only=True, trust=True)
    away = folder.rename(tmp_path / "away")
    PROCESSES.started.clear()

    async def run() -> Any:
        return await germline_short_variant_discovery(samples=["s"], build="small", caller="bcftools")

    again, events = PROCESSES.of(run)

    assert PROCESSES.started == []
    assert {event.kind for event in events} == {"memo hit"}
    assert again.variants.cid == calls.variants.cid
    assert [alignment.cid for alignment in again.alignments] == [
        alignment.cid for alignment in calls.alignments
    ]
    assert not any(
        store.objects.stat(asset.cid) for asset in (again.variants, again.alignments[0], again.summary)
    )

    away.rename(folder)
    brought, events = PROCESSES.of(lambda: fetch(again.variants))
    assert (brought.cid, events) == (calls.variants.cid, [])
    assert PROCESSES.started == []


def test_what_the_colleague_did_not_send_is_computed_again_from_what_was(
    capsule: tuple[Any, Path], tmp_path: Path
) -> None:
    calls, folder = capsule
    for asset in (calls.variants, calls.alignments[0]):  # only imports and companions are to be had
        (folder / asset.cid).unlink()
    bundles.fetch(get_client().store, bundle_at(folder), records_only=True, trust=True)
    PROCESSES.started.clear()

    alignment, events = PROCESSES.of(lambda: fetch(Alignment(cid=calls.alignments[0].cid, sample="s")))

    assert alignment.path.exists()
    assert "align.align_with_bwa_mem3" in {event.task for event in events if event.kind == "finished"}
    assert PROCESSES.started != []  # the counter does count
