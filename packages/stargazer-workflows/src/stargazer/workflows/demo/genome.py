"""A small reference genome with what makes real ones hard: repeats, uneven GC content, runs of N."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from stargazer.workflows.demo.draws import Array, Draws

__all__ = [
    "BASES",
    "COMPLEMENT",
    "Contig",
    "Feature",
    "N",
    "background",
    "confident_intervals",
    "hidden_copy",
    "letters",
    "make_genome",
]

BASES = b"ACGT"
"""The letter of each base code; N has code 4."""
N = 4
COMPLEMENT = (3, 2, 1, 0, 4)

CONTIG_SHARES = (0.46, 0.33, 0.21)
SINE_LENGTH, LINE_LENGTH, DUPLICATION_LENGTH = 300, 1200, 3000
HIDDEN_LENGTH, HIDDEN_DIFFERENCES = 900, 4
LONGEST_JUDGED_REPEAT = 30
EDGE = 250
"""Bases beside a contig's end or a run of N where too few fragments reach for a fair judgement."""


@dataclass(frozen=True)
class Feature:
    """A stretch of a contig of one kind: start counted from 0, end excluded."""

    start: int
    end: int
    kind: str


@dataclass
class Contig:
    """A reference sequence as base codes (A 0, C 1, G 2, T 3, N 4) and what was put into it."""

    name: str
    codes: Array
    features: list[Feature] = field(default_factory=list)

    def sequence(self) -> str:
        """The bases as text."""
        return letters(self.codes)

    def fasta(self, soft_masked: Collection[str] = ()) -> str:
        """The record of a FASTA in lines of 60 bases, features of these kinds in small letters."""
        bases = bytearray(self.sequence(), "ascii")
        for feature in self.features:
            if feature.kind in soft_masked:
                bases[feature.start : feature.end] = bases[feature.start : feature.end].lower()
        text = bases.decode("ascii")
        return f">{self.name}\n" + "".join(text[at : at + 60] + "\n" for at in range(0, len(text), 60))


def letters(codes: Array) -> str:
    """Base codes as text."""
    return str(np.frombuffer(BASES + b"N", dtype=np.uint8)[codes].tobytes(), "ascii")


