"""Calls of a VCF as rows for a notebook: what fits the filters, what is said of limits, and counts for charts."""

from __future__ import annotations

from pathlib import Path

import pysam
import pytest
from stargazer.assets import FormatError, InvalidAssetError
from stargazer.workflows.notebook import binned, contig_counts, contig_names, read_calls

HEADER = """##fileformat=VCFv4.2
##FILTER=<ID=LowQual,Description="low">
##contig=<ID=chr1,length=1000>
##contig=<ID=chr2,length=1000>
##ALT=<ID=DEL,Description="deletion">
##INFO=<ID=DP,Number=1,Type=Integer,Description="depth">
##INFO=<ID=END,Number=1,Type=Integer,Description="end">
##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="depth">
##FORMAT=<ID=AD,Number=R,Type=Integer,Description="by allele">
"""
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
RECORDS = """chr1\t10\t.\tA\tG\t50\tPASS\tDP=30\tGT:DP:AD\t0/1:20:10,10\t0/0:10:10,0
chr1\t20\t.\tA\tC\t10\tLowQual\tDP=9\tGT:DP:AD\t0/1:9:6,3\t./.:.:.
chr1\t30\t.\tAT\tA\t.\t.\t.\tGT:DP:AD\t1|1:8:0,8\t0/1:4:1,3
chr2\t10\t.\tC\tCTT\t70\tPASS\tDP=12\tGT:DP:AD\t0/0:6:6,0\t1/1:6:0,6
chr2\t20\t.\tC\tT,CA\t70\tPASS\tDP=12\tGT:DP:AD\t1/2:6:0,3,3\t0/1:6:3,3,0
chr2\t30\t.\tC\t<DEL>\t70\tPASS\tEND=40\tGT:DP:AD\t0/1:6:3,3\t0/0:.:.
"""


def vcf(folder: Path, records: str = RECORDS, samples: str = "one\tdepth", *, indexed: bool = True) -> Path:
    """A VCF of two samples, one of them called like a column."""
    plain = folder / "calls.vcf"
    plain.write_text(f"{HEADER}{COLUMNS}\tFORMAT\t{samples}\n{records}")
    path = folder / "calls.vcf.gz"
    pysam.tabix_compress(str(plain), str(path), force=True)
    if indexed:
        pysam.tabix_index(str(path), preset="vcf", force=True)
    return path


def places(path: Path, **filters: object) -> list[tuple[str, int]]:
    return [(row["contig"], row["position"]) for row in read_calls(path, **filters).rows]  # type: ignore[arg-type]


def test_a_row_says_what_the_record_says_and_a_genotype_what_its_reads_say(tmp_path: Path) -> None:
    calls = read_calls(vcf(tmp_path))

    assert [row["type"] for row in calls.rows] == [
        "SNV",
        "SNV",
        "deletion",
        "insertion",
        "other",
        "other",
    ]
    assert calls.rows[0] == {
        "contig": "chr1", "position": 10, "ref": "A", "alt": "G", "type": "SNV", "quality": 50.0, "filter": "PASS",
        "depth": 30, "one": "0/1", "GT depth": "0/0",
    }  # fmt: skip
    assert calls.rows[2]["depth"] == 12, "without INFO/DP, what the samples have together"
    assert calls.rows[2]["quality"] is None
    assert calls.rows[2]["one"] == "1|1"
    assert [(found["sample"], found["position"], found["genotype"], found["allele_balance"])
            for found in calls.genotypes if found["contig"] == "chr1"] == [
        ("one", 10, "heterozygous", 0.5),
        ("one", 20, "heterozygous", 0.333),
        ("one", 30, "homozygous alternative", 1.0),
        ("depth", 30, "heterozygous", 0.75),
    ]  # fmt: skip
    assert calls.limit == ""
    assert calls.read == 6


@pytest.mark.parametrize(
    ("filters", "positions"),
    [
        ({"contig": "chr2"}, [10, 20, 30]),
        ({"types": ["deletion"]}, [30]),
        ({"least_quality": 60}, [10, 20, 30]),
        ({"only_passing": True, "contig": "chr1"}, [10, 30]),
        ({"sample": "depth", "genotypes": ["homozygous alternative"]}, [10]),
        ({"sample": "depth", "genotypes": ["no call"]}, [20]),
        ({"least_quality": 9999}, []),
    ],
)
def test_only_what_fits_is_given(tmp_path: Path, filters: dict[str, object], positions: list[int]) -> None:
    assert [position for _, position in places(vcf(tmp_path), **filters)] == positions


def test_a_contig_is_found_without_an_index_too(tmp_path: Path) -> None:
    path = vcf(tmp_path, indexed=False)

    assert places(path, contig="chr2") == [("chr2", 10), ("chr2", 20), ("chr2", 30)]
    assert contig_names(path) == ["chr1", "chr2"]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    path = vcf(tmp_path)

    few, fewer = read_calls(path, most=2), read_calls(path, most_read=3, contig="chr2")

    assert len(few.rows) == 2
    assert few.limit == "The first 2 calls that fit are here: narrow the filters to see others."
    assert read_calls(path, most=6).limit == ""
    assert fewer.limit == ""
    assert "choose a contig to see others" in read_calls(path, most_read=3).limit


