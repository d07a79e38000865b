"""Germline calls on real data: alignments as bwa makes them, calls as bcftools makes them, and the known truth.

The same from the same: in pieces or whole, from reads or from their alignment, on one core or two.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import flyte
import pytest
from stargazer.assets import R1, R2, Alignment, Intervals, Reference, Variants
from stargazer.tasks import bcftools, call_variants, gather_variants, samtools, split_intervals
from stargazer.tasks.execution import named_outputs
from stargazer.tasks.germline.alignment import read_group
from stargazer.workflows import germline, parallel
from stargazer.workflows.germline import FILTER, germline_short_variant_discovery

CONTIG = "chr17:7658421-7697490"
DUPLICATE = 0x400
GATK_DUPLICATES = 1393  # of NA12829_TP53_markdup_metrics.txt


@pytest.fixture(scope="module")
def tp53(test_data: Path) -> Path:
    return test_data / "tp53"


@pytest.fixture(scope="module")
def called(tp53: Path, new_lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The workflow's result for the tp53 reads, in a laboratory that several tests share."""
    lab = new_lab(tmp_path_factory.mktemp("tp53"))
    lab.add(tp53 / "GRCh38_TP53.fa", Reference(build="GRCh38"))
    lab.add(tp53 / "NA12829_TP53_R1.fq.gz", R1(sample="NA12829", lane="L001"))
    lab.add(tp53 / "NA12829_TP53_R2.fq.gz", R2(sample="NA12829", lane="L001"))
    lab.calls = lab.run(
        germline_short_variant_discovery, samples=["NA12829"], build="GRCh38", caller="bcftools"
    )
    return lab


@pytest.mark.debian("bwa")
def test_the_alignment_is_that_of_bwa(called: Any, tp53: Path, tmp_path: Path, run_by_hand: Any):
    subprocess.run(
        ["bwa", "index", "-p", tmp_path / "i", tp53 / "GRCh38_TP53.fa"], check=True, capture_output=True
    )
    reads = [tp53 / f"NA12829_TP53_R{number}.fq.gz" for number in (1, 2)]
    group = read_group(R1(sample="NA12829", lane="L001"))
    bwa = subprocess.run(["bwa", "mem", "-K", "10000000", "-R", group, tmp_path / "i", *reads],
                         check=True, capture_output=True).stdout  # fmt: skip

    ours = run_by_hand(samtools, "view", "-h", called.path(called.calls.alignments[0]))

    assert len(placed(ours)) == 16_025
    assert Counter(placed(ours)) == Counter(placed(bwa))
    assert group.replace("\\t", "\t") in ours.decode().splitlines()


def placed(sam: bytes) -> list[tuple[str, ...]]:
    """Name, flag without the duplicate's, contig, position, mapping quality, CIGAR and read group of each record."""
    records = [line.split("\t") for line in sam.decode().splitlines() if not line.startswith("@")]
    return [(name, str(int(flag) & ~DUPLICATE), *rest, next(tag for tag in tags if tag.startswith("RG:")))
            for name, flag, *rest, tags in ((*record[:6], record[11:]) for record in records)]  # fmt: skip


def test_duplicates_are_those_that_gatk_marks(called: Any, tp53: Path, run_by_hand: Any):
    def duplicates(bam: Path) -> set[tuple[str, str]]:
        records = run_by_hand(samtools, "view", "-f", DUPLICATE, bam).decode().splitlines()
        return {(name, str(int(flag) & 0xC0)) for name, flag in (line.split("\t")[:2] for line in records)}

    ours, theirs = (
        duplicates(called.path(called.calls.alignments[0])),
        duplicates(tp53 / "NA12829_TP53_markdup.bam"),
    )

    assert len(theirs) == GATK_DUPLICATES
    assert len(ours) == GATK_DUPLICATES
    assert len(ours & theirs) >= GATK_DUPLICATES - 2


