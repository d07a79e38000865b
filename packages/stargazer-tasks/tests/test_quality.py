"""What samtools and bcftools count, read from their own reports."""

from __future__ import annotations

import json
from pathlib import Path

from stargazer.tasks.quality import (
    mapped_reads,
    read_alignment_stats,
    read_flagstat,
    read_variant_stats,
    summarise_germline,
)
from stargazer.tasks.tools.bcftools import bcftools
from stargazer.tasks.tools.samtools import samtools

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
        "duplicates": 0.333333,
    }


def test_flagstat_of_no_reads(tmp_path: Path, by_hand):
    counted = read_flagstat(
        report(tmp_path / "f", by_hand, samtools, "flagstat", "-O", "json", stdin="@SQ\tSN:c\tLN:100\n")
    )

    assert counted == {"reads": 0, "mapped": 0.0, "properly_paired": 0.0, "duplicates": 0.0}


def test_alignment_stats(tmp_path: Path, by_hand):
    path = report(tmp_path / "s", by_hand, samtools, "stats", stdin=SAM)

    counted = read_alignment_stats(path, bases=100)

    assert counted["mean_coverage_of_reference"] == 0.4  # two of the four mapped reads are duplicates
    assert counted["insert_size"] == 50
    assert read_alignment_stats(path, bases=0)["mean_coverage_of_reference"] == 0.0


def test_variant_stats(tmp_path: Path, by_hand):
    counted = read_variant_stats(report(tmp_path / "v", by_hand, bcftools, "stats", "-s", "-", stdin=VCF))

    assert (counted["records"], counted["snvs"], counted["indels"], counted["ts_tv"]) == (3, 2, 1, 1.0)
    assert {name: sample["het"] for name, sample in counted["samples"].items()} == {"a": 1, "b": 1}
    assert counted["samples"]["b"]["hom_alt"] == 1


def test_variant_stats_of_no_variants(tmp_path: Path, by_hand):
    text = "".join(line for line in VCF.splitlines(keepends=True) if line.startswith("#"))

    counted = read_variant_stats(report(tmp_path / "v", by_hand, bcftools, "stats", "-s", "-", stdin=text))

    assert (counted["records"], counted["snvs"], counted["ts_tv"]) == (0, 0, 0.0)


def test_a_summary_of_all(tmp_path: Path, by_hand):
    (tmp_path / "fai").write_text("c\t100\t3\t60\t61\n")
    flags = report(tmp_path / "f", by_hand, samtools, "flagstat", "-O", "json", stdin=SAM)
    stats = report(tmp_path / "s", by_hand, samtools, "stats", stdin=SAM)
    variants = report(tmp_path / "v", by_hand, bcftools, "stats", "-s", "-", stdin=VCF)

    samples = [{"sample": name, "flagstat": str(flags), "stats": str(stats)} for name in ("a", "b")]
    summarise_germline(str(tmp_path / "out"), str(variants), samples, str(tmp_path / "fai"))

    summary = json.loads((tmp_path / "out").read_text())
    assert summary["variants"]["records"] == 3
    assert summary["samples"]["b"]["genotypes"]["hom_alt"] == 1
    assert summary["samples"]["a"]["reads"] == 6
