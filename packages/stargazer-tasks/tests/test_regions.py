"""Regions: read from BED, checked against a reference, cut into pieces; contigs chosen from a FASTA."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stargazer.assets import FormatError, Intervals, InvalidAssetError, Reference
from stargazer.tasks import intervals_by_ploidy, samtools_faidx
from stargazer.tasks.regions import (
    LEAST,
    MOST,
    Region,
    by_contig,
    contigs_of,
    intersection,
    pieces,
    read_bed,
    whole,
    write_bed,
    write_contigs,
)

from .conftest import Bench

PLOIDY_CONTIGS = {"chr1:1-99": 100, "chrX": 80}
CONTIGS = {"chr1:1-99": 100, "chr2": 50, "empty": 0, "HLA-A*01:01": 10}


def bed(tmp_path: Path, text: str) -> Path:
    (tmp_path / "a.bed").write_text(text)
    return tmp_path / "a.bed"


def test_contigs_of_an_index(tmp_path: Path):
    (tmp_path / "a.fai").write_text("chr1:1-99\t100\t11\t60\t61\nchr2\t50\t130\t60\t61\n")

    assert contigs_of(tmp_path / "a.fai") == {"chr1:1-99": 100, "chr2": 50}


def test_regions_come_in_the_order_of_the_reference_and_joined(tmp_path: Path):
    lines = ["track name=x", "#comment", "chr2\t0\t5\textra", "chr1:1-99\t10\t20\r", "", "chr1:1-99\t0\t5"]
    text = "\n".join([*lines, "chr1:1-99\t15\t30", "chr2\t5\t6", "chr2\t9\t9\n"])

    assert read_bed(bed(tmp_path, text), CONTIGS) == [
        ("chr1:1-99", 0, 5),
        ("chr1:1-99", 10, 30),
        ("chr2", 0, 6),
    ]


def test_gzip_is_read(tmp_path: Path):
    path = bed(tmp_path, "")
    path.write_bytes(gzip.compress(b"chr2\t0\t5\n"))

    assert read_bed(path, CONTIGS) == [("chr2", 0, 5)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("chr2\t0\t5\nchr3\t0\t5\n", r"line 2: the reference has no contig 'chr3'; it has chr1:1-99, chr2"),
        ("chr2\t0\t51\n", r"line 1: 0 to 51 is not within 'chr2' \(0 to 50\)"),
        ("chr2\t9\t5\n", r"line 1: 9 to 5"),
        ("chr2 0 5\n", r"line 1: not BED: 'chr2 0 5'"),
        ("chr2\t0\n", r"line 1: not BED"),
        ("chr2\t5\t5\n", r"no region"),
        ("# nothing\n", r"no region"),
    ],
)
def test_what_is_wrong_is_named_by_line(tmp_path: Path, text: str, says: str):
    with pytest.raises(FormatError, match=says):
        read_bed(bed(tmp_path, text), CONTIGS, "exome")


def test_what_is_wrong_names_the_intervals(tmp_path: Path):
    path = bed(tmp_path, "chr3\t0\t5\n")

    with pytest.raises(FormatError, match="the intervals 'exome', line 1"):
        read_bed(path, CONTIGS, "exome")
    with pytest.raises(FormatError, match=r"the intervals 'a\.bed', line 1"):
        read_bed(path, CONTIGS)


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(0, 10**7), min_size=1), st.integers(0, 300))
def test_pieces_cover_everything_once_in_order(lengths: dict[str, int], count: int):
    made = pieces(whole(lengths), count)

    joined: list[tuple[str, int, int]] = []
    for contig, start, end in (region for piece in made for region in piece):
        if joined and joined[-1][0] == contig and joined[-1][2] == start:
            start = joined.pop()[1]
        joined.append((contig, start, end))
    assert joined == whole(lengths)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), st.integers(0, 300))
def test_pieces_are_as_many_as_asked_for_and_of_one_size(lengths: list[int], count: int):
    made = pieces([(f"c{number}", 0, length) for number, length in enumerate(lengths)], count)

    sizes = [sum(end - start for _, start, end in piece) for piece in made]
    assert max(sizes) - min(sizes) <= 1
    assert len(made) == max(1, min(count, MOST, sum(lengths) // LEAST))
    assert len(made) == 1 or min(sizes) >= LEAST


def test_bed_that_is_written_can_be_read(tmp_path: Path):
    regions = [("chr1:1-99", 0, 5), ("chr2", 3, 50)]
    write_bed(regions, tmp_path / "b.bed")

    assert read_bed(tmp_path / "b.bed", CONTIGS) == regions


@pytest.mark.parametrize("compressed", [False, True])
def test_chosen_contigs_are_copied_in_the_order_of_the_source(tmp_path: Path, compressed: bool):
    text = b">chr1:1-99 first\nACGT\nAC\n>chr2\nGGG\n>chr3 \xe9\nTTT\n"
    source = tmp_path / ("a.fa.gz" if compressed else "a.fa")
    source.write_bytes(gzip.compress(text) if compressed else text)

    write_contigs(str(source), str(tmp_path / "b.fa"), ["chr3", "chr1:1-99"])

    assert (tmp_path / "b.fa").read_bytes() == b">chr1:1-99 first\nACGT\nAC\n>chr3 \xe9\nTTT\n"


def test_a_contig_that_is_not_there_is_named(tmp_path: Path):
    (tmp_path / "a.fa").write_text(">chr1\nACGT\n>HLA-A\nACGT\n")

    with pytest.raises(InvalidAssetError, match="no contig 'chr2', 'chrX'; it has chr1, HLA-A"):
        write_contigs(str(tmp_path / "a.fa"), str(tmp_path / "b.fa"), ["chrX", "chr1", "chr2"])


@st.composite
def regions_of(draw: st.DrawFn) -> list[Region]:
    """Regions as read_bed gives them: by contig, in order, apart."""
    made: list[Region] = []
    for contig in draw(st.lists(st.sampled_from(["chr1:1-99", "chr2", "chr3", "HLA-A*01:01"]), unique=True)):
        ends = sorted(draw(st.sets(st.integers(0, 60), max_size=12)))
        made += [(contig, start, end) for start, end in zip(ends[::2], ends[1::2], strict=False)]
    return made


def bases(regions: list[Region]) -> list[tuple[str, int]]:
    return [(contig, place) for contig, start, end in regions for place in range(start, end)]


@given(regions_of(), regions_of())
def test_what_regions_share_and_what_they_have_apart_are_all_of_them_and_nothing_twice(
    regions: list[Region], others: list[Region]
):
    shared, apart = intersection(regions, others), intersection(regions, others, inverse=True)

    there = set(bases(others))
    assert bases(shared) == [base for base in bases(regions) if base in there]
    assert bases(apart) == [base for base in bases(regions) if base not in there]
    assert all(start < end for _, start, end in [*shared, *apart])


@given(
    st.lists(
        st.tuples(st.text("abc", min_size=1), st.lists(st.integers(1, 10**7), min_size=1, max_size=3)),
        min_size=1,
        unique_by=lambda contig: contig[0],
    )
)
def test_no_contig_is_cut_and_lists_stay_below_the_longest_contig(contigs: list[tuple[str, list[int]]]):
    regions = [
        (name, sum(lengths[:number]) + number, sum(lengths[: number + 1]) + number)
        for name, lengths in contigs
        for number in range(len(lengths))
    ]

    made = by_contig(regions)

    assert [region for piece in made for region in piece] == regions
    assert all(made)
    names = [{contig for contig, _, _ in piece} for piece in made]
    assert sum(map(len, names)) == len(contigs)
    sizes = [sum(end - start for _, start, end in piece) for piece in made]
    total, longest = sum(sizes), max(sum(lengths) for _, lengths in contigs)
    assert max(sizes) <= max(LEAST, longest, -(-2 * total // MOST))
    assert len(made) <= MOST


COPIES = st.lists(
    st.tuples(st.sampled_from(sorted(PLOIDY_CONTIGS)), st.sampled_from(["", "M:", "F:"]), st.integers(0, 2)),
    unique_by=lambda item: item[0],
)


@settings(max_examples=25)
@given(COPIES, st.sampled_from(["M", "F"]))
def test_parts_of_equal_ploidy_are_all_that_a_sample_has_copies_of(
    items: list[tuple[str, str, int]], sex: str
):
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "store")
        fasta, bed = Path(folder, "r.fa"), Path(folder, "i.bed")
        fasta.write_text(
            "".join(f">{name}\n{'ACGT' * (length // 4)}\n" for name, length in PLOIDY_CONTIGS.items())
        )
        bed.write_text("chr1:1-99\t10\t40\nchr1:1-99\t50\t60\nchrX\t0\t80\n")
        reference = bench.add(fasta, Reference(build="b"))
        bench.run(samtools_faidx, reference)
        intervals = bench.add(bed, Intervals(name="i"))
        ploidy = [f"{contig}:{of_sex}{copies}" for contig, of_sex, copies in items]

        parts = bench.run(
            intervals_by_ploidy, reference, [intervals], "s", ["s"], ploidy, [f"s:{sex}"] if ploidy else []
        )

        found = {
            int(copies): bases(read_bed(bench.path(part), PLOIDY_CONTIGS))
            for copies, (part,) in parts.items()
        }
    known = {contig: copies for contig, of_sex, copies in items if of_sex in ("", f"{sex}:")}
    wanted: dict[int, list[tuple[str, int]]] = {}
    for base in bases([("chr1:1-99", 10, 40), ("chr1:1-99", 50, 60), ("chrX", 0, 80)]):
        wanted.setdefault(known.get(base[0], 2), []).append(base)
    wanted.pop(0, None)
    assert found == wanted
