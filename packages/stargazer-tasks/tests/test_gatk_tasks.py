"""Every task of GATK and Picard gives what the tool gives by hand, record for record; none of them is mocked.

These tests run side by side with others, without the marker `jvm`: each Java here takes less than 1 GB.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import flyte
import pytest
from stargazer.assets import (
    R1,
    R2,
    Alignment,
    Asset,
    FormatError,
    Intervals,
    InvalidAssetError,
    KnownSites,
    Reference,
    SequenceDict,
    ToolError,
    Variants,
    use_client,
)
from stargazer.tasks import (
    align_with_bwa_mem3,
    apply_bqsr,
    base_recalibrator,
    check_for_gatk,
    collect_alignment_summary_metrics,
    collect_insert_size_metrics,
    collect_variant_calling_metrics,
    collect_wgs_metrics,
    combine_gvcfs,
    compress_known_sites,
    fastq_to_sam,
    gather_bqsr_reports,
    gatk,
    genomics_db_import,
    genotype_gvcfs,
    haplotype_caller,
    index_alignment,
    index_feature_file,
    index_for_bwa_mem3,
    left_align_and_trim,
    mark_duplicates,
    merge_bam_alignment,
    merge_vcfs,
    picard,
    reblock_gvcf,
    samtools,
    samtools_faidx,
    select_variants,
    sequence_dictionary,
    sort_sam,
    validate_sam,
    variant_filtration,
)
from stargazer.tasks.execution import named_outputs
from stargazer.tasks.tools import Tool

from .conftest import Bench

CONTIGS = ("chr1:1-99", "HLA-A*01:01")  # names that break the syntax of regions
LENGTH, MIDDLE = 3000, 1500
HAND_MEMORY = 1 << 30
COMPLEMENT = str.maketrans("ACGT", "TGCA")


class BothWays(Bench):
    """Awaits each task, and has Flyte run it as well: that gives the same files, from memory."""

    def run(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = super().run(task, *args, **kwargs)
        if hasattr(task, "native_interface"):

            async def by_flyte() -> Any:
                done = await flyte.with_runcontext(mode="local").run.aio(task, *args, **kwargs)
                return named_outputs(task, done.outputs())

            assert cids(super().run(by_flyte)) == cids(result)
        return result


def cids(result: Any) -> list[str | None]:
    return [asset.cid for asset in (result if isinstance(result, tuple | list) else [result]) if asset]


@attrs.frozen
class Laboratory:
    """A reference of two contigs, and two samples of which one has two libraries; nothing of GATK has run yet."""

    bench: Bench
    reference: Reference
    lanes: list[tuple[R1, R2]]
    alignments: list[Alignment]
    other: Alignment
    known: KnownSites
    genome: list[str]

    def piece(self, name: str, *regions: tuple[str, int, int]) -> Intervals:
        """Intervals of these regions."""
        path = self.bench.client.store.root.parent / f"{name}.bed"
        path.write_text("".join(f"{contig}\t{start}\t{end}\n" for contig, start, end in regions))
        intervals: Intervals = self.bench.add(path, Intervals(name=name, build="small"))
        return intervals

    def whole(self) -> Intervals:
        return self.piece("whole", *((contig, 0, LENGTH) for contig in CONTIGS))

    def contigs(self) -> list[Intervals]:
        return [
            self.piece(f"contig {number}", (contig, 0, LENGTH)) for number, contig in enumerate(CONTIGS, 1)
        ]


def changed(bases: str, alleles: Iterable[tuple[int, int, str]]) -> str:
    """Bases with others from a place (zero-based) on, instead of so many."""
    for place, count, instead in sorted(alleles, reverse=True):
        bases = bases[:place] + instead + bases[place + count :]
    return bases


def other_base(base: str) -> str:
    return "ACGT"["ACGT".index(base) - 1]


def write_lane(folder: Path, stem: str, haplotypes: list[str], seed: int, pairs: int) -> tuple[Path, Path]:
    """Read pairs of haplotypes by turns, with errors of low quality; each tenth is a duplicate of the one before."""
    draw = random.Random(seed)
    ends: tuple[list[str], list[str]] = ([], [])
    fragment = ""
    for number in range(pairs):
        if number % 10 != 9:
            bases = haplotypes[number % len(haplotypes)]
            start, length = draw.randrange(len(bases) - 400), draw.randrange(250, 400)
            fragment = bases[start : start + length]
        for lines, read in zip(
            ends, (fragment[:100], fragment.translate(COMPLEMENT)[::-1][:100]), strict=True
        ):
            qualities = "".join(draw.choices("I?5+", [60, 25, 10, 5], k=len(read)))
            said = [
                other_base(base) if quality == "+" and draw.random() < 0.1 else base
                for base, quality in zip(read, qualities, strict=True)
            ]
            lines.append(f"@{stem}:{number}\n{''.join(said)}\n+\n{qualities}\n")
    paths = folder / f"{stem}_R1.fq.gz", folder / f"{stem}_R2.fq.gz"
    for path, lines in zip(paths, ends, strict=True):
        path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    return paths


def set_up(folder: Path) -> Laboratory:
    """The laboratory in a folder, made or, by the memo, as it was made."""
    bench, draw = BothWays(folder / "store"), random.Random(20_261_130)
    genome = ["".join(draw.choices("ACGT", k=LENGTH)) for _ in CONTIGS]
    fasta, vcf = folder / "small.fa", folder / "known.vcf"
    fasta.write_text("".join(f">{name}\n{bases}\n" for name, bases in zip(CONTIGS, genome, strict=True)))
    reference = bench.add(fasta, Reference(build="small"))
    first = [(MIDDLE, 1, other_base(genome[0][MIDDLE])), (800, 1, other_base(genome[0][800])), (2200, 6, "")]
    second = [(MIDDLE, 1, other_base(genome[1][MIDDLE])), (2000, 0, "GATTACA")]
    haplotypes = [
        [changed(genome[0], first), changed(genome[1], second)],
        [changed(genome[0], first[:1]), changed(genome[1], second)],
    ]
    vcf.write_text(
        "##fileformat=VCFv4.2\n"
        + "".join(f"##contig=<ID={name},length={LENGTH}>\n" for name in CONTIGS)
        + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        + "".join(
            f"{name}\t{MIDDLE + 1}\trs{number}\t{bases[MIDDLE]}\t{other_base(bases[MIDDLE])}\t.\t.\t.\n"
            for number, (name, bases) in enumerate(zip(CONTIGS, genome, strict=True), 1)
        )
    )
    known = bench.add(vcf, KnownSites(name="known", build="small"))
    lanes = [("s", "one", "L1", [*haplotypes[0], *haplotypes[1]]), ("s", "two", "L2", haplotypes[0]),
             ("t", None, None, [genome[0], haplotypes[0][1]])]  # fmt: skip
    registered = []
    for seed, (sample, library, lane, sequences) in enumerate(lanes, 1):
        paths = write_lane(folder, f"{sample}{seed}", sequences, seed, 240)
        described = {"sample": sample, "library": library, "lane": lane}
        registered.append((bench.add(paths[0], R1(**described)), bench.add(paths[1], R2(**described))))

    async def prepared() -> tuple[list[Alignment], KnownSites]:
        await samtools_faidx(reference)
        await sequence_dictionary(reference)
        index = await index_for_bwa_mem3(reference)
        aligned = [await align_with_bwa_mem3(r1, r2, index) for r1, r2 in registered]
        for alignment in aligned:
            await index_alignment(alignment)
        return aligned, await compress_known_sites(known)

    aligned, compressed = bench.run(prepared)
    return Laboratory(bench, reference, registered, aligned[:2], aligned[2], compressed, genome)


@pytest.fixture(scope="module")
def shared(made_once: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """The laboratory, made once for all processes that test; each has a copy."""
    folder = tmp_path_factory.mktemp("gatk-tasks") / "copy"
    shutil.copytree(made_once("gatk-tasks", set_up), folder)
    return set_up(folder)


@pytest.fixture
def lab(shared: Laboratory, gatk_home: Path) -> Laboratory:
    """The laboratory, with GATK installed."""
    return shared


class Hand:
    """A folder in which tools are run without us, on files laid there as they lie in a workspace."""

    def __init__(self, folder: Path, bench: Bench):
        self.folder, self.bench = folder, bench

    def lay(self, asset: Asset, name: str = "") -> Path:
        """A file, with its companions beside it."""
        with use_client(self.bench.client):
            path: Path | None = asyncio.run(asset.fetch(self.folder / (name or asset.asset_key))).path
        assert path is not None
        return path

    def __call__(self, *words: Any, tool: Tool = gatk, status: int = 0) -> str:
        """What a tool writes to stderr."""
        found = tool.resolve({})
        environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.folder),
            "STARGAZER_TASK_MEMORY": str(HAND_MEMORY),
            **found.environment,
        }
        done = subprocess.run(
            [*found.argv, *map(str, words)], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        return done.stderr

    def out(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture
def hand(lab: Laboratory, tmp_path: Path) -> Hand:
    return Hand(tmp_path, lab.bench)


@pytest.fixture
def reads_of(by_hand: Callable[..., bytes]) -> Callable[[Path], list[str]]:
    """The records of an alignment, in their order, and what its header says of order, contigs and read groups."""

    def read(path: Path) -> list[str]:
        lines = by_hand(samtools, "view", "-h", "--no-PG", path).decode().splitlines()
        header = [_without_uri(line) for line in lines if line.startswith(("@HD", "@SQ", "@RG"))]
        return header + [line for line in lines if not line.startswith("@")]

    return read


def _without_uri(line: str) -> str:
    return "\t".join(field for field in line.split("\t") if not field.startswith("UR:"))


def calls(path: Path) -> list[str]:
    """The records of a VCF."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


