"""Tasks that prepare a reference."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from stargazer.assets import AssetNotFoundError, FormatError, Intervals, InvalidAssetError, Reference
from stargazer.tasks.reference import (
    check_reference,
    index_for_bwa_mem3,
    index_with_bwa,
    samtools_faidx,
    select_contigs,
    sequence_dictionary,
    split_intervals,
)

FASTA = ">chr1:1-99 first\n" + "ACGTTGCATT" * 30 + "\n>chr2\n" + "GGATCCATTA" * 20 + "\n"


@pytest.fixture
def reference(bench, tmp_path: Path) -> Reference:
    (tmp_path / "r.fa").write_text(FASTA)
    return bench.add(tmp_path / "r.fa", Reference(build="b", species="s"))


def test_faidx(bench, reference):
    indexed = bench.run(samtools_faidx, reference)

    assert bench.path(indexed.fai).read_text() == "chr1:1-99\t300\t17\t300\t301\nchr2\t200\t324\t200\t201\n"
    assert indexed.gzi is None
    assert indexed.fai.reference_cid == reference.cid


def test_faidx_of_bgzip_gives_its_blocks_too(bench, tmp_path: Path):
    import pysam

    (tmp_path / "r.fa").write_text(FASTA)
    pysam.tabix_compress(str(tmp_path / "r.fa"), str(tmp_path / "r.fa.gz"))

    indexed = bench.run(samtools_faidx, bench.add(tmp_path / "r.fa.gz", Reference(build="b")))

    assert bench.path(indexed.fai).read_text().startswith("chr1:1-99\t300\t")
    assert bench.path(indexed.gzi).stat().st_size >= 8


def test_a_contig_twice_is_refused(bench, tmp_path: Path):
    (tmp_path / "r.fa").write_text(">a\n" + "ACGT\n" * 7_000_000 + ">a\nACGT\n")
    reference = bench.add(tmp_path / "r.fa", Reference(build="b"))  # too large to be read whole there

    with pytest.raises(FormatError, match="line 7000002: the contig 'a' is there twice"):
        bench.run(check_reference, reference)
    with pytest.raises(FormatError, match='has the contig "a" twice'):
        bench.run(samtools_faidx, reference)
    assert "reference_index" not in bench.types()


def test_dictionary(bench, reference):
    text = bench.path(bench.run(sequence_dictionary, reference)).read_text()

    assert [line.split("\t")[1:3] for line in text.splitlines()[1:]] == [
        ["SN:chr1:1-99", "LN:300"],
        ["SN:chr2", "LN:200"],
    ]
    assert str(bench.client.store.root) not in text


@pytest.mark.parametrize(
    "task", [index_for_bwa_mem3, pytest.param(index_with_bwa, marks=pytest.mark.debian("bwa"))]
)
def test_aligner_indexes_are_a_folder_with_fixed_names(bench, reference, task):
    bench.run(samtools_faidx, reference)

    made = bench.run(task, reference)

    with tarfile.open(bench.path(made)) as tar:
        names = tar.getnames()
    assert {"index.ann", "index.amb", "index.pac"} < set(names)
    assert names == sorted(names)
    assert all(name.startswith("index.") for name in names)
    assert made.reference_cid == reference.cid


def test_a_reference_that_is_not_indexed(bench, reference):
    with pytest.raises(AssetNotFoundError, match="the reference b is not indexed: call samtools_faidx"):
        bench.run(split_intervals, reference)


def test_chosen_contigs_are_a_reference_of_their_own(bench, reference):
    chosen = bench.run(select_contigs, reference, ["chr2"], "b[chr2]")

    assert bench.path(chosen).read_text() == ">chr2\n" + "GGATCCATTA" * 20 + "\n"
    assert (chosen.build, chosen.species) == ("b[chr2]", "s")


def test_an_unknown_contig_is_named_by_the_task(bench, reference):
    with pytest.raises(InvalidAssetError, match="no contig 'chrX'; it has chr1:1-99, chr2"):
        bench.run(select_contigs, reference, ["chrX"], "b[chrX]")
    assert bench.types() == ["provenance", "reference"]


def test_pieces(bench, tmp_path: Path):
    (tmp_path / "long.fa").write_text(f">chr1:1-99\n{'ACGTTGCATT' * 2_200}\n>chr2\n{'GGATCCATTA' * 1_000}\n")
    reference = bench.add(tmp_path / "long.fa", Reference(build="b"))
    bench.run(samtools_faidx, reference)
    (tmp_path / "t.bed").write_text("chr2\t0\t20\nchr1:1-99\t50\t60\n")
    targets = bench.add(tmp_path / "t.bed", Intervals(name="targets"))

    whole = bench.run(split_intervals, reference, None, 2)
    chosen = bench.run(split_intervals, reference, targets, 2)

    assert [bench.path(piece).read_text() for piece in whole] == [
        "chr1:1-99\t0\t16000\n",
        "chr1:1-99\t16000\t22000\nchr2\t0\t10000\n",
    ]
    assert [bench.path(piece).read_text() for piece in chosen] == ["chr1:1-99\t50\t60\nchr2\t0\t20\n"]
