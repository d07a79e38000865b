"""Checks of alignments: sample, library, order, contigs, build and qualities, as header and first reads tell them."""

from __future__ import annotations

import shlex
import struct
from collections.abc import Iterator
from pathlib import Path

from stargazer.assets import Alignment, FormatError
from stargazer.storage import Lookup
from stargazer.tasks.checks.bgzf import opened
from stargazer.tasks.checks.contigs import build, contigs, some
from stargazer.tasks.checks.headers import Header, alignment_header, is_cram, read_count
from stargazer.tasks.checks.reads import is_phred64

__all__ = ["build", "contigs", "library", "library_of", "order", "qualities", "sample", "several_samples"]

READS = 4000
BYTES = 8 << 20  # of records at most: long reads have many bases
RECORD = struct.Struct("<iiBBHHHiiii")  # SAM specification, section 4.2, from refID to tlen
NOT_GIVEN = 0xFF
OFFSET = 31  # from Phred+33 to Phred+64


def order(asset: Alignment, path: Path, lookup: Lookup) -> bool | str:
    """The order of an alignment as its header and its metadata say.

    Raises:
        FormatError: they contradict each other.
    """
    said = alignment_header(path).order
    sorted_orders = ("coordinate", "queryname")
    if asset.sorted_by not in sorted_orders:
        return False
    if said not in sorted_orders:
        return f"sorted_by={asset.sorted_by}: its header names no order (@HD SO)"
    if said != asset.sorted_by:
        raise FormatError(
            f"{path.name!r} is sorted by {said} according to its header, and sorted_by={asset.sorted_by} was given: "
            f"give sorted_by={said}, or sort it"
        )
    return True


def sample(asset: Alignment, path: Path, lookup: Lookup) -> bool | str:
    """The sample that is given against those of the read groups.

    Raises:
        FormatError: they name another one, or several.
    """
    found = alignment_header(path).samples
    if len(found) > 1:
        raise FormatError(several_samples(repr(path.name), found, path.name))
    if not found:
        return f"sample={asset.sample}: its header names no sample (@RG SM)"
    if found[0] != asset.sample:
        raise FormatError(
            f"{path.name!r} is of the sample {found[0]!r} according to its header (@RG SM), and "
            f"sample={asset.sample} was given: give sample={found[0]}, or, where that is the same person, correct the "
            f"header and add that: `samtools reheader -c \"sed 's/SM:{found[0]}/SM:{asset.sample}/'\" "
            f"{shlex.quote(path.name)} > out.bam`"
        )
    return True


def library(asset: Alignment, path: Path, lookup: Lookup) -> bool:
    """The library that is given against the one of the read groups.

    Raises:
        FormatError: they name another one.
    """
    found = library_of(alignment_header(path)) if asset.library else ""
    if found and found != asset.library:
        raise FormatError(
            f"{path.name!r} is of the library {found!r} according to its header (@RG LB), and "
            f"library={asset.library} was given: give library={found}, or leave that out"
        )
    return bool(found)


def qualities(asset: Alignment, path: Path, lookup: Lookup) -> bool:
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


def library_of(header: Header) -> str:
    """The library that every read group names; "" where they name several, or one names none."""
    found = {group.get("LB", "") for group in header.read_groups}
    return found.pop() if len(found) == 1 else ""


def several_samples(title: str, found: list[str], name: str = "in.bam") -> str:
    """Why a file with reads of several samples is refused, and what to do instead.

    Args:
        title, name: of the file, in the sentence and in commands.
    """
    return (
        f"{title} holds reads of {len(found)} samples ({some(found)}, @RG SM), and an alignment is of one: split it "
        f"by read group (`samtools split -f '%!.bam' {shlex.quote(name)}`), merge those of the same sample "
        "(`samtools merge`), and add each"
    )


def _scores(path: Path) -> Iterator[bytes]:
    """The scores of each of the first reads that has them."""
    try:
        with opened(open(path, "rb")) as file:
            file.read(4)
            file.read(read_count(file))
            for _ in range(read_count(file)):
                file.read(read_count(file) + 4)
            left = BYTES
            for _ in range(READS):
                if left <= 0 or not file.peek(1):
                    return
                size = read_count(file)
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
