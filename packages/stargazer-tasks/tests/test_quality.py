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
    read_coverage,
    read_duplicates,
    read_flagstat,
    read_picard_metrics,
    read_variant_stats,
    summarise_germline,
)
from stargazer.tasks.unusual import unusual_calls, unusual_reads

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


DEPTHS = ("stats", "-d", "-c", "1,1000000,1")


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


def test_alignment_stats_have_the_sizes_of_inserts(tmp_path: Path, by_hand):
    counted = read_alignment_stats(report(tmp_path / "s", by_hand, samtools, "stats", stdin=SAM), bases=100)

    assert (counted["insert_size_median"], counted["mean_read_length"], counted["mean_base_quality"]) == (
        50,
        20,
        40,
    )
    assert counted["insert_sizes"] == {"step": 10, "counts": [0, 0, 0, 0, 0, 2], "beyond": 0}

    none = report(tmp_path / "s", by_hand, samtools, "stats", stdin="@SQ\tSN:c\tLN:100\n")
    counted = read_alignment_stats(none, bases=100)
    assert (counted["insert_size_median"], counted["insert_sizes"]["counts"]) == (None, [])


def test_coverage(tmp_path: Path, by_hand):
    in_order = by_hand(samtools, "sort", "-O", "sam", "-", stdin=SAM.encode()).decode()
    path = report(tmp_path / "d", by_hand, samtools, *DEPTHS, stdin=in_order)

    assert read_coverage(path, 80) == {
        "bases": 80,
        "mean": 0.5,  # duplicates left out
        "median": 0,
        "at_least": {"1": 0.5, "10": 0.0, "20": 0.0, "30": 0.0},
        "depths": {"step": 1, "counts": [40, 40], "beyond": 0},
    }
    assert read_coverage(path, 0)["mean"] == 1.0  # all that could be covered is N

    none = report(tmp_path / "d", by_hand, samtools, *DEPTHS, stdin="@SQ\tSN:c\tLN:100\n")
    assert read_coverage(none, 100)["at_least"]["1"] == read_coverage(none, 0)["mean"] == 0.0


def test_many_depths_are_counted_in_bins(tmp_path: Path):
    path = tmp_path / "d"
    path.write_text("".join(f"COV\t[{depth}-{depth}]\t{depth}\t10\n" for depth in range(1, 1001)))

    depths = read_coverage(path, 10_000)["depths"]

    assert depths["step"] * len(depths["counts"]) <= 1_100
    assert len(depths["counts"]) <= 100
    assert sum(depths["counts"]) + depths["beyond"] == 10_000


def test_duplicates_as_samtools_counts_them(tmp_path: Path, by_hand):
    in_order = by_hand(samtools, "sort", "-n", "-O", "sam", "-", stdin=SAM.encode())
    scored = by_hand(samtools, "fixmate", "-m", "-O", "sam", "-", "-", stdin=in_order)
    by_hand(samtools, "markdup", "-c", "-f", tmp_path / "m", "-", "-",
            stdin=by_hand(samtools, "sort", "-O", "sam", "-", stdin=scored))  # fmt: skip

    (library,) = read_duplicates(tmp_path / "m")

    assert library | {"library_size": 0} == {
        "reads": 4, "duplicates": 2, "share": 0.5, "optical": None, "library_size": 0
    }  # fmt: skip


def test_metrics_of_picard(test_data: Path):
    rows, histogram = read_picard_metrics(test_data / "tp53" / "NA12829_TP53_markdup_metrics.txt")

    assert rows == [
        {"LIBRARY": "NA12829", "UNPAIRED_READS_EXAMINED": 15, "READ_PAIRS_EXAMINED": 7981,
         "SECONDARY_OR_SUPPLEMENTARY_RDS": 33, "UNMAPPED_READS": 15, "UNPAIRED_READ_DUPLICATES": 3,
         "READ_PAIR_DUPLICATES": 695, "READ_PAIR_OPTICAL_DUPLICATES": 93, "PERCENT_DUPLICATION": 0.087188,
         "ESTIMATED_LIBRARY_SIZE": 49013}
    ]  # fmt: skip
    assert histogram[0] == {
        "BIN": 1.0, "CoverageMult": 1.010855, "all_sets": 6637, "optical_sets": 0, "non_optical_sets": 6717
    }  # fmt: skip
    assert len(histogram) == 100


