"""Reads to alignments: read groups, headers, and tasks one by one."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stargazer.assets import (
    R1,
    R2,
    Alignment,
    FormatError,
    Intervals,
    InvalidAssetError,
    Reference,
    ToolError,
)
from stargazer.assets.keyvalues import composed
from stargazer.tasks import samtools
from stargazer.tasks.checks.headers import Contig, sam_header
from stargazer.tasks.germline.alignment import (
    _check_count,
    align_with_bwa,
    align_with_bwa_mem3,
    check_pairs,
    coverage_stats,
    flagstat,
    index_alignment,
    markdup,
    merge_lanes,
    read_group,
    sort_alignment,
)
from stargazer.tasks.germline.headers import Fit, check_header, conformed_header
from stargazer.tasks.germline.imported import split_libraries
from stargazer.tasks.quality import read_coverage
from stargazer.tasks.reference import index_for_bwa_mem3, index_with_bwa, samtools_faidx
from stargazer.tasks.tools import Session, use_session

HEADER = (
    "@HD\tVN:1.6\n@SQ\tSN:chr1:1-99\tLN:100\tM5:0\n@SQ\tSN:chrUn\tLN:7\n@RG\tID:1\tSM:s x\n@CO\tSM:other\tx\n"
)
name = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cs", "Z"), exclude_characters="\\"),
    min_size=1,
    max_size=20,
).map(composed)


def fields(line: str) -> dict[str, str]:
    return dict(field.split(":", 1) for field in line.split("\\t")[1:])


def test_a_read_group_says_it_all():
    r1 = R1(sample="NA12878", library="lib", lane="L001", platform="ILLUMINA")

    assert read_group(r1) == "@RG\\tID:NA12878:lib:L001\\tSM:NA12878\\tLB:lib\\tPL:ILLUMINA\\tPU:L001"


def test_what_is_not_given_comes_from_the_sample():
    assert read_group(R1(sample="s")) == "@RG\\tID:s\\tSM:s\\tLB:s\\tPL:ILLUMINA\\tPU:s"


def test_odd_names_are_escaped_in_the_id_alone():
    found = fields(read_group(R1(sample="a b:c", lane="L\u00e9")))

    assert found["ID"] == "a%20b%3Ac:L%C3%A9"
    assert (found["SM"], found["PU"]) == ("a b:c", "L\u00e9")


@given(st.lists(st.tuples(name, st.none() | name, st.none() | name), min_size=2, max_size=2, unique=True))
def test_read_groups_of_different_lanes_have_different_ids(lanes):
    first, second = (
        fields(read_group(R1(sample=s, library=library, lane=lane)))["ID"] for s, library, lane in lanes
    )

    assert first != second
    assert first.isascii()
    assert first.isprintable()


def test_a_read_group_that_writes_its_sample_in_another_form_of_unicode_gets_the_one_of_the_record():
    text = "@SQ\tSN:c\tLN:9\n@RG\tID:1\tSM:Zoe\u0308\tLB:l\n@RG\tID:2\tLB:SM\n"
    reference = {"c": Contig(9)}

    assert sam_header(text).samples == ["Zo\u00eb"]
    assert check_header(sam_header(text), "Zo\u00eb", "b", reference).missing == set()
    assert conformed_header(text, "Zo\u00eb", reference) == (
        "@SQ\tSN:c\tLN:9\n@RG\tID:1\tSM:Zo\u00eb\tLB:l\n@RG\tID:2\tLB:SM\tSM:Zo\u00eb\n"
    )


def test_a_backslash_is_refused():
    with pytest.raises(InvalidAssetError, match=r"cannot be the SM of a read group"):
        read_group(R1(sample="a\\tb"))


def fit(text: str, sample: str, **lengths: int) -> Fit:
    return check_header(
        sam_header(text), sample, "b", {name: Contig(bases) for name, bases in lengths.items()}
    )


def test_a_header_that_fits():
    found = fit(HEADER, "s x", **{"chr1:1-99": 100, "chr2": 5})

    assert (found.missing, found.in_order) == ({"chrUn"}, True)
    assert [("'chrUn'" in note, "'chr2'" in note) for note in found.notes] == [(True, False), (False, True)]


def test_a_header_without_a_sample_takes_that_of_the_alignment():
    text = HEADER.replace("\tSM:s x", "")

    assert "name no sample" in fit(text, "t", **{"chr1:1-99": 100, "chrUn": 7}).notes[0]
    assert "\n@RG\tID:1\tSM:t\n" in conformed_header(text, "t", {"chr1:1-99": Contig(100)})


def test_the_contigs_of_a_header_become_those_of_the_reference():
    contigs = {"new": Contig(9), "chrUn": Contig(7), "chr1:1-99": Contig(100)}
    changed = conformed_header(HEADER, "s x", contigs)

    assert [line for line in changed.splitlines() if line.startswith("@SQ")] == [
        "@SQ\tSN:new\tLN:9",
        "@SQ\tSN:chrUn\tLN:7",
        "@SQ\tSN:chr1:1-99\tLN:100\tM5:0",
    ]
    assert set(HEADER.splitlines()) < set(changed.splitlines())
    assert not fit(HEADER, "s x", **{"chrUn": 7, "chr1:1-99": 100}).in_order


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_a_line_feed_ends_a_line_of_a_header(odd: str):
    text = f"{HEADER}@CO\tx{odd}@SQ\tSN:none\tLN:5\n"

    assert "none" not in sam_header(text).contigs
    assert conformed_header(text, "s x", {"chr1:1-99": Contig(100)}).endswith(text[len(HEADER) :])


@pytest.mark.parametrize(
    ("header", "sample", "known", "says"),
    [
        (HEADER, "s x", {"chr9": 1}, "no contig in common: 'chr1:1-99', 'chrUn' and 'chr9'"),
        (HEADER, "s x", {"chr1:1-99": 99}, "'chr1:1-99' has 100 bases in its header and 99 in the reference"),
        (HEADER, "t", {"chr1:1-99": 100}, "registered for 't' name 's x'"),
        (HEADER + "@RG\tID:2\tSM:t\n", "t", {"chr1:1-99": 100}, "2 samples .*split it by read group"),
        (HEADER.replace("SM:s x", "SM:t\tPL:Ont"), "t", {"chr1:1-99": 100}, "reads of ONT"),
        (
            HEADER.replace("SM:s x", "SM:t\tPL:Oxford_Nanopore"),
            "t",
            {"chr1:1-99": 100},
            "reads of OXFORD_NANO",
        ),
        ("", "t", {"chr1": 1}, "no contig in common: none and 'chr1'"),
    ],
)
def test_a_header_that_does_not_fit(header: str, sample: str, known: dict[str, int], says: str):
    with pytest.raises(InvalidAssetError, match=says):
        fit(header, sample, **known)


@pytest.mark.parametrize(
    ("line", "marked"),
    [
        ("@PG\tID:MarkDuplicates\tPN:MarkDuplicates", True),
        ("@PG\tID:samtools.4\tPN:samtools\tCL:samtools markdup - out.bam", True),
        ("@PG\tID:SAMBLASTER\tCL:samblaster -i stdin", True),
        ("@PG\tID:x\tPN:sambamba\tCL:sambamba markdup -t 8 a.bam b.bam", True),
        ("@PG\tID:x\tPN:sentieon\tCL:driver -t 8 --algo Dedup --score_info s.txt out.bam", True),
        ("@PG\tID:x\tPN:elprep\tCL:elprep filter a.bam b.bam --mark-duplicates", True),
        ("@PG\tID:x\tPN:fgbio\tCL:fgbio CallMolecularConsensusReads --input a.bam", True),
        ("@PG\tID:x\tPN:gencore\tCL:gencore -i a.bam", True),
        ("@PG\tID:x\tPN:DRAGEN\tCL:dragen --enable-duplicate-marking true", True),
        ("@PG\tID:x\tPN:DRAGEN\tCL:dragen --enable-duplicate-marking=false", False),
        ("@PG\tID:x\tPN:fgbio\tCL:fgbio GroupReadsByUmi --input a.bam", False),
        ("@PG\tID:x\tPN:samtools\tCL:samtools view /data/MarkDuplicates/a.bam", False),
        ("@PG\tID:bwa\tPN:bwa\tCL:bwa mem ref.fa my.dedup.R1.fq markdup_R2.fq", False),
        ("@CO\tMarkDuplicates was not run", False),
    ],
)
def test_a_header_says_whether_duplicates_were_marked(line: str, marked: bool):
    assert sam_header(line + "\n").duplicates_marked is marked


BASES = "".join(random.Random(1).choices("ACGT", k=2_000))


def fastq(path: Path, count: int, end: int) -> Path:
    """Reads of fragments of 300 bases, all the same from one position to the next."""
    lines = []
    for number in range(count):
        fragment = BASES[number : number + 300]
        read = fragment[:80] if end == 1 else fragment.translate(str.maketrans("ACGT", "TGCA"))[::-1][:80]
        lines.append(f"@r{number}/{end}\n{read}\n+\n{'I' * 80}\n")
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


def indexed(bench, folder: Path):
    """A reference, and its index for bwa-mem3."""
    (folder / "r.fa").write_text(f">c\n{BASES}\n")
    reference = bench.add(folder / "r.fa", Reference(build="b"))
    bench.run(samtools_faidx, reference)
    return reference, bench.run(index_for_bwa_mem3, reference)


@pytest.fixture
def aligned(bench, tmp_path: Path):
    """Two lanes of one sample, aligned."""
    _, index = indexed(bench, tmp_path)
    lanes = []
    for lane, count in (("1", 50), ("2", 60)):
        r1 = bench.add(fastq(tmp_path / "1.fq.gz", count, 1), R1(sample="s", lane=lane))
        r2 = bench.add(fastq(tmp_path / "2.fq.gz", count, 2), R2(sample="s", lane=lane))
        lanes.append(bench.run(align_with_bwa_mem3, r1, r2, index))
    return lanes


def test_lanes_are_aligned_merged_marked_and_counted(bench, aligned, by_hand):
    assert (aligned[0].sorted_by, aligned[0].lane, aligned[0].duplicates_marked) == ("coordinate", "1", False)
    merged = bench.run(merge_lanes, aligned)
    marked = bench.run(markdup, merged)
    report = bench.run(flagstat, marked.alignment)

    assert (merged.lane, merged.sample, merged.reference_cid) == (None, "s", aligned[0].reference_cid)
    assert marked.alignment.duplicates_marked
    assert marked.metrics.alignment_cid == marked.alignment.cid
    assert by_hand(samtools, "view", "-c", "-f", 0x400, bench.path(marked.alignment)) == b"100\n"
    assert "DUPLICATE PAIR: 100" in bench.path(marked.metrics).read_text()
    assert '"primary duplicates": 100' in bench.path(report).read_text()
    header = by_hand(samtools, "view", "-H", "--no-PG", bench.path(marked.alignment)).decode()
    assert "SO:coordinate" in header
    assert "@PG" not in header


def pairs(bench, folder: Path, by_hand, *lines: tuple[str, int, int, int, str]) -> Alignment:
    """An alignment from elsewhere: name, flag, position, position of the mate and quality of each read."""
    sam = "@HD\tVN:1.6\n@SQ\tSN:c\tLN:2000\n@RG\tID:1\tSM:s\tLB:l\n" + "".join(
        f"{name}\t{flag}\tc\t{at}\t60\t80M\t{'=' if mate else '*'}\t{mate}\t0\t{BASES[at - 1 : at + 79]}"
        f"\t{quality * 80}\tRG:Z:1\n"
        for name, flag, at, mate, quality in lines
    )
    (folder / "e.bam").write_bytes(by_hand(samtools, "view", "-b", "--no-PG", "-", stdin=sam.encode()))
    return bench.add(folder / "e.bam", Alignment(sample="s"))


def test_coverage_is_that_of_intervals_and_without_duplicates(bench, tmp_path: Path, by_hand):
    (tmp_path / "r.fa").write_text(f">c\n{BASES}\n")
    reference = bench.add(tmp_path / "r.fa", Reference(build="b"))
    bench.run(samtools_faidx, reference)
    lines = [("a", 0, 11, 0, "I"), ("b", 0, 11, 0, "I"), ("c", 0x400, 11, 0, "I")]
    alignment = pairs(bench, tmp_path, by_hand, *lines)
    (tmp_path / "t.bed").write_text("c\t0\t20\nc\t15\t30\nc\t80\t100\n")
    intervals = bench.add(tmp_path / "t.bed", Intervals(name="t"))

    everywhere = bench.path(bench.run(coverage_stats, alignment, reference))
    inside = bench.path(bench.run(coverage_stats, alignment, reference, intervals))

    assert read_coverage(everywhere, 2000)["depths"]["counts"] == [1920, 0, 80]
    found = read_coverage(inside, 2000)
    assert (found["bases"], found["depths"]["counts"]) == (50, [20, 0, 30])


def flags_of(bench, alignment: Alignment, by_hand) -> list[tuple[str, int]]:
    lines = by_hand(samtools, "view", bench.path(alignment)).decode().splitlines()
    return sorted((line.split("\t")[0], int(line.split("\t")[1])) for line in lines)


def test_reads_whose_mates_are_not_in_the_file_are_single_reads(bench, tmp_path: Path, by_hand):
    """As of a pair that is not proper, callers would leave them out."""
    given = pairs(
        bench, tmp_path, by_hand, ("a", 99, 1, 201, "I"), ("b", 99, 5, 205, "I"), ("b", 147, 205, 5, "I")
    )

    (library,) = bench.run(split_libraries, given)

    (single, first, second) = flags_of(bench, library, by_hand)
    assert not single[1] & 0x1
    assert (first[1], second[1]) == (99, 147)


def test_single_reads_of_one_name_are_no_pair(bench, tmp_path: Path, by_hand):
    given = pairs(bench, tmp_path, by_hand, ("a", 0, 1, 0, "I"), ("a", 16, 201, 0, "I"))

    (library,) = bench.run(split_libraries, given)

    assert flags_of(bench, library, by_hand) == [("a", 0), ("a", 16)]


def test_flags_of_duplicates_are_set_anew(bench, tmp_path: Path, by_hand):
    """The copy that was flagged has the better qualities: both would be."""
    lines = [
        ("a", 99, 1, 201, "5"),
        ("a", 147, 201, 1, "5"),
        ("b", 1123, 1, 201, "I"),
        ("b", 1171, 201, 1, "I"),
    ]
    (library,) = bench.run(split_libraries, pairs(bench, tmp_path, by_hand, *lines))

    marked = bench.run(markdup, library).alignment

    assert [(name, bool(flag & 0x400)) for name, flag in flags_of(bench, marked, by_hand)] == [
        ("a", True), ("a", True), ("b", False), ("b", False)
    ]  # fmt: skip


def test_lanes_of_two_samples_are_not_merged(bench, aligned, tmp_path: Path):
    (tmp_path / "o.bam").write_bytes(bench.path(aligned[0]).read_bytes())
    other = bench.add(tmp_path / "o.bam", Alignment(sample="other"), force=True)

    with pytest.raises(InvalidAssetError, match="lanes of one sample, got other, s"):
        bench.run(merge_lanes, [aligned[1], other])


def test_sorting_and_indexing(bench, aligned, tmp_path: Path, by_hand):
    (tmp_path / "n.bam").write_bytes(by_hand(samtools, "sort", "-n", bench.path(aligned[0])))
    by_name = bench.add(tmp_path / "n.bam", Alignment(sample="s", sorted_by="queryname"))
    with pytest.raises(ToolError, match="samtools index failed"):
        bench.run(index_alignment, by_name)

    in_order = bench.run(sort_alignment, by_name)

    assert in_order.sorted_by == "coordinate"
    assert bench.path(bench.run(index_alignment, in_order)).read_bytes().startswith(b"BAI\1")


def test_pairs_are_checked(tmp_path: Path):
    r1, r2 = fastq(tmp_path / "1.fq.gz", 20, 1), fastq(tmp_path / "2.fq.gz", 19, 2)

    with pytest.raises(FormatError, match=r"2.fq.gz' ends after record 19, .*1.fq.gz' goes on"):
        check_pairs(str(r1), str(r2))
    assert check_pairs(str(r1), str(fastq(tmp_path / "2.fq.gz", 20, 2))) == (True, 20)


@pytest.mark.parametrize("platform", ["ONT", "pacbio"])
def test_long_reads_are_refused_before_anything_starts(bench, tmp_path: Path, platform: str):
    index = indexed(bench, tmp_path)[1]
    r1 = bench.add(fastq(tmp_path / "1.fq.gz", 5, 1), R1(sample="t", platform=platform))
    r2 = bench.add(fastq(tmp_path / "2.fq.gz", 5, 2), R2(sample="t", platform=platform))

    with pytest.raises(
        InvalidAssetError, match=f"are of {platform}, and BWA-MEM is set for short reads .*minimap2"
    ):
        bench.run(align_with_bwa_mem3, r1, r2, index)


@pytest.mark.debian("bwa")
@pytest.mark.parametrize(
    ("end", "bases"),
    [(".{}", "ACGTACGT"), ("_{} x", "ACGTACGT"), ("/{}", "AC-TACGT")],
    ids=[".", "_", "a gap"],
)
def test_bwa_is_given_reads_as_it_takes_them(bench, tmp_path: Path, end: str, bases: str, by_hand):
    reference, index = indexed(bench, tmp_path)
    reads = []
    for mate in (1, 2):
        path = fastq(tmp_path / f"{mate}.fq.gz", 20, mate)
        text = gzip.decompress(path.read_bytes()).decode()
        text = re.sub(r"^(@r\d+)/\d\n.{8}", rf"\1{end.format(mate)}\n{bases}", text, flags=re.MULTILINE)
        path.write_bytes(gzip.compress(text.encode()))
        reads.append(bench.add(path, (R1, R2)[mate - 1](sample="t")))

    by_bwa = bench.run(align_with_bwa, *reads, bench.run(index_with_bwa, reference))
    by_ours = bench.run(align_with_bwa_mem3, *reads, index)

    found = [
        [line.split("\t")[:10] for line in by_hand(samtools, "view", bench.path(made)).decode().splitlines()]
        for made in (by_bwa, by_ours)
    ]
    assert len(found[0]) == 40
    assert {fields[0] for fields in found[0]} == {f"r{number}" for number in range(20)}
    assert found[0] == found[1]


def test_bwa_that_is_not_on_path(bench, aligned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    r1 = bench.add(fastq(tmp_path / "1.fq.gz", 5, 1), R1(sample="t"))
    r2 = bench.add(fastq(tmp_path / "2.fq.gz", 5, 2), R2(sample="t"))
    before = bench.types()
    index = bench.run(index_for_bwa_mem3, bench.run(Reference.one))

    with pytest.raises(ToolError, match="bwa was not found"):
        bench.run(align_with_bwa, r1, r2, index)
    assert bench.types() == before


@pytest.mark.debian("bwa")
@pytest.mark.parametrize("kept", [13, 39])
def test_a_bwa_that_stops_early_and_says_nothing_is_noticed(
    bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
):
    (tmp_path / "r.fa").write_text(f">c\n{BASES}\n")
    reference = bench.add(tmp_path / "r.fa", Reference(build="b"))
    index = bench.run(index_with_bwa, reference)
    (tmp_path / "bin").mkdir()
    fake, bwa = tmp_path / "bin" / "bwa", shutil.which("bwa")
    fake.write_text(f"""#!/bin/sh