def test_the_calls_are_those_of_bcftools_by_hand(
    called: Any, tp53: Path, tmp_path: Path, run_by_hand: Any, records_of: Any
):
    reference = tmp_path / "reference.fa"
    reference.write_bytes((tp53 / "GRCh38_TP53.fa").read_bytes())
    bam = called.path(called.calls.alignments[0])

    piled = run_by_hand(bcftools, "mpileup", "--indels-2.0", "-p", "--indel-size", "80", "-h", "300", "-d", "100000",
                        "-L", "100000", "-f", reference, "-a", "FORMAT/AD,FORMAT/DP", "-Ou", bam)  # fmt: skip
    raw = run_by_hand(bcftools, "call", "-m", "-v", "-Ou", "-", stdin=piled)
    normalised = run_by_hand(bcftools, "norm", "-f", reference, "-Ou", "-", stdin=raw)
    (tmp_path / "by_hand.vcf").write_bytes(
        run_by_hand(bcftools, "filter", "-s", "LowQual", "-e", FILTER, "-", stdin=normalised)
    )

    ours = records_of(called.path(called.calls.variants))
    assert ours == records_of(tmp_path / "by_hand.vcf")
    assert {line.split("\t")[0] for line in ours} == {CONTIG}


def test_all_snvs_that_gatk_is_sure_of_are_called(called: Any, tp53: Path, records_of: Any, alleles_of: Any):
    truth = alleles_of(records_of(tp53 / "NA12829_TP53.g.vcf"), least=30)
    snvs = {key for key in truth if len(key[2]) == len(key[3]) == 1}

    ours = alleles_of(records_of(called.path(called.calls.variants)))

    assert len(snvs) == 25
    assert snvs <= ours.keys()


def test_pieces_give_the_same_calls_as_the_whole(called: Any, records_of: Any):
    async def scattered(reference: Reference, count: int) -> Variants:
        pieces = await split_intervals(reference, None, count)
        assert len(pieces) == count
        return await gather_variants(
            await parallel([call_variants(alignments, reference, each) for each in pieces])
        )

    alignments = called.calls.alignments
    reference = called.run(Reference.one, build="GRCh38")
    in_pieces = called.run(scattered, reference, 3)
    whole = called.run(call_variants, alignments, reference)

    assert records_of(called.path(in_pieces)) == records_of(called.path(whole)) != []