def table(path: Path) -> list[str]:
    """The lines of a metrics file without its comments, which name files and hold a date."""
    return [line for line in path.read_text().splitlines() if line and not line.startswith("# ")]


def test_unaligned_reads_and_what_they_add_to_aligned_ones(
    lab: Laboratory, hand: Hand, reads_of: Any
) -> None:
    bench, (r1, r2) = lab.bench, lab.lanes[0]

    unaligned = bench.run(fastq_to_sam, r1, r2)
    by_name = bench.run(sort_sam, lab.alignments[0], "queryname")
    merged = bench.run(merge_bam_alignment, unaligned, by_name, lab.reference)
    by_place = bench.run(sort_sam, alignment=by_name)

    reference, bam = hand.lay(lab.reference), hand.lay(lab.alignments[0])
    hand("FastqToSam", "-F1", hand.lay(r1), "-F2", hand.lay(r2), "-O", "u.bam", "-SM", "s", "-RG", "s:one:L1",
         "-LB", "one", "-PL", "ILLUMINA", "-PU", "L1")  # fmt: skip
    hand("SortSam", "-I", bam, "-O", "n.bam", "-SO", "queryname")
    hand("MergeBamAlignment", "-UNMAPPED", "u.bam", "-ALIGNED", "n.bam", "-O", "m.bam", "-R", reference,
         "-SO", "coordinate", "-CLIP_ADAPTERS", "false", "-MAX_GAPS", "-1", "--PRIMARY_ALIGNMENT_STRATEGY",
         "MostDistant", "--UNMAP_CONTAMINANT_READS", "true", "--ATTRIBUTES_TO_RETAIN", "X0",
         "--ALIGNER_PROPER_PAIR_FLAGS", "true", "-ORIENTATIONS", "FR", "--ADD_PG_TAG_TO_READS", "false")  # fmt: skip
    hand("SortSam", "-I", "n.bam", "-O", "c.bam", "-SO", "coordinate")
    assert reads_of(bench.path(unaligned)) == reads_of(hand.out("u.bam"))
    assert reads_of(bench.path(by_name)) == reads_of(hand.out("n.bam"))
    assert reads_of(bench.path(merged)) == reads_of(hand.out("m.bam"))
    assert reads_of(bench.path(by_place)) == reads_of(hand.out("c.bam"))
    assert [asset.sorted_by for asset in (unaligned, by_name, merged, by_place)] == [
        "queryname", "queryname", "coordinate", "coordinate"
    ]  # fmt: skip


