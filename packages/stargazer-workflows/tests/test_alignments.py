"""Alignments from elsewhere: what fits the reference and the sample is called, what does not is refused."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
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
from stargazer.storage import Addition
from stargazer.tasks import samtools
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
        checksum: str = "",
        copies: Mapping[int, tuple[str, str]] | None = None,
        times: int = 1,
    ) -> Path:
        """Every read so many times; with `copies`, that at a place and a copy of it in these read groups ("": none)."""
        lengths = lengths or {name: len(bases) for name, bases in genome.contigs.items()}
        bases = genome.contigs[genome.names[0]]
        changed = bases[:1500] + ("A" if bases[1500] != "A" else "C") + bases[1501:]
        lines = [f"r{start}\t0\t{contig}\t{start + 1}\t60\t100M\t*\t0\t0\t{changed[start : start + 100]}\t{'I' * 100}"
                 + ("\tRG:Z:1" if groups else "") for start in range(1000, 2000, 10)]  # fmt: skip
        for start, (group, other) in (copies or {}).items():
            at = next(number for number, line in enumerate(lines) if line.startswith(f"r{start}\t"))
            lines[at] = lines[at].replace("RG:Z:1", f"RG:Z:{group}")
            copied = lines[at].replace(f"r{start}\t", f"copy{start}\t").removesuffix(f"\tRG:Z:{group}")
            lines.insert(at + 1, copied + (f"\tRG:Z:{other}" if other else ""))
        lines = [line.replace("\t", f".{number}\t", 1) if number else line
                 for line in lines for number in range(times)]  # fmt: skip
        m5 = f"\tM5:{checksum}" if checksum else ""
        sam = "".join(f"@SQ\tSN:{name}\tLN:{length}{m5 if name == contig else ''}\n"
                      for name, length in lengths.items()) + groups  # fmt: skip
        sam += "".join(f"{line}\n" for line in (reversed(lines) if reverse else lines))
        bam = tmp_path / "from elsewhere.bam"
        bam.write_bytes(run_by_hand(samtools, "view", "-b", "--no-PG", "-", stdin=sam.encode()))
        return bam

    return write


def call(lab: Any, **options: Any) -> Any:
    return lab.run(
        germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools", **options
    )


def refused(lab: Any, kind: type[StargazerError], *says: str, **options: Any) -> None:
    """The workflow fails with this error, which says all of this, and has looked at nothing but the reference."""
    with pytest.raises(kind) as caught:
        call(lab, **options)
    for text in says:
        assert text in str(caught.value)
    made = {asset.asset_key if not isinstance(asset, QcReport) else asset.kind for asset in lab.made()}
    assert made <= {"reference", "reference_index", "sequence_dict", "intervals"}
    assert lab.leftovers() == []


@pytest.mark.parametrize("marked", [True, False], ids=["sorted", "sorted while duplicates are marked"])
def test_an_unsorted_alignment_is_sorted(
    small_lab: Any, write_bam: Any, genome: Any, records_of: Any, marked: bool
):
    small_lab.add(write_bam(reverse=True), Alignment(sample="s", duplicates_marked=marked))

    calls = call(small_lab)

    assert small_lab.computed()["sort_alignment"] == marked
    assert [line.split("\t")[:2] for line in records_of(small_lab.path(calls.variants))] == [
        [genome.names[0], "1501"]
    ]


def test_an_alignment_that_is_not_sorted_as_it_claims(small_lab: Any, write_bam: Any):
    claims = Alignment(sample="s", sorted_by="coordinate", duplicates_marked=True)
    small_lab.add(write_bam(reverse=True), claims)

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
        "does not belong to the reference small",
        "'chr1:1-99' has 9,999 bases in its header and 3,000 in the reference",
    )


def test_reads_on_a_contig_that_the_reference_lacks(small_lab: Any, write_bam: Any, genome: Any):
    lengths = dict.fromkeys(genome.names, 3000) | {"chrUn": 5_000}
    small_lab.add(write_bam(lengths, contig="chrUn"), Alignment(sample="s"))

    refused(small_lab, InvalidAssetError, "has reads on chrUn", "small")


def notes_of(lab: Any, calls: Any) -> str:
    return "\n".join(json.loads(lab.path(calls.summary).read_text())["notes"])


def sites(lab: Any, calls: Any, records_of: Any) -> list[list[str]]:
    return [line.split("\t")[:2] for line in records_of(lab.path(calls.variants))]


def contigs_of(lab: Any, alignment: Alignment, run_by_hand: Any) -> list[str]:
    header = run_by_hand(samtools, "view", "-H", lab.path(alignment)).decode()
    return [line.split("\t")[1][3:] for line in header.splitlines() if line.startswith("@SQ")]


@pytest.mark.parametrize("kind", ["reversed", "one more before", "one more behind", "one less"])
def test_contigs_that_differ_in_order_or_without_reads_become_those_of_the_reference(
    small_lab: Any, write_bam: Any, genome: Any, records_of: Any, run_by_hand: Any, kind: str
):
    whole = {name: len(bases) for name, bases in genome.contigs.items()}
    lengths = {
        "reversed": dict(reversed(whole.items())),
        "one more before": {"chrUn": 5_000, **whole},
        "one more behind": {**whole, "chrUn": 5_000},
        "one less": dict(list(whole.items())[:1]),
    }[kind]
    small_lab.add(write_bam(lengths), Alignment(sample="s", sorted_by="coordinate", duplicates_marked=True))

    calls = call(small_lab)

    assert sites(small_lab, calls, records_of) == [[genome.names[0], "1501"]]
    assert contigs_of(small_lab, calls.alignments[0], run_by_hand) == list(whole)
    assert calls.alignments[0].build == calls.variants.build == "small"
    said = {"reversed": "another order", "one less": "made without 1 contig"}.get(kind, "left out: 'chrUn'")
    assert said in notes_of(small_lab, calls)


def test_an_alignment_with_the_contigs_of_the_reference_is_handed_on(small_lab: Any, write_bam: Any):
    given = small_lab.add(write_bam(), Alignment(sample="s", sorted_by="coordinate", duplicates_marked=True))

    calls = call(small_lab)

    assert calls.alignments[0].cid == given.cid
    assert "Duplicates of s were not marked here" in notes_of(small_lab, calls)


def test_joint_calls_of_alignments_with_their_contigs_in_other_orders(
    small_lab: Any, write_bam: Any, genome: Any, records_of: Any
):
    whole = {name: len(bases) for name, bases in genome.contigs.items()}
    small_lab.add(write_bam(dict(reversed(whole.items()))), Alignment(sample="s", sorted_by="coordinate"))
    small_lab.add(write_bam(groups=GROUP.replace("SM:s", "SM:t")), Alignment(sample="t"))

    calls = small_lab.run(
        germline_short_variant_discovery, samples=["s", "t"], build="small", caller="bcftools"
    )

    (line,) = records_of(small_lab.path(calls.variants))
    assert [each.split(":")[0] for each in line.split("\t")[9:]] == ["1/1", "1/1"]


def test_a_checksum_that_contradicts_the_reference(small_lab: Any, write_bam: Any, genome: Any):
    bases = genome.contigs[genome.names[0]]
    right, wrong = (hashlib.md5(text.upper().encode()).hexdigest() for text in (bases, bases[::-1]))
    small_lab.add(write_bam(checksum=wrong), Alignment(sample="s"))

    refused(small_lab, FormatError, "'chr1:1-99' has another checksum", wrong, right)


def test_a_checksum_that_agrees(small_lab: Any, write_bam: Any, genome: Any, records_of: Any):
    bases = genome.contigs[genome.names[0]]
    small_lab.add(write_bam(checksum=hashlib.md5(bases.upper().encode()).hexdigest()), Alignment(sample="s"))

    assert sites(small_lab, call(small_lab), records_of) == [[genome.names[0], "1501"]]


@pytest.mark.parametrize("field", ["build", "reference_cid"])
def test_an_alignment_of_another_build_by_its_metadata(
    small_lab: Any, write_bam: Any, tmp_path: Path, field: str
):
    (tmp_path / "other.fa").write_text(">other\nACGT\n")
    other = small_lab.add(tmp_path / "other.fa", Reference(build="other"))
    given = {"build": "other"} if field == "build" else {"reference_cid": other}
    small_lab.client.store.add([Addition(write_bam(), Alignment(sample="s", **given), force=True)])

    said = "registered with build=other" if field == "build" else "no contig in common: 'other' and"
    refused(small_lab, InvalidAssetError, said)


@pytest.mark.parametrize("changed", [False, True], ids=["of the same sequences", "of others"])
def test_an_alignment_of_another_reference_with_the_same_contigs(
    small_lab: Any, write_bam: Any, genome: Any, tmp_path: Path, records_of: Any, changed: bool
):
    """Registered references that differ in the order of their contigs can be called together."""
    contigs = dict(reversed(genome.contigs.items()))
    if changed:
        contigs[genome.names[0]] = contigs[genome.names[0]][::-1]
    (tmp_path / "other.fa").write_text("".join(f">{name}\n{bases}\n" for name, bases in contigs.items()))
    other = small_lab.add(tmp_path / "other.fa", Reference(build="other"))
    small_lab.add(write_bam(), Alignment(sample="s", build="other", reference_cid=other))

    if changed:
        refused(small_lab, FormatError, "that the alignment of 's' was made with", "another checksum (M5)")
    else:
        assert sites(small_lab, call(small_lab), records_of) == [[genome.names[0], "1501"]]


def test_an_alignment_of_this_reference_under_its_earlier_build(small_lab: Any, write_bam: Any):
    (reference,) = small_lab.client.store.query({"asset": "reference"})
    renamed = Alignment(sample="s", reference_cid=reference.cid, build="old")
    small_lab.client.store.add([Addition(write_bam(), renamed, force=True)])

    assert call(small_lab).variants.build == "small"


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ("@RG\tID:1\tSM:somebody\n", ["registered for 's' name 'somebody'"]),
        (GROUP + "@RG\tID:2\tSM:t\n", ["2 samples ('s', 't'", "split it by read group"]),
        (GROUP.strip() + "\tPL:PACBIO\n", ["reads of PACBIO", "long reads"]),
        (GROUP.strip() + "\tPL:ont\n", ["reads of ONT", "long reads"]),
    ],
    ids=["another's", "two samples", "PacBio", "Nanopore"],
)
def test_read_groups_that_are_not_of_the_sample_or_not_short_reads(
    small_lab: Any, write_bam: Any, groups: str, says: list[str]
):
    bam = write_bam(groups=groups)
    small_lab.client.store.add([Addition(bam, Alignment(sample="s"), force=True)])

    refused(small_lab, InvalidAssetError, *says)


@pytest.mark.parametrize("groups", ["", "@RG\tID:1\n"], ids=["no read group", "no sample in it"])
def test_reads_of_no_named_sample_are_those_of_the_alignments_sample(
    small_lab: Any, write_bam: Any, genome: Any, records_of: Any, groups: str
):
    small_lab.add(write_bam(groups=groups), Alignment(sample="s"))

    calls = call(small_lab)

    assert sites(small_lab, calls, records_of) == [[genome.names[0], "1501"]]
    assert b"FORMAT\ts\n" in gzip.decompress(small_lab.path(calls.variants).read_bytes())
    assert "taken for those of 's'" in notes_of(small_lab, calls)


def flags(lab: Any, alignment: Alignment, run_by_hand: Any) -> dict[str, bool]:
    lines = run_by_hand(samtools, "view", lab.path(alignment)).decode().splitlines()
    return {line.split("\t")[0]: bool(int(line.split("\t")[1]) & 0x400) for line in lines}


def test_duplicates_are_marked_within_each_library(small_lab: Any, write_bam: Any, run_by_hand: Any):
    """Every second read is a copy of the one before, of the same library or of another."""
    groups = "@RG\tID:1\tSM:s\tLB:a\n@RG\tID:2\tSM:s\tLB:b\n@RG\tID:3\tSM:s\n"
    copies = {1000: ("1", "1"), 1010: ("1", "2"), 1020: ("3", "3"), 1030: ("2", "3"), 1040: ("1", "")}
    small_lab.add(write_bam(groups=groups, copies=copies), Alignment(sample="s"))

    calls = call(small_lab)

    found = flags(small_lab, calls.alignments[0], run_by_hand)
    marked = {start for start in copies if found[f"r{start}"] or found[f"copy{start}"]}
    assert marked == {1000, 1020}
    assert len(found) == 100 + len(copies)  # none is lost


@pytest.mark.parametrize("how", ["by its header", "by its metadata"])
def test_duplicates_that_were_marked_elsewhere_stay_as_they_are(
    small_lab: Any, write_bam: Any, run_by_hand: Any, how: str
):
    program = "@PG\tID:MarkDuplicates\tPN:MarkDuplicates\n" if how == "by its header" else ""
    bam = write_bam(groups=GROUP + program, copies={1000: ("1", "1")})
    small_lab.add(bam, Alignment(sample="s", duplicates_marked=not program))

    calls = call(small_lab)

    assert not any(flags(small_lab, calls.alignments[0], run_by_hand).values())
    assert small_lab.computed()["markdup"] == 0


@pytest.mark.parametrize("contig", [None, "*"], ids=["no reads", "no mapped reads"])
def test_an_alignment_without_evidence_gives_no_calls(
    small_lab: Any, write_bam: Any, records_of: Any, contig: str | None
):
    bam = write_bam(times=0) if contig is None else write_bam(contig=contig)
    small_lab.add(bam, Alignment(sample="s"))

    calls = call(small_lab)

    assert records_of(small_lab.path(calls.variants)) == []
    assert json.loads(small_lab.path(calls.summary).read_text())["variants"]["pass"]["records"] == 0


def test_a_cap_on_depth_is_said_where_it_bites(small_lab: Any, write_bam: Any, records_of: Any):
    small_lab.add(write_bam(times=40), Alignment(sample="s", duplicates_marked=True))

    free, capped = call(small_lab), call(small_lab, max_depth=50)

    depths = [
        int(records_of(small_lab.path(calls.variants))[0].split("\t")[9].split(":")[2])
        for calls in (free, capped)
    ]
    assert depths[0] == 400 > depths[1]  # above the 250 of bcftools
    assert "deeper than max_depth" not in notes_of(small_lab, free)
    assert "deeper than max_depth=50: s (400 reads)" in notes_of(small_lab, capped)


def test_a_ploidy_by_sex_reaches_the_genotypes_and_the_summary(
    small_lab: Any, write_bam: Any, records_of: Any
):
    for sample in ("s", "t"):
        groups = GROUP.replace("SM:s", f"SM:{sample}")
        small_lab.add(write_bam(groups=groups), Alignment(sample=sample, duplicates_marked=True))
    options = {"ploidy": ["chr1:1-99:M:1"], "sex": ["s:M", "t:F"]}

    calls = small_lab.run(
        germline_short_variant_discovery, samples=["s", "t"], build="small", caller="bcftools", **options
    )

    (line,) = records_of(small_lab.path(calls.variants))
    assert [call.split(":")[0] for call in line.split("\t")[9:]] == ["1", "1/1"]
    summary = json.loads(small_lab.path(calls.summary).read_text())
    assert summary["ploidy"] == {"default": 2, "given": options["ploidy"], "sex": options["sex"]}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ploidy": ["chrM:1"]}, "names no contig of the reference"),
        ({"max_depth": 0}, "max_depth: expected 1 to 2,147,483,647 reads, got 0"),
    ],
)
def test_ploidies_and_depths_that_cannot_be_are_refused_before_anything_is_called(
    small_lab: Any, write_bam: Any, options: dict[str, Any], says: str
):
    small_lab.add(write_bam(), Alignment(sample="s"))

    refused(small_lab, InvalidAssetError, says, **options)


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


def test_an_alignment_that_was_added_again_with_its_build_is_one(small_lab: Any, write_bam: Any):
    bam = write_bam()
    small_lab.add(bam, Alignment(sample="s"))
    small_lab.add(bam, Alignment(sample="s", build="small", sorted_by="coordinate"))

    assert call(small_lab).variants.samples == ["s"]


def test_an_alignment_made_here_is_not_one_from_elsewhere(small_lab: Any, genome: Any, tmp_path: Path):
    small_lab.add_lane(genome.write_reads(tmp_path, pairs=50), sample="s")
    call(small_lab)

    with pytest.raises(AssetNotFoundError, match="no registered alignment"):
        call(small_lab, start="alignment")


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
