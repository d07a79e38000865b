"""Reading and checking reference FASTA: contig names, line structure and bases, in one pass.

What is valid here, `samtools faidx`, `samtools dict` and bwa read alike. Memory is that of a part of the file, however
long its contigs are.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
from stargazer.assets.errors import FormatError
from stargazer.assets.formats.compression import GZIP, head_of, is_bgzf, opened, start_of

__all__ = ["SMALL", "FastaContig", "ambiguity_notes", "check_beginning", "check_fasta", "read_contigs",
           "small_contigs"]  # fmt: skip

SMALL = 32 << 20
"""Bytes, as they are and decompressed, of a FASTA that is read whole when it is added: a fraction of a second."""

MOST_BASES = 2**31 - 1
"""Of a contig (SAM specification, section 1.3: LN)."""

PART = 1 << 20  # bytes that are looked at together
TITLE = 1 << 16  # bytes of a title line that are kept
SHOWN = 40  # characters of a line in a message
PLACES = 10  # of ambiguity codes that are told of a contig

NAME = re.compile(rb"[0-9A-Za-z!$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*")
"""Of a contig (SAM specification, section 1.2.1); with # first, records of VCF and BED would be comments."""

CODES = b"RYSWKMBDHVUX.*-"
"""What stands for a base that is not known exactly, other than N; bwa and bcftools take each for any base."""

NO_BASE = re.compile(rb"[^ACGTN" + re.escape(CODES) + rb"]", re.IGNORECASE)
AMBIGUOUS = re.compile(rb"[^ACGTN]")
LOWER_CASE = bytes(range(ord("a"), ord("z") + 1))

RENAME = (
    r"LC_ALL=C sed '/^>/{s,[^[:space:]0-9A-Za-z!#$%&*+./:;=?@^_|~-],_,g;s/^_/>/;s/^>[*=#]/>_/;}'"  # '>' too
)
UNINDENT = "sed 's/^>[[:space:]]*/>/'"
REWRAP = """awk '/^>/{if(NR>1)print "";print;next}{gsub(/[ \\t\\r]/,"");printf "%s",$0}END{print ""}'"""
FROM_MAC, FROM_WINDOWS = r"tr '\r' '\n'", r"tr -d '\r'"


@attrs.frozen
class FastaContig:
    """A contig of a reference.

    Attributes:
        length: in bases.
        md5: of the sequence in capitals, as `samtools dict` has it (M5).
        n: how many bases are N.
        soft_masked: how many are in lower case.
        codes: how many are each of the other ambiguity codes, in capitals.
        places: of these, the first ones: position, counted from 1, and code.
    """

    name: str
    length: int
    md5: str
    n: int
    soft_masked: int
    codes: Mapping[str, int]
    places: Sequence[tuple[int, str]]


def check_fasta(path: Path) -> None:
    """FASTA, plain or BGZF (which can be read in parts): all of a small file."""
    head, raw = head_of(path, "FASTA"), start_of(path)
    if raw.startswith(GZIP) and not is_bgzf(raw):
        raise FormatError(
            f"{path.name!r} is plain gzip, which cannot be read in parts: add it decompressed (`gunzip`) or as `bgzip`"
        )
    if small_contigs(path) is None:
        check_beginning(head, path.name)


def read_contigs(path: Path, name: str = "") -> Iterator[FastaContig]:
    """The contigs of a whole FASTA, plain or gzip.

    Args:
        name: what errors call the file; its own name by default.

    Raises:
        FormatError: it breaks a rule of a reference: which, in which line, and what mends it.
    """
    reader = _Reader(name or path.name)
    for part in _parts(path):
        yield from reader.take(part)
    yield from reader.end()


def small_contigs(path: Path) -> Sequence[FastaContig] | None:
    """The contigs of a FASTA that is small, plain or gzip; None of one that is not.

    Raises:
        FormatError: as read_contigs.
    """
    status = path.stat()
    return _small(path, status.st_size, status.st_mtime_ns) if status.st_size <= SMALL else None


