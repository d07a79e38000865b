"""Reading and checking FASTQ records, and telling which reads are mates.

A record has four lines, as bwa reads them: `@name comment`, bases, `+` with any text, and as many qualities from `!` to
`~`. Lines may end as on Windows, reads may be empty, and blank lines may follow the last record.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from stargazer.assets.errors import FormatError
from stargazer.assets.formats.compression import (
    GZIP,
    HEAD,
    first_bytes,
    head_of,
    is_small,
    last_bytes,
    opened,
    start_of,
)

__all__ = ["Record", "are_interleaved", "check_fastq", "first_reads", "in_order", "last_read",
           "last_record", "mate_number", "name_of", "read_fastq", "template_name"]  # fmt: skip


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


Record = tuple[bytes, bytes, bytes]
"""The first line of a read without its `@` (name and comment), its bases and its qualities."""

BASES = b"ACGTNRYSWKMBDHVXacgtnryswkmbdhvx.*-"  # without U, which aligners take for any base
QUALITIES = bytes(range(ord("!"), ord("~") + 1))
IN_NAME = QUALITIES.replace(b"@", b"")  # QNAME in the SAM specification, section 1.4
LONGEST_NAME = 254
LONGEST_LINE = 1 << 25  # a read is shorter by far: what has no line ends is no FASTQ
COMPRESSED = {
    b"BZh": ("with bzip2", "bunzip2"),
    b"\xfd7zXZ": ("with xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("with zstd", "unzstd"),
    b"PK\x03\x04": ("with zip", "unzip"),
    b"\x1f\x8b": ("twice with gzip", "gunzip"),
}
BLOCK = 1 << 18  # bytes that are read at once; both more and fewer are slower


def check_fastq(path: Path) -> None:
    """FASTQ, plain or gzip: a small file to its end; of a large one the first records and, if it is plain, the last."""
    head_of(path, "FASTQ")
    if is_small(path):
        with opened(path) as file:
            for _ in read_fastq(file, path.name):
                pass
        return
    first_reads(path)
    if not start_of(path).startswith(GZIP):
        last_read(path)


def first_reads(path: Path) -> list[Record]:
    """The whole records in the first bytes of FASTQ.

    Raises:
        FormatError: it is no FASTQ.
    """
    raw, head = first_bytes(path)
    return list(read_fastq(io.BytesIO(head), path.name, whole=max(len(raw), len(head)) < HEAD))


def last_read(path: Path) -> Record | None:
    """The last record of FASTQ; None of a large file that has to be decompressed from its beginning.

    Raises:
        FormatError: it does not end with a whole record.
    """
    end = last_bytes(path, lines=8)
    return None if end is None else last_record(end, path.name)


def read_fastq(file: Readable, title: str, *, whole: bool = True) -> Iterator[Record]:
    """The records of FASTQ, decompressed.

    Args:
        title: of the file, for messages.
        whole: it is read to its end; otherwise what is given is its beginning, and a record that is cut is left out.

    Raises:
        FormatError: it is no FASTQ; the message names file, record and line.
    """
    count = 0
    parts = _lines(file, title, whole)
    for lines in parts:
        if (records := _at_once(lines)) is not None:
            yield from records
            count += len(lines) // 4
            continue
        for at in range(0, len(lines), 4):
            record = lines[at : at + 4]
            if count and not record[0] and not any(any(more) for more in [lines[at:], *parts]):
                return
            if len(record) < 4 and not whole:
                return
            yield _checked(record, title, count)
            count += 1


def last_record(end: bytes, title: str) -> Record:
    """The record that FASTQ ends with.

    Args:
        end: enough of its end to hold it.

    Raises:
        FormatError: it does not end with a whole record.
    """
    lines = [line.removesuffix(b"\r") for line in end.rstrip(b"\r\n").split(b"\n")]
    for record in lines[-4:], [*lines[-3:], b""]:  # an empty read ends with an empty line
        if len(record) == 4 and _problem(record) is None:
            return record[0][1:], record[1], record[3]
    raise FormatError(
        f"{title!r} is truncated: its last line is no end of a record: {_shown(lines[-1])}; copy it again"
    )


def name_of(line: bytes) -> bytes:
    """The name of a read, of its first line without the `@`."""
    return (line.split(None, 1) or [b""])[0]


def template_name(first: bytes, second: bytes) -> bytes | None:
    """The name that two mates have in common; None if reads of these names are no mates.

    Mates have the same name, or names that differ in a last 1 and 2 after `/`, `.` or `_` alone. A `/` with a digit is
    never kept, as by bwa.
    """
    if first == second:
        return _without_number(first)
    if first[:-1] == second[:-1] and first[-1:] == b"1" and second[-1:] == b"2" and len(first) > 2:
        return first[:-2] if first[-2:-1] in (b"/", b".", b"_") else None
    bare = _without_number(first)
    swapped = len(first) == len(second) and first > second
    return bare if bare == _without_number(second) and not swapped else None


def mate_number(line: bytes) -> int | None:
    """1 or 2 where a read says of itself that it is the first or second of a pair: `x/1`, or `x 1:N:0` of Illumina.

    What follows `.` or `_` may be any number, and tells nothing by itself.
    """
    for word in line.split(None, 2)[:2]:
        if word[-2:] in (b"/1", b"/2"):
            return int(word[-1:])
        if word[:4] in (b"1:N:", b"1:Y:", b"2:N:", b"2:Y:"):
            return int(word[:1])
    return None


def in_order(one: bytes, two: bytes) -> tuple[bytes, bytes]:
    """The first lines of two mates, that of the first read first, as far as they say which it is."""
    return (two, one) if (mate_number(one), mate_number(two)) == (2, 1) else (one, two)


def are_interleaved(records: Sequence[Record]) -> bool:
    """Whether the first records of a file are first and second reads by turns, or second and first.

    Two pairs tell it, or one whose reads carry their numbers, or have the same name and other bases.
    """
    lines = [line for line, _, _ in records]
    pairs = [in_order(one, two) for one, two in zip(lines[::2], lines[1::2], strict=False)]
    names = [template_name(name_of(one), name_of(two)) for one, two in pairs]
    if not names or None in names or len(set(names)) < len(names):
        return False
    numbers = {(mate_number(one), mate_number(two)) for one, two in pairs}
    alike = len(records) == 2 and name_of(lines[0]) == name_of(lines[1]) and records[0][1:] != records[1][1:]
    return numbers == {(1, 2)} or ((len(pairs) > 1 or alike) and numbers == {(None, None)})


def _without_number(name: bytes) -> bytes:
    return name[:-2] if name[-2:-1] == b"/" and name[-1:].isdigit() and len(name) > 2 else name


def _lines(file: Readable, title: str, whole: bool) -> Iterator[list[bytes]]:
    """The lines of a file without their ends, many at once: of whole records, and at last what is left."""
    lines: list[bytes] = []
    rest, windows, before = b"", False, 0
    while block := file.read(BLOCK):
        windows = windows or b"\r" in block
        *more, rest = (rest + block).split(b"\n")
        if len(rest) > LONGEST_LINE:
            number = before + len(lines) + len(more) + 1
            raise FormatError(
                f"{title!r} is not FASTQ: line {number} has more than {LONGEST_LINE:,} characters"
            )
        lines += more
        if ready := len(lines) - len(lines) % 4:
            yield [line.removesuffix(b"\r") for line in lines[:ready]] if windows else lines[:ready]
            before += ready
            del lines[:ready]
    if whole and rest:
        lines.append(rest)
    yield [line.removesuffix(b"\r") for line in lines]


def _at_once(lines: list[bytes]) -> Iterator[Record] | None:
    """The records of lines that are right, all of which are looked at together; None if any is not."""
    heads, bases, pluses, qualities = lines[::4], lines[1::4], lines[2::4], lines[3::4]
    try:
        names = [head.split(None, 1)[0] for head in heads]
    except IndexError:
        return None
    right = (
        lines
        and len(lines) % 4 == 0
        and {head[:1] for head in heads} == {b"@"}
        and b"".join(names).translate(None, IN_NAME) == b"@" * len(names)
        and 1 < min(map(len, names)) <= max(map(len, names)) <= LONGEST_NAME + 1
        and not b"".join(bases).translate(None, BASES)
        and {plus[:1] for plus in pluses} == {b"+"}
        and not b"".join(qualities).translate(None, QUALITIES)
        and list(map(len, bases)) == list(map(len, qualities))
    )
    return zip([head[1:] for head in heads], bases, qualities, strict=True) if right else None


def _checked(record: list[bytes], title: str, count: int) -> Record:
    """A record of which something may be wrong.

    Args:
        count: of the records before it.
    """
    number, line = count + 1, 4 * count + 1
    if line == 1 and not record[0].startswith(b"@"):
        for magic, (what, remedy) in COMPRESSED.items():
            if record[0].startswith(magic):
                raise FormatError(
                    f"{title!r} is compressed {what}: decompress it (`{remedy}`); gzip is read as it is"
                )
        raise FormatError(
            f"{title!r} is not FASTQ: line 1 begins with {_shown(record[0][:20])}, expected '@'"
        )
    if not record[0]:
        raise FormatError(f"{title!r}, line {line}: a blank line among the records: remove it")
    if b"\r" in record[0]:
        raise FormatError(
            f"{title!r}, line {line}: the line ends are those of an old Macintosh: convert them with `tr '\\r' '\\n'`"
        )
    if len(record) < 4:
        while not record[-1]:
            record = record[:-1]
        raise FormatError(
            f"{title!r} is truncated: record {number} (line {line}) has {len(record)} of 4 lines"
        )
    if problem := _problem(record):
        raise FormatError(f"{title!r}, record {number} (line {line + problem[0]}): {problem[1]}")
    return record[0][1:], record[1], record[3]


def _problem(record: list[bytes]) -> tuple[int, str] | None:
    """What is wrong with a record of four lines, if anything is, and with which of them, from 0."""
    head, bases, plus, qualities = record
    if not head.startswith(b"@") or not plus.startswith(b"+"):
        got = f"{_shown(head)} ... {_shown(plus)}"
        is_wrapped = head.startswith(b"@") and bases and plus and not (bases + plus).translate(None, BASES)
        return 0, f"not FASTQ: expected '@name', sequence, '+', quality, got {got}" + (
            "; where sequences are wrapped, `seqtk seq` writes each in one line" if is_wrapped else ""
        )
    name = name_of(head)[1:]
    if not name:
        return 0, f"the read has no name: {_shown(head)}"
    if wrong := name.translate(None, IN_NAME):
        return 0, (
            f"{_shown(wrong.decode('utf-8', 'replace')[:1])} cannot be in the name of a read (SAM specification, "
            f"QNAME): {_shown(name)}"
        )
    if len(name) > LONGEST_NAME:
        return (
            0,
            f"{len(name)} characters of name, at most {LONGEST_NAME} fit into an alignment: {_shown(name)}",
        )
    if wrong := bases.translate(None, BASES):
        column = bases.index(wrong[:1]) + 1
        is_rna = not wrong.translate(None, b"Uu")
        return 1, f"not a nucleotide sequence: {_shown(bases)} has {_shown(wrong[:1])} in column {column}" + (
            ", and aligners know T alone: write T for U: `sed '2~4y/Uu/Tt/'`" if is_rna else ""
        )
    if wrong := qualities.translate(None, QUALITIES):
        return 3, f"{_shown(wrong[:1])} is no quality: expected '!' to '~'"
    if len(bases) != len(qualities):
        return 0, f"sequence has {len(bases)} letters, quality {len(qualities)}"
    return None


def _shown(text: bytes | str) -> str:
    """Some of it as people read it."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return repr(text[:40])
