"""Comparison with the truth and with inheritance."""

from __future__ import annotations

from pathlib import Path

import pytest

pysam = pytest.importorskip("pysam")

from stargazer.assets import FormatError  # noqa: E402
from stargazer.workflows.demo import compare  # noqa: E402
from stargazer.workflows.demo.alleles import normalise  # noqa: E402
from stargazer.workflows.demo.compare import compare_to_truth, mendelian_violations  # noqa: E402
from stargazer.workflows.demo.files import Regions, read_bed  # noqa: E402

SEQUENCE = "GATTACAAAAACGTCACACACATGGATCCTTTGCA"
CONTIG = "chr1:1-35"
"""A name that region syntax stumbles over."""


def write_vcf(path: Path, samples: list[str], rows: list[tuple]) -> str:
    """Rows: position, ref, alt, QUAL, FILTER, then a genotype or genotype:AD:DP for each sample."""
    lines = [
        "##fileformat=VCFv4.2",
        f"##contig=<ID={CONTIG},length={len(SEQUENCE)}>",
        '##FILTER=<ID=LOW,Description="low">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        '##FORMAT=<ID=AD,Number=R,Type=Integer,Description="Depths">',
        '##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">',
        "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *samples]),
    ]
    for position, ref, alt, quality, state, *genotypes in rows:
        lines.append(
            "\t".join(
                [CONTIG, str(position), ".", ref, alt, str(quality), state, ".", "GT:AD:DP", *genotypes]
            )
        )
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "reference.fa").write_text(f">{CONTIG} a comment\n{SEQUENCE[:20]}\n{SEQUENCE[20:].lower()}\n")
    (tmp_path / "confident.bed").write_text(f"# judged\n{CONTIG}\t0\t{len(SEQUENCE)}\n")
    return {"confident": str(tmp_path / "confident.bed"), "reference": str(tmp_path / "reference.fa")}


@pytest.mark.parametrize(
    ("position", "ref", "alt", "expected"),
    [
        (2, "A", "C", [(2, "A", "C")]),
        (11, "AC", "C", [(6, "CA", "C")]),
        (8, "A", "AA", [(6, "C", "CA")]),
        (18, "ACA", "A", [(14, "TCA", "T")]),
        (2, "ATT", "AGT", [(3, "T", "G")]),
        (2, "AT", "GC", [(2, "A", "G"), (3, "T", "C")]),
        (1, "GAT", "AT", [(1, "GA", "A")]),
        (3, "T", "T", []),
    ],
)
def test_alleles_are_trimmed_and_left_aligned(position, ref, alt, expected):
    assert normalise(SEQUENCE, position, ref, alt) == expected


def test_normalising_twice_changes_nothing():
    for position in range(1, len(SEQUENCE) - 4):
        ref = SEQUENCE[position - 1 : position + 2]
        for change in normalise(SEQUENCE, position, ref, ref[0]):
            assert normalise(SEQUENCE, *change) == [change]


def test_alleles_match_in_any_spelling(place, tmp_path):
    truth = write_vcf(tmp_path / "t.vcf", ["s"], [(6, "CA", "C", ".", "PASS", "0|1")])
    calls = write_vcf(tmp_path / "c.vcf", ["s"], [(10, "AAC", "AC", 99, ".", "0/1:10,9:19")])

    result = compare_to_truth(calls, truth, **place)

    assert result["total"]["indel"]["tp"] == 1
    assert result["errors"] == []


def test_each_kind_of_error_is_counted_and_listed(place, tmp_path):
    truth = write_vcf(
        tmp_path / "t.vcf",
        ["s"],
        [
            (2, "A", "C", ".", "PASS", "0|1"),
            (4, "T", "G", ".", "PASS", "1|1"),
            (13, "G", "A", ".", "PASS", "0|1"),
        ],
    )
    calls = write_vcf(
        tmp_path / "c.vcf",
        ["s"],
        [
            (2, "A", "C", 50, "PASS", "0/1:9,8:17"),
            (4, "T", "G", 50, "PASS", "0/1:9,8:17"),
            (13, "G", "A", 5, "LOW", "0/1:9,2:11"),
            (30, "C", "T", 21, "PASS", "0/1:9,3:12"),
        ],
    )

    result = compare_to_truth(calls, truth, **place)

    assert result["samples"]["s"]["snv"] == {
        "truth": 3,
        "calls": 3,
        "tp": 2,
        "fp": 1,
        "fn": 1,
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
        "genotype_concordance": 0.5,
    }
    assert [(error["kind"], error["position"]) for error in result["errors"]] == [
        ("genotype", 4),
        ("missed", 13),
        ("false", 30),
    ]
    assert (result["errors"][2]["depth"], result["errors"][2]["alt_depth"]) == (12, 3)


