"""Alignments from elsewhere: what fits the reference and the sample is called, what does not is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import (
    Alignment,
    AmbiguousAssetError,
    AssetNotFoundError,
    FormatError,
    Intervals,
    InvalidAssetError,
    QcReport,
    Reference,
    StargazerError,
    ToolError,
)
from stargazer.storage.store import Addition
from stargazer.tasks.tools.samtools import samtools
from stargazer.workflows.germline import germline_short_variant_discovery

GROUP = "@RG\tID:1\tSM:s\n"


@pytest.fixture
def write_bam(genome: Any, tmp_path: Path, run_by_hand: Any) -> Any:
    """Writes an alignment of the small genome, of reads that differ from it in one place, with this header."""

    def write(
        lengths: dict[str, int] | None = None,
        groups: str = GROUP,
        contig: str = genome.names[0],
        reverse: bool = False,
    ) -> Path:
        lengths = lengths or {name: len(bases) for name, bases in genome.contigs.items()}
        bases = genome.contigs[genome.names[0]]
        changed = bases[:1500] + ("A" if bases[1500] != "A" else "C") + bases[1501:]
        lines = [f"r{start}\t0\t{contig}\t{start + 1}\t60\t100M\t*\t0\t0\t{changed[start : start + 100]}\t{'I' * 100}"
                 + ("\tRG:Z:1" if groups else "") for start in range(1000, 2000, 10)]  # fmt: skip
        sam = "".join(f"@SQ\tSN:{name}\tLN:{length}\n" for name, length in lengths.items()) + groups
        sam += "\n".join(reversed(lines) if reverse else lines) + "\n"
        bam = tmp_path / "from elsewhere.bam"
        bam.write_bytes(run_by_hand(samtools, "view", "-b", "--no-PG", "-", stdin=sam.encode()))
        return bam

    return write


def call(lab: Any, **options: Any) -> Any:
    return lab.run(germline_short_variant_discovery, samples=["s"], build="small", **options)


def refused(lab: Any, kind: type[StargazerError], *says: str, **options: Any) -> None:
    """The workflow fails with this error, which says all of this, and has looked at nothing but the reference."""
    with pytest.raises(kind) as caught:
        call(lab, **options)
    for text in says:
        assert text in str(caught.value)
    made = {asset.asset_key if not isinstance(asset, QcReport) else asset.kind for asset in lab.made()}
    assert made <= {"reference", "reference_index", "sequence_dict", "intervals"}
    assert lab.leftovers() == []


def test_an_unsorted_alignment_is_sorted(small_lab: Any, write_bam: Any, genome: Any, records_of: Any):
    small_lab.add(write_bam(reverse=True), Alignment(sample="s"))

    calls = call(small_lab)

    assert small_lab.computed()["sort_alignment"] == 1
    assert [line.split("\t")[:2] for line in records_of(small_lab.path(calls.variants))] == [
        [genome.names[0], "1501"]
    ]


def test_an_alignment_that_is_not_sorted_as_it_claims(small_lab: Any, write_bam: Any):
    small_lab.add(write_bam(reverse=True), Alignment(sample="s", sorted_by="coordinate"))

    with pytest.raises(ToolError, match=r"samtools index failed.*(?i:unsorted)"):
        call(small_lab)
    assert "variants" not in {asset.asset_key for asset in small_lab.made()}


def test_an_alignment_to_another_build(small_lab: Any, write_bam: Any):
    small_lab.add(write_bam({"chr7": 1_000}, contig="*"), Alignment(sample="s"))

    refused(small_lab, InvalidAssetError, "no contig in common", "'chr7'", "'chr1:1-99'", "another build")


def test_an_alignment_to_contigs_of_other_lengths(small_lab: Any, write_bam: Any, genome: Any):
    small_lab.add(write_bam({genome.names[0]: 9_999}), Alignment(sample="s"))

    refused(
        small_lab,
        InvalidAssetError,
        "another reference than small",
        "'chr1:1-99' has 9999 bases there and 3000 here",
    )


def test_reads_on_a_contig_that_the_reference_lacks(small_lab: Any, write_bam: Any, genome: Any):
    lengths = dict.fromkeys(genome.names, 3000) | {"chrUn": 5_000}
    small_lab.add(write_bam(lengths, contig="chrUn"), Alignment(sample="s"))

    refused(small_lab, InvalidAssetError, "has reads on chrUn", "small")


def test_a_contig_without_reads_that_the_reference_lacks(small_lab: Any, write_bam: Any, genome: Any):
    lengths = dict.fromkeys(genome.names, 3000) | {"chrUn": 5_000}
    small_lab.add(write_bam(lengths), Alignment(sample="s"))

    assert call(small_lab).variants.samples == ["s"]


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ("@RG\tID:1\tSM:somebody\n", "'somebody'"),
        (GROUP + "@RG\tID:2\tSM:t\n", "'s', 't'"),
        ("", "no sample"),
    ],
    ids=["another's", "two samples", "no read group"],
)
def test_read_groups_that_are_not_of_the_sample(small_lab: Any, write_bam: Any, groups: str, says: str):
    small_lab.add(write_bam(groups=groups), Alignment(sample="s"))

    refused(small_lab, InvalidAssetError, "registered for 's'", says, "samtools addreplacerg")


def test_a_damaged_alignment(small_lab: Any, write_bam: Any, tmp_path: Path):
    whole = write_bam().read_bytes()
    (tmp_path / "cut.bam").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="truncated"):
        small_lab.add(tmp_path / "cut.bam", Alignment(sample="s"))

    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF
    (tmp_path / "broken.bam").write_bytes(bytes(broken))
    try:
        small_lab.add(tmp_path / "broken.bam", Alignment(sample="s"))
    except FormatError:
        return
    refused(small_lab, ToolError, "samtools")


def test_cram_is_refused_with_the_way_out(
    small_lab: Any, write_bam: Any, genome: Any, tmp_path: Path, run_by_hand: Any
):
    reference = genome.write_reference(tmp_path / "for cram.fa")
    run_by_hand(samtools, "view", "-C", "-T", reference, "-o", tmp_path / "a.cram", write_bam())
    small_lab.add(tmp_path / "a.cram", Alignment(sample="s"))

    refused(small_lab, InvalidAssetError, "CRAM", "samtools view -b -T")


def test_several_alignments_and_none(small_lab: Any, write_bam: Any):
    refused(
        small_lab,
        AssetNotFoundError,
        "no registered alignment of sample 's'",
        "asset=alignment",
        start="alignment",
    )
    first = small_lab.add(write_bam(), Alignment(sample="s"))
    second = small_lab.add(write_bam(reverse=True), Alignment(sample="s"))

    refused(small_lab, AmbiguousAssetError, "2 registered alignments", first.cid, second.cid, "stargazer rm")


def test_an_alignment_made_here_is_not_one_from_elsewhere(small_lab: Any, genome: Any, tmp_path: Path):
    small_lab.add_lane(genome.write_reads(tmp_path, pairs=50), sample="s")
    call(small_lab)

    with pytest.raises(AssetNotFoundError, match="no registered alignment"):
        call(small_lab, start="alignment")


def test_an_alignment_of_another_registered_reference(small_lab: Any, write_bam: Any, tmp_path: Path):
    (tmp_path / "other.fa").write_text(">other\nACGT\n")
    other = small_lab.add(tmp_path / "other.fa", Reference(build="other"))
    alignment = Alignment(sample="s", reference_cid=other)
    small_lab.client.store.add([Addition(write_bam(), alignment, force=True)])

    refused(small_lab, InvalidAssetError, other.cid, "small is")


def test_contigs_are_for_reads(small_lab: Any, write_bam: Any, genome: Any):
    small_lab.add(write_bam(), Alignment(sample="s"))

    refused(small_lab, InvalidAssetError, "intervals=NAME", contigs=[genome.names[0]])


@pytest.mark.parametrize(
    ("bed", "says"),
    [
        (
            "chr1:1-99\t0\t10\nchrX\t0\t10\n",
            "the intervals 'targets', line 2: the reference has no contig 'chrX'; it has chr1:1-99",
        ),
        (
            "chr1:1-99\t2990\t3010\n",
            "the intervals 'targets', line 1: 2990 to 3010 is not within 'chr1:1-99' (0 to 3000)",
        ),
        ("chr1:1-99\t10\t10\n", "the intervals 'targets' hold no region"),
    ],
)
def test_intervals_outside_of_the_reference(
    small_lab: Any, write_bam: Any, tmp_path: Path, bed: str, says: str
):
    small_lab.add(write_bam(), Alignment(sample="s"))
    (tmp_path / "targets.bed").write_text(bed)
    small_lab.add(tmp_path / "targets.bed", Intervals(name="targets"))

    refused(small_lab, FormatError, says, intervals="targets")


def test_intervals_choose_where_to_call(small_lab: Any, write_bam: Any, tmp_path: Path, records_of: Any):
    small_lab.add(write_bam(), Alignment(sample="s"))
    for name, bed in {
        "with": "HLA-A*01:01\t0\t10\nchr1:1-99\t1500\t1501\n",
        "without": "chr1:1-99\t1501\t2000\n",
    }.items():
        (tmp_path / f"{name}.bed").write_text(bed)
        small_lab.add(tmp_path / f"{name}.bed", Intervals(name=name, build="small"))

    assert len(records_of(small_lab.path(call(small_lab, intervals="with").variants))) == 1
    assert records_of(small_lab.path(call(small_lab, intervals="without").variants)) == []


def test_intervals_that_are_not_there_or_of_another_build(small_lab: Any, write_bam: Any, tmp_path: Path):
    small_lab.add(write_bam(), Alignment(sample="s"))
    (tmp_path / "targets.bed").write_text("chr1:1-99\t0\t10\n")
    small_lab.add(tmp_path / "targets.bed", Intervals(name="targets", build="hg19"))

    refused(small_lab, AssetNotFoundError, "no intervals name=exome", "targets", intervals="exome")
    refused(small_lab, InvalidAssetError, "of build 'hg19', not 'small'", intervals="targets")
