"""Every task that comes with Stargazer gives the same bytes again: in another folder, another store, on other cores."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import R1, R2, Alignment, Asset, IpFile, KnownSites, Reference, TenxH5, fetch
from stargazer.storage import Addition, Store, bundles, get_client
from stargazer.storage.bundles import Bundle, find_bundle
from stargazer.tasks import (
    align_with_bwa_mem3,
    apply_bqsr,
    base_recalibrator,
    collect_alignment_summary_metrics,
    collect_insert_size_metrics,
    collect_variant_calling_metrics,
    collect_wgs_metrics,
    combine_gvcfs,
    compress_known_sites,
    fastq_to_sam,
    gather_bqsr_reports,
    genotype_gvcfs,
    haplotype_caller,
    index_alignment,
    index_feature_file,
    intervals_by_ploidy,
    left_align_and_trim,
    mark_duplicates,
    merge_bam_alignment,
    merge_vcfs,
    read_10x_h5,
    read_h5ad,
    reblock_gvcf,
    samtools,
    select_variants,
    sort_sam,
    split_contigs,
    validate_sam,
    variant_filtration,
)
from stargazer.tasks.execution import Event, observe, replay_bundle
from stargazer.tasks.execution.registry import TASKS
from stargazer.tasks.germline import gatk_variants, genotypes, picard, recalibration
from stargazer.workflows import germline
from stargazer.workflows.best_practices import HARD_FILTERS
from stargazer.workflows.demo import cells, simulate
from stargazer.workflows.demo.run import prepare
from stargazer.workflows.demo.workflow import demo_scrna, demo_trio
from stargazer.workflows.germline import germline_short_variant_discovery
from stargazer.workflows.reference import prepare_reference

NOT_TRIED = {
    "index.index_with_bwa_mem2": "bwa-mem2 has to be on PATH, and no registry that CI reaches has it",
    "gatk.genomics_db_import": "GenomicsDB numbers what it holds by chance and notes when: other bytes each time",
    "htslib.check_for_gatk": "it makes no file",
    "htslib.check_ploidy": "it makes no file",
    "index.check_aligner_index": "it makes no file",
}
"""Tasks whose determinism is not shown here, and why. Nothing that was tried is an exception."""

OURS = ("stargazer.tasks.", "stargazer.workflows.")
OF_GATK = {"split_contigs"} | {
    name
    for module in (gatk_variants, genotypes, picard, recalibration)
    for name in module.__all__
    if name.islower()
}
"""The tasks of caller=gatk, which have a test of their own."""
OF_CELLS = ("scrna.", "report.scrna_report", "report.compare_clusters")
"""Beginnings of the names of the tasks of single cells, which have another one."""


def in_store(path: Path, monkeypatch: pytest.MonkeyPatch, cores: int = 2, lent: Path | None = None) -> Store:
    """Another home from now on, with this folder of tools or of compiled code."""
    if lent:
        path.mkdir()
        (path / lent.name).symlink_to(lent)
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
@pytest.mark.timeout(900)
@pytest.mark.debian("bwa")
@pytest.mark.parametrize(
    "shrink",
    [
        pytest.param(7, id="a seventh of the demo"),
        pytest.param(1, id="the demo", marks=pytest.mark.long),  # a minute on an idle machine
    ],
)
def test_every_task_gives_the_same_files_on_an_empty_machine(
    shrink: int, genome: Any, run_by_hand: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo, and what it does not do: bwa of PATH, chosen contigs, an alignment from elsewhere."""
    monkeypatch.setattr(simulate, "TRIO_LENGTH", simulate.TRIO_LENGTH // shrink)
    monkeypatch.setattr(germline, "READS_A_PIECE", germline.READS_A_PIECE // shrink)  # as many pieces
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
    assert_same_again(mine, tmp_path, monkeypatch, known_tasks("others"))


def known_tasks(kind: str = "") -> set[str]:
    """The full names of our tasks that make files: all, or those of `gatk`, of `cells`, or the `others`."""
    ours = {name for name, code in TASKS.items() if code.function.__module__.startswith(OURS)}
    assert ours >= NOT_TRIED.keys()
    return {name for name in ours - NOT_TRIED.keys() if kind in ("", kind_of(name))}


def kind_of(task: str) -> str:
    if task.startswith(OF_CELLS):
        return "cells"
    return "gatk" if TASKS[task].function.__name__ in OF_GATK else "others"


def assert_same_again(
    mine: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, tasks: set[str], lent: Path | None = None
) -> None:
    """See that all that was made in a store has the same bytes in another, on one core, and that these tasks did it."""
    made = bundles.make(mine, "all", all_made(mine), folder / "out", lineage=True).path.parent
    theirs = in_store(folder / "an empty home", monkeypatch, cores=1, lent=lent)

    done = asyncio.run(replay_bundle(get_client(), find_bundle(str(made), theirs.root)))

    assert [item.note for item in done.executions if item.state != "same"] == []
    tried = {item.execution.task for item in done.executions}
    assert tasks - tried == set()
    assert tried <= known_tasks()


def as_written(day: datetime) -> list[bytes]:
    """A day as GATK, Picard and others write it."""
    forms = ("%a %b %d", "%B %d, %Y", "%Y-%m-%d", "%Y/%m/%d", "%d %b %Y")
    return [day.strftime(form).replace(" 0", " ").encode() for form in forms]


@pytest.mark.slow
@pytest.mark.timeout(900)  # half a minute on an idle machine
def test_every_task_of_gatk_gives_the_same_files_which_tell_neither_where_nor_when(
    genome: Any, gatk_tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC)
    mine = in_store(tmp_path / "mine", monkeypatch, lent=gatk_tools)
    add(mine, genome.write_reference(tmp_path / "small.fa"), Reference(build="small"))
    first, second = genome.write_reads(tmp_path)
    add(mine, first, R1(sample="r"))
    add(mine, second, R2(sample="r"))
    header = "".join(f"##contig=<ID={name},length={len(bases)}>\n" for name, bases in genome.contigs.items())
    (tmp_path / "known.vcf").write_text(
        f"##fileformat=VCFv4.2\n{header}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"{genome.names[0]}\t9\t.\t{genome.contigs[genome.names[0]][8]}\tN\t.\t.\t.\n"
    )
    add(mine, tmp_path / "known.vcf", KnownSites(name="known", build="small"))

    asyncio.run(run_all_of_gatk(genome.names[0]))

    for record in all_made(mine):
        data = mine.read(record.cid).read_bytes()
        text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        told = [str(tmp_path).encode(), *as_written(today), *as_written(datetime.now(UTC))]
        assert [word for word in told if word in text] == [], record.keyvalues
    assert_same_again(mine, tmp_path, monkeypatch, known_tasks("gatk"), gatk_tools)


async def run_all_of_gatk(contig: str) -> None:
    """Each task of GATK, with one copy of this contig."""
    prepared = await prepare_reference("small")
    reference, index = prepared.reference, prepared.aligner_index
    assert index is not None
    r1, r2 = await R1.one(sample="r"), await R2.one(sample="r")
    known = await compress_known_sites(await KnownSites.one(name="known"))
    await index_feature_file(known)
    aligned = await align_with_bwa_mem3(r1, r2, index, soft_clip_supplementary=True)
    await merge_bam_alignment(await fastq_to_sam(r1, r2), await sort_sam(aligned, "queryname"), reference)
    marked = (await mark_duplicates([aligned])).alignment
    await index_alignment(marked)
    await validate_sam(marked, reference)
    await collect_alignment_summary_metrics(marked, reference)
    await collect_insert_size_metrics(marked)
    await collect_wgs_metrics(marked, reference, sample_size=100)
    pieces = await intervals_by_ploidy(
        reference, await split_contigs(reference), "r", ["r"], [f"{contig}:1"], []
    )
    assert pieces.keys() == {"1", "2"}
    reports = [await base_recalibrator(marked, reference, [known], piece) for (piece,) in pieces.values()]
    recalibrated = await apply_bqsr(marked, reference, await gather_bqsr_reports(reports))
    await index_alignment(recalibrated)
    gvcf = (await haplotype_caller(recalibrated, reference, pieces["1"][0], 1)).variants
    await reblock_gvcf(gvcf, reference)
    combined = (await combine_gvcfs([gvcf], reference)).variants
    called = (await genotype_gvcfs(combined, reference, ["r"])).variants
    normalised = (await left_align_and_trim(called, reference)).variants
    filtered = (await variant_filtration(normalised, HARD_FILTERS)).variants
    chosen = (await select_variants(filtered, ["SNP"], True)).variants
    await merge_vcfs([filtered, chosen])  # of one alone the bytes are the same, and so no file of its own
    await collect_variant_calling_metrics(filtered, known)


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute on an idle machine
def test_every_task_of_cells_gives_the_same_files(
    compiled_code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo of cells with fewer of them, and what it does not read: Cell Ranger's .h5, an h5ad."""
    h5py = pytest.importorskip("h5py", reason="NOT TESTED: pip install 'stargazer-workflows[scrna]'")
    pytest.importorskip("scanpy", reason="NOT TESTED: pip install 'stargazer-workflows[scrna]'")
    monkeypatch.setattr(cells, "CELLS", 240)
    mine = in_store(tmp_path / "mine", monkeypatch, lent=compiled_code)
    prepare("scrna")
    with h5py.File(tmp_path / "counts.h5", "w") as file:  # 60 cells by 40 genes, each with 12 of them
        matrix = file.create_group("matrix")
        matrix["shape"], matrix["data"] = [40, 60], [1 + number % 5 for number in range(720)]
        matrix["indices"], matrix["indptr"] = [number * 7 % 40 for number in range(720)], range(0, 721, 12)
        matrix["barcodes"] = [f"{number:016b}-1".replace("0", "A").replace("1", "C") for number in range(60)]
        matrix["features/id"] = [f"ENSG{number:011}" for number in range(40)]
        matrix["features/name"] = [f"G{number}" for number in range(40)]
        matrix["features/feature_type"], matrix["features/genome"] = ["Gene Expression"] * 40, ["g"] * 40
    add(mine, tmp_path / "counts.h5", TenxH5(sample="other"))

    async def run() -> None:
        found = await demo_scrna()
        await read_h5ad(found.cells)
        await read_10x_h5(await TenxH5.one(sample="other"))

    asyncio.run(run())
    assert_same_again(mine, tmp_path, monkeypatch, known_tasks("cells"), compiled_code)


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
