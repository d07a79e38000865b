"""What a file's head and tail say about its format, read without any library of the field.

Each `check_*` takes a path and raises FormatError when the file cannot be what it is registered as. A check reads a
bounded part of the file, whatever its size; what only a full read can find is found where the file is first used.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from stargazer.assets.errors import FormatError

__all__ = ["check_alignment", "check_bed", "check_fasta", "check_fastq", "check_json", "check_magic", "check_tar",
           "check_vcf"]  # fmt: skip

HEAD = 1 << 16
WHOLE = 8 << 20  # gzip files up to this size are decompressed to the end
GZIP = b"\x1f\x8b"
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def check_fastq(path: Path) -> None:
    """FASTQ, plain or gzip: four-line records that begin with @."""
    lines = _text(path, "FASTQ").split("\n")
    if not lines[0].startswith("@"):
        raise FormatError(f"{path.name!r} is not FASTQ: line 1 begins with {lines[0][:20]!r}, expected '@'")
    if len(lines) < 5 and _size(path) < HEAD // 64 and not path_is_gzip(path) and len([x for x in lines if x]) < 4:
        raise FormatError(f"{path.name!r} is truncated: the first record has {len(lines)} lines of 4")
    complete = lines[:-1] if len(lines) > 5 else lines
    for first in range(0, len(complete) - 3, 4):
        name, sequence, plus, quality = (line.rstrip("\r") for line in complete[first : first + 4])
        where = f"{path.name!r}, record {first // 4 + 1} (line {first + 1})"
        if not name.startswith("@") or not plus.startswith("+"):
            raise FormatError(f"{where}: not FASTQ: expected '@name', sequence, '+', quality, got {name[:40]!r} ... {plus[:40]!r}")
        if len(sequence) != len(quality):
            raise FormatError(f"{where}: sequence has {len(sequence)} letters, quality {len(quality)}")
        if not re.fullmatch(r"[A-Za-z.*-]*", sequence):
            raise FormatError(f"{where}: not a nucleotide sequence: {sequence[:40]!r}")


def check_fasta(path: Path) -> None:
    """FASTA, plain or gzip: begins with >, and the first sequence is nucleotides."""
    lines = _text(path, "FASTA").split("\n")
    if not lines[0].startswith(">"):
        raise FormatError(f"{path.name!r} is not FASTA: line 1 begins with {lines[0][:20]!r}, expected '>'")
    if len(lines) > 1 and not re.fullmatch(r"[A-Za-z.*-]*", lines[1].rstrip("\r")):
        raise FormatError(f"{path.name!r}, line 2: not a nucleotide sequence: {lines[1][:40]!r}")


def check_vcf(path: Path) -> None:
    """VCF, plain or BGZF, or BCF."""
    text = _text(path, "VCF")
    if not text.startswith(("##fileformat=VCF", "BCF\x02")):
        raise FormatError(f"{path.name!r} is not VCF: expected '##fileformat=VCF' first, got {text[:20]!r}")
    if path_is_gzip(path):
        _check_bgzf_end(path)


def check_alignment(path: Path) -> None:
    """BAM (whole to its end marker) or CRAM."""
    with open(path, "rb") as file:
        head = file.read(4)
    if head == b"CRAM":
        return
    if not head.startswith(GZIP) or not _text(path, "BAM or CRAM").startswith("BAM\x01"):
        raise FormatError(f"{path.name!r} is neither BAM nor CRAM (convert SAM with `samtools view -b`)")
    _check_bgzf_end(path)


def check_bed(path: Path) -> None:
    """BED: tab-separated contig, start, end, zero-based and half open."""
    for number, line in enumerate(_text(path, "BED").split("\n")[:1000], 1):
        if not line or line.startswith(("#", "track", "browser")):
            continue
        fields = line.rstrip("\r").split("\t")
        if len(fields) < 3 or not (fields[1].isdigit() and fields[2].isdigit()) or int(fields[1]) > int(fields[2]):
            if number > 1 and len(line) < 200 and _size(path) > HEAD:
                continue
            raise FormatError(f"{path.name!r}, line {number}: not BED (contig, start, end by tabs): {line[:60]!r}")


def check_json(path: Path) -> None:
    """A JSON document."""
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{path.name!r} is not JSON: {error}") from None


def check_magic(*magics: bytes, what: str) -> Callable[[Path], None]:
    """A check that a file, decompressed if it is gzip, begins with one of these bytes."""

    def check(path: Path) -> None:
        head = _head(path, what)
        if not head.startswith(magics):
            raise FormatError(f"{path.name!r} is not {what}: it begins with {head[:8]!r}")

    return check


def check_tar(path: Path) -> None:
    """An uncompressed tar."""
    _head(path, "a tar")
    with open(path, "rb") as file:
        if file.read(512)[257:262] != b"ustar":
            raise FormatError(f"{path.name!r} is not an uncompressed tar")


def path_is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == GZIP


def _size(path: Path) -> int:
    return path.stat().st_size


def _text(path: Path, what: str) -> str:
    return _head(path, what).decode("latin-1")


def _head(path: Path, what: str) -> bytes:
    """The first decompressed bytes; raises for an empty file and for a gzip that ends too early."""
    if not _size(path):
        raise FormatError(f"{path.name!r} is empty, expected {what}")
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if not head.startswith(GZIP):
        return head
    _check_gzip_end(path)
    try:
        head = zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error as error:
        raise FormatError(f"{path.name!r} is a damaged gzip file: {error}") from None
    if not head:
        raise FormatError(f"{path.name!r} holds nothing, expected {what}")
    return head


def _check_gzip_end(path: Path) -> None:
    if _size(path) <= WHOLE:
        try:
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
        except (EOFError, OSError, zlib.error) as error:
            raise FormatError(f"{path.name!r} is a truncated or damaged gzip file: {error}; copy it again") from None
    elif _is_bgzf(path):
        _check_bgzf_end(path)


def _is_bgzf(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(18)
    return head[3:4] == b"\x04" and head[12:14] == b"BC"


def _check_bgzf_end(path: Path) -> None:
    with open(path, "rb") as file:
        file.seek(max(0, _size(path) - len(BGZF_END)))
        if file.read() != BGZF_END:
            raise FormatError(f"{path.name!r} is truncated: it lacks the BGZF end marker; copy it again")
