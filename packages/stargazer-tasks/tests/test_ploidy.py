"""Copies of contigs: what people write, and the table of `bcftools call` that it comes to."""

from __future__ import annotations

import pytest
from stargazer.assets import InvalidAssetError
from stargazer.tasks.germline.ploidy import read_ploidy

LENGTHS = {"chr1": 300, "chrX": 100, "chrY": 50, "chrM": 20, "HLA-A*01:01": 10}
SEXES = ["a:M", "b:F"]


def table(*items: str, contigs: dict[str, int] = LENGTHS) -> list[str]:
    """The rows that do not give the default."""
    table, sexes = read_ploidy(items, SEXES, ["a", "b"], contigs)
    assert sexes == ["M", "F"]
    lines = table.splitlines()
    assert lines[-2:] == ["* * * M 2", "* * * F 2"]
    return [line for line in lines[:-2] if not line.endswith(" 2")]


@pytest.mark.parametrize(
    ("items", "rows"),
    [
        (["chrM:1"], ["chrM 1 20 M 1", "chrM 1 20 F 1"]),
        (["HLA-A*01:01:1"], ["HLA-A*01:01 1 10 M 1", "HLA-A*01:01 1 10 F 1"]),
        (["chrX:M:1", "chrX:11-20:M:2"], ["chrX 1 10 M 1", "chrX 21 100 M 1"]),
        (["chrX:11-20:2", "chrX:M:1"], ["chrX 1 10 M 1", "chrX 21 100 M 1"]),
        (["chrY:1", "chrY:F:0"], ["chrY 1 50 M 1", "chrY 1 50 F 0"]),
        (["chrX:M:1", "chrX:M:1"], ["chrX 1 100 M 1"]),
    ],
)
def test_a_part_counts_before_the_whole_and_a_sex_before_all(items: list[str], rows: list[str]):
    assert table(*items) == rows


def test_what_is_written_counts_before_the_tables_of_bcftools():
    found = table("GRCh38", "chrM:2", contigs={"chrY": 50, "chrM": 20})

    assert found == ["chrY 1 50 M 1", "chrY 1 50 F 0"]


@pytest.mark.parametrize(
    "items", [["chrM:1", "chrM:2"], ["chrX:M:1", "chrX:M:2"], ["chrX:1-9:1", "chrX:5-20:0"]]
)
def test_items_that_contradict_each_other(items: list[str]):
    with pytest.raises(
        InvalidAssetError, match=f"ploidy: '{items[0]}' and '{items[1]}' contradict each other"
    ):
        table(*items)


def test_the_pseudoautosomal_regions_of_a_male_have_two_copies():
    assert table("GRCh38", contigs={"X": 156_040_895}) == ["X 1 9999 M 1", "X 2781480 155701381 M 1"]


@pytest.mark.parametrize(
    ("item", "length", "says"),
    [
        ("GRCh38", 155_270_560, "as in GRCh37, .* give ploidy=GRCh37"),
        ("GRCh37", 156_040_895, "as in GRCh38, .* give ploidy=GRCh38"),
        ("GRCh38", 154_259_566, "as in CHM13, .* give its parts, as chrX:FROM-TO:M:1"),
    ],
)
def test_a_table_of_another_build_than_the_reference(item: str, length: int, says: str):
    with pytest.raises(InvalidAssetError, match=says):
        table(item, contigs={"chrX": length})


def test_a_contig_may_have_colons_and_an_equals_sign_may_follow_it():
    contigs = {"chr1": 100, "chr1:1-99": 30}

    assert table("chr1:1-99:1", contigs=contigs) == ["chr1:1-99 1 30 M 1", "chr1:1-99 1 30 F 1"]
    assert table("chr1:5-9:1", contigs=contigs) == ["chr1 5 9 M 1", "chr1 5 9 F 1"]
    assert table("chr1=1", contigs=contigs) == ["chr1 1 100 M 1", "chr1 1 100 F 1"]


def test_a_single_sample_needs_no_name():
    assert read_ploidy(["chrY:F:0"], ["male"], ["s"], LENGTHS)[1] == ["M"]


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
        read_ploidy(items, sex, ["s", "a:b"], LENGTHS)
    assert says in str(caught.value)
