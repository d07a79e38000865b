"""What differs in two BAM files, or two VCF files: sites, genotypes, reads; sorted ones in constant memory."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pysam
import pytest
from stargazer.assets import FormatError
from stargazer.tasks import differences

HEADER = {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": "c1", "LN": 1000}, {"SN": "c2", "LN": 500}]}


def vcf(path: Path, *sites: str, samples: str = "S1 S2", contigs: str = "c1 c2") -> Path:
    names = "".join(f"##contig=<ID={name},length=1000>\n" for name in contigs.split())
    head = '##fileformat=VCFv4.2\n##FILTER=<ID=Low,Description="x">\n'
    head += '##INFO=<ID=DP,Number=1,Type=Integer,Description="x">\n'
    head += '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">\n' + names
    columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *samples.split()]
    path.write_text(head + "\t".join(columns) + "\n" + "".join("\t".join(s.split()) + "\n" for s in sites))
    return path


def bam(
    path: Path, *reads: tuple[str, int, int], header: dict = HEADER, quality: int = 60, rg: str = ""
) -> Path:
    with pysam.AlignmentFile(str(path), "wb", header=header | ({"RG": [{"ID": rg}]} if rg else {})) as file:
        for name, contig, start in reads:
            read = pysam.AlignedSegment(file.header)
            read.query_name, read.reference_id, read.reference_start = name, contig, start
            read.query_sequence, read.cigarstring, read.flag = "ACGT", "4M" if contig >= 0 else None, 0
            read.mapping_quality = quality
            if contig < 0:
                read.flag = 4
            file.write(read)
    return path


def test_sites_and_genotypes(tmp_path):
    both = "c1 10 . A G 50 PASS DP=3 GT 0/1 0/0"
    a = vcf(
        tmp_path / "a.vcf", both, "c1 20 . C T 50 PASS DP=3 GT 0/1 0/0", "c2 5 . A C 9 PASS DP=1 GT 0/1 0/1"
    )
    b = vcf(
        tmp_path / "b.vcf", both, "c1 20 . C T 50 Low DP=3 GT 1/1 0/0", "c1 30 . G A 9 PASS DP=1 GT 0/1 0/1"
    )

    assert differences.variants(a, b) == [
        "variants: 3 in A, 3 in B; 2 in both, 1 only in A, 1 only in B",
        "  of those in both, other FILTER: 1",
        "  of those in both, other genotypes of S1: 1",
        "  only in A: c2:5 A>C",
        "  only in B: c1:30 G>A",
    ]


def test_alternative_alleles_in_another_order_are_one_variant(tmp_path):
    a = vcf(tmp_path / "a.vcf", "c1 10 . A G,T 50 PASS DP=3;AC=1,2;AD=5,6,7 GT 1/2 0|2")
    b = vcf(tmp_path / "b.vcf", "c1 10 . A T,G 50 PASS DP=3;AC=2,1;AD=5,7,6 GT 2/1 0|1")
    for path in (a, b):
        fields = "".join(
            f'##INFO=<ID={name},Number={number},Type=Integer,Description="x">\n'
            for name, number in (("AC", "A"), ("AD", "R"))
        )
        path.write_text(path.read_text().replace("##INFO=<ID=DP", fields + "##INFO=<ID=DP"))

    assert differences.variants(a, b) == ["variants: 1 in A, 1 in B; 1 in both, 0 only in A, 0 only in B"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("c1 10 . A T,G 50 PASS DP=3 GT 1/1 0/0", "  of those in both, other genotypes of S1: 1"),
        ("c1 10 . A T,C 50 PASS DP=3 GT 1/2 0/0", "  only in B: c1:10 A>C,T"),
        ("c1 10 . A T,G 50 PASS DP=4 GT 2/1 0/0", "  of those in both, other INFO: 1"),
    ],
)
def test_what_differs_beside_the_order_of_alleles_is_told(tmp_path, other, said):
    a = vcf(tmp_path / "a.vcf", "c1 10 . A G,T 50 PASS DP=3 GT 1/2 0/0")
    assert said in differences.variants(a, vcf(tmp_path / "b.vcf", other))


def test_samples_and_contigs(tmp_path):
    a = vcf(tmp_path / "a.vcf", "c1 10 . A G 50 PASS DP=3 GT 0/1 0/0", samples="S1 S2")
    b = vcf(tmp_path / "b.vcf", "c1 10 . A G 50 PASS DP=3 GT 0/0 0/1", samples="S2 S3", contigs="c1 c3")

    assert differences.variants(a, b) == [
        "sample only in A: S1",
        "sample only in B: S3",
        "contig only in A: c2",
        "contig only in B: c3",
        "variants: 1 in A, 1 in B; 1 in both, 0 only in A, 0 only in B",
    ]


def test_no_variants_at_all(tmp_path):
    assert differences.variants(vcf(tmp_path / "a.vcf"), vcf(tmp_path / "b.vcf")) == [
        "variants: 0 in A, 0 in B; 0 in both, 0 only in A, 0 only in B"
    ]


def test_unsorted_sites_are_refused(tmp_path):
    sites = [f"c1 {place} . A G 50 PASS DP=3 GT 0/1 0/0" for place in (20, 10)]
    with pytest.raises(FormatError, match="position 11 comes after 21"):
        differences.variants(vcf(tmp_path / "a.vcf", *sites), vcf(tmp_path / "b.vcf"))


def test_junk_is_refused(tmp_path):
    (tmp_path / "a.vcf").write_text("junk")
    with pytest.raises(FormatError, match=r"'a\.vcf'"):
        differences.variants(tmp_path / "a.vcf", vcf(tmp_path / "b.vcf"))


def test_reads_by_their_place(tmp_path):
    a = bam(tmp_path / "a.bam", ("r1", 0, 10), ("r2", 0, 10), ("r3", 0, 20), ("u", -1, -1))
    b = bam(tmp_path / "b.bam", ("r2", 0, 10), ("r1", 0, 10), ("r3", 1, 5), ("u", -1, -1))

    assert differences.alignments(a, b) == [
        "reads: 4 in A, 4 in B; 3 in both, 1 only in A, 1 only in B",
        "  only in A: c1:21 r3",
        "  only in B: c2:6 r3",
    ]


def test_fields_and_read_groups(tmp_path):
    a = bam(tmp_path / "a.bam", ("r1", 0, 10), rg="one")
    b = bam(tmp_path / "b.bam", ("r1", 0, 10), rg="two", quality=7)

    assert differences.alignments(a, b) == [
        "@RG only in A: @RG ID:one",
        "@RG only in B: @RG ID:two",
        "reads: 1 in A, 1 in B; 1 in both, 0 only in A, 0 only in B",
        "  of those in both, other mapping quality: 1",
    ]


def test_another_build_and_another_order(tmp_path):
    other = {"HD": {"VN": "1.6", "SO": "queryname"}, "SQ": [{"SN": "c1", "LN": 999}]}
    assert differences.alignments(bam(tmp_path / "a.bam"), bam(tmp_path / "b.bam", header=other)) == [
        "@HD only in A: @HD VN:1.6 SO:coordinate",
        "@HD only in B: @HD VN:1.6 SO:queryname",
        "contig only in A: c2",
        "contigs of another length: c1 (1000 in A, 999 in B)",
        "reads are compared where both files are sorted by coordinate",
    ]


def test_a_truncated_bam_is_an_error_that_diff_can_tell(tmp_path):
    whole = bam(tmp_path / "a.bam", *((f"r{n}", 0, n) for n in range(900)))
    (tmp_path / "b.bam").write_bytes(whole.read_bytes()[:-200])
    with pytest.raises((FormatError, OSError)):
        differences.alignments(whole, tmp_path / "b.bam")


def test_they_are_installed_for_their_types():
    found = {entry.name: entry.load() for entry in entry_points(group="stargazer.differences")}
    assert found == {
        "alignment": differences.alignments,
        "known_sites": differences.variants,
        "variants": differences.variants,
    }
