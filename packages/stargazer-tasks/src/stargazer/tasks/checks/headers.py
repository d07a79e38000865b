"""Reads the headers of alignments (BAM, CRAM) and variants (VCF, BCF): contigs, samples, read groups, order."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar

import attrs
from stargazer.assets import FormatError
from stargazer.assets.keyvalues import composed
from stargazer.tasks.checks.bgzf import opened

__all__ = ["Contig", "Header", "alignment_header", "bam_header", "is_cram", "quiet_htslib", "read_count", "sam_contigs",
           "sam_header", "variants_header",
           "while_unchanged"]  # fmt: skip

T = TypeVar("T")

LARGEST = 256 << 20
"""Bytes of a header at most: one that is larger is damaged."""

MARKING_PROGRAM = re.compile(
    r"mark_?dup|dedup|rmdup|samblaster|streammd|doppelmark|bammarkduplicates|bamsormadup|gencore",
    re.IGNORECASE,
)
"""In the names of programs that mark or remove duplicates (`@PG` of a SAM header: ID, PN)."""
MARKING_COMMAND = re.compile(
    r"(?:^|\s|/)(?:markdup|rmdup|dedup|MarkDuplicates\w*|Call\w*ConsensusReads|--mark-duplicates)(?=\s|$)"
    r"|--algo[ =]Dedup\b|--enable-duplicate-marking[ =]true\b"
)
"""In their command lines, as words of their own, not parts of a file's name. Sentieon, elPrep and DRAGEN have words of
theirs; the consensus reads of fgbio, one for each molecule, have no duplicates."""
FIELD = re.compile(r'(?:^|,)\s*(ID|length|md5|M5)=("[^"]*"|[^,]*)')


@attrs.frozen
class Contig:
    """What is known of a contig: bases (None: not said) and the MD5 of its sequence in capitals ("": not said)."""

    length: int | None = None
    md5: str = ""


@attrs.frozen
class Header:
    """Of an alignment or of variants.

    Attributes:
        contigs: by name, in order.
        samples: of the columns of variants, or of the read groups of an alignment, each once; in Unicode's form C.
        order: of an alignment, as `@HD SO` says.
        first: the contig of the first record of variants, as far as that is text.
        read_groups: of an alignment: the fields of each `@RG` line by tag.
        programs: that made an alignment: the fields of each `@PG` line by tag.
    """

    contigs: Mapping[str, Contig]
    samples: list[str] = attrs.field(factory=list)
    order: str = ""
    first: str = ""
    read_groups: list[Mapping[str, str]] = attrs.field(factory=list)
    programs: list[Mapping[str, str]] = attrs.field(factory=list)

    @property
    def libraries(self) -> list[str]:
        """Of the read groups of an alignment, each once."""
        return _each(self.read_groups, "LB")

    @property
    def platforms(self) -> list[str]:
        """Of the read groups of an alignment, in capitals, each once."""
        return list(dict.fromkeys(name.upper() for name in _each(self.read_groups, "PL")))

    @property
    def duplicates_marked(self) -> bool:
        """Whether a program that marks duplicates is among those that made an alignment."""
        return any(
            MARKING_PROGRAM.search(program.get(tag, "")) for program in self.programs for tag in ("ID", "PN")
        ) or any(MARKING_COMMAND.search(program.get("CL", "")) for program in self.programs)


def is_cram(path: Path) -> bool:
    """Whether an alignment is CRAM."""
    with open(path, "rb") as file:
        return file.read(4) == b"CRAM"


def while_unchanged(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Keep what a function reads from the last few files while they stay as they are: several checks ask for it."""

    @functools.lru_cache(maxsize=8)
    def kept(path: Path, *state: int) -> T:
        return read(path)

    @functools.wraps(read)
    def current(path: Path) -> T:
        status = path.stat()
        return kept(path, status.st_ino, status.st_size, status.st_mtime_ns)

    return current


@while_unchanged  # with thousands of contigs it takes 20 ms
def alignment_header(path: Path) -> Header:
    """The header of a BAM or CRAM.

    Raises:
        FormatError: it is damaged.
    """
    return _cram_header(path) if is_cram(path) else bam_header(path)


def bam_header(path: Path) -> Header:
    """The header of a BAM.

    Raises:
        FormatError: it is damaged, or no BAM.
    """
    with _explained(path, FormatError, struct.error), opened(open(path, "rb")) as file:
        file.read(4)
        text = _read(file, read_count(file)).rstrip(b"\0").decode("utf-8", "replace")
        said = sam_contigs(text)
        contigs = {}
        for _ in range(read_count(file)):
            name = _read(file, read_count(file)).rstrip(b"\0").decode("utf-8", "replace")
            contigs[name] = Contig(read_count(file), said.get(name, Contig()).md5)
    return sam_header(text, contigs)


