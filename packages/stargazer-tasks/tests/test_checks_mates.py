"""Reads and their mates at registration: who goes with whom, and what is refused with its way out."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from stargazer.assets import R1, R2, FormatError
from stargazer.storage import Addition, Store
from stargazer.tasks.checks.reads import is_phred64

Name = Callable[[int, int], str]
"""The first line of a read, of its number and that of the mate."""

COUNT = 400


def reads(mate: int, name: Name, numbers: Iterable[int] = range(COUNT)) -> list[str]:
    """Records that differ in bases, and from those of the other mate."""
    made = []
    for number in numbers:
        bases = "".join(random.Random(10 * number + mate).choices("ACGT", k=50))
        made.append(f"@{name(number, mate)}\n{bases}\n+\n{'I' * 50}\n")
    return made


def write(path: Path, records: Iterable[str]) -> Path:
    data = "".join(records).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def slash(number: int, mate: int) -> str:
    return f"r{number}/{mate}"


def plain(number: int, mate: int) -> str:
    return f"r{number}"


NAMES: dict[str, Name] = {
    "/": slash,
    "none": plain,
    ".": lambda number, mate: f"SRR1.{number}.{mate} {number} length=50",
    "_": lambda number, mate: f"SRR1.{number}_{mate}",
    "of SRA": lambda number, mate: f"SRR1.{number}",
    "of Illumina": lambda number, mate: f"A00404:32:HCLWHDSXX:1:1104:20799:{number} {mate}:N:0:ACGT",
    "no ASCII in the comment": lambda number, mate: f"r{number} größe",
}


def together(store: Store, one: Path, two: Path) -> list[str]:
    """Register a linked pair: the checks that its import names."""
    r1 = R1(sample="S")
    store.add([Addition(one, r1), Addition(two, R2(sample="S", r1_cid=r1))])
    document = store.document(store.documents(r1.cid or "")[0])
    return [check.split(" ")[0] for check in document.checks]  # type: ignore[union-attr]


@pytest.mark.parametrize("suffix", [".fq", ".fq.gz"])
@pytest.mark.parametrize("name", NAMES)
def test_mates_are_taken(name: str, suffix: str, store: Store, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"x_R{mate}{suffix}", reads(mate, NAMES[name])) for mate in (1, 2)]
    assert {"r1.mates", "r2.mates"} <= set(together(store, *paths))


def test_a_handful_of_bases_may_be_the_same(store: Store, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"x_R{mate}.fq", ["@r\nACGT\n+\nIIII\n"]) for mate in (1, 2)]
    together(store, *paths)


def test_reads_without_a_signal_may_be_the_same(store: Store, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"x_R{mate}.fq", [f"@r\n{'G' * 99}\n+\n{'#' * 99}\n"]) for mate in (1, 2)]
    together(store, *paths)


def trimmed(read: str) -> str:
    """A read without its last base."""
    head, bases, plus, qualities, _ = read.split("\n")
    return f"{head}\n{bases[:-1]}\n{plus}\n{qualities[:-1]}\n"


def rest_of(numbers: Iterable[int]) -> list[int]:
    return [number for number in range(COUNT) if number not in set(numbers)]


BAD: dict[str, tuple[list[str], list[str], str]] = {
    "the same reads": (reads(1, plain), reads(1, plain), "r1 and r2 hold the same reads"),
    "the same reads, renamed": (reads(1, slash), [read.replace("/1", "/2") for read in reads(1, slash)], "same reads"),
    "other reads": (reads(1, plain), reads(2, lambda n, m: f"q{n}"), "record 1: the names differ: 'r0' and 'q0'"),
    "another order": (reads(1, slash), reads(2, slash, [1, 0, *range(2, COUNT)]), "pair -1 x_R1.fq.gz -2 x_R2.fq`"),
    "a read less": (reads(1, slash), reads(2, slash, rest_of([3])), "record 4: the names differ: 'r3/1' and 'r4/2'"),
    "the last one less": (reads(1, slash), reads(2, slash, rest_of([COUNT - 1])), "the last record: the names differ"),
    "exchanged": (reads(2, slash), reads(1, slash), "the second reads were given as the first ('r0/2' and 'r0/1')"),
    "exchanged, by comment": (
        reads(2, NAMES["of Illumina"]), reads(1, NAMES["of Illumina"]), "the second reads were given as the first"
    ),
    "the same reads, one file trimmed": (reads(1, plain), [trimmed(read) for read in reads(1, plain)], "same reads"),
    "the same reads, other qualities": (
        reads(1, plain), [read.replace("I", "F") for read in reads(1, plain)], "same reads"
    ),
    "the same reads, shuffled": (reads(1, plain), reads(1, plain, [1, 0, *range(2, COUNT)]), "same reads"),
    "other first reads": (
        reads(1, NAMES["of Illumina"]), reads(2, lambda n, m: NAMES["of Illumina"](n, 1)),
        "both hold the first reads of pairs, as they say"
    ),
    "a number that is no ending of mates": (
        reads(1, lambda n, m: f"r{n}:{m}"), reads(2, lambda n, m: f"r{n}:{m}"), "names that end in /1 and /2"
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", ["together", "one after the other", "linked later"])
@pytest.mark.parametrize("case", BAD)
def test_what_are_no_mates_is_refused(case: str, how: str, store: Store, tmp_path: Path) -> None:
    first, second, said = BAD[case]
    one, two = write(tmp_path / "x_R1.fq.gz", first), write(tmp_path / "x_R2.fq", second)
    r1 = R1(sample="S")
    pair = [Addition(one, r1), Addition(two, R2(sample="S", r1_cid=r1))]
    if how != "together":
        store.add([pair.pop(0)])
    if how == "one after the other":
        pair = [Addition(two, R2(sample="S"))]
    before = store.query({})

    with pytest.raises(FormatError) as caught:
        store.add(pair)

    assert said in str(caught.value)
    assert f"'{one.name}' and '{two.name}': " in str(caught.value)
    assert store.query({}) == before


@pytest.mark.parametrize("bgzip", [True, False])
def test_large_files_are_compared_by_what_is_read_of_them(
    bgzip: bool, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pysam import tabix_compress

    paths = [write(tmp_path / f"x_R{mate}.fq", reads(mate, slash, range(COUNT - mate))) for mate in (1, 2)]
    for path in paths:
        if bgzip:
            tabix_compress(str(path), f"{path}.gz")
        else:
            write(path.with_suffix(".fq.gz"), [path.read_text()])
    monkeypatch.setattr("stargazer.assets.formats.compression.WHOLE", 1 << 12)
    for module in ("compression", "fastq"):
        monkeypatch.setattr(f"stargazer.assets.formats.{module}.HEAD", 1 << 10)
    compressed = [Path(f"{path}.gz") for path in paths]
    if bgzip:
        with pytest.raises(FormatError, match="the last record: the names differ"):
            together(store, *compressed)
    else:
        together(store, *compressed)
    with pytest.raises(FormatError, match="the last record: the names differ"):
        together(store, *paths)


def test_without_a_link_the_only_reads_of_the_lane_are_the_mates(store: Store, tmp_path: Path) -> None:
    x1 = write(tmp_path / "x_R1.fq", reads(1, slash))
    y2 = write(tmp_path / "y_R2.fq", reads(2, lambda number, mate: f"y{number}"))
    y1 = write(tmp_path / "y_R1.fq", reads(1, lambda number, mate: f"y{number}"))
    store.add([Addition(x1, R1(sample="S", lane="L1"))])
    store.add([Addition(y2, R2(sample="S", lane="L2"))])
    store.add([Addition(y2, R2(sample="T", lane="L1"))])
    store.add([Addition(y2, R2(sample="S", lane="L1", library="other"))])
    with pytest.raises(FormatError, match="these files are not mates"):
        store.add([Addition(y2, R2(sample="S", lane="L1"))])
    store.add([Addition(y1, R1(sample="S", lane="L1"))])  # two r1: whose mates they are is not clear any more
    store.add([Addition(y2, R2(sample="S", lane="L1"))])


def interleaved(name: Name) -> list[str]:
    return [read for pair in zip(reads(1, name), reads(2, name), strict=True) for read in pair]


@pytest.mark.parametrize("asset", [R1(sample="a b", lane="L1"), R2(sample="a b", lane="L1")])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "no ASCII in the comment"])
def test_an_interleaved_file_is_refused_with_the_way_out(
    name: str, asset: R1 | R2, store: Store, tmp_path: Path
) -> None:
    path = write(tmp_path / "my reads.fq", interleaved(NAMES[name]))
    with pytest.raises(FormatError) as caught:
        store.add([Addition(path, asset.copy())])
    assert "'my reads.fq' is interleaved" in str(caught.value)
    assert "`stargazer add --interleaved 'my reads.fq' 'sample=a b' lane=L1`" in str(caught.value)
    assert store.query({}) == []


@pytest.mark.parametrize("name", ["/", "of Illumina", "_"])
def test_one_interleaved_file_given_twice_is_refused(name: str, store: Store, tmp_path: Path) -> None:
    one = write(tmp_path / "x_R1.fq.gz", interleaved(NAMES[name]))
    two = write(tmp_path / "x_R2.fq", interleaved(NAMES[name]))
    with pytest.raises(FormatError, match="is interleaved"):
        together(store, one, two)


@pytest.mark.parametrize("platform", ["IONTORRENT", "ONT"])
@pytest.mark.parametrize(("letters", "taken"), [("hgfeB", False), ("I", True)])
def test_phred64_is_refused_for_any_platform(
    letters: str, taken: bool, platform: str, store: Store, tmp_path: Path
) -> None:
    quality = (letters * 100)[:100]
    path = write(tmp_path / "x.fq", [f"@r{number}\n{'A' * 100}\n+\n{quality}\n" for number in range(20)])
    addition = Addition(path, R1(sample="S", platform=platform))
    if taken:
        assert store.add([addition])
        return
    with pytest.raises(FormatError, match=r"Phred\+64 .*seqtk seq -Q64 -V x.fq"):
        store.add([addition])


@pytest.mark.parametrize(
    ("lowest", "highest", "count", "expected"),
    [
        (33, 71, 10**6, True),  # B to h, of Illumina before 1.8
        (71, 71, 2000, True),
        (26, 71, 10**6, True),  # of Solexa
        (40, 40, 10**6, False),  # all alike, as simulators write them
        (2, 41, 10**6, False),
        (2, 71, 10**6, False),
        (30, 93, 10**6, False),  # HiFi and consensus reads
        (33, 71, 999, False),  # too few
        (26, 50, 10**6, False),  # of Element, trimmed
        (26, 55, 10**6, False),
        (33, 56, 10**6, True),
    ],
)
def test_phred64_is_told_by_the_lowest_and_the_highest(
    lowest: int, highest: int, count: int, expected: bool
) -> None:
    assert is_phred64(lowest, highest, count) is expected