def test_many_reads_are_called_in_several_pieces(
    called: Any, records_of: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(germline, "READS_A_PIECE", 5_000)  # of 15,977 that are mapped

    calls = called.run(
        germline_short_variant_discovery, samples=["NA12829"], build="GRCh38", caller="bcftools"
    )

    assert called.computed()["align_with_bwa_mem3"] == 0
    assert called.computed()["call_variants"] + called.recalled()["call_variants"] == 3
    assert called.computed()["gather_variants"] + called.recalled()["gather_variants"] == 1
    assert records_of(called.path(calls.variants)) == records_of(called.path(called.calls.variants))


def test_an_alignment_gives_the_same_calls_as_its_reads(called: Any, tp53: Path, lab: Any, tmp_path: Path,
                                                        records_of: Any, monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    monkeypatch.setenv("STARGAZER_CORES", "1")
    (tmp_path / "here.bam").write_bytes(called.path(called.calls.alignments[0]).read_bytes())
    lab.add(tp53 / "GRCh38_TP53.fa", Reference(build="GRCh38"))
    lab.add(
        tmp_path / "here.bam", Alignment(sample="NA12829", sorted_by="coordinate", duplicates_marked=True)
    )

    calls = lab.run(germline_short_variant_discovery, samples=["NA12829"], build="GRCh38", caller="bcftools")

    assert not {"align_with_bwa_mem3", "sort_alignment", "markdup"} & set(lab.computed())
    assert calls.alignments[0].cid == called.calls.alignments[0].cid
    assert records_of(lab.path(calls.variants)) == records_of(called.path(called.calls.variants))


def test_the_same_bytes_on_one_core_in_another_home(
    called: Any, tp53: Path, lab: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STARGAZER_CORES", "1")
    lab.add(tp53 / "GRCh38_TP53.fa", Reference(build="GRCh38"))
    lab.add(tp53 / "NA12829_TP53_R1.fq.gz", R1(sample="NA12829", lane="L001"))
    lab.add(tp53 / "NA12829_TP53_R2.fq.gz", R2(sample="NA12829", lane="L001"))

    lab.calls = lab.run(
        germline_short_variant_discovery, samples=["NA12829"], build="GRCh38", caller="bcftools"
    )

    assert lab.calls == called.calls._replace(report=lab.calls.report)  # it shows how long each step took
    assert results(lab) - {("qc_report", lab.calls.report.cid)} <= results(called)
    assert {key for key, _ in results(lab)} >= {
        "aligner_index",
        "alignment_index",
        "duplicate_metrics",
        "qc_report",
    }


def results(lab: Any) -> set[tuple[str, str]]:
    """Type and CID of everything computed; provenance holds times."""
    return {(asset.asset_key, asset.cid) for asset in lab.made()}


def test_flyte_runs_the_same(called: Any):
    async def run() -> Any:
        done = await flyte.with_runcontext(mode="local").run.aio(
            germline_short_variant_discovery,
            samples=["NA12829"],
            build="GRCh38",
            caller="bcftools",
            ploidy=[f"{CONTIG}:M:2"],
            sex=["F"],
            max_depth=1_000,
        )
        return named_outputs(germline_short_variant_discovery, done.outputs())

    calls = called.run(run)

    assert [alignment.cid for alignment in calls.alignments] == [
        alignment.cid for alignment in called.calls.alignments
    ]
    assert calls.variants.cid == called.calls.variants.cid  # of two copies, and of no place so deep


def test_the_summary_counts_what_there_is(called: Any):
    summary = json.loads(called.path(called.calls.summary).read_text())

    sample = summary["samples"]["NA12829"]
    assert sample["reads"] == 15_992
    assert round(sample["duplicates"] * sample["reads"]) == GATK_DUPLICATES
    assert (
        55.0 < sample["mean_coverage_of_reference"] < 55.3
    )  # 2,156,910 bases by `samtools stats -d`, of 39,070
    assert summary["variants"]["pass"]["snvs"] >= 25
    assert sample["calls_that_pass"]["snvs_het"] + sample["calls_that_pass"]["snvs_hom_alt"] > 0


def test_the_report_shows_the_figures_of_the_summary_and_every_command(called: Any):
    summary = json.loads(called.path(called.calls.summary).read_text())
    page = called.path(called.calls.report).read_text()

    sample = summary["samples"]["NA12829"]
    for figure in (
        f"{sample['reads']:,}",
        f"{100 * sample['duplicates']:.2f} %",
        f"{sample['coverage']['mean']:.1f}x",
    ):
        assert f">{figure}<" in page
    assert f"<b>{summary['variants']['pass']['records']:,}</b>" in page
    assert "Nothing unusual." in page
    assert (called.calls.variants.cid in page) is (called.calls.alignments[0].cid in page) is True
    assert "bwa-mem3 mem" in page
    assert "bcftools call --no-version -m -v" in page
    assert ">align_with_bwa_mem3<" in page[page.index("When each ran") : page.index("From imported files")]
    assert ">this page<" in page


def test_real_alignment(test_data: Path, lab: Any, records_of: Any, alleles_of: Any):
    folder = test_data / "na12878_chr20"
    lab.add(folder / "ucsc.hg19.chr20.unittest.fasta.gz", Reference(build="hg19"))
    lab.add(folder / "NA12878_S1.chr20.10_10p1mb.bam", Alignment(sample="NA12878"))
    bed = folder / "test_nist.b37_chr20_100kbp_at_10mb.bed"
    lab.add(bed, Intervals(name="confident"))

    calls = lab.run(
        germline_short_variant_discovery,
        samples=["NA12878"],
        build="hg19",
        caller="bcftools",
        intervals="confident",
    )

    regions = [line.split("\t") for line in bed.read_text().splitlines()]

    def confident(line: str) -> bool:
        contig, position = line.split("\t")[:2]
        return any(contig == name and int(start) < int(position) <= int(end) for name, start, end in regions)

    truth = alleles_of(filter(confident, records_of(folder / "test_nist.b37_chr20_100kbp_at_10mb.vcf.gz")))
    ours = alleles_of(filter(confident, records_of(lab.path(calls.variants))))
    assert len(truth) == 49
    assert ours == truth  # alleles and genotypes: precision and recall of 1

    everywhere = lab.run(
        germline_short_variant_discovery, samples=["NA12878"], build="hg19", caller="bcftools"
    )

    assert lab.computed()["call_variants"] == 1  # 52,000 reads, in a contig of 63 Mb
    assert lab.computed()["split_intervals"] == 0
    assert alleles_of(filter(confident, records_of(lab.path(everywhere.variants)))) == truth