def check_beginning(data: bytes, name: str) -> None:
    """Judge a FASTA by its first bytes, decompressed.

    Raises:
        FormatError: as read_contigs.
    """
    reader = _Reader(name)
    for _ in reader.take(data[: data.rfind(b"\n") + 1]):
        pass


def ambiguity_notes(contigs: Iterable[FastaContig], build: str) -> list[str]:
    """What the ambiguity codes of a reference mean for calls, in a sentence; [] where there are none."""
    codes: Counter[str] = Counter()
    places: list[str] = []
    for contig in contigs:
        codes.update(contig.codes)
        places += [f"{code} at {contig.name}:{at}" for at, code in contig.places[: PLACES - len(places)]]
    if not codes:
        return []
    count, more = codes.total(), codes.total() - len(places)
    where = ", ".join(places) + (f", and {more:,} more" if more else "")
    bases, are = ("base", "is an ambiguity code") if count == 1 else ("bases", "are ambiguity codes")
    note = f"{count:,} {bases} of the reference {build} {are} ({where}): no variant can be called there"
    return [note + ("; write T for U, and add that" if "U" in codes else "")]


@functools.lru_cache(maxsize=4)
def _small(path: Path, size: int, modified: int) -> Sequence[FastaContig] | None:
    reader, read = _Reader(path.name), 0
    contigs: list[FastaContig] = []
    for part in _parts(path):
        read += len(part)
        if read > SMALL:
            return None
        contigs += reader.take(part)
    return (*contigs, *reader.end())


def _parts(path: Path) -> Iterator[bytes]:
    with opened(path) as file:
        yield from iter(functools.partial(file.read, PART), b"")


@attrs.define
class _Contig:
    """A contig that is being read.

    Attributes:
        title: the number of its title line.
        width: bases of its first line; 0 before that.
        is_crlf: its first line ends with a carriage return and a line feed.
        ends: after a short or a blank line, what is wrong if another one has bases.
    """

    name: str
    title: int
    length: int = 0
    n: int = 0
    soft_masked: int = 0
    width: int = 0
    is_crlf: bool = False
    ends: Callable[[], FormatError] | None = None
    md5: hashlib._Hash = attrs.field(factory=lambda: hashlib.md5(usedforsecurity=False))
    codes: Counter[str] = attrs.field(factory=Counter)
    places: list[tuple[int, str]] = attrs.field(factory=list)


