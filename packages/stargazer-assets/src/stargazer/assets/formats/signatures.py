"""Checks of formats that are known by their first bytes and their end: BAM, CRAM, indexes, tar, HDF5 and JSON.

Each `check_*` takes a path and raises FormatError when the file cannot be what it is registered as.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from stargazer.assets.errors import FormatError
from stargazer.assets.formats.compression import GZIP, check_bgzf, head_of, is_small, start_of, tail_of

__all__ = ["HDF5_SIGNATURE", "check_alignment", "check_hdf5", "check_json", "check_magic", "check_tar"]

CRAM_END = 38  # bytes; those of CRAM 2 are fewer
TAR_END = bytes(1024)
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK = 256  # bytes of the largest, with addresses of 32 bytes
FIRST_BEHIND = 512  # bytes of the smallest user block; the superblock may come after 512, 1024, 2048, ...
ADDRESSES = (2, 4, 8, 16, 32)  # bytes


def check_alignment(path: Path) -> None:
    """BAM or CRAM, whole to the end marker."""
    raw = start_of(path)
    if raw.startswith(b"CRAM"):
        if b"EOF" not in tail_of(path, CRAM_END):
            raise FormatError(f"{path.name!r} is truncated: it lacks the CRAM end marker; copy it again")
        return
    if not head_of(path, "BAM or CRAM").startswith(b"BAM\x01") or not raw.startswith(GZIP):
        raise FormatError(f"{path.name!r} is neither BAM nor CRAM (convert SAM with `samtools view -b`)")
    check_bgzf(path)


def check_hdf5(path: Path) -> None:
    """HDF5, whole to the end that its superblock names (format specification 3.0, section II.A)."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = block = file.read(SUPERBLOCK)
        at = 0
        while not block.startswith(HDF5_SIGNATURE) and (at := max(FIRST_BEHIND, 2 * at)) < size:
            file.seek(at)
            block = file.read(SUPERBLOCK)
    if not head:
        raise FormatError(f"{path.name!r} is empty, expected HDF5")
    if head.startswith(GZIP):
        raise FormatError(f"{path.name!r} is compressed, expected HDF5 as it is: decompress it (`gunzip`)")
    if not block.startswith(HDF5_SIGNATURE):
        raise FormatError(f"{path.name!r} is not HDF5: it begins with {head[:8]!r}")
    end = _hdf5_end(path.name, block, at)
    if end > size:
        raise FormatError(f"{path.name!r} is truncated: it has {size:,} of {end:,} bytes; copy it again")


def check_json(path: Path) -> None:
    """A JSON document: all of a small one, of a large one how it begins."""
    head = head_of(path, "JSON")
    try:
        if is_small(path):
            json.loads(path.read_bytes())
        elif head.lstrip()[:1] not in (b"{", b"["):
            raise ValueError(f"it begins with {head[:8]!r}")
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path.name!r} is not JSON: {error}") from None


def check_magic(*magics: bytes, what: str) -> Callable[[Path], None]:
    """A check that a file, decompressed if it is gzip, begins with one of these bytes."""

    def check(path: Path) -> None:
        head = head_of(path, what)
        if not head.startswith(magics):
            raise FormatError(f"{path.name!r} is not {what}: it begins with {head[:8]!r}")

    return check


def check_tar(path: Path) -> None:
    """An uncompressed tar, whole to the end marker."""
    raw = start_of(path)
    if not raw:
        raise FormatError(f"{path.name!r} is empty, expected a tar")
    if raw[257:262] != b"ustar":
        raise FormatError(f"{path.name!r} is not an uncompressed tar")
    if tail_of(path, len(TAR_END)) != TAR_END:
        raise FormatError(f"{path.name!r} is truncated: it lacks the end marker of a tar; pack it again")


def _hdf5_end(name: str, block: bytes, at: int) -> int:
    """Where the file ends, in bytes from its beginning.

    Args:
        block: the superblock.
        at: where it begins; the address of the end counts from where it said that it would.
    """
    version = block[8] if len(block) > 8 else 0
    if version > 3:
        raise FormatError(
            f"{name!r} is damaged, or newer HDF5 than is known: its superblock has version {version}"
        )
    width_at, bases_at, end_number = ((13, 24, 2), (13, 28, 2), (9, 12, 2), (9, 12, 2))[version]
    width = block[width_at] if len(block) > width_at else ADDRESSES[0]
    if width not in ADDRESSES:
        raise FormatError(
            f"{name!r} is damaged: its superblock has addresses of {width} bytes; copy it again"
        )
    first, last = (bases_at + number * width for number in (0, end_number))
    if len(block) < last + width:
        raise FormatError(f"{name!r} is truncated: it ends within its superblock; copy it again")
    base, end = (int.from_bytes(block[place : place + width], "little") for place in (first, last))
    return end - (base - at)
