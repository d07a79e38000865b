"""Whether the base qualities of a BAM are Phred scores as they are, by its first reads."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from stargazer.assets import Alignment, FormatError
from stargazer.storage import Lookup
from stargazer.tasks.checks.bgzf import opened
from stargazer.tasks.checks.headers import is_cram
from stargazer.tasks.checks.reads import is_phred64

__all__ = ["alignment"]

READS = 4000
BYTES = 8 << 20  # of records at most: long reads have many bases
RECORD = struct.Struct("<iiBBHHHiiii")  # SAM specification, section 4.2, from refID to tlen
NOT_GIVEN = 0xFF
OFFSET = 31  # from Phred+33 to Phred+64


def alignment(asset: Alignment, path: Path, lookup: Lookup) -> bool:
    """The highest and lowest score of the first reads of a BAM.

    Raises:
        FormatError: they were Phred+64 (Illumina before 1.8) and read as Phred+33, or a record is damaged.
    """
    if is_cram(path):
        return False
    lowest, highest, count, reads = 255, 0, 0, 0
    for scores in _scores(path):
        lowest, highest = min(lowest, min(scores)), max(highest, max(scores))
        count, reads = count + len(scores), reads + 1
    if count and is_phred64(lowest, highest, count):
        raise FormatError(
            f"{path.name!r}: its base qualities are Phred+64 that were read as Phred+33: Q{lowest} to Q{highest} in "
            f"its first {reads:,} reads, {OFFSET} too high: correct them (`gatk FixMisencodedBaseQualityReads`), or "
            "align again from FASTQ in Phred+33, and add that"
        )
    return bool(count)


def _scores(path: Path) -> Iterator[bytes]:
    """The scores of each of the first reads that has them."""
    try:
        with opened(open(path, "rb")) as file:
            file.read(4)
            file.read(_number(file))
            for _ in range(_number(file)):
                file.read(_number(file) + 4)
            left = BYTES
            for _ in range(READS):
                if left <= 0 or not file.peek(1):
                    return
                size = _number(file)
                left -= size
                record = file.read(size)
                if len(record) < size:
                    raise FormatError(f"a record of {size:,} bytes has {len(record):,}")
                if scores := _scores_of(record):
                    yield scores
    except (FormatError, struct.error) as error:
        raise FormatError(f"{path.name!r}: its reads cannot be read: {error}; copy it again") from None


def _scores_of(record: bytes) -> bytes:
    _, _, name, _, _, operations, _, bases, *_ = RECORD.unpack_from(record)
    start = RECORD.size + name + 4 * operations + (bases + 1) // 2
    scores = record[start : start + bases]
    if len(scores) < bases:
        raise FormatError(f"a record of {bases:,} bases has {len(scores):,} qualities")
    return b"" if scores[:1] == bytes([NOT_GIVEN]) else scores


def _number(file: BinaryIO) -> int:
    (number,) = struct.unpack("<i", file.read(4))
    if number < 0:
        raise FormatError(f"a count of {number:,}")
    return int(number)
