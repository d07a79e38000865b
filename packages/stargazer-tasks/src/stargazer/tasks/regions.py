"""The contigs of a FASTA and the regions of a BED: counted, checked, chosen, cut into pieces of equal size.

Regions are (contig, start, end), zero-based and half open, as in BED.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from stargazer.assets import AssetNotFoundError, FormatError, InvalidAssetError, Reference
from stargazer.assets.formats import ambiguity_notes, opened, read_contigs

__all__ = [
    "Region",
    "bed_rows",
    "by_contig",
    "contigs_of",
    "count_bases",
    "fai_of",
    "intersection",
    "pieces",
    "read_bed",
    "whole",
    "write_bed",
    "write_contigs",
]

Region: TypeAlias = tuple[str, int, int]

MOST = 200
"""Pieces at most: beyond, their number costs more than it gains."""

LEAST = 10_000
"""Bases of a piece at least, as long as there is more than one."""

PLACES = 10
"""Of ambiguity codes, that a report tells."""


def count_bases(source: str, target: str, build: str, name: str) -> None:
    """Write what a reference holds as JSON.

    Args:
        name: what errors call it.

    Raises:
        FormatError: it is no valid reference.
    """
    contigs = list(read_contigs(Path(source), name))
    longest = max(contigs, key=lambda contig: contig.length)
    codes = sum((Counter(contig.codes) for contig in contigs), Counter())
    places = [f"{contig.name}:{place}" for contig in contigs for place, _ in contig.places]
    counted = {
        "build": build,
        "contigs": len(contigs),
        "bases": sum(contig.length for contig in contigs),
        "n": sum(contig.n for contig in contigs),
        "soft_masked": sum(contig.soft_masked for contig in contigs),
        "ambiguity_codes": dict(sorted(codes.items())),
        "ambiguity_places": places[:PLACES],
        "longest": {"contig": longest.name, "bases": longest.length},
        "notes": ambiguity_notes(contigs, build),
    }
    Path(target).write_text(json.dumps(counted, indent=1) + "\n")


def fai_of(reference: Reference) -> Path:
    """Where the index of a reference in a workspace is: beside it.

    Raises:
        AssetNotFoundError: it has none.
    """
    assert reference.path is not None
    fai = reference.path.with_name(reference.path.name + ".fai")
    if not fai.exists():
        raise AssetNotFoundError(f"the reference {reference.build} is not indexed: call samtools_faidx first")
    return fai


def contigs_of(fai: Path) -> dict[str, int]:
    """Lengths in bases by contig name, in order, from a FASTA index."""
    lines = fai.read_text().split("\n")
    return {name: int(length) for name, length, *_ in (line.split("\t") for line in lines if line)}


def whole(contigs: Mapping[str, int]) -> list[Region]:
    """All of a reference: each contig that has bases."""
    return [(name, 0, length) for name, length in contigs.items() if length]


def read_bed(path: Path, contigs: Mapping[str, int], name: str | None = None) -> list[Region]:
    """The regions of a BED (plain or gzip), checked against the contigs of a reference.

    They come in the order of the contigs, overlapping and adjoining ones joined, empty ones left out.

    Args:
        name: what errors call it; the file's name by default.

    Raises:
        FormatError: a line is not BED, or lies outside the reference; the message names the intervals and the line.
    """
    called = f"the intervals {name or path.name!r}"
    regions = []
    for number, (contig, start, end) in bed_rows(path, called):
        if contig not in contigs:
            raise FormatError(
                f"{called}, line {number}: the reference has no contig {contig!r}; it has {_some(contigs)}"
            )
        if not 0 <= start <= end <= contigs[contig]:
            raise FormatError(f"{called}, line {number}: {start} to {end} is not within {contig!r} "
                              f"(0 to {contigs[contig]})")  # fmt: skip
        if start < end:
            regions.append((contig, start, end))
    if not regions:
        raise FormatError(f"{called} hold no region of one base or more")
    return _joined(regions, list(contigs))


def bed_rows(path: Path, called: str) -> Iterator[tuple[int, Region]]:
    """The regions of a BED (plain or gzip) as they stand there, each with the number of its line.

    Args:
        called: what errors call the file.

    Raises:
        FormatError: a line is not BED; the message names it.
    """
    with opened(path) as file:
        text = file.read().decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        fields = line.split("\t")
        try:
            yield number, (fields[0], int(fields[1]), int(fields[2]))
        except (ValueError, IndexError):
            raise FormatError(f"{called}, line {number}: not BED: {line[:60]!r}") from None


def pieces(regions: list[Region], count: int) -> list[list[Region]]:
    """Regions in `count` lists of equal size: fewer where that is above MOST, or a list below LEAST bases."""
    total = sum(end - start for _, start, end in regions)
    count = max(1, min(count, MOST, total // LEAST))
    ends = [total * number // count for number in range(count + 1)]
    sizes = iter([end - start for start, end in itertools.pairwise(ends)])
    made: list[list[Region]] = [[]]
    room = next(sizes)
    for contig, start, end in regions:
        while start < end:
            if not room:
                made.append([])
                room = next(sizes)
            stop = min(end, start + room)
            made[-1].append((contig, start, stop))
            room -= stop - start
            start = stop
    return made


def by_contig(regions: list[Region]) -> list[list[Region]]:
    """Regions in lists of whole contigs, as many in a row as stay below the longest of them, or are MOST lists."""
    sizes = {
        contig: sum(end - start for _, start, end in group)
        for contig, group in itertools.groupby(regions, key=lambda region: region[0])
    }
    room = max(LEAST, *sizes.values(), -(-2 * sum(sizes.values()) // MOST))
    made: list[list[Region]] = [[]]
    filled = 0
    for contig, group in itertools.groupby(regions, key=lambda region: region[0]):
        if made[-1] and filled + sizes[contig] > room:
            made.append([])
            filled = 0
        made[-1] += group
        filled += sizes[contig]
    return made


def intersection(
    regions: Iterable[Region], others: Iterable[Region], *, inverse: bool = False
) -> list[Region]:
    """What regions have in common with others, in the order of the regions; with `inverse`, what they have apart."""
    by_name: dict[str, list[Region]] = {}
    for other in sorted(others, key=lambda region: region[1]):
        by_name.setdefault(other[0], []).append(other)
    found: list[Region] = []
    for contig, start, end in regions:
        at = start
        for _, first, last in by_name.get(contig, []):
            first, last = max(first, at), min(last, end)
            if first < last:
                found += [(contig, at, first)] if inverse and at < first else []
                found += [] if inverse else [(contig, first, last)]
                at = last
        found += [(contig, at, end)] if inverse and at < end else []
    return found


def write_bed(regions: list[Region], path: Path) -> None:
    """Write regions as BED."""
    path.write_text("".join(f"{contig}\t{start}\t{end}\n" for contig, start, end in regions))


def write_contigs(source: str, target: str, contigs: list[str]) -> None:
    """Copy chosen contigs of a FASTA (plain or gzip), as plain FASTA.

    Raises:
        InvalidAssetError: a contig that it does not have.
    """
    wanted, keep = set(contigs), False
    found: dict[str, None] = {}
    with opened(Path(source)) as lines, open(target, "wb") as chosen:
        for line in lines:
            if line.startswith(b">"):
                name = (line[1:].decode("utf-8", "replace").split() or [""])[0]
                found[name] = None
                keep = name in wanted
            if keep:
                chosen.write(line)
    if missing := sorted(wanted - found.keys()):
        raise InvalidAssetError(
            f"the reference has no contig {', '.join(map(repr, missing))}; it has {_some(found)}"
        )


def _some(contigs: Iterable[str]) -> str:
    names = list(contigs)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "none"


def _joined(regions: list[Region], order: list[str]) -> list[Region]:
    rank = {contig: number for number, contig in enumerate(order)}
    made: list[Region] = []
    for contig, start, end in sorted(regions, key=lambda region: (rank[region[0]], region[1:])):
        if made and made[-1][0] == contig and start <= made[-1][2]:
            made[-1] = (contig, made[-1][1], max(end, made[-1][2]))
        else:
            made.append((contig, start, end))
    return made