class _Reader:
    """Reads a FASTA part by part.

    Args:
        name: of the file.
    """

    def __init__(self, name: str):
        self._name = name
        self._line = 1  # the number of the line that is being read
        self._column = 0  # bases of it that were read
        self._contig: _Contig | None = None
        self._titles: dict[str, int] = {}  # number of the title line by contig
        self._held = b""  # what ended a part: the beginning of a title line, or a carriage return

    def take(self, data: bytes) -> Iterator[FastaContig]:
        """Read a part; give the contigs that end in it."""
        data, self._held = self._held + data, b""
        at = 0
        while at < len(data):
            if not self._column and data[at] == ord(">"):
                end = data.find(b"\n", at)
                if end < 0:
                    self._held = data[at : at + TITLE]
                    return
                yield from self._finished()
                self._begin(data[at + 1 : end + 1])
                at = end + 1
            else:
                end = data.find(b"\n>", at)
                stop = len(data) if end < 0 else end + 1
                if end < 0 and data.endswith(b"\r"):
                    stop, self._held = stop - 1, b"\r"
                self._read_lines(data[at:stop])
                at = stop + len(self._held)

    def end(self) -> Iterator[FastaContig]:
        """Judge the end of the file; give the last contig.

        Raises:
            FormatError: as read_contigs.
        """
        if self._held.startswith(b">"):
            yield from self._finished()
            self._begin(self._held[1:])
        elif self._held:
            raise self._stray_return(b"")
        if self._contig is None:
            raise self._error("no contig: a FASTA has a line that begins with '>' for each", line=0)
        if self._column:
            self._end_line(self._contig, self._contig.is_crlf)
        yield from self._finished()

    def _finished(self) -> Iterator[FastaContig]:
        if (contig := self._contig) is None:
            return
        if not contig.length:
            raise self._error(
                f"the contig {contig.name!r} is empty: it has no bases; remove this line, or add the sequence",
                line=contig.title,
            )
        yield FastaContig(contig.name, contig.length, contig.md5.hexdigest(), contig.n, contig.soft_masked,
                          dict(contig.codes), tuple(contig.places))  # fmt: skip

    def _begin(self, line: bytes) -> None:
        """Begin the contig of a title line, given without its '>' and with its line end."""
        title = line[:-1].removesuffix(b"\r") if line.endswith(b"\n") else line
        if b"\r" in title:
            raise self._stray_return(line)
        found = title.split(maxsplit=1)[0] if title[:1].strip() else b""
        name = _text(found)
        if not found:
            shown = _text(b">" + title[:SHOWN])
            remedy = f"remove the space: {self._mended(UNINDENT)}" if title.strip() else "give it one"
            raise self._error(
                f"a contig without a name: {shown!r} does not name one right after the '>'; {remedy}"
            )
        if not NAME.fullmatch(found):
            raise self._error(
                f"the contig {name!r} has a name that SAM and VCF cannot hold (SAM specification, section 1.2.1: "
                "letters, digits and !#$%&*+./:;=?@^_|~- alone, none of *, = and # first); "
                f"rename it: {self._mended(RENAME)}"
            )
        if other := self._titles.get(name):
            raise self._error(
                f"the contig {name!r} is there twice, it has line {other} too; remove one, or rename this: "
                + self._mended(f"sed '{self._line}s/^>[^[:space:]]*/&_2/'")
            )
        self._titles[name] = self._line
        self._contig = _Contig(name, self._line)
        self._line += 1

    # sequences

    def _read_lines(self, data: bytes) -> None:
        """Read lines, or parts of lines, that are no titles and belong to one contig."""
        if (contig := self._contig) is None:
            return self._read_before_first(data)
        at, try_many = 0, True
        while at < len(data):
            if try_many and contig.width and not self._column and not contig.ends:
                at += self._read_full_lines(contig, data[at:] if at else data)
                try_many = False
                continue
            end = data.find(b"\n", at)
            line = data[at:] if end < 0 else data[at:end]
            has_return = end >= 0 and line.endswith(b"\r")
            bases = line[:-1] if has_return else line
            if not bases and not self._column:
                contig.ends = contig.ends or functools.partial(self._blank, contig, self._line)
                self._line += 1
            else:
                self._count(contig, bases, len(bases))
                if contig.ends:
                    raise contig.ends()
                self._column += len(bases)
                if end >= 0:
                    self._end_line(contig, has_return)
            at = len(data) if end < 0 else end + 1
        return None

    def _read_before_first(self, data: bytes) -> None:
        """Read what is before the first contig: it must be blank."""
        if text := data.strip(b"\r\n"):
            if text.startswith(b">"):
                raise self._stray_return(data)
            self._line += data[: data.index(text)].count(b"\n")
            shown = _text(text.splitlines()[0][:20])
            raise FormatError(
                f"{self._name!r} is not FASTA: line {self._line} begins with {shown!r}, expected '>'"
            )
        self._line += data.count(b"\n")

    def _read_full_lines(self, contig: _Contig, data: bytes) -> int:
        """Read lines that are as long as the contig's first, all at once; return their bytes, 0 if one is not."""
        stride = contig.width + 1 + contig.is_crlf
        count = len(data) // stride
        lines = data[: count * stride]
        if lines.count(b"\n") != count or lines[stride - 1 :: stride] != b"\n" * count:
            return 0
        if contig.is_crlf and lines[stride - 2 :: stride] != b"\r" * count:
            return 0
        bases = lines.translate(None, b"\r\n" if contig.is_crlf else b"\n")
        if len(bases) != count * contig.width:
            return 0
        self._count(contig, bases, contig.width)
        self._line += count
        return len(lines)

    def _count(self, contig: _Contig, bases: bytes, width: int) -> None:
        """Count bases that begin in this line and are so many in each."""
        capitals = bases.upper()
        other = capitals.translate(None, b"ACGT")
        n = other.count(b"N")
        if len(other) > n:
            if wrong := NO_BASE.search(other):
                raise self._no_base(bases, capitals.index(wrong[0]), width)
            contig.codes.update(other.translate(None, b"N").decode("ascii"))
            for found in itertools.islice(AMBIGUOUS.finditer(capitals), PLACES - len(contig.places)):
                contig.places.append((contig.length + found.start() + 1, found[0].decode("ascii")))
        contig.n += n
        if capitals != bases:
            contig.soft_masked += len(bases) - len(bases.translate(None, LOWER_CASE))
        contig.md5.update(capitals)
        contig.length += len(bases)
        if contig.length > MOST_BASES:
            raise self._error(f"the contig {contig.name!r} has more than {MOST_BASES:,} bases, which is the most that "
                              "SAM and VCF can hold: cut it in two")  # fmt: skip

    def _end_line(self, contig: _Contig, is_crlf: bool) -> None:
        """End a line that has bases."""
        if not contig.width:
            contig.width, contig.is_crlf = self._column, is_crlf
        elif is_crlf != contig.is_crlf:
            raise self._error(
                f"the lines of the contig {contig.name!r} end in two ways, some with a carriage return (Windows) and "
                f"some without; make them alike: {self._mended(FROM_WINDOWS)}"
            )
        elif self._column > contig.width:
            raise self._uneven(contig, self._line, self._column)
        elif self._column < contig.width:
            contig.ends = functools.partial(self._uneven, contig, self._line, self._column)
        self._column = 0
        self._line += 1

    # errors

    def _error(self, problem: str, line: int | None = None) -> FormatError:
        number = self._line if line is None else line
        where = f", line {number}" if number else ""
        return FormatError(f"{self._name!r}{where}: {problem}")

    def _mended(self, command: str) -> str:
        """A command that writes the file anew, mended."""
        name = self._name.removesuffix(".gz")
        stem = name.rpartition(".")[0] or name
        source, target = shlex.quote(self._name), shlex.quote(f"{stem}.mended.fa")
        if self._name.endswith(".gz"):
            return f"`gzip -dc {source} | {command} > {target}`"
        reads = "<" if command.startswith("tr ") else ""
        return f"`{command} {reads}{source} > {target}`"

    def _blank(self, contig: _Contig, line: int) -> FormatError:
        return self._error(
            f"a blank line inside the sequence of the contig {contig.name!r}, which samtools faidx cannot index; "
            f"rewrap it: {self._mended(REWRAP)}",
            line=line,
        )

    def _uneven(self, contig: _Contig, line: int, bases: int) -> FormatError:
        return self._error(
            f"{bases:,} bases, and the first line of the contig {contig.name!r} has {contig.width:,}: samtools faidx "
            f"needs lines of the same length in a contig, the last one excepted; rewrap it: {self._mended(REWRAP)}",
            line=line,
        )

    def _stray_return(self, data: bytes) -> FormatError:
        is_mac = b"\n" not in data and self._line == 1
        why = (
            "these are line ends of an old Mac, samtools needs line feeds" if is_mac else "it is no line end"
        )
        return self._error(
            f"a carriage return without a line feed: {why}; "
            f"convert it: {self._mended(FROM_MAC if is_mac else FROM_WINDOWS)}"
        )

    def _no_base(self, bases: bytes, at: int, width: int) -> FormatError:
        """A character that is no nucleotide at this place of bases."""
        row, place = divmod(at, width)
        text = bases[row * width : row * width + width]
        character = text[place : place + 1]
        if character == b"\r":
            return self._stray_return(bases)
        shown, column = _text(text[:SHOWN]), place + 1 + (0 if row else self._column)
        if character.isspace():
            remedy = f"remove the white space: {self._mended(REWRAP)}"
        else:
            remedy = "letters of the IUPAC code for nucleotides are expected"
        return self._error(
            f"not a nucleotide sequence: {shown!r} has {_text(character)!r} in column {column:,}; {remedy}",
            line=self._line + row,
        )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
