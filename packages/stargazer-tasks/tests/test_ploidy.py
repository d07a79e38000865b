"""Copies of contigs, from what people write to the tables of bcftools."""

from __future__ import annotations

import pytest
from stargazer.assets import InvalidAssetError
from stargazer.tasks.germline.ploidy import read_ploidy

CONTIGS = {"chr1": 100, "chr1:1-99": 30, "chrX": 200_000_000, "chrY": 50, "chrM": 16, "HLA-A*01:01": 9}
SAMPLES = ["s", "a:b"]
REST = "* * * M 2\n* * * F 2\n"


def table(*items: str, sex: tuple[str, ...] = ()) -> str:
    made = read_ploidy(items, sex, SAMPLES, CONTIGS).table
    assert made.endswith(REST)
    return made.removesuffix(REST)


@pytest.mark.parametrize(
    ("item", "lines"),
    [
        ("chrM:1", "chrM 1 16 M 1\nchrM 1 16 F 1\n"),
        ("chrM=1", "chrM 1 16 M 1\nchrM 1 16 F 1\n"),
        ("chr1:1-99:1", "chr1:1-99 1 30 M 1\nchr1:1-99 1 30 F 1\n"),  # the longest name that fits is meant
        ("chr1:5-9:1", "chr1 5 9 M 1\nchr1 5 9 F 1\n"),
        ("HLA-A*01:01:2", "HLA-A*01:01 1 9 M 2\nHLA-A*01:01 1 9 F 2\n"),
    ],
)
def test_copies_of_a_contig_for_all(item: str, lines: str):
    assert table(item) == lines


@pytest.mark.parametrize(
    ("item", "lines"),
    [
        ("chrY:M:1", "chrY 1 50 M 1\n"),
        ("chrY:female:0", "chrY 1 50 F 0\n"),
        ("chrX:7-9:M:1", "chrX 7 9 M 1\n"),
        (
            "GRCh38",
            "chrX 1 9999 M 1\nchrX 2781480 155701381 M 1\nchrY 1 50 M 1\nchrY 1 50 F 0\nchrM 1 16 M 1\nchrM 1 16 F 1\n",
        ),
    ],
)
def test_copies_of_a_contig_by_sex(item: str, lines: str):
    assert table(item, sex=("s:M", "a:b:female")) == lines


def test_the_sex_of_each_sample_in_the_order_of_the_samples():
    made = read_ploidy(["chrY:F:0"], ["a:b:m", "s:F"], SAMPLES, CONTIGS)

    assert made.samples == "s\tF\na:b\tM\n"


def test_a_single_sample_needs_no_name():
    assert read_ploidy(["chrY:F:0"], ["male"], ["s"], CONTIGS).samples == "s\tM\n"


@pytest.mark.parametrize(
    ("items", "sex", "says"),
    [
        (["chr7:1"], [], "'chr7:1' names no contig of the reference, which has 'chr1'"),
        (["chrM"], [], "expected CONTIG:COPIES"),
        (["haploid"], [], "expected CONTIG:COPIES"),
        (["GRCh36"], [], "expected CONTIG:COPIES"),
        (["chrM:3"], [], "0 to 2 copies"),
        (["chrM:-1"], [], "expected CONTIG:COPIES"),
        (["chrX:X:1"], [], "M or F"),
        (["chrX:9-7:1"], [], "begins before it ends"),
        (["chrX:M:1"], [], "that of s, a:b is not given: give sex=s:M,a:b:M"),
        (["chrX:M:1"], ["s:M"], "that of a:b is not given"),
        (["chrM:1"], ["t:M"], "expected SAMPLE:M or SAMPLE:F, of s, a:b; got 't:M'"),
        (["chrM:1"], ["s:X"], "got 's:X'"),
        (["chrM:1"], ["male"], "got 'male'"),
        (["chrM:1"], ["s:M", "s:F"], "both M and F"),
        ([], ["s:M"], "changes nothing without ploidy="),
    ],
)
def test_what_cannot_be_read(items: list[str], sex: list[str], says: str):
    with pytest.raises(InvalidAssetError) as caught:
        read_ploidy(items, sex, SAMPLES, CONTIGS)
    assert says in str(caught.value)
