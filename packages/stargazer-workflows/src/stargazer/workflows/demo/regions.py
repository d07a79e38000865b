"""Genomic regions from a BED file, and whether a stretch lies within one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path

from stargazer.assets import FormatError

__all__ = ["Regions", "read_bed"]


class Regions:
    """Intervals counted from 0, end excluded; touching and overlapping ones are joined."""

    def __init__(self, intervals: Iterable[tuple[str, int, int]]) -> None:
        self._starts: dict[str, list[int]] = {}
        self._ends: dict[str, list[int]] = {}
        for contig, start, end in sorted(intervals):
            starts, ends = self._starts.setdefault(contig, []), self._ends.setdefault(contig, [])
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)

    @property
    def contigs(self) -> frozenset[str]:
        """The contigs with at least one interval."""
        return frozenset(self._starts)

    @property
    def size(self) -> int:
        """Bases in all intervals together."""
        return sum(sum(self._ends[contig]) - sum(starts) for contig, starts in self._starts.items())

    def hold(self, contig: str, start: int, end: int) -> bool:
        """Whether one interval holds the bases from start (from 0) to end (excluded)."""
        index = bisect_right(self._starts.get(contig, []), start) - 1
        return index >= 0 and end <= self._ends[contig][index]


def read_bed(path: str) -> Regions:
    """Read the intervals of a BED file.

    Raises:
        FormatError: naming the line that is not BED, or if the file cannot be read.
    """
    intervals = []
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path!r} cannot be read as a BED file: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        fields = line.split("\t") if "\t" in line else line.split()
        try:
            contig, start, end = fields[0], int(fields[1]), int(fields[2])
        except (IndexError, ValueError):
            raise FormatError(
                f"{path!r}, line {number}: {line!r} is not a BED interval (contig, start, end)"
            ) from None
        if not 0 <= start <= end:
            raise FormatError(
                f"{path!r}, line {number}: start {start} and end {end}, expected 0 <= start <= end"
            )
        intervals.append((contig, start, end))
    return Regions(intervals)