def test_only_alleles_wholly_within_one_interval_count(place, tmp_path):
    Path(place["confident"]).write_text(f"{CONTIG}\t0\t6\n{CONTIG}\t20\t30\n")
    calls = write_vcf(
        tmp_path / "c.vcf",
        ["s"],
        [(6, "CA", "C", 9, ".", "0/1"), (6, "C", "T", 9, ".", "0/1"), (7, "A", "T", 9, ".", "0/1")],
    )

    result = compare_to_truth(calls, write_vcf(tmp_path / "t.vcf", ["s"], []), **place)

    assert (result["total"]["indel"]["fp"], result["total"]["snv"]["fp"]) == (0, 1)


def test_several_alternatives_symbolic_and_missing_genotypes(place, tmp_path):
    truth = write_vcf(
        tmp_path / "t.vcf", ["s"], [(2, "A", "C", ".", "PASS", "0|1"), (2, "A", "G", ".", "PASS", "1|0")]
    )
    calls = write_vcf(
        tmp_path / "c.vcf",
        ["s"],
        [(2, "A", "C,G,*,<DEL>", 9, ".", "1/2"), (4, "T", "G", 9, ".", "./."), (13, "G", "A", 9, ".", "0/0")],
    )

    assert compare_to_truth(calls, truth, **place)["total"]["snv"]["f1"] == 1.0


def test_nothing_to_divide_by_gives_none(place, tmp_path):
    empty = write_vcf(tmp_path / "e.vcf", ["s"], [])

    score = compare_to_truth(empty, empty, **place)["total"]["snv"]

    assert (score["precision"], score["recall"], score["f1"], score["genotype_concordance"]) == (None,) * 4


def test_the_list_of_errors_is_capped_and_its_length_told(place, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "LISTED", 1)
    calls = write_vcf(tmp_path / "c.vcf", ["s"], [(2, "A", "C", 9, ".", "0/1"), (4, "T", "G", 9, ".", "0/1")])

    result = compare_to_truth(calls, write_vcf(tmp_path / "t.vcf", ["s"], []), **place)

    assert (len(result["errors"]), result["errors_total"]) == (1, 2)


def test_bad_input_is_named(place, tmp_path):
    one, other = write_vcf(tmp_path / "a.vcf", ["a"], []), write_vcf(tmp_path / "b.vcf", ["b"], [])
    with pytest.raises(FormatError, match="no sample in common"):
        compare_to_truth(one, other, **place)
    with pytest.raises(FormatError, match=r"nowhere\.vcf"):
        compare_to_truth(str(tmp_path / "nowhere.vcf"), one, **place)
    (tmp_path / "noise.vcf").write_bytes(b"\x00\x01noise")
    with pytest.raises(FormatError, match=r"noise\.vcf"):
        compare_to_truth(str(tmp_path / "noise.vcf"), one, **place)
    (tmp_path / "bad.bed").write_text("chr1\t5\n")
    with pytest.raises(FormatError, match="line 1"):
        read_bed(str(tmp_path / "bad.bed"))
    (tmp_path / "other.bed").write_text("chrX\t0\t5\n")
    with pytest.raises(FormatError, match="lacks 'chrX'"):
        compare_to_truth(one, one, str(tmp_path / "other.bed"), place["reference"])


def test_regions_join_what_touches():
    regions = Regions([("c", 5, 10), ("c", 10, 12), ("c", 20, 30)])

    assert regions.hold("c", 6, 12)
    assert not regions.hold("c", 11, 13)
    assert not regions.hold("d", 6, 7)
    assert regions.size == 17


def test_mendelian_violations(place, tmp_path):
    rows = [
        (2, "A", "C", 50, "PASS", "0/1", "0/0", "0/1"),
        (4, "T", "G", 51, "PASS", "0/0", "0/0", "0/1"),
        (6, "C", "G", 52, "PASS", "1/1", "0/0", "1/1"),
        (13, "G", "A", 53, "PASS", "0/1", "./.", "1/1"),
        (14, "T", "A", 54, "PASS", "0/0", "0/0", "0/0"),
        (16, "A", "G", 55, "LOW", "0/0", "0/0", "1/1"),
    ]
    calls = write_vcf(tmp_path / "c.vcf", ["f", "m", "k"], rows)

    result = mendelian_violations(calls, "f", "m", "k", place["confident"])

    assert (result["sites"], result["violations"]) == (3, 2)
    assert [(site["position"], site["child"]) for site in result["listed"]] == [(4, "0/1"), (6, "1/1")]
    with pytest.raises(FormatError, match="'stranger' is not in"):
        mendelian_violations(calls, "stranger", "m", "k", place["confident"])