def sam_header(text: str, contigs: Mapping[str, Contig] | None = None) -> Header:
    """The header of an alignment from its text.

    Args:
        contigs: if they are known otherwise.

    Raises:
        FormatError: a length that is no number.
    """
    first, groups, programs = (_sam_lines(text, tag) for tag in ("@HD", "@RG", "@PG"))
    return Header(
        sam_contigs(text) if contigs is None else contigs,
        list(dict.fromkeys(map(composed, _each(groups, "SM")))),
        "".join(_each(first, "SO")),
        read_groups=groups,
        programs=programs,
    )


def variants_header(path: Path) -> Header:
    """The header of a VCF (plain or BGZF) or BCF.

    Raises:
        FormatError: it is damaged.
    """
    with _explained(path, FormatError, struct.error), opened(open(path, "rb")) as file:
        if file.peek(5)[:4] == b"BCF\x02":
            file.read(5)
            return _vcf_header(io.BytesIO(_read(file, read_count(file)).rstrip(b"\0")))
        return _vcf_header(file)


def sam_contigs(text: str) -> dict[str, Contig]:
    """The contigs of a SAM header's text.

    Raises:
        FormatError: a length that is no number.
    """
    found = {}
    for fields in _sam_lines(text, "@SQ"):
        name, length = fields.get("SN", ""), fields.get("LN", "")
        if not _is_number(length):
            raise FormatError(f"@SQ {name!r}: expected LN to be a number, got {length!r}")
        found[name] = Contig(int(length), fields.get("M5", "").lower())
    return found


def _vcf_header(lines: BinaryIO) -> Header:
    contigs: dict[str, Contig] = {}
    for line in iter(lambda: lines.readline(LARGEST), b""):
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith("##contig=<"):
            fields = {key: value.strip('"') for key, value in FIELD.findall(text[10:].removesuffix(">"))}
            length = fields.get("length", "")
            md5 = (fields.get("md5") or fields.get("M5") or "").lower()
            contigs[fields.get("ID", "")] = Contig(int(length) if _is_number(length) else None, md5)
        elif text.startswith("#CHROM"):
            first = lines.readline(LARGEST).split(b"\t")[0].decode("utf-8", "replace").strip()
            return Header(contigs, [composed(name) for name in text.split("\t")[9:]], first=first)
        elif not text.startswith("#"):
            break
    raise FormatError("it has no line that begins with #CHROM")


def _cram_header(path: Path) -> Header:
    import pysam

    with (
        _explained(path, OSError, ValueError),
        quiet_htslib(),
        pysam.AlignmentFile(str(path), "rc", check_sq=False) as file,
    ):
        text = str(file.header)
    return sam_header(text)


@contextlib.contextmanager
def _explained(path: Path, *failures: type[Exception]) -> Iterator[None]:
    """What fails while a header is read, as what that means for its file."""
    try:
        yield
    except failures as error:
        raise FormatError(f"{path.name!r}: its header cannot be read: {error}; copy it again") from None


@contextlib.contextmanager
def quiet_htslib() -> Iterator[None]:
    """htslib keeps its remarks to itself: a file whose index is elsewhere is no news."""
    import pysam

    before = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(before)


def _sam_lines(text: str, tag: str) -> list[Mapping[str, str]]:
    """The fields of each line of a SAM header of one kind, by their tags."""
    lines = (line.rstrip("\r").split("\t") for line in text.split("\n"))
    return [
        dict(field.split(":", 1) for field in rest if ":" in field) for kind, *rest in lines if kind == tag
    ]


def _each(lines: list[Mapping[str, str]], tag: str) -> list[str]:
    """The values of a tag, each once, in order; those that are not given left out."""
    return list(dict.fromkeys(value for line in lines if (value := line.get(tag, ""))))


def read_count(file: BinaryIO) -> int:
    """The next number of a BAM or BCF, which says how much follows: four bytes, not negative."""
    (number,) = struct.unpack("<i", file.read(4))
    if number < 0:
        raise FormatError(f"a count of {number:,}")
    return int(number)


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size) if size <= LARGEST else b""
    if len(data) != size:
        raise FormatError(f"{size:,} bytes are announced, {len(data):,} follow")
    return data


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