def test_duplicates_are_looked_for_in_each_library(lab: Laboratory, hand: Hand, reads_of: Any) -> None:
    bench = lab.bench

    marked = bench.run(mark_duplicates, alignments=lab.alignments)

    one, two = (hand.lay(alignment, f"lane{number}") for number, alignment in enumerate(lab.alignments))
    hand(
        "MarkDuplicates", "-I", one, "-I", two, "-O", "m.bam", "-M", "m.txt", "--ADD_PG_TAG_TO_READS", "false"
    )
    assert reads_of(bench.path(marked.alignment)) == reads_of(hand.out("m.bam"))
    assert table(bench.path(marked.metrics)) == table(hand.out("m.txt"))
    libraries = [line.split("\t")[:7] for line in table(hand.out("m.txt")) if line.startswith(("one", "two"))]
    assert [(name, int(pairs) > 10) for name, *_, pairs in libraries] == [("one", True), ("two", True)]
    assert (marked.alignment.library, marked.alignment.lane) == (None, None)
    assert marked.alignment.duplicates_marked


def test_metrics_of_an_alignment(lab: Laboratory, hand: Hand) -> None:
    bench, alignment = lab.bench, lab.alignments[0]
    some = lab.piece("some", (CONTIGS[1], 100, 900))

    summary = bench.run(collect_alignment_summary_metrics, alignment, lab.reference)
    sizes = bench.run(collect_insert_size_metrics, alignment)
    coverage = bench.run(collect_wgs_metrics, alignment, lab.reference, some, 100)
    validation = bench.run(validate_sam, alignment=alignment, reference=lab.reference)

    reference, bam, bed = hand.lay(lab.reference), hand.lay(alignment), hand.lay(some)
    hand("CollectAlignmentSummaryMetrics", "-I", bam, "-O", "a.txt", "-R", reference)
    hand("BedToIntervalList", "-I", bed, "-O", "i.interval_list", "-SD", reference.with_suffix(".dict"))
    hand("CollectWgsMetrics", "-I", bam, "-O", "w.txt", "-R", reference, "--INTERVALS", "i.interval_list",
         "--SAMPLE_SIZE", "100")  # fmt: skip
    hand("ValidateSamFile", "-I", bam, "-O", "v.txt", "-R", reference, "-MODE", "SUMMARY")
    assert table(bench.path(summary)) == table(hand.out("a.txt"))
    assert table(bench.path(coverage)) == table(hand.out("w.txt"))
    assert table(bench.path(coverage))[4].startswith("800\t")
    assert bench.path(validation).read_text() == hand.out("v.txt").read_text() == "No errors found\n"
    assert "\tFR\t" in bench.path(sizes).read_text()
    assert {report.alignment_cid for report in (summary, sizes, coverage)} == {alignment.cid}


