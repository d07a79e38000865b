"""The first and last bytes of a file, as they are and decompressed, be it plain, gzip or BGZF.

A bounded part of a file is read, whatever its size; what only a full read can find is found where the file is
first used.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from stargazer.assets.errors import FormatError

__all__ = ["EDGE", "GZIP", "HEAD", "both_ends", "check_bgzf", "first_bytes", "head_of", "is_bgzf", "is_small",
           "last_bytes", "opened", "start_of", "tail_of"]  # fmt: skip

HEAD = 1 << 16
WHOLE = 8 << 20  # files up to this size are decompressed or parsed to the end
EDGE = 1 << 20  # bytes of text at either end of a larger file
GZIP = b"\x1f\x8b"
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
BGZF_START = b"\x1f\x8b\x08\x04"
BGZF_HEADER = 18
BGZF_BLOCK = 1 << 16


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to be read, decompressed if it is gzip.

    Raises:
        FormatError: it is a gzip file that is cut or damaged.
    """
    with open(path, "rb") as raw:
        try:
            with gzip.open(raw) if raw.peek(2)[:2] == GZIP else raw as file:
                yield cast(BinaryIO, file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            problem = f"is a truncated or damaged gzip file: {error}; copy it again"
            raise FormatError(f"{path.name!r} {problem}") from None


def is_small(path: Path) -> bool:
    """Whether a file is decompressed or parsed to its end when it is registered."""
    return path.stat().st_size <= WHOLE


def start_of(path: Path, size: int = HEAD) -> bytes:
    """The first bytes of a file, as they are."""
    with open(path, "rb") as file:
        return file.read(size)


def tail_of(path: Path, size: int) -> bytes:
    """The last bytes of a file, as they are."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read(size)


def first_bytes(path: Path) -> tuple[bytes, bytes]:
    """The first bytes of a file as they are, and decompressed (the same, unless it is gzip)."""
    raw = start_of(path)
    return raw, _inflate(raw, path)


def head_of(path: Path, what: str) -> bytes:
    """The first bytes, decompressed.

    Raises:
        FormatError: the file holds nothing, or is gzip and cut or damaged.
    """
    raw = start_of(path)
    if not raw:
        raise FormatError(f"{path.name!r} is empty, expected {what}")
    if raw.startswith(GZIP):
        _check_gzip_end(path, raw)
    head = _inflate(raw, path)
    if not head:
        raise FormatError(f"{path.name!r} holds nothing, expected {what}")
    return head


def both_ends(path: Path) -> tuple[bytes, bytes, bool]:
    """What a file begins with and what it ends with, decompressed, and whether the first is all of it.

    Of a large gzip file, the end is given where it is BGZF.

    Raises:
        FormatError: it is a gzip file that is cut or damaged.
    """
    if is_small(path):
        return _decompressed(path, EDGE)
    raw = start_of(path)
    if not raw.startswith(GZIP):
        return start_of(path, EDGE), tail_of(path, EDGE), False
    _check_gzip_end(path, raw)
    return _inflate(raw, path), _last_blocks(tail_of(path, EDGE)), False


def last_bytes(path: Path, lines: int) -> bytes | None:
    """Enough of a file's end, decompressed, to hold so many lines; None where that takes reading a large file.

    Raises:
        FormatError: it is a gzip file that is cut or damaged.
    """
    raw, size = start_of(path), HEAD
    if not raw.startswith(GZIP):
        while (end := tail_of(path, size)).count(b"\n") < lines and size < WHOLE:
            size <<= 4
        return end
    if is_small(path):
        return _decompressed(path, WHOLE)[1]
    end = _last_blocks(tail_of(path, EDGE)) if is_bgzf(raw) else b""
    return end if end.count(b"\n") >= lines else None


def is_bgzf(block: bytes) -> bool:
    """Whether bytes begin with a BGZF block (SAM specification, section 4.1)."""
    return block.startswith(BGZF_START) and block[12:14] == b"BC"


def check_bgzf(path: Path) -> None:
    """BGZF, whole to the end marker."""
    if not is_bgzf(start_of(path)):
        raise FormatError(f"{path.name!r} is plain gzip, expected BGZF: compress it with `bgzip`")
    if tail_of(path, len(BGZF_END)) != BGZF_END:
        raise FormatError(f"{path.name!r} is truncated: it lacks the BGZF end marker; copy it again")


def _inflate(raw: bytes, path: Path) -> bytes:
    """Bytes that are no gzip as they are; of gzip members, the last of which may be cut, up to HEAD decompressed."""
    if not raw.startswith(GZIP):
        return raw
    inflated = b""
    while raw.startswith(GZIP) and len(inflated) < HEAD:
        member = zlib.decompressobj(wbits=31)
        try:
            inflated += member.decompress(raw, HEAD - len(inflated))
        except zlib.error as error:
            raise FormatError(f"{path.name!r} is a damaged gzip file: {error}; copy it again") from None
        raw = member.unused_data
    return inflated


def _check_gzip_end(path: Path, raw: bytes) -> None:
    if is_small(path):
        _decompressed(path, EDGE)
    elif is_bgzf(raw) and not _blocks(tail_of(path, 2 * BGZF_BLOCK)):  # Illumina's FASTQ lacks the end marker
        raise FormatError(f"{path.name!r} is truncated in a BGZF block; copy it again")


def _decompressed(path: Path, kept: int) -> tuple[bytes, bytes, bool]:
    """What a file begins with, its last bytes, and whether the first is all of it; decompressed to the end."""
    first, last, size = bytearray(), b"", 0
    with opened(path) as file:
        while piece := file.read(EDGE):
            size += len(piece)
            last = (last + piece)[-kept:]
            if len(first) < WHOLE:
                first += piece
    return bytes(first), last, len(first) == size


def _blocks(tail: bytes) -> list[bytes]:
    """The BGZF blocks that reach the end without a gap."""
    start = tail.find(BGZF_START)
    while start >= 0:
        end, blocks = start, []
        while is_bgzf(block := tail[end : end + BGZF_HEADER]) and len(block) == BGZF_HEADER:
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
        return b"".join(zlib.decompress(block, wbits=31) for block in _blocks(tail))[-WHOLE:]
    except zlib.error:
        return b""