def make_genome(length: int, seed: int) -> list[Contig]:
    """Make three contigs of different sizes, `demo1` to `demo3`, of `length` bases together.

    Background of varying GC content with few CpG; two families of interspersed repeats whose copies
    diverge by 5 to 20 %; pairs of nearly identical duplications (under 0.5 %), where short reads cannot
    tell the copies apart; microsatellites and homopolymers; runs of N within and at the ends.
    """
    draws = Draws(seed, 1)
    contigs = [
        Contig(f"demo{number}", background(int(length * share), draws))
        for number, share in enumerate(CONTIG_SHARES, 1)
    ]
    for contig in contigs:
        _add_gaps(contig, draws)
    for _ in range(max(1, round(length / 225_000))):
        _add_family(contigs, "duplication", DUPLICATION_LENGTH, 2, (0.0005, 0.002), draws)
    _add_family(contigs, "line", LINE_LENGTH, length // 30_000, (0.05, 0.15), draws)
    _add_family(contigs, "sine", SINE_LENGTH, length // 8_000, (0.08, 0.20), draws)
    for contig in contigs:
        _add_tandem_repeats(contig, draws)
        contig.features.sort(key=lambda feature: (feature.start, feature.end))
    return contigs


def confident_intervals(contig: Contig) -> list[tuple[int, int]]:
    """Where short reads can be judged: away from ends and N, outside duplications and long tandem repeats.

    Returns (start, end) pairs counted from 0, end excluded, in order, not overlapping.
    """
    excluded = [(0, EDGE), (len(contig.codes) - EDGE, len(contig.codes))]
    for feature in contig.features:
        if feature.kind in ("gap", "duplication"):
            excluded.append((feature.start - EDGE, feature.end + EDGE))
        elif feature.kind == "tandem" and feature.end - feature.start > LONGEST_JUDGED_REPEAT:
            excluded.append((feature.start - 10, feature.end + 10))
    kept, position = [], 0
    for start, end in sorted(excluded):
        if start > position:
            kept.append((position, start))
        position = max(position, end)
    return kept


def hidden_copy(genome: Sequence[Contig], seed: int) -> Array:
    """A diverged copy of a stretch of the genome that everyone has and the reference lacks.

    Its reads align to the stretch that is there: a classic source of false calls in real assemblies.
    """
    draws = Draws(seed, 5)
    for _ in range(1000):
        contig = genome[draws.one(0, len(genome))]
        start = draws.one(0, len(contig.codes) - HIDDEN_LENGTH)
        if _free(contig, start, start + HIDDEN_LENGTH):
            break
    copy = contig.codes[start : start + HIDDEN_LENGTH].copy()
    changed = draws.integers(HIDDEN_LENGTH // 3, HIDDEN_LENGTH * 2 // 3, HIDDEN_DIFFERENCES)
    copy[changed] = (copy[changed] + 1 + draws.bytes(HIDDEN_DIFFERENCES) % 3) & 3
    return copy


def background(length: int, draws: Draws) -> Array:
    """Base codes without repeats: GC content that changes along the sequence, and few CpG."""
    blocks = length // 2000 + 2
    gc = np.empty(blocks)
    level = 0.41
    for index, step in enumerate(draws.normal(0.0, 0.03, blocks)):
        level = min(0.58, max(0.33, level + float(step) + 0.15 * (0.42 - level)))
        gc[index] = level
    along = np.arange(length) / 2000.0
    block = along.astype(np.int64)
    local = gc[block] + (gc[block + 1] - gc[block]) * (along - block)
    is_gc = draws.uniform(length) < local
    either = draws.bytes(length) & 1
    codes = np.where(is_gc, 1 + either, 3 * either).astype(np.uint8)
    cpg = np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))
    decayed = draws.bytes(len(cpg))
    codes[cpg[decayed < 96]] = 3
    codes[cpg[(decayed >= 96) & (decayed < 192)] + 1] = 0
    return codes


def _free(contig: Contig, start: int, end: int, margin: int = 50) -> bool:
    return all(end + margin <= f.start or f.end + margin <= start for f in contig.features)


def _put(contig: Contig, codes: Array, kind: str, draws: Draws) -> None:
    """Put bases where nothing has been put yet; leave them out after 50 tries in a crowded contig."""
    for _ in range(50):
        start = draws.one(EDGE * 2, max(EDGE * 2 + 1, len(contig.codes) - len(codes) - EDGE * 2))
        end = start + len(codes)
        if end + EDGE < len(contig.codes) and _free(contig, start, end):
            contig.codes[start:end] = codes
            contig.features.append(Feature(start, end, kind))
            return


def _add_gaps(contig: Contig, draws: Draws) -> None:
    size = len(contig.codes)
    middle = draws.one(size * 2 // 5, size * 3 // 5)
    for start, length in ((0, 100), (middle, draws.one(300, 900)), (size - 100, 100)):
        contig.codes[start : start + length] = N
        contig.features.append(Feature(start, start + length, "gap"))


def _add_family(
    contigs: list[Contig], kind: str, length: int, copies: int, divergence: tuple[float, float], draws: Draws
) -> None:
    consensus = draws.bytes(length) & 3
    sizes = [len(contig.codes) for contig in contigs]
    for which in draws.weighted(sizes, copies):
        contig = contigs[int(which)]
        share = divergence[0] + (divergence[1] - divergence[0]) * float(draws.uniform(1)[0])
        copy = np.where(
            draws.uniform(length) < share, (consensus + 1 + draws.bytes(length) % 3) & 3, consensus
        )
        if kind == "line":
            copy = copy[draws.one(0, length * 3 // 4) :]
        if draws.one(0, 2):
            copy = 3 - copy[::-1]
        _put(contig, copy, kind, draws)


def _add_tandem_repeats(contig: Contig, draws: Draws) -> None:
    for _ in range(len(contig.codes) // 7_000):
        unit_length = 1 + int(draws.weighted((5, 6, 3, 4, 1, 1), 1)[0])
        units = draws.one(8, 18) if unit_length == 1 else draws.one(5, 14)
        _put(contig, np.tile(draws.bytes(unit_length) & 3, units), "tandem", draws)
