"""Whether an HDF5 file is as long as it says itself, read without any library of the format."""

from __future__ import annotations

from pathlib import Path

from stargazer.assets.errors import FormatError

__all__ = ["check_hdf5"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
GZIP = b"\x1f\x8b"
SUPERBLOCK = 256  # bytes of the largest, with addresses of 32 bytes
FIRST_BEHIND = 512  # bytes of the smallest user block; the superblock may come after 512, 1024, 2048, ...
ADDRESSES = (2, 4, 8, 16, 32)  # bytes


def check_hdf5(path: Path) -> None:
    """HDF5, whole to the end that its superblock names (format specification 3.0, section II.A)."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = block = file.read(SUPERBLOCK)
        at = 0
        while not block.startswith(SIGNATURE) and (at := max(FIRST_BEHIND, 2 * at)) < size:
            file.seek(at)
            block = file.read(SUPERBLOCK)
    if not head:
        raise FormatError(f"{path.name!r} is empty, expected HDF5")
    if head.startswith(GZIP):
        raise FormatError(f"{path.name!r} is compressed, expected HDF5 as it is: decompress it (`gunzip`)")
    if not block.startswith(SIGNATURE):
        raise FormatError(f"{path.name!r} is not HDF5: it begins with {head[:8]!r}")
    end = _end(path.name, block, at)
    if end > size:
        raise FormatError(f"{path.name!r} is truncated: it has {size:,} of {end:,} bytes; copy it again")


def _end(name: str, block: bytes, at: int) -> int:
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