def test_of_many_samples_the_table_shows_one(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(20)]
    path = vcf(tmp_path, "chr1\t10\t.\tA\tG\t50\tPASS\t.\tGT" + "\t0/1" * 20 + "\n", "\t".join(names))

    calls = read_calls(path)

    assert [name for name in calls.rows[0] if name in names] == ["s0"]
    assert "Of 20 samples the table shows one" in calls.limit
    assert len(calls.genotypes) == 20
    assert calls.genotypes[0]["allele_balance"] is None, "there are no reads by allele"


def test_a_file_without_calls_gives_no_rows(tmp_path: Path) -> None:
    calls = read_calls(vcf(tmp_path, ""))

    assert (calls.rows, calls.genotypes, calls.read) == ([], [], 0)
    assert contig_counts(calls.rows) == []
    assert binned(calls.rows, "quality", "type") == []


def test_what_the_file_does_not_have_is_named(tmp_path: Path) -> None:
    path = vcf(tmp_path)

    with pytest.raises(InvalidAssetError, match="no sample 'three'; it has one, depth"):
        read_calls(path, sample="three")
    with pytest.raises(InvalidAssetError, match="no contig 'chr3'; it has chr1, chr2"):
        read_calls(path, contig="chr3")
    with pytest.raises(FormatError):
        read_calls(tmp_path / "calls.vcf.gz.tbi")


def test_types_and_ti_tv_are_counted_by_contig(tmp_path: Path) -> None:
    first, second = contig_counts(read_calls(vcf(tmp_path)).rows)

    assert first == {
        "contig": "chr1",
        "calls": 3,
        "SNV": 2,
        "insertion": 0,
        "deletion": 1,
        "other": 0,
        "Ti/Tv": 1.0,
    }
    assert second["Ti/Tv"] is None
    lost = {"contig": "chr3", "type": "SNV", "ref": "A", "alt": "*,G"}
    assert contig_counts([lost, {**lost, "alt": "C"}])[0]["Ti/Tv"] == 1.0, "what is deleted is no SNV"


def test_values_are_counted_in_round_bins_by_group() -> None:
    rows = [{"sample": name, "depth": depth} for name in "ab" for depth in (0, 1, 9, 39, None)]

    bins = binned(rows, "depth", "sample", bins=10, most=30)

    assert bins[:3] == [
        {"sample": "a", "low": 0, "high": 5, "rows": 2},
        {"sample": "a", "low": 5, "high": 10, "rows": 1},
        {"sample": "a", "low": 25, "high": 30, "rows": 1},
    ]
    assert sum(row["rows"] for row in bins) == 8
    assert binned([{"q": 0.0, "by": "x"}], "q", "by")[0]["rows"] == 1


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("chr1:10-20", [("chr1", 10), ("chr1", 20)]),
        ("chr1:11-19", []),
        ("chr1:31-1,000", [("chr1", 30)]),  # the deletion overlaps it
        ("chr2:20-", [("chr2", 20), ("chr2", 30)]),
        ("chr2:20", [("chr2", 20)]),
        ("chr2:35-40", [("chr2", 30)]),
        (" chr2 ", [("chr2", 10), ("chr2", 20), ("chr2", 30)]),
        ("", [("chr1", 10), ("chr1", 20), ("chr1", 30), ("chr2", 10), ("chr2", 20), ("chr2", 30)]),
    ],
)
def test_a_region_has_the_calls_that_overlap_it_with_and_without_an_index(
    tmp_path: Path, region: str, expected: list[tuple[str, int]], indexed: bool
) -> None:
    assert places(vcf(tmp_path, indexed=indexed), region=region) == expected


@pytest.mark.parametrize(
    ("region", "told"),
    [
        ("chr3:1-10", "no region 'chr3:1-10' here: give `contig:start-end`; the contigs are chr1, chr2"),
        ("chr1:20-10", "ends no earlier"),
        ("chr1:0-10", "begins at 1"),
        ("chr1:1-0", "begins at 1"),
        ("chr1:ten", "no region"),
        ("TP53", "no region"),
        (":5", "no region"),
        ("chr1:,-5", "begins at 1"),
        ("chr1:2147483648", "at 2,147,483,647 at most"),
        (f"chr1:{'9' * 5000}", "no region"),
    ],
)
def test_what_is_no_region_is_said(tmp_path: Path, region: str, told: str) -> None:
    with pytest.raises(InvalidAssetError, match=told):
        read_calls(vcf(tmp_path), region=region)


def test_a_vcf_without_calls_and_one_without_genotypes(tmp_path: Path) -> None:
    empty = read_calls(vcf(tmp_path, ""), region="chr1:1-10")
    assert (empty.rows, empty.genotypes, empty.read, empty.limit) == ([], [], 0, "")

    sites = tmp_path / "sites.vcf"
    sites.write_text(f"{HEADER}{COLUMNS}\nchr1\t10\t.\tA\tG\t50\tPASS\tDP=30\n")
    calls = read_calls(sites, region="chr1:1-10")
    assert [row["position"] for row in calls.rows] == [10]
    assert (calls.genotypes, calls.samples) == ([], [])


def test_of_100_000_calls_as_many_are_given_as_the_limit_says(tmp_path: Path) -> None:
    records = "".join(f"chr1\t{at}\t.\tA\tG\t50\tPASS\tDP=30\tGT\t0/1\t0/0\n" for at in range(1, 100_001))
    path = vcf(tmp_path, records.replace("length=1000", "length=200000"))
    calls = read_calls(path)
    assert len(calls.rows) == 10_000
    assert "10,000" in calls.limit
    assert places(path, region="chr1:99,999-100,000") == [("chr1", 99_999), ("chr1", 100_000)]
