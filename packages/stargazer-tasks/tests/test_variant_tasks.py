"""Calls one by one: normalise, filter, gather, index and count; also where there is nothing."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from stargazer.assets import Alignment, Intervals, InvalidAssetError, Reference, ToolError, Variants
from stargazer.tasks import samtools
from stargazer.tasks.germline.alignment import index_alignment
from stargazer.tasks.germline.records import FIRST_BASE
from stargazer.tasks.germline.variants import (
    call_variants,
    check_max_depth,
    filter_variants,
    gather_variants,
    index_variants,
    normalise_variants,
    variant_stats,
)
from stargazer.tasks.reference import samtools_faidx

BASES = (
    "ACGTTGCATGCCATGACTGACTTAGGCATCGATTACGGCATTACGGATCCAAAAAAAATGCAAGTCCGATTTACGCAATGCCGTAAGCTAGCTTACGGATCAGT"
)
CONTIG = "chr1:1-99"
VCF = (
    "##fileformat=VCFv4.2\n" + f"##contig=<ID={CONTIG},length={len(BASES)}>\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts\n"
)


@pytest.fixture
def reference(bench, tmp_path: Path) -> Reference:
    (tmp_path / "r.fa").write_text(f">{CONTIG}\n{BASES}\n")
    reference = bench.add(tmp_path / "r.fa", Reference(build="b"))
    bench.run(samtools_faidx, reference)
    return reference


def add_alignment(bench, tmp_path: Path, by_hand, sample: str, changed: bool) -> Alignment:
    bases = BASES[:30] + "C" + BASES[31:] if changed else BASES
    sam = (
        f"@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:{CONTIG}\tLN:{len(BASES)}\n@RG\tID:1\tSM:{sample}\n"
        + "".join(
            f"r{start}\t0\t{CONTIG}\t{start + 1}\t60\t60M\t*\t0\t0\t{bases[start : start + 60]}\t{'I' * 60}\tRG:Z:1\n"
            for start in range(20)
        )
    )
    (tmp_path / f"{sample}.bam").write_bytes(by_hand(samtools, "view", "-b", "-", stdin=sam.encode()))
    alignment = bench.add(tmp_path / f"{sample}.bam", Alignment(sample=sample, sorted_by="coordinate"))
    bench.run(index_alignment, alignment)
    return alignment


def lines(bench, variants: Variants) -> list[list[str]]:
    text = gzip.decompress(bench.path(variants).read_bytes()).decode()
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


def test_calling_jointly(bench, reference, tmp_path: Path, by_hand):
    alignments = [add_alignment(bench, tmp_path, by_hand, name, name == "b") for name in "ab"]

    called = bench.run(call_variants, alignments, reference)

    (record,) = lines(bench, called)
    assert record[:2] + record[3:5] == [CONTIG, "31", BASES[30], "C"]
    assert record[8].endswith("AD")
    assert [sample.split(":")[0] for sample in record[9:]] == ["0/0", "1/1"]
    assert (called.samples, called.caller, called.reference_cid) == (["a", "b"], "bcftools", reference.cid)


def test_ploidy_of_samples_whose_names_a_table_cannot_hold(bench, reference, tmp_path: Path, by_hand):
    alignments = [add_alignment(bench, tmp_path, by_hand, name, name == "b 1") for name in ("#a", "b 1")]

    called = bench.run(call_variants, alignments, reference, ploidy=[f"{CONTIG}:M:1"], sex=["#a:F", "b 1:M"])

    (record,) = lines(bench, called)
    assert [sample.split(":")[0] for sample in record[9:]] == ["0/0", "1"]
    assert b"FORMAT\t#a\tb 1\n" in gzip.decompress(bench.path(called).read_bytes())


@pytest.mark.parametrize("depth", [0, 2**31, 2**32 + 1])
def test_a_depth_that_cannot_be(depth: int):
    """The last would be read as 1."""
    with pytest.raises(InvalidAssetError, match="max_depth: expected 1 to 2,147,483,647 reads"):
        check_max_depth(depth)


def test_no_variants_run_through_to_the_end(bench, reference, tmp_path: Path, by_hand):
    called = bench.run(call_variants, [add_alignment(bench, tmp_path, by_hand, "a", False)], reference)
    filtered = bench.run(filter_variants, bench.run(normalise_variants, called, reference))

    assert lines(bench, filtered) == []
    assert (filtered.normalised, filtered.filtered) == (True, True)
    assert bench.run(index_variants, filtered).variants_cid == filtered.cid
    assert "number of records:\t0" in bench.path(bench.run(variant_stats, filtered)).read_text()


def test_no_calls_outside_of_the_intervals(bench, reference, tmp_path: Path, by_hand):
    alignment = add_alignment(bench, tmp_path, by_hand, "b", True)
    for number, text in enumerate(("30\t31", "31\t60", "0\t30")):
        (tmp_path / f"{number}.bed").write_text(f"{CONTIG}\t{text}\n")
    inside, after, before = (bench.add(tmp_path / f"{n}.bed", Intervals(name=str(n))) for n in range(3))

    found = [
        len(lines(bench, bench.run(call_variants, [alignment], reference, where)))
        for where in (before, inside, after)
    ]

    assert found == [0, 1, 0]


def test_an_alignment_without_its_index(bench, reference, tmp_path: Path, by_hand):
    (tmp_path / "i.bed").write_text(f"{CONTIG}\t0\t10\n")
    piece = bench.add(tmp_path / "i.bed", Intervals(name="piece"))
    path = tmp_path / "n.bam"
    path.write_bytes(
        by_hand(samtools, "view", "-b", "-", stdin=f"@SQ\tSN:{CONTIG}\tLN:{len(BASES)}\n".encode())
    )

    with pytest.raises(ToolError, match="bcftools mpileup failed"):
        bench.run(call_variants, [bench.add(path, Alignment(sample="n"))], reference, piece)
    assert "variants" not in bench.types()


def test_normalising_and_filtering(bench, reference, tmp_path: Path):
    run = BASES.index("AAAAAAAA")
    (tmp_path / "v.vcf").write_text(
        f"{VCF}{CONTIG}\t5\t.\tT\tG\t10\t.\t.\tGT\t0/1\n{CONTIG}\t{run + 5}\t.\tAA\tA\t90\t.\t.\tGT\t0/1\n"
    )

    normalised = bench.run(
        normalise_variants, bench.add(tmp_path / "v.vcf", Variants(samples=["s"])), reference
    )
    filtered = bench.run(filter_variants, normalised, exclude="QUAL<20", name="Weak")

    assert [(line[1], line[3], line[4], line[6]) for line in lines(bench, filtered)] == [
        ("5", "T", "G", "Weak"),
        (str(run), BASES[run - 1 : run + 1], BASES[run - 1], "PASS"),
    ]


def test_a_deletion_of_ambiguity_codes_is_normalised(bench, tmp_path: Path):
    """`bcftools norm` takes each code for the base that calls have in its place, and nothing else."""
    (tmp_path / "r.fa").write_text(f">{CONTIG}\n{BASES[:50]}GCG{''.join(map(chr, FIRST_BASE))}{BASES[50:]}\n")
    reference = bench.add(tmp_path / "r.fa", Reference(build="b"))
    bench.run(samtools_faidx, reference)
    deleted = "G" + "".join(map(chr, FIRST_BASE.values()))
    (tmp_path / "v.vcf").write_text(f"{VCF}{CONTIG}\t53\t.\t{deleted}\tG\t90\t.\t.\tGT\t0/1\n")

    normalised = bench.run(
        normalise_variants, bench.add(tmp_path / "v.vcf", Variants(samples=["s"])), reference
    )

    assert [(line[3], line[4]) for line in lines(bench, normalised)] == [(deleted, "G")]


def test_another_reference_is_noticed(bench, reference, tmp_path: Path):
    (tmp_path / "v.vcf").write_text(f"{VCF}{CONTIG}\t5\t.\tA\tG\t10\t.\t.\tGT\t0/1\n")

    with pytest.raises(ToolError, match=r"bcftools norm failed(.|\n)*(?i:mismatch|differs)"):
        bench.run(normalise_variants, bench.add(tmp_path / "v.vcf", Variants()), reference)


def test_gathering_keeps_the_order(bench, tmp_path: Path):
    parts = []
    for position in (5, 20, 60):
        (tmp_path / "p.vcf").write_text(f"{VCF}{CONTIG}\t{position}\t.\tA\tG\t10\t.\t.\tGT\t0/1\n")
        parts.append(bench.add(tmp_path / "p.vcf", Variants(samples=["s"])))

    joined = bench.run(gather_variants, parts)

    assert [line[1] for line in lines(bench, joined)] == ["5", "20", "60"]
    assert joined.samples == ["s"]