def test_insert_sizes_need_no_r(
    lab: Laboratory, hand: Hand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The numbers are those that Picard writes beside its plot, with an `Rscript` that draws nothing."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    sizes = lab.bench.run(collect_insert_size_metrics, lab.alignments[1])

    (tmp_path / "Rscript").write_text("#!/bin/sh\n")
    (tmp_path / "Rscript").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    bam = hand.lay(lab.alignments[1])
    hand("CollectInsertSizeMetrics", "-I", bam, "-O", "i.txt", "-H", "i.pdf", tool=picard)
    assert table(lab.bench.path(sizes)) == table(hand.out("i.txt"))
    (row,) = [line for line in table(hand.out("i.txt")) if "\tFR\t" in line]
    assert 300 < float(row.split("\t")[5]) < 350  # the mean of 250 to 400


def test_what_is_wrong_with_an_alignment_is_in_the_report(
    lab: Laboratory, hand: Hand, by_hand: Callable[..., bytes], tmp_path: Path
) -> None:
    sam = (
        f"@HD\tVN:1.6\n@SQ\tSN:{CONTIGS[0]}\tLN:{LENGTH}\nr\t0\t{CONTIGS[0]}\t2950\t60\t90M\t*\t0\t0\t*\t*\n"
    )
    (tmp_path / "wrong.bam").write_bytes(by_hand(samtools, "view", "-b", "-", stdin=sam.encode()))
    alignment = lab.bench.add(tmp_path / "wrong.bam", Alignment(sample="wrong"))

    report = lab.bench.run(validate_sam, alignment)

    hand("ValidateSamFile", "-I", "wrong.bam", "-O", "v.txt", "-MODE", "SUMMARY", status=4)
    assert table(lab.bench.path(report)) == table(hand.out("v.txt"))
    assert "ERROR:CIGAR_MAPS_OFF_REFERENCE\t1" in table(lab.bench.path(report))


def test_base_qualities_are_recalibrated(lab: Laboratory, hand: Hand, reads_of: Any) -> None:
    bench, alignment, reference = lab.bench, lab.alignments[0], lab.reference

    index = bench.run(index_feature_file, lab.known)
    whole = bench.run(base_recalibrator, alignment, reference, [lab.known])
    parts = [bench.run(base_recalibrator, alignment, reference, [lab.known], each) for each in lab.contigs()]
    gathered = bench.run(gather_bqsr_reports, parts)
    recalibrated = bench.run(apply_bqsr, alignment, reference, whole)

    fasta, bam, sites = hand.lay(reference), hand.lay(alignment), hand.lay(lab.known)
    hand("IndexFeatureFile", "-I", sites, "-O", "sites.tbi")
    hand("BaseRecalibrator", "-R", fasta, "-I", bam, "--known-sites", sites, "-O", "r.table")
    hand("ApplyBQSR", "-R", fasta, "-I", bam, "-bqsr", "r.table", "-O", "r.bam",
         "--add-output-sam-program-record", "false")  # fmt: skip
    assert bench.path(index).read_bytes() == hand.out("sites.tbi").read_bytes()
    assert bench.path(whole).read_bytes() == hand.out("r.table").read_bytes()
    assert reads_of(bench.path(recalibrated)) == reads_of(hand.out("r.bam")) != reads_of(bam)
    assert counts(bench.path(gathered)) == counts(bench.path(whole)) != counts(bench.path(parts[0]))
    assert recalibrated.recalibrated


def counts(path: Path) -> list[list[str]]:
    """Observations and errors of a recalibration table, in each read group, quality, cycle and context.

    The qualities that follow from them differ by one in places when GATK adds tables up: it rounds them down twice.
    """
    rows = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    return [row[:5] + row[6:] for row in rows if len(row) == 8]


def test_the_golden_recalibration_table(
    test_data: Path, bench: Bench, gatk_home: Path, tmp_path: Path
) -> None:
    folder = test_data / "gatk_bqsr"
    reference = bench.add(folder / "human_g1k_v37.chr17_1Mb.fasta", Reference(build="b37"))
    alignment = bench.add(folder / "NA12878.chr17_69k_70k.dictFix.bam", Alignment(sample="NA12878"))
    dbsnp = bench.add(
        folder / "dbsnp_132.b37.excluding_sites_after_129.chr17_69k_70k.vcf", KnownSites(name="dbsnp")
    )

    async def run() -> Any:
        await samtools_faidx(reference)
        await sequence_dictionary(reference)
        await index_alignment(alignment)
        known = await compress_known_sites(dbsnp)
        await index_feature_file(known)
        return await base_recalibrator(
            alignment, reference, [known], compute_indel_bqsr_tables=True, enable_baq=True
        )

    assert (
        bench.path(bench.run(run)).read_bytes()
        == (folder / "expected.NA12878.chr17_69k_70k.txt").read_bytes()
    )


def test_gvcfs_of_a_cohort_and_its_genotypes_by_both_ways(lab: Laboratory, hand: Hand) -> None:
    bench, reference, whole = lab.bench, lab.reference, lab.whole()

    gvcfs = [
        bench.run(haplotype_caller, alignment, reference, whole).variants
        for alignment in (lab.alignments[0], lab.other)
    ]
    reblocked = bench.run(reblock_gvcf, gvcfs[0], reference).variants
    combined = bench.run(combine_gvcfs, gvcfs, reference, whole).variants
    genotyped = bench.run(
        genotype_gvcfs, gvcf=combined, reference=reference, samples=["t", "s"], intervals=whole
    ).variants
    database = bench.run(genomics_db_import, gvcfs, whole)
    from_database = bench.run(genotype_gvcfs, database, reference, ["s", "t"], whole).variants

    fasta, bed = hand.lay(reference), hand.lay(whole)
    hand(
        "HaplotypeCaller",
        "-R",
        fasta,
        "-I",
        hand.lay(lab.other),
        "-O",
        "t.g.vcf.gz",
        "-L",
        bed,
        "-ERC",
        "GVCF",
    )
    first = hand.lay(gvcfs[0])
    hand("ReblockGVCF", "-R", fasta, "-V", first, "-O", "b.vcf.gz", "-do-qual-approx")
    hand("CombineGVCFs", "-R", fasta, "-V", first, "-V", "t.g.vcf.gz", "-O", "c.g.vcf.gz")
    hand("GenotypeGVCFs", "-R", fasta, "-V", "c.g.vcf.gz", "-O", "g.vcf.gz")
    assert calls(bench.path(gvcfs[1])) == calls(hand.out("t.g.vcf.gz"))
    assert calls(bench.path(reblocked)) == calls(hand.out("b.vcf.gz")) != calls(bench.path(gvcfs[0]))
    assert calls(bench.path(combined)) == calls(hand.out("c.g.vcf.gz"))
    assert calls(bench.path(genotyped)) == calls(hand.out("g.vcf.gz"))
    assert [line.split("\t")[:5] for line in calls(bench.path(from_database))] == [
        line.split("\t")[:5] for line in calls(bench.path(genotyped))
    ]
    assert genotypes(bench.path(from_database)) == genotypes(bench.path(genotyped))
    one, two = CONTIGS
    assert genotypes(bench.path(genotyped)) == {
        (one, 801): ["0/1", "0/0"],
        (one, 1501): ["1/1", "0/0"],
        (one, 2200): ["0/1", "0/0"],
        (two, 1501): ["1/1", "1/1"],
        (two, 2000): ["1/1", "1/1"],
    }
    assert (genotyped.samples, combined.samples) == (["s", "t"], ["s", "t"])


def without_qd(path: Path) -> list[str]:
    """Calls without their QD: where it is above 35, GATK draws another one, in the order of the calls of a run."""
    return [re.sub(r"QD=[^;\t]+", "QD", line) for line in calls(path)]


def genotypes(path: Path) -> dict[tuple[str, int], list[str]]:
    rows = [line.split("\t") for line in calls(path)]
    return {
        (row[0], int(row[1])): [sample.split(":")[0].replace("|", "/") for sample in row[9:]] for row in rows
    }


def test_calls_in_pieces_are_those_of_the_whole_and_one_copy_has_one_allele(
    lab: Laboratory, hand: Hand
) -> None:
    bench, reference, alignment = lab.bench, lab.reference, lab.alignments[1]
    first, second = CONTIGS
    halves = [
        lab.piece("half", (first, 0, 2500)),
        lab.piece("other half", (first, 2500, LENGTH), (second, 0, LENGTH)),
    ]

    def called(intervals: Intervals) -> Variants:
        made: Variants = bench.run(
            haplotype_caller, alignment, reference, intervals, 1, emit_ref_confidence=False
        ).variants
        return made

    whole = called(lab.whole())
    merged = bench.run(merge_vcfs, [called(piece) for piece in reversed(halves)])

    fasta, bam, bed = hand.lay(reference), hand.lay(alignment), hand.lay(lab.whole())
    hand("HaplotypeCaller", "-R", fasta, "-I", bam, "-O", "h.vcf.gz", "-L", bed, "-ploidy", "1")
    assert calls(bench.path(whole)) == calls(hand.out("h.vcf.gz"))
    assert genotypes(bench.path(whole)) == {
        place: ["1"] for place in [(first, 801), (first, 1501), (first, 2200), (second, 1501), (second, 2000)]
    }
    assert without_qd(bench.path(merged.variants)) == without_qd(bench.path(whole)) != []
    assert merged.variants_index.variants_cid == merged.variants.cid
    assert (whole.kind, whole.samples) == ("calls", ["s"])


@attrs.frozen
class Raw:
    """Calls of two samples, an indel last that is written as far right as can be, and where it is far left."""

    variants: Variants
    left: int


@pytest.fixture
def raw(lab: Laboratory, hand: Hand) -> Raw:
    """A call of poor quality, a good one, one without that annotation, and the deletion of one base of a repeat."""
    bases = lab.genome[0]
    repeat = re.compile(r"(.)\1{3,}").search(bases, 400)
    assert repeat is not None
    base = repeat[1]
    columns = [
        (101, "QD=1.5;SOR=1.0", "0/1\t0/0"),
        (201, "QD=20.0;SOR=4.5", "0/0\t0/1"),
        (301, "SOR=1.0", "0/1\t1/1"),
    ]
    rows = [
        f"{CONTIGS[0]}\t{place}\t.\t{bases[place - 1]}\t{other_base(bases[place - 1])}\t50\t.\t{info}\tGT\t{alleles}"
        for place, info, alleles in columns
    ]
    rows.append(
        f"{CONTIGS[0]}\t{repeat.end() - 1}\t.\t{base}{base}\t{base}\t50\t.\tQD=20.0;SOR=1.0\tGT\t1/1\t0/1"
    )
    header = [
        "##fileformat=VCFv4.2",
        *(f"##contig=<ID={name},length={LENGTH}>" for name in CONTIGS),
        '##INFO=<ID=QD,Number=1,Type=Float,Description="q">',
        '##INFO=<ID=SOR,Number=1,Type=Float,Description="s">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts\tt",
    ]
    hand.out("raw.vcf").write_text("".join(f"{line}\n" for line in [*header, *rows]))
    return Raw(
        lab.bench.add(hand.out("raw.vcf"), Variants(samples=["s", "t"], build="small")), repeat.start()
    )


def test_calls_are_filtered_chosen_normalised_and_counted(lab: Laboratory, hand: Hand, raw: Raw) -> None:
    bench, reference = lab.bench, lab.reference
    marks = {"QD2": "vc.isSNP() && QD < 2.0", "SOR3": "SOR > 3.0"}
    bench.run(index_feature_file, lab.known)

    filtered = bench.run(variant_filtration, raw.variants, marks).variants
    chosen = bench.run(
        select_variants, variants=filtered, select_type=["SNP"], exclude_filtered=True, samples=["s"]
    ).variants
    there = bench.run(
        select_variants, filtered, intervals=lab.piece("there", (CONTIGS[0], 150, 250))
    ).variants
    normalised = bench.run(left_align_and_trim, raw.variants, reference).variants
    counted = bench.run(collect_variant_calling_metrics, filtered, lab.known)

    fasta, sites = hand.lay(reference), hand.lay(lab.known)
    given = [
        word for name, text in marks.items() for word in ("--filter-name", name, "--filter-expression", text)
    ]
    hand("VariantFiltration", "-V", "raw.vcf", "-O", "f.vcf", *given)
    hand("SelectVariants", "-V", "f.vcf", "-O", "s.vcf", "-select-type", "SNP", "--exclude-filtered", "-sn", "s",
         "--exclude-non-variants")  # fmt: skip
    hand("LeftAlignAndTrimVariants", "-R", fasta, "-V", "raw.vcf", "-O", "l.vcf")
    hand("CollectVariantCallingMetrics", "-I", "f.vcf", "--DBSNP", sites, "-O", "m")
    assert calls(bench.path(filtered)) == calls(hand.out("f.vcf"))
    assert [line.split("\t")[6] for line in calls(hand.out("f.vcf"))] == ["QD2", "SOR3", "PASS", "PASS"]
    assert calls(bench.path(chosen)) == calls(hand.out("s.vcf"))
    assert [(line.split("\t")[1], line.count("\t")) for line in calls(hand.out("s.vcf"))] == [("301", 9)]
    assert calls(bench.path(there)) == calls(hand.out("f.vcf"))[1:2]
    assert calls(bench.path(normalised)) == calls(hand.out("l.vcf"))
    assert calls(bench.path(normalised))[-1].split("\t")[1] == str(raw.left)
    for kind, report in zip(("summary", "detail"), counted, strict=True):
        assert table(bench.path(report)) == table(hand.out(f"m.variant_calling_{kind}_metrics"))
    assert (chosen.samples, chosen.filtered, normalised.normalised) == (["s"], True, True)


def one_read(path: Path, by_hand: Callable[..., bytes], contig: str, length: int, group: str = "") -> Path:
    """An alignment of one read, whose read group this may be."""
    tag = "\tRG:Z:1" if group else ""
    sam = f"@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:{contig}\tLN:{length}\n{group}"
    sam += f"r\t0\t{contig}\t101\t60\t100M\t*\t0\t0\t{'A' * 100}\t{'I' * 100}{tag}\n"
    path.write_bytes(by_hand(samtools, "view", "-b", "--no-PG", "-", stdin=sam.encode()))
    return path


def test_too_little_memory_is_told_with_what_to_raise(
    bench: Bench, gatk_home: Path, by_hand: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Picard has a contig in memory as a whole: this one takes more than all of the heap."""
    monkeypatch.setenv("STARGAZER_MEMORY", "80MB")
    length = 70_000_000
    (tmp_path / "long.fa").write_text(f">long\n{'A' * length}\n")
    reference = bench.add(tmp_path / "long.fa", Reference(build="long"))
    alignment = bench.add(
        one_read(tmp_path / "r.bam", by_hand, "long", length, "@RG\tID:1\tSM:s\n"), Alignment(sample="s")
    )
    bench.run(samtools_faidx, reference)
    bench.run(sequence_dictionary, reference)

    with pytest.raises(ToolError, match=r"Java heap.* too small: .*STARGAZER_MEMORY: raise the lower one"):
        bench.run(collect_alignment_summary_metrics, alignment, reference)

    assert "qc_report" not in bench.types()
    assert list(bench.client.store.objects.work.iterdir()) == []


def test_a_cut_alignment_and_reads_of_no_sample_give_an_error_that_says_it_and_no_result(
    lab: Laboratory, hand: Hand, by_hand: Any, tmp_path: Path
) -> None:
    bench = lab.bench
    (tmp_path / "cut.bam").write_bytes(bench.path(lab.alignments[0]).read_bytes()[:-8000])
    with pytest.raises(FormatError, match="truncated"):
        bench.add(tmp_path / "cut.bam", Alignment(sample="s"), force=True)
    nobody = bench.add(
        one_read(tmp_path / "n.bam", by_hand, CONTIGS[0], LENGTH),
        Alignment(sample="s", sorted_by="coordinate"),
    )
    bench.run(index_alignment, nobody)
    (where, _), before = lab.contigs(), bench.types()

    with pytest.raises(ToolError, match=r"HaplotypeCaller failed.*sample list cannot be null or empty"):
        bench.run(haplotype_caller, nobody, lab.reference, where, emit_ref_confidence=False)

    assert bench.types() == before
    assert list(bench.client.store.objects.work.iterdir()) == []


def test_a_contig_that_gatk_cannot_index_is_refused_in_words(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "b.fa").write_text(">chr1H\nACGT\n")
    (tmp_path / "b.dict").write_text("@HD\tVN:1.6\n@SQ\tSN:chr1H\tLN:558535432\n@SQ\tSN:chr2H\tLN:1000\n")
    reference = bench.add(tmp_path / "b.fa", Reference(build="barley"))
    dictionary = bench.add(tmp_path / "b.dict", SequenceDict(reference_cid=reference.cid), force=True)

    with pytest.raises(
        InvalidAssetError,
        match=r"the reference barley has 'chr1H' of 536,870,912 bases or more, which GATK cannot index: run with "
        "caller=bcftools",
    ):
        bench.run(check_for_gatk, reference, dictionary, [])


def test_a_sample_in_two_gvcfs_is_refused(bench: Bench, gatk_home: Path, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.g.vcf").write_text(
            f"##fileformat=VCFv4.2\n##contig=<ID={name}>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts\n"
        )
        made.append(bench.add(tmp_path / f"{name}.g.vcf", Variants(samples=["s"], kind="gvcf")))
    (tmp_path / "r.fa").write_text(">one\nACGT\n")
    reference = bench.add(tmp_path / "r.fa", Reference(build="r"))

    with pytest.raises(InvalidAssetError, match="'s' in two of the GVCFs: give those of a sample once"):
        bench.run(combine_gvcfs, made, reference)
