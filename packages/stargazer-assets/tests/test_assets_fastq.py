"""FASTQ records: one definition for what checks and aligners take, and which reads are mates."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stargazer.assets import FormatError
from stargazer.assets.formats.compression import WHOLE
from stargazer.assets.formats.fastq import (
    BASES,
    BLOCK,
    IN_NAME,
    QUALITIES,
    Record,
    are_interleaved,
    check_fastq,
    first_reads,
    last_read,
    last_record,
    mate_number,
    name_of,
    read_fastq,
    template_name,
)

READ = b"@r\nACGT\n+\nIIII\n"


def text_of(letters: bytes, **sizes: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(letters), **sizes).map(bytes)


@st.composite
def records(draw: st.DrawFn) -> Record:
    bases = draw(text_of(BASES, max_size=30))
    qualities = draw(text_of(QUALITIES, min_size=len(bases), max_size=len(bases)))
    comment = draw(st.sampled_from([b"", b" 1:N:0:ACGT", b"\tx", " größe".encode(), b" \xff\xfe @+"]))
    return draw(text_of(IN_NAME, min_size=1, max_size=9)) + comment, bases, qualities


class Pieces:
    """Bytes that come in pieces of any size."""

    def __init__(self, data: bytes, sizes: list[int]):
        self.data, self.sizes = io.BytesIO(data), sizes

    def read(self, size: int, /) -> bytes:
        return self.data.read(min(size, self.sizes.pop() if self.sizes else size))


PLUS = st.binary(max_size=3).filter(lambda plus: not set(plus) & set(b"\r\n"))


@given(
    written=st.lists(records(), min_size=1, max_size=5),
    end=st.sampled_from([b"\n", b"\r\n"]),
    plus=PLUS,
    blank=st.integers(0, 5),
    sizes=st.lists(st.integers(1, 20), max_size=20),
)
def test_what_is_written_is_read_however_it_comes(
    written: list[Record], end: bytes, plus: bytes, blank: int, sizes: list[int]
) -> None:
    lines = [
        line for head, bases, qualities in written for line in (b"@" + head, bases, b"+" + plus, qualities)
    ]
    data = end.join([*lines, b""]) + end * blank

    assert list(read_fastq(Pieces(data, sizes), "x")) == written
    assert last_record(data, "x") == written[-1]
    cut = list(read_fastq(Pieces(data[: -len(end) * (blank + 1) - 1], sizes), "x", whole=False))
    assert cut == written[: len(cut)]
    assert len(cut) >= len(written) - 1


@given(st.lists(records(), min_size=1, max_size=4), st.data())
def test_what_is_cut_within_a_record_is_refused(written: list[Record], data: st.DataObject) -> None:
    whole = b"".join(b"@%b\n%b\n+\n%b\n" % record for record in written)
    ends = {
        0,
        *(
            len(b"".join(b"@%b\n%b\n+\n%b\n" % record for record in written[:n]))
            for n in range(len(written) + 1)
        ),
    }
    at = data.draw(st.integers(0, len(whole)))
    if not ends & {at, at + 1}:
        with pytest.raises(FormatError, match="'x'"):
            list(read_fastq(io.BytesIO(whole[:at]), "x"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"hello\n", "'x' is not FASTQ: line 1 begins with 'hello', expected '@'"),
        (b"\n" + READ, "'x' is not FASTQ: line 1 begins with '', expected '@'"),
        (READ * 2 + b"\n" + READ, "'x', line 9: a blank line among the records: remove it"),
        (READ + b"@r\nACGT\n", r"'x' is truncated: record 2 \(line 5\) has 2 of 4 lines"),
        (READ + READ[:-2] + b"\n", r"record 2 \(line 5\): sequence has 4 letters, quality 3"),
        (b"@ x\nACGT\n+\nIIII\n", r"record 1 \(line 1\): the read has no name: '@ x'"),
        ("@rö\nACGT\n+\nIIII\n".encode(), r"record 1 \(line 1\): 'ö' cannot be in the name of a read"),
        (b"@%b\nA\n+\nI\n" % (b"r" * 255), "255 characters of name, at most 254 fit into an alignment"),
        (READ + b"@r\nAC!T\n+\nIIII\n", r"record 2 \(line 6\): not a nucleotide sequence: 'AC!T' has '!' in column 3"),
        (READ.replace(b"T", b"T "), r"record 1 \(line 2\): not a nucleotide sequence: 'ACGT ' has ' ' in column 5"),
        (b"@r\nACGT\nACGT\n+\nIIII\nIIII\n", "got '@r' ... 'ACGT'; where sequences are wrapped, `seqtk seq` writes"),
        (READ.replace(b"T", b"U"), r"not a nucleotide sequence: 'ACGU' has 'U' in column 4, .*: write T for U: `sed"),
        (b"BZh91AY", "'x' is compressed with bzip2: decompress it"),
        (b"\x28\xb5\x2f\xfd", "'x' is compressed with zstd: decompress it"),
        (b"\x1f\x8b\x08", "'x' is compressed twice with gzip: decompress it"),
        (READ + b"@r\nACGT\n+\nII I\n", r"record 2 \(line 8\): ' ' is no quality: expected '!' to '~'"),
        (READ.replace(b"\n", b"\r"), r"line 1: the line ends are those of an old Macintosh: convert them"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(data: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        list(read_fastq(io.BytesIO(data), "x"))


def test_what_has_no_line_ends_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stargazer.assets.formats.fastq.LONGEST_LINE", 1 << 20)
    file = io.BytesIO(READ + b"@" + bytes(10 << 20))
    with pytest.raises(FormatError, match=r"'x' is not FASTQ: line 5 has more than 1,048,576 characters"):
        list(read_fastq(file, "x"))
    assert file.tell() < 2 << 20


@pytest.mark.parametrize("before", [1, 3 * BLOCK // len(READ)])
def test_places_are_counted_across_blocks(before: int) -> None:
    with pytest.raises(FormatError, match=rf"record {before + 1} \(line {4 * before + 1}\): sequence has 3"):
        list(read_fastq(io.BytesIO(READ * before + READ.replace(b"ACGT", b"ACG")), "x"))


@pytest.mark.parametrize("ending", [b"", b"\n\n", b"\r\n"])
def test_a_large_plain_file_is_looked_at_from_both_ends(ending: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.fq"
    data = READ * (WHOLE // len(READ) + 1) + READ.replace(b"@r", b"@last") + ending
    path.write_bytes(data)
    check_fastq(path)
    assert last_read(path) == (b"last", b"ACGT", b"IIII")
    for lost in (2, 6, 9, 13):
        path.write_bytes(data[: len(data) - len(ending) - lost])
        with pytest.raises(FormatError, match=r"'x.fq' is truncated: its last line is no end of a record"):
            check_fastq(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_first_and_the_last_reads_of_a_file(compressed: bool, tmp_path: Path) -> None:
    path = tmp_path / "x"
    data = b"".join(READ.replace(b"@r", b"@r%d" % number) for number in range(9_999))
    path.write_bytes(gzip.compress(data) if compressed else data)
    assert first_reads(path)[:2] == [(b"r0", b"ACGT", b"IIII"), (b"r1", b"ACGT", b"IIII")]
    assert last_read(path) == (b"r9998", b"ACGT", b"IIII")


@pytest.mark.parametrize(
    ("first", "second", "template"),
    [
        ("a", "a", "a"),
        ("a/1", "a/2", "a"),
        ("a/1", "a/3", "a"),  # of an index read between them
        ("a/1", "a", "a"),
        ("SRR1.7.1", "SRR1.7.2", "SRR1.7"),
        ("SRR1.7", "SRR1.7", "SRR1.7"),
        ("a_1", "a_2", "a"),
        ("a_1", "a_1", "a_1"),
        ("a.2", "a.2", "a.2"),
        ("HWI:1:2#0/1", "HWI:1:2#0/2", "HWI:1:2#0"),
        ("a/2", "a/1", None),
        ("a.2", "a.1", None),
        ("a.11", "a.12", None),
        ("a.1", "a.3", None),
        ("a:1", "a:2", None),
        ("a", "b", None),
        ("a.1", "a_2", None),
        ("a.1", "a", None),
        ("/1", "/2", None),
    ],
)
def test_mates_have_a_name_in_common(first: str, second: str, template: str | None) -> None:
    found = template_name(first.encode(), second.encode())
    assert found == (template.encode() if template else None)


@given(text_of(IN_NAME, min_size=1, max_size=9), st.sampled_from([b"/", b".", b"_"]))
def test_an_ending_of_1_and_2_never_parts_mates(name: bytes, separator: bytes) -> None:
    assert template_name(name + separator + b"1", name + separator + b"2") == name


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("a/1", 1),
        ("a/2 x", 2),
        ("a 2:N:0:ACGT", 2),
        ("a 1:Y:18:0", 1),
        ("a b/2", 2),
        ("a.1", None),
        ("a 1 x", None),
    ],
)
def test_some_reads_say_which_mate_they_are(line: str, number: int | None) -> None:
    assert mate_number(line.encode()) == number


@pytest.mark.parametrize(
    ("lines", "interleaved"),
    [
        ("a/1 a/2", True),
        ("a/1 a/2 b/1 b/2 c/1", True),
        ("a a b b", True),
        ("a a", True),
        ("a/2 a/1", True),
        ("a/2 a/1 b/2 b/1", True),
        ("a,2:N:0 a,1:N:0", True),
        ("a/1 a/2 b/2 b/1", True),
        ("r.1 r.2", False),
        ("r.1 r.2 r.3 r.4", False),
        ("r.1.1 r.1.2 r.2.1 r.2.2", True),
        ("r_1 r_2 s_1 s_2", True),
        ("a a a a", False),
        ("a/1 b/1 c/1 d/1", False),
        ("a/1", False),
        ("a/1 a/1 b/1 b/1", False),
        ("a,1:N:0 a,2:N:0", True),
        ("a,1:N:0 a,1:N:0 b,1:N:0 b,1:N:0", False),
        ("", False),
    ],
)
def test_interleaved_reads_are_told_from_others(lines: str, interleaved: bool) -> None:
    bases = (b"A", b"C")
    reads = [(line.replace(",", " ").encode(), bases[at % 2], b"I") for at, line in enumerate(lines.split())]
    assert are_interleaved(reads) is interleaved
    assert not are_interleaved([(b"a", b"A", b"I")] * 2)  # the same read twice


def test_a_name_ends_at_white_space() -> None:
    assert [name_of(line) for line in (b"a b", b"a\tb", b"a", b"")] == [b"a", b"a", b"a", b""]