[ "$1" = mem ] || exec {bwa} "$@"
{bwa} "$@" > whole.sam || exit 1
grep "^@" whole.sam
grep -v "^@" whole.sam | head -n {kept}
""")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    r1 = bench.add(fastq(tmp_path / "1.fq.gz", 20, 1), R1(sample="t"))
    r2 = bench.add(fastq(tmp_path / "2.fq.gz", 20, 2), R2(sample="t"))
    before = bench.types()

    with pytest.raises(ToolError, match=rf"stopped early .*: {kept} records .*'t', expected at least 40"):
        bench.run(align_with_bwa, r1, r2, index)

    assert bench.types() == before


def test_records_that_got_lost_after_the_aligner_are_noticed(bench, aligned, tmp_path: Path, by_hand):
    bam, few = bench.path(aligned[0]), tmp_path / "few.bam"
    lines = by_hand(samtools, "view", "-h", bam).splitlines(keepends=True)
    (tmp_path / "whole.bam").symlink_to(bam)
    by_hand(samtools, "index", "-c", "-o", tmp_path / "whole.bam.csi", bam)
    session = Session(folder=tmp_path, log=tmp_path / "log", tools={"samtools": samtools.resolve({})})
    whole = Alignment(path=tmp_path / "whole.bam", sample="s")

    with use_session(session):
        asyncio.run(_check_count(whole, 100, "bwa_mem3"))
        asyncio.run(_check_count(whole, 90, "bwa", more=True))
        for sam, count in ((lines[:-1], 99), (lines[:-40], 60), (lines[:-99], 1), ([*lines, lines[-1]], 101)):
            by_hand(samtools, "sort", "--write-index", "-o", few, "-", stdin=b"".join(sam))
            says = (
                rf"bwa_mem3, .* stopped early .*: {count} records .*'s', expected 100; nothing was registered"
            )
            with pytest.raises(ToolError, match=says):
                asyncio.run(_check_count(Alignment(path=few, sample="s"), 100, "bwa_mem3"))


def test_an_index_beside_it_changes_nothing_of_a_sorted_alignment(bench, aligned, tmp_path: Path, by_hand):
    bam = bench.path(aligned[0])
    words = ("sort", "--no-PG", "-l", 1, "-@", 1)
    by_hand(samtools, *words, "-o", tmp_path / "plain.bam", bam)
    by_hand(samtools, *words, "--write-index", "-o", tmp_path / "indexed.bam", bam)

    assert (tmp_path / "plain.bam").read_bytes() == (tmp_path / "indexed.bam").read_bytes()