def test_duplicates_as_picard_counts_them(test_data: Path):
    assert read_duplicates(test_data / "tp53" / "NA12829_TP53_markdup_metrics.txt") == [
        {"library": "NA12829", "reads": 15_977, "duplicates": 1393, "share": 0.087188, "optical": 186,
         "library_size": 49_013}
    ]  # fmt: skip


def test_metrics_without_figures_and_with_text(tmp_path: Path):
    path = tmp_path / "metrics"
    path.write_text("## no pairs\n")
    assert read_picard_metrics(path) == ([], [])

    path.write_text("## METRICS CLASS\tpicard.Some\nSAMPLE\tRATIO\tN\tMORE\n001\t?\t\tNaN\nb\t0.5\t2\n\n")
    assert read_picard_metrics(path)[0] == [
        {"SAMPLE": "001", "RATIO": None, "N": None, "MORE": None},
        {"SAMPLE": "b", "RATIO": 0.5, "N": 2},
    ]


def test_variant_stats(tmp_path: Path, by_hand):
    counted = read_variant_stats(report(tmp_path / "v", by_hand, bcftools, "stats", "-s", "-", stdin=VCF))

    assert (counted["multiallelic_sites"], counted["ts_tv"]) == (0, 1.0)
    assert {name: sample["snvs_het"] for name, sample in counted["samples"].items()} == {"a": 1, "b": 1}
    assert counted["samples"]["b"]["snvs_hom_alt"] == 1
    assert [sample["het_hom"] for sample in counted["samples"].values()] == [None, 1.0]


def test_variant_stats_have_distributions(tmp_path: Path, by_hand):
    text = VCF.replace(
        "Description=g>\n", 'Description=g>\n##FORMAT=<ID=AD,Number=R,Type=Integer,Description="d">\n'
    )
    text = text.replace("GT\t0/1\t1/1", "GT:AD\t0/1:15,5\t1/1:0,9").replace("T\tA\t50", "T\tA\t9999")

    counted = read_variant_stats(report(tmp_path / "v", by_hand, bcftools, "stats", "-s", "-", stdin=text))

    found = counted["distributions"]
    assert (found["quality"]["snvs"][5], found["quality"]["indels"][-1], found["quality"]["step"]) == (
        2,
        1,
        10,
    )
    assert found["indel_lengths"] == {"-1": 1}
    assert {name: count for name, count in found["substitutions"].items() if count} == {"A>C": 1, "A>G": 1}
    shares = [sample["alt_read_shares"]["snvs"] for sample in counted["samples"].values()]
    assert [[place for place, count in enumerate(counts) if count] for counts in shares] == [[5], [20]]


def test_variant_stats_of_no_variants(tmp_path: Path, by_hand):
    text = "".join(line for line in VCF.splitlines(keepends=True) if line.startswith("#"))

    counted = read_variant_stats(report(tmp_path / "v", by_hand, bcftools, "stats", "-s", "-", stdin=text))

    assert (counted["multiallelic_sites"], counted["ts_tv"]) == (0, 0.0)


