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

import attrs
from stargazer.assets.errors import FormatError
from stargazer.assets.formats.fasta import check_beginning, small_contigs
from stargazer.assets.formats.fastq import Record, last_record, read_fastq

__all__ = ["GZIP", "Text", "check_alignment", "check_bgzf", "check_fasta", "check_fastq", "check_json", "check_magic",
           "check_tar", "first_bytes", "first_reads", "last_read", "text_of"]  # fmt: skip

HEAD = 1 << 16
WHOLE = 8 << 20  # files up to this size are decompressed or parsed to the end
EDGE = 1 << 20  # bytes of text at either end of a larger file
RECORD = 4  # lines of FASTQ
GZIP = b"\x1f\x8b"
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
BGZF_START = b"\x1f\x8b\x08\x04"
BGZF_HEADER = 18
BGZF_BLOCK = 1 << 16
CRAM_END = 38  # bytes; those of CRAM 2 are fewer
TAR_END = bytes(1024)
NUCLEOTIDES = re.compile(r"[ACGTUNRYSWKMBDHVXacgtunryswkmbdhvx.*-]*")


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
    """FASTA, plain or BGZF (which can be read in parts): all of a small file."""
    head = _head(path, "FASTA")
    if _raw(path).startswith(GZIP) and not _is_bgzf(_raw(path)):
        raise FormatError(
            f"{path.name!r} is plain gzip, which cannot be read in parts: add it decompressed (`gunzip`) or as `bgzip`"
        )
    if small_contigs(path) is None:
        check_beginning(head, path.name)


def check_alignment(path: Path) -> None:
    """BAM or CRAM, whole to the end marker."""
    if _raw(path).startswith(b"CRAM"):
        if b"EOF" not in _tail(path, CRAM_END):
            raise FormatError(f"{path.name!r} is truncated: it lacks the CRAM end marker; copy it again")
        return
    if not _head(path, "BAM or CRAM").startswith(b"BAM\x01") or not _raw(path).startswith(GZIP):
        raise FormatError(f"{path.name!r} is neither BAM nor CRAM (convert SAM with `samtools view -b`)")
    check_bgzf(path)


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


@attrs.frozen
class Text:
    """The lines of a text file, without their ends: all of them, or those at either end of a large file.

    Attributes:
        first, last: whole lines; all lines in both where the file is small, `last` empty where it is out of reach.
        whole: these are all lines of the file.
        ended: the last line has a line end.
    """

    first: list[str]
    last: list[str]
    whole: bool
    ended: bool


def text_of(path: Path, what: str) -> Text:
    """The lines of a text file, decompressed if it is gzip.

    Raises:
        FormatError: it is empty, or a gzip file that is cut or damaged.
    """
    raw, size = _raw(path), path.stat().st_size
    if not raw:
        raise FormatError(f"{path.name!r} is empty, expected {what}")
    if not raw.startswith(GZIP):
        whole = size <= WHOLE
        first, last = (path.read_bytes(), b"") if whole else (_start(path, EDGE), _tail(path, EDGE))
    elif size <= WHOLE:
        first, last, whole = _decompressed(path)
    else:
        _check_gzip_end(path)
        first, last, whole = _inflate(raw, path), _last_blocks(_tail(path, EDGE)), False
    if not first:
        raise FormatError(f"{path.name!r} holds nothing, expected {what}")
    if whole:
        lines = _split(first)
        return Text(lines, lines, whole=True, ended=first.endswith(b"\n"))
    inside = last.partition(b"\n")[2]
    return Text(
        _split(first.rpartition(b"\n")[0]),
        _split(inside),
        whole=False,
        ended=not inside or inside.endswith(b"\n"),
    )


def _split(data: bytes) -> list[str]:
    lines = [line.removesuffix("\r") for line in data.decode("latin-1").split("\n")]
    return lines if lines[-1] else lines[:-1]


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
        end = _last_blocks(_tail(path, EDGE)) if _is_bgzf(raw) else b""
        return last_record(end, path.name) if end.count(b"\n") >= 2 * RECORD else None
    end = b""
    with gzip.open(path) as file:
        while block := file.read(WHOLE):
            end = (end + block)[-WHOLE:]
    return last_record(end, path.name)


def _raw(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)


def _start(path: Path, size: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(size)


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
        _decompressed(path)
    elif _is_bgzf(_raw(path)) and not _ends_with_block(_tail(path, 2 * BGZF_BLOCK)):
        raise FormatError(f"{path.name!r} is truncated in a BGZF block; copy it again")


def _decompressed(path: Path) -> tuple[bytes, bytes, bool]:
    """What a gzip file begins with, what it ends with, and whether the first is all of it; decompressed to the end."""
    first, last, size = bytearray(), b"", 0
    try:
        with gzip.open(path) as file:
            while piece := file.read(EDGE):
                size += len(piece)
                last = (last + piece)[-EDGE:]
                if len(first) < WHOLE:
                    first += piece
    except (EOFError, OSError, zlib.error) as error:
        problem = f"is a truncated or damaged gzip file: {error}; copy it again"
        raise FormatError(f"{path.name!r} {problem}") from None
    return bytes(first), last, len(first) == size


def _is_bgzf(block: bytes) -> bool:
    return block.startswith(BGZF_START) and block[12:14] == b"BC"


def _ends_with_block(tail: bytes) -> bool:
    """Whether a chain of BGZF blocks reaches the end: Illumina's FASTQ files lack the end marker."""
    return bool(_chain(tail))


def _chain(tail: bytes) -> list[bytes]:
    """The BGZF blocks that reach the end without a gap."""
    start = tail.find(BGZF_START)
    while start >= 0:
        end, blocks = start, []
        while _is_bgzf(block := tail[end : end + BGZF_HEADER]) and len(block) == BGZF_HEADER:
            size = int.from_bytes(block[16:18], "little") + 1
            blocks.append(tail[end : end + size])
            end += size
        if end == len(tail):
            return blocks
        start = tail.find(BGZF_START, start + 1)
    return []


def _last_blocks(tail: bytes) -> bytes:
    """What the BGZF blocks at the end hold; nothing where there are none, or one is damaged."""
    try:
        return b"".join(zlib.decompress(block, wbits=31) for block in _chain(tail))[-WHOLE:]
    except zlib.error:
        return b""


def check_bgzf(path: Path) -> None:
    """BGZF, whole to the end marker."""
    if not _is_bgzf(_raw(path)):
        raise FormatError(f"{path.name!r} is plain gzip, expected BGZF: compress it with `bgzip`")
    if _tail(path, len(BGZF_END)) != BGZF_END:
        raise FormatError(f"{path.name!r} is truncated: it lacks the BGZF end marker; copy it again")
