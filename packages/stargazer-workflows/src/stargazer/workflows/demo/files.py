"""The files that are compared: regions of a BED, contigs of a FASTA, alleles and genotypes of a VCF or BCF."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargazer.assets import FormatError, formats
from stargazer.tasks import bed_rows
from stargazer.workflows.demo.alleles import Allele, normalise
from stargazer.workflows.variant_files import is_sequence, opened, passes

__all__ = [
    "Observation",
    "Regions",
    "observations",
    "read_bed",
    "read_fasta",
]


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


@dataclass(frozen=True)
class Observation:
    """An allele as one record gives it for one sample."""

    copies: int
    genotype: str
    quality: float | None
    depth: int | None
    alt_depth: int | None


def read_bed(path: str) -> Regions:
    """Read the intervals of a BED file.

    Raises:
        FormatError: naming the line that is not BED.
    """
    return Regions(region for _, region in bed_rows(Path(path), repr(path)))


def read_fasta(path: str, contigs: Set[str]) -> dict[str, str]:
    """Read these contigs of a FASTA file, plain or gzipped, as upper-case text.

    Raises:
        FormatError: if the file is damaged, is not FASTA, or lacks one of the contigs.
    """
    with formats.opened(Path(path)) as file:
        text = file.read().decode("ascii", "replace")
    if not text.startswith(">"):
        raise FormatError(f"{path!r} is not a FASTA file: it begins with {text[:20]!r}, not with '>'")
    found = {}
    for record in text[1:].split("\n>"):
        title, _, lines = record.partition("\n")
        found["".join(title.split()[:1])] = "".join(lines.split()).upper()
    if missing := sorted(contigs - found.keys()):
        raise FormatError(
            f"{path!r} lacks {', '.join(map(repr, missing[:5]))}: not the reference of these regions?"
        )
    return {name: found[name] for name in contigs}


def observations(
    path: str, samples: Sequence[str], regions: Regions, sequences: Mapping[str, str]
) -> dict[str, dict[Allele, Observation]]:
    """Collect the normalised alleles that each sample carries in passing records within the regions.

    Args:
        path: a VCF or BCF file.
        samples: the samples asked for; they must be in it.
        regions: where to look; an allele counts if one interval holds all its reference bases.
        sequences: the reference, by contig.
    """
    found: dict[str, dict[Allele, Observation]] = {sample: {} for sample in samples}
    with opened(path) as variants:
        for record in variants:
            if record.alts is None or record.contig not in sequences or not passes(record):
                continue
            for number, alt in enumerate(record.alts, 1):
                if not is_sequence(alt) or not is_sequence(record.ref):
                    continue
                keys = [
                    (record.contig, *change)
                    for change in normalise(sequences[record.contig], record.pos, record.ref, alt)
                    if regions.hold(record.contig, change[0] - 1, change[0] - 1 + len(change[1]))
                ]
                for sample in samples:
                    if seen := _observation(record, sample, number):
                        for key in keys:
                            found[sample].setdefault(key, seen)
    return found


def _observation(record: Any, sample: str, number: int) -> Observation | None:
    values = record.samples[sample]
    genotype = values.get("GT") or ()
    copies = sum(allele == number for allele in genotype)
    if not copies:
        return None
    depths = values.get("AD") or ()
    text = "/".join(
        "." if allele is None else str(allele) for allele in sorted(genotype, key=lambda a: a or 0)
    )
    return Observation(
        copies=copies,
        genotype=text,
        quality=record.qual,
        depth=values.get("DP"),
        alt_depth=depths[number] if len(depths) > number else None,
    )