SETTINGS: dict[str, Any] = {
    "ploidy": [], "sex": [], "max_depth": 100, "marked_elsewhere": [], "caller": "bcftools", "why_this_caller": "",
    "known_sites": [], "aligner": "bwa", "contigs": [], "intervals": "", "filters": {"LowQual": "QUAL<30"},
}  # fmt: skip


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
        depths = report(tmp_path / "d", by_hand, samtools, *DEPTHS, stdin=in_order)
        variants = report(tmp_path / "v", by_hand, bcftools, "stats", "-f", ".,PASS", "-s", "-", stdin=vcf)
        files = {"flagstat": str(flags), "stats": str(stats), "coverage": str(depths)}
        lane = {"sample": "a", "library": None, "lane": "L1"}
        summarise_germline(
            str(tmp_path / "out"),
            str(tmp_path / "calls.vcf"),
            str(variants),
            [{"sample": name, **files} for name in ("a", "b")],
            str(tmp_path / "fai"),
            str(tmp_path / "reference"),
            [str(tmp_path / "check")],
            {**SETTINGS, **settings},
            [{**lane, "flagstat": str(flags)}, {**lane, "samtools_stats": str(stats)}],
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
    assert summary["run"]["filters"] == {"LowQual": "QUAL<30"}
    assert summary["samples"]["a"]["coverage"]["at_least"]["1"] == 0.4
    (lane,) = summary["lanes"]
    assert (lane["library"], lane["lane"], lane["reads"], lane["insert_size_median"]) == ("", "L1", 6, 50)
    assert {(item["sample"], item.get("lane"), item["figure"]) for item in summary["unusual"]} == {
        ("a", None, "mapped"), ("a", None, "duplicates"), ("a", None, "coverage.mean"), ("a", "L1", "mapped"),
        ("b", None, "mapped"), ("b", None, "duplicates"), ("b", None, "coverage.mean"),
    }  # fmt: skip


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


USUAL: dict[str, Any] = {
    "reads": 10, "mapped": 0.99, "left_out": 0.01, "duplicates": 0.1, "mean_base_quality": 35.0, "mismatch_rate": 0.004,
    "mean_read_length": 150, "insert_size_median": 400, "coverage": {"mean": 30.0, "at_least": {"10": 0.97}},
    "calls_that_pass": {"snvs_het": 3000, "snvs_hom_alt": 2000, "het_hom": 1.5, "missing": 10},
}  # fmt: skip


@pytest.mark.parametrize(
    ("figure", "changed"),
    [
        ("mapped", {"mapped": 0.5}),
        ("left_out", {"left_out": 0.3}),
        ("duplicates", {"duplicates": 0.6}),
        ("mean_base_quality", {"mean_base_quality": 12.0}),
        ("mismatch_rate", {"mismatch_rate": 0.1}),
        ("insert_size_median", {"insert_size_median": 120}),
        ("coverage.mean", {"coverage": {"mean": 5.0, "at_least": {"10": 0.1}}}),
        ("coverage.at_least.10", {"coverage": {"mean": 30.0, "at_least": {"10": 0.1}}}),
        ("reads", {"reads": 0, "mapped": 0.0, "coverage": {"mean": 0.0, "at_least": {"10": 0.0}}}),
    ],
)
def test_what_is_unusual_in_reads_is_said_once_with_what_is_usual(figure: str, changed: dict[str, Any]):
    assert unusual_reads({"a": USUAL}, []) == []

    (found,) = unusual_reads({"a": {**USUAL, **changed}}, [])

    assert (found["sample"], found["figure"]) == ("a", figure)
    too_low = found["usual"]["bound"] == "at least"
    assert (found["value"] < found["usual"]["value"]) is too_low


def test_a_sample_with_far_less_coverage_than_the_others_is_unusual():
    far = {**USUAL, "coverage": {"mean": 14.0, "at_least": {"10": 0.9}}}

    (found,) = unusual_reads({"a": USUAL, "b": USUAL, "c": far}, [])

    assert (found["sample"], found["usual"]["value"]) == ("c", 15.0)
    assert unusual_reads({"a": USUAL, "c": far}, []) == []  # of two, neither is the odd one


def test_unusual_calls_are_said_where_there_are_enough_of_them():
    def figures(snvs: int, filtered: int, ts_tv: float, **calls: Any) -> list[str]:
        counts = {"pass": {"records": snvs, "snvs": snvs}, "filtered": {"records": filtered}}
        sample = {**USUAL, "calls_that_pass": {**USUAL["calls_that_pass"], **calls}}
        return [found["figure"] for found in unusual_calls(counts, ts_tv, {"a": sample})]

    assert figures(5_000, 100, 2.05) == []
    assert figures(0, 0, 0.0) == ["variants.pass.records"]
    assert figures(5_000, 100, 0.9) == ["variants.pass.ts_tv"]
    assert figures(50, 10, 0.9) == []
    assert figures(5_000, 5_000, 2.0) == ["variants.filtered"]
    assert figures(5_000, 0, 2.0, het_hom=6.0) == ["calls_that_pass.het_hom"]
    assert figures(5_000, 0, 2.0, missing=4_000) == ["calls_that_pass.missing"]
