"""Contigs and regions: reading their sizes, cutting them into pieces, choosing some of them.

Regions are (contig, start, end), zero-based and half open, as in BED.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from stargazer.assets import Reference
from stargazer.assets.errors import FormatError, InvalidAssetError

__all__ = ["Region", "contigs_of", "fai_of", "is_bgzf", "pieces", "read_bed", "write_bed", "write_contigs"]

Region: TypeAlias = tuple[str, int, int]

MOST = 200
"""Pieces at most: beyond, their number costs more than it gains."""

GZIP = b"\x1f\x8b"


def fai_of(reference: Reference) -> Path:
    """Where the index of a reference in a workspace is: beside it."""
    assert reference.path is not None
    return reference.path.with_name(reference.path.name + ".fai")


def contigs_of(fai: Path) -> dict[str, int]:
    """Lengths in bases by contig name, in order, from a FASTA index."""
    lines = fai.read_text().split("\n")
    return {name: int(length) for name, length, *_ in (line.split("\t") for line in lines if line)}


def is_bgzf(path: Path) -> bool:
    """Whether a gzip file consists of blocks that can be read apart (SAM specification, section 4.1)."""
    with open(path, "rb") as file:
        head = file.read(18)
    return head.startswith(GZIP) and head[3:4] == b"\x04" and head[12:14] == b"BC"


def read_bed(path: Path, contigs: Mapping[str, int]) -> list[Region]:
    """The regions of a BED (plain or gzip), checked against the contigs of a reference.

    They come in the order of the contigs, overlapping and adjoining ones joined, empty ones left out.

    Raises:
        FormatError: a line is not BED, or lies outside the reference; the message names the line.
    """
    regions = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        fields = line.split("\t")
        try:
            contig, start, end = fields[0], int(fields[1]), int(fields[2])
        except (ValueError, IndexError):
            raise FormatError(f"intervals, line {number}: not BED: {line[:60]!r}") from None
        if contig not in contigs:
            raise FormatError(f"intervals, line {number}: the reference has no contig {contig!r}; it has "
                              f"{', '.join(list(contigs)[:5])}{', ...' if len(contigs) > 5 else ''}")  # fmt: skip
        if not 0 <= start <= end <= contigs[contig]:
            raise FormatError(f"intervals, line {number}: {start} to {end} is not within {contig!r} "
                              f"(0 to {contigs[contig]})")  # fmt: skip
        if start < end:
            regions.append((contig, start, end))
    if not regions:
        raise FormatError("the intervals hold no region of one base or more")
    return _joined(regions, list(contigs))


def pieces(contigs: Mapping[str, int], bed: Path | None, size: int) -> list[list[Region]]:
    """The reference, or the regions of a BED, in at most MOST lists of regions of about `size` bases each."""
    regions = (
        read_bed(bed, contigs) if bed else [(name, 0, length) for name, length in contigs.items() if length]
    )
    total = sum(end - start for _, start, end in regions)
    count = min(MOST, max(1, round(total / size)))
    target = -(-total // count)
    made: list[list[Region]] = [[]]
    room = target
    for contig, start, end in regions:
        while start < end:
            if not room:
                made.append([])
                room = target
            stop = min(end, start + room)
            made[-1].append((contig, start, stop))
            room -= stop - start
            start = stop
    return made


def write_bed(regions: list[Region], path: Path) -> None:
    """Write regions as BED."""
    path.write_text("".join(f"{contig}\t{start}\t{end}\n" for contig, start, end in regions))


def write_contigs(source: str, target: str, contigs: list[str]) -> None:
    """Copy chosen contigs of a FASTA (plain or gzip), as plain FASTA.

    Raises:
        InvalidAssetError: a contig that it does not have.
    """
    wanted, found, keep = set(contigs), set(), False
    with (
        gzip.open(source) if source.endswith(".gz") else open(source, "rb") as lines,
        open(target, "wb") as chosen,
    ):
        for line in lines:
            if line.startswith(b">"):
                name = (line[1:].decode("utf-8", "replace").split() or [""])[0]
                found.add(name)
                keep = name in wanted
            if keep:
                chosen.write(line)
    if missing := sorted(wanted - found):
        raise InvalidAssetError(f"the reference has no contig {', '.join(map(repr, missing))}")


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if data.startswith(GZIP) else data).decode("utf-8", "replace")


def _joined(regions: list[Region], order: list[str]) -> list[Region]:
    rank = {contig: number for number, contig in enumerate(order)}
    made: list[Region] = []
    for contig, start, end in sorted(regions, key=lambda region: (rank[region[0]], region[1:])):
        if made and made[-1][0] == contig and start <= made[-1][2]:
            made[-1] = (contig, made[-1][1], max(end, made[-1][2]))
        else:
            made.append((contig, start, end))
    return made
