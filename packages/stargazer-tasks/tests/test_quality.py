"""What samtools and bcftools count, read from their own reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stargazer.tasks import bcftools, samtools
from stargazer.tasks.quality import (
    mapped_reads,
    read_alignment_stats,
    read_flagstat,
    read_variant_stats,
    summarise_germline,
)

SAM = (
    "@SQ\tSN:c\tLN:100\n"
    + "".join(
        f"r{number}\t{flag}\tc\t{start}\t60\t20M\t=\t{mate}\t{size}\t{'ACGT' * 5}\t{'I' * 20}\n"
        for number, flag, start, mate, size in [(1, 99, 1, 31, 50), (1, 147, 31, 1, -50), (2, 1123, 1, 31, 50),
                                                (2, 1171, 31, 1, -50)]
    )
    + f"r3\t77\t*\t0\t0\t*\t*\t0\t0\t{'ACGT' * 5}\t{'I' * 20}\nr3\t141\t*\t0\t0\t*\t*\t0\t0\t{'ACGT' * 5}\t{'I' * 20}\n"
)  # fmt: skip
VCF = (
    "##fileformat=VCFv4.2\n##contig=<ID=c,length=100>\n##FORMAT=<ID=GT,Number=1,Type=String,Description=g>\n"
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n"
    "c\t5\t.\tA\tG\t50\tPASS\t.\tGT\t0/1\t1/1\nc\t9\t.\tA\tC\t50\tPASS\t.\tGT\t0/0\t0/1\n"
    "c\t20\t.\tAT\tA\t50\tPASS\t.\tGT\t0/1\t0/1\n"
)


def report(path: Path, by_hand, tool, *arguments: str, stdin: str) -> Path:
    path.write_bytes(by_hand(tool, *arguments, "-", stdin=stdin.encode()))
    return path


def test_flagstat(tmp_path: Path, by_hand):
    path = report(tmp_path / "f", by_hand, samtools, "flagstat", "-O", "json", stdin=SAM)

    assert mapped_reads(path) == 4
    assert read_flagstat(path) == {
        "reads": 6,
        "mapped": 0.666667,
        "properly_paired": 0.666667,
        "left_out": 0.0,
        "duplicates": 0.333333,
    }


def test_flagstat_of_no_reads(tmp_path: Path, by_hand):
    counted = read_flagstat(
        report(tmp_path / "f", by_hand, samtools, "flagstat", "-O", "json", stdin="@SQ\tSN:c\tLN:100\n")
    )

    assert counted == {"reads": 0, "mapped": 0.0, "properly_paired": 0.0, "left_out": 0.0, "duplicates": 0.0}


def test_alignment_stats(tmp_path: Path, by_hand):
    path = report(tmp_path / "s", by_hand, samtools, "stats", stdin=SAM)

    counted = read_alignment_stats(path, bases=100)

    assert counted["mean_coverage_of_reference"] == 0.4  # two of the four mapped reads are duplicates
    assert counted["insert_size"] == 50
    assert read_alignment_stats(path, bases=0)["mean_coverage_of_reference"] == 0.0


def test_variant_stats(tmp_path: Path, by_hand):
    counted = read_variant_stats(report(tmp_path / "v", by_hand, bcftools, "stats", "-s", "-", stdin=VCF))

    assert (counted["multiallelic_sites"], counted["ts_tv"]) == (0, 1.0)
    assert {name: sample["snvs_het"] for name, sample in counted["samples"].items()} == {"a": 1, "b": 1}
    assert counted["samples"]["b"]["snvs_hom_alt"] == 1


def test_variant_stats_of_no_variants(tmp_path: Path, by_hand):
    text = "".join(line for line in VCF.splitlines(keepends=True) if line.startswith("#"))

    counted = read_variant_stats(report(tmp_path / "v", by_hand, bcftools, "stats", "-s", "-", stdin=text))

    assert (counted["multiallelic_sites"], counted["ts_tv"]) == (0, 0.0)


SETTINGS: dict[str, Any] = {"ploidy": [], "sex": [], "max_depth": 100, "marked_elsewhere": []}


@pytest.fixture
def summarise(tmp_path: Path, by_hand):
    """Writes a summary of two samples with these settings, contigs and records; gives it."""

    def write(vcf: str = VCF, contig: str = "c", **settings: Any) -> dict[str, Any]:
        (tmp_path / "fai").write_text(f"{contig}\t100\t3\t60\t61\n")
        (tmp_path / "calls.vcf").write_text(vcf)
        (tmp_path / "reference").write_text('{"bases": 100, "notes": ["two codes"]}')
        (tmp_path / "check").write_text('{"notes": ["put in order"]}')
        flags = report(tmp_path / "f", by_hand, samtools, "flagstat", "-O", "json", stdin=SAM)
        in_order = by_hand(samtools, "sort", "-O", "sam", "-", stdin=SAM.encode()).decode()
        stats = report(tmp_path / "s", by_hand, samtools, "stats", stdin=in_order)
        variants = report(tmp_path / "v", by_hand, bcftools, "stats", "-f", ".,PASS", "-s", "-", stdin=vcf)
        summarise_germline(
            str(tmp_path / "out"),
            str(tmp_path / "calls.vcf"),
            str(variants),
            [{"sample": name, "flagstat": str(flags), "stats": str(stats)} for name in ("a", "b")],
            str(tmp_path / "fai"),
            str(tmp_path / "reference"),
            [str(tmp_path / "check")],
            {**SETTINGS, **settings},
        )
        return json.loads((tmp_path / "out").read_text())

    return write


def test_a_summary_of_all(summarise: Any):
    summary = summarise()

    assert summary["variants"]["pass"] | {"ts_tv": 1.0} == {
        "records": 3, "snvs": 2, "indels": 1, "genotypes_in_deletions": 0, "multiallelic_sites": 0, "ts_tv": 1.0
    }  # fmt: skip
    assert summary["variants"]["filtered"] == {"records": 0, "snvs": 0, "indels": 0, "by_filter": {}}
    assert summary["samples"]["b"]["calls_that_pass"]["snvs_hom_alt"] == 1
    assert summary["samples"]["a"]["reads"] == 6
    assert summary["reference"] == {"bases": 100}
    assert summary["ploidy"] == {"default": 2, "given": [], "sex": []}
    assert summary["notes"][:2] == ["two codes", "put in order"]


def test_a_summary_counts_what_passes_and_what_does_not_apart(summarise: Any):
    lines = VCF.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    fields = lines[first].split("\t")
    lines[first] = "\t".join([*fields[:6], "LowQual;InDeletion", *fields[7:]])

    counted = summarise("".join(lines))["variants"]

    assert (counted["pass"]["records"], counted["filtered"]["records"]) == (2, 1)
    assert counted["filtered"]["by_filter"] == {"InDeletion": 1, "LowQual": 1}


def test_a_summary_counts_genotypes_in_deletions_of_calls_that_pass(summarise: Any):
    vcf = VCF.replace("GT\t0/1\t1/1", "GT:FT\t0/1:InDeletion\t1/1:PASS")

    summary = summarise(vcf)

    assert summary["variants"]["pass"]["genotypes_in_deletions"] == 1
    assert "1 genotypes of calls that pass for other samples" in "\n".join(summary["notes"])


def test_reads_that_callers_leave_out(tmp_path: Path, by_hand):
    """The first pair lies apart from each other; then it failed."""
    sam = SAM.replace("r1\t99", "r1\t97").replace("r1\t147", "r1\t145")
    path = report(tmp_path / "f", by_hand, samtools, "flagstat", "-O", "json", stdin=sam)

    assert read_flagstat(path)["left_out"] == 0.333333

    sam = SAM.replace("r1\t99", "r1\t611").replace("r1\t147", "r1\t659")
    path = report(tmp_path / "f", by_hand, samtools, "flagstat", "-O", "json", stdin=sam)
    assert read_flagstat(path)["left_out"] == 0.333333


def test_a_summary_says_what_was_assumed_or_left_out(summarise: Any):
    def said(**options: Any) -> str:
        return "\n".join(summarise(**options)["notes"])

    assert "Two copies are assumed of chrM" in said(contig="chrM")
    assert "Two copies are assumed" not in said(contig="chrM", ploidy=["chrM:1"])
    assert "Two copies are assumed" not in said(contig="chrX", ploidy=["GRCh38"], sex=["a:M", "b:F"])
    assert "ploidy=GRCh38 changed nothing" in said(contig="NC_000023.11", ploidy=["GRCh38"])
    assert "changed nothing" not in said(contig="chrX", ploidy=["GRCh38"], sex=["a:M", "b:F"])
    assert "Two copies are assumed" not in said(contig="chrM", ploidy=["chrM=1"])
    assert "deeper than max_depth=1: a (2 reads), b (2 reads)" in said(max_depth=1)
    assert "deeper" not in said(max_depth=2)
    assert "Duplicates of b were not marked here" in said(marked_elsewhere=["b"])
