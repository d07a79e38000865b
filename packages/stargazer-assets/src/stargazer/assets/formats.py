"""What a file's head and tail say about its format, read without any library of the field.

Each `check_*` takes a path and raises FormatError when the file cannot be what it is registered as. A check
reads a bounded part of the file, whatever its size; what only a full read can find is found where the file is
first used.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from stargazer.assets.errors import FormatError
from stargazer.assets.fastq import Record, last_record, read_fastq

__all__ = ["GZIP", "check_alignment", "check_bed", "check_fasta", "check_fastq", "check_json", "check_magic",
           "check_tar", "check_vcf", "first_bytes", "first_reads", "last_read"]  # fmt: skip

HEAD = 1 << 16
WHOLE = 8 << 20  # files up to this size are decompressed or parsed to the end
RECORD = 4  # lines of FASTQ
GZIP = b"\x1f\x8b"
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
BGZF_START = b"\x1f\x8b\x08\x04"
BGZF_HEADER = 18
BGZF_BLOCK = 1 << 16
CRAM_END = 38  # bytes; those of CRAM 2 are fewer
TAR_END = bytes(1024)
NUCLEOTIDES = re.compile(r"[ACGTUNRYSWKMBDHVXacgtunryswkmbdhvx.*-]*")
BED_INTERVAL = re.compile(r"[^\t]+\t([0-9]{1,18})\t([0-9]{1,18})(\t.*)?")


def check_fastq(path: Path) -> None:
    """FASTQ, plain or gzip: a small file to its end; of a large one the first records and, if it is plain, the last."""
    _head(path, "FASTQ")
    if path.stat().st_size > WHOLE:
        first_reads(path)
        if not _raw(path).startswith(GZIP):
            last_read(path)
        return
    with gzip.open(path) if _raw(path).startswith(GZIP) else open(path, "rb") as file:
        for _ in read_fastq(file, path.name):
            pass


def check_fasta(path: Path) -> None:
    """FASTA, plain or BGZF (which can be read in parts): begins with >, and sequences are nucleotides."""
    lines, _ = _lines(path, "FASTA")
    if not lines[0].startswith(">"):
        raise FormatError(f"{path.name!r} is not FASTA: line 1 begins with {lines[0][:20]!r}, expected '>'")
    for number, line in enumerate(lines, 1):
        if not line.startswith(">") and not NUCLEOTIDES.fullmatch(line):
            raise FormatError(f"{path.name!r}, line {number}: not a nucleotide sequence: {line[:40]!r}")
    if _raw(path).startswith(GZIP) and not _is_bgzf(_raw(path)):
        raise FormatError(
            f"{path.name!r} is plain gzip, which cannot be read in parts: add it decompressed (`gunzip`) or as `bgzip`"
        )


def check_vcf(path: Path) -> None:
    """VCF, plain or BGZF, or BCF."""
    head = _head(path, "VCF")
    if not head.startswith((b"##fileformat=VCF", b"BCF\x02")):
        raise FormatError(f"{path.name!r} is not VCF: expected '##fileformat=VCF' first, got {head[:20]!r}")
    if _raw(path).startswith(GZIP):
        _check_bgzf(path)


def check_alignment(path: Path) -> None:
    """BAM or CRAM, whole to the end marker."""
    if _raw(path).startswith(b"CRAM"):
        if b"EOF" not in _tail(path, CRAM_END):
            raise FormatError(f"{path.name!r} is truncated: it lacks the CRAM end marker; copy it again")
        return
    if not _head(path, "BAM or CRAM").startswith(b"BAM\x01") or not _raw(path).startswith(GZIP):
        raise FormatError(f"{path.name!r} is neither BAM nor CRAM (convert SAM with `samtools view -b`)")
    _check_bgzf(path)


def check_bed(path: Path) -> None:
    """BED: tab-separated contig, start, end, zero-based and half open."""
    lines, whole = _lines(path, "BED")
    found = False
    for number, line in enumerate(lines, 1):
        if not line or line.startswith(("#", "track", "browser")):
            continue
        interval = BED_INTERVAL.fullmatch(line)
        if not interval or int(interval[1]) > int(interval[2]):
            where = f"{path.name!r}, line {number}"
            raise FormatError(f"{where}: not BED (contig, start, end, separated by tabs): {line[:60]!r}")
        found = True
    if whole and not found:
        raise FormatError(
            f"{path.name!r} holds no interval: expected lines of contig, start, end, separated by tabs"
        )


def check_json(path: Path) -> None:
    """A JSON document."""
    head = _head(path, "JSON")
    try:
        if path.stat().st_size <= WHOLE:
            json.loads(path.read_bytes())
        elif head.lstrip()[:1] not in (b"{", b"["):
            raise ValueError(f"it begins with {head[:8]!r}")
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path.name!r} is not JSON: {error}") from None


def check_magic(*magics: bytes, what: str) -> Callable[[Path], None]:
    """A check that a file, decompressed if it is gzip, begins with one of these bytes."""

    def check(path: Path) -> None:
        head = _head(path, what)
        if not head.startswith(magics):
            raise FormatError(f"{path.name!r} is not {what}: it begins with {head[:8]!r}")

    return check


def check_tar(path: Path) -> None:
    """An uncompressed tar, whole to the end marker."""
    raw = _raw(path)
    if not raw:
        raise FormatError(f"{path.name!r} is empty, expected a tar")
    if raw[257:262] != b"ustar":
        raise FormatError(f"{path.name!r} is not an uncompressed tar")
    if _tail(path, len(TAR_END)) != TAR_END:
        raise FormatError(f"{path.name!r} is truncated: it lacks the end marker of a tar; pack it again")


def first_bytes(path: Path) -> tuple[bytes, bytes]:
    """The first bytes of a file as they are, and decompressed (the same, unless it is gzip)."""
    raw = _raw(path)
    return raw, _inflate(raw, path) if raw.startswith(GZIP) else raw


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
    raw, size = _raw(path), HEAD
    if not raw.startswith(GZIP):
        while (end := _tail(path, size)).count(b"\n") < 2 * RECORD and size < WHOLE:
            size <<= RECORD
        return last_record(end, path.name)
    if path.stat().st_size > WHOLE:
        end = _last_blocks(_tail(path, 16 * BGZF_BLOCK)) if _is_bgzf(raw) else b""
        return last_record(end, path.name) if end.count(b"\n") >= 2 * RECORD else None
    end = b""
    with gzip.open(path) as file:
        while block := file.read(WHOLE):
            end = (end + block)[-WHOLE:]
    return last_record(end, path.name)


def _raw(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)


def _tail(path: Path, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read(size)


def _head(path: Path, what: str) -> bytes:
    """The first decompressed bytes; raises for an empty file and for a gzip that ends too early."""
    raw = _raw(path)
    if not raw:
        raise FormatError(f"{path.name!r} is empty, expected {what}")
    if not raw.startswith(GZIP):
        return raw
    _check_gzip_end(path)
    head = _inflate(raw, path)
    if not head:
        raise FormatError(f"{path.name!r} holds nothing, expected {what}")
    return head


def _lines(path: Path, what: str) -> tuple[list[str], bool]:
    """The complete lines of the head without their ends, and whether they are the whole file."""
    head = _head(path, what)
    whole = len(head) < HEAD and path.stat().st_size <= HEAD
    lines = [line.removesuffix("\r") for line in head.decode("latin-1").split("\n")]
    if len(lines) > 1 and (not whole or not lines[-1]):
        lines.pop()
    return lines, whole


def _inflate(raw: bytes, path: Path) -> bytes:
    """Up to HEAD decompressed bytes of gzip members, the last of which may be cut."""
    inflated = b""
    while raw.startswith(GZIP) and len(inflated) < HEAD:
        member = zlib.decompressobj(wbits=31)
        try:
            inflated += member.decompress(raw, HEAD - len(inflated))
        except zlib.error as error:
            raise FormatError(f"{path.name!r} is a damaged gzip file: {error}; copy it again") from None
        raw = member.unused_data
    return inflated


def _check_gzip_end(path: Path) -> None:
    if path.stat().st_size <= WHOLE:
        try:
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
        except (EOFError, OSError, zlib.error) as error:
            problem = f"is a truncated or damaged gzip file: {error}; copy it again"
            raise FormatError(f"{path.name!r} {problem}") from None
    elif _is_bgzf(_raw(path)) and not _ends_with_block(_tail(path, 2 * BGZF_BLOCK)):
        raise FormatError(f"{path.name!r} is truncated in a BGZF block; copy it again")


def _is_bgzf(block: bytes) -> bool:
    return block.startswith(BGZF_START) and block[12:14] == b"BC"


def _ends_with_block(tail: bytes) -> bool:
    """Whether a chain of BGZF blocks reaches the end: Illumina's FASTQ files lack the end marker."""
    return _first_block(tail) is not None


def _first_block(tail: bytes) -> int | None:
    """Where in the end of a file a chain of BGZF blocks begins that reaches its end."""
    start = tail.find(BGZF_START)
    while start >= 0:
        end = start
        while _is_bgzf(block := tail[end : end + BGZF_HEADER]) and len(block) == BGZF_HEADER:
            end += int.from_bytes(block[16:18], "little") + 1
        if end == len(tail):
            return start
        start = tail.find(BGZF_START, start + 1)
    return None


def _last_blocks(tail: bytes) -> bytes:
    """What the BGZF blocks hold that the end of a file consists of."""
    start = _first_block(tail)
    return b"" if start is None else gzip.decompress(tail[start:])


def _check_bgzf(path: Path) -> None:
    if not _is_bgzf(_raw(path)):
        raise FormatError(f"{path.name!r} is plain gzip, expected BGZF: compress it with `bgzip`")
    if _tail(path, len(BGZF_END)) != BGZF_END:
        raise FormatError(f"{path.name!r} is truncated: it lacks the BGZF end marker; copy it again")
