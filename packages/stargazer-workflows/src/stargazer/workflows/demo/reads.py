"""Paired reads as a sequencer would make them: fragments, PCR duplicates, qualities and errors."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stargazer.workflows.demo.draws import Array, Draws
from stargazer.workflows.demo.genome import COMPLEMENT, N, letters

__all__ = ["READ_LENGTH", "Fragments", "draw_fragments", "write_reads"]

READ_LENGTH = 150
INSERT_MEAN, INSERT_DEVIATION = 380.0, 60.0
DUPLICATE_SHARE, OPTICAL_SHARE = 0.06, 0.10
"""Share of pairs that are PCR copies of another; share of those that lie beside it on the flow cell."""
CHIMERIC_SHARE = 0.004
"""Share of fragments whose ends come from different places."""
QUALITIES = (2, 11, 18, 25, 30, 34, 37, 40)
"""The values that the instrument reports, as it bins them."""
NOISE = [-26] * 2 + [-18] * 3 + [-12] * 5 + [-7] * 10 + [-3] * 36 + [0] * 110 + [2] * 90
"""What a base adds to its read's quality: usually next to nothing, now and then a bad call."""
POOR_TAILS, INDELS_PER_READ, NO_CALLS = 10, 0.001, 0.0001
"""Reads in 256 whose quality collapses; share of reads with an indel error; share of bases called N."""
SHORTEST_RUN = 6
STUTTER = (0.0,) * SHORTEST_RUN + (0.002, 0.004, 0.01, 0.02, 0.04, 0.06, 0.09, 0.12, 0.15, 0.18)
"""Chance that a read of a homopolymer of this length has it one base longer or shorter."""
TILES = tuple(
    1000 * surface + 100 * swath + tile
    for surface in (1, 2)
    for swath in (1, 2, 3, 4)
    for tile in range(1, 17)
)
WIDTH = 40_000
"""Size of a tile in the units of read names."""
CHUNK = 20_000
"""Pairs that are turned into text at a time: bounds memory."""


@dataclass(frozen=True)
class Fragments:
    """Sequenced fragments of one lane, as arrays in the order of the flow cell."""

    left: Array
    right: Array
    """Where the template's forward strand has the first base of the left and of the right read."""
    reverse: Array
    """Whether the first read of the pair is the right one."""
    spots: Array
    """Where on the flow cell: (tile * WIDTH + x) * WIDTH + y."""

    def __len__(self) -> int:
        return len(self.left)


def draw_fragments(template: Array, pairs: int, lanes: int, draws: Draws) -> list[Fragments]:
    """Draw fragments of both haplotypes and spread them over lanes.

    Args:
        template: base codes of all haplotypes one after the other, with N between contigs.
        pairs: how many fragments, duplicates included.
        lanes: how many lanes the library is spread over.
        draws: where randomness comes from.

    Returns:
        One `Fragments` for each lane. No fragment holds an N; GC-rich and AT-rich ones are rarer.
    """
    copies = round(pairs * DUPLICATE_SHARE)
    left, right = _places(template, pairs - copies, draws)
    reverse = draws.bytes(len(left)) < 128
    lane = draws.integers(0, lanes, pairs)
    spots = draws.integers(0, len(TILES) * WIDTH * WIDTH, pairs)

    originals = draws.integers(0, pairs - copies, copies)
    optical = np.flatnonzero(draws.uniform(copies) < OPTICAL_SHARE)
    beside = pairs - copies + optical
    spots[beside] = spots[originals[optical]] + draws.integers(1, 40, len(optical)) * WIDTH
    lane[beside] = lane[originals[optical]]
    source = np.concatenate([np.arange(pairs - copies), originals])

    fragments = []
    for number in range(lanes):
        members = np.flatnonzero(lane == number)
        members = members[np.argsort(spots[members], kind="stable")]
        unique = spots[members] + np.arange(len(members))
        origin = source[members]
        fragments.append(Fragments(left[origin], right[origin], reverse[origin], unique))
    return fragments


def write_reads(
    paths: tuple[Path, Path], template: Array, fragments: Fragments, prefix: str, barcode: str, draws: Draws
) -> None:
    """Sequence fragments into two files of gzipped FASTQ.

    Args:
        paths: of first and second reads.
        template: the base codes that the fragments' positions count in.
        fragments: of one lane.
        prefix: what read names begin with: `instrument:run:flowcell:lane`.
        barcode: the library's index sequences, in the comment of each read.
        draws: where randomness comes from.
    """
    with _gzipped(paths[0]) as r1, _gzipped(paths[1]) as r2:
        for begin in range(0, len(fragments), CHUNK):
            part = slice(begin, begin + CHUNK)
            left, right, reverse = fragments.left[part], fragments.right[part], fragments.reverse[part]
            names = [f"@{prefix}:{_spot(spot)}" for spot in fragments.spots[part].tolist()]
            first = _sequence(template, np.where(reverse, right, left), reverse, 1, draws)
            second = _sequence(template, np.where(reverse, left, right), ~reverse, 2, draws)
            r1.write(_text(names, f" 1:N:0:{barcode}", *first))
            r2.write(_text(names, f" 2:N:0:{barcode}", *second))


@contextmanager
def _gzipped(path: Path) -> Iterator[gzip.GzipFile]:
    """A gzip file without name and time, so that equal content gives equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as compressed:
        yield compressed


def _places(template: Array, count: int, draws: Draws) -> tuple[Any, Any]:
    unknown = np.concatenate([[0], np.cumsum(template == N)])
    gc = np.concatenate([[0], np.cumsum((template == 1) | (template == 2))])
    starts, lengths, found = [], [], 0
    while found < count:
        wanted = count - found + 1000
        length = (
            draws.normal(INSERT_MEAN, INSERT_DEVIATION, wanted).astype(np.int64).clip(READ_LENGTH + 10, 700)
        )
        start = draws.integers(0, len(template) - 700, wanted)
        content = (gc[start + length] - gc[start]) / length - 0.42
        kept = (unknown[start + length] == unknown[start]) & (
            draws.uniform(wanted) < 1.0 - 7.0 * content * content
        )
        starts.append(start[kept])
        lengths.append(length[kept])
        found += int(kept.sum())
        if not kept.any():
            raise ValueError(f"no fragment of {len(template)} bases is free of N: the genome is too small")
    left = np.concatenate(starts)[:count]
    right = left + np.concatenate(lengths)[:count] - READ_LENGTH
    joined = draws.integers(0, count, round(count * CHIMERIC_SHARE))
    right[joined] = right[draws.integers(0, count, len(joined))]
    return left, right


def _spot(spot: int) -> str:
    rest, y = divmod(spot, WIDTH)
    tile, x = divmod(rest, WIDTH)
    return f"{TILES[tile % len(TILES)]}:{x + 1000}:{y + 1000}"


def _sequence(template: Array, starts: Array, reverse: Array, mate: int, draws: Draws) -> tuple[Array, Array]:
    """Base codes and qualities of the reads that start there, reverse complemented if asked, with errors."""
    windows = np.lib.stride_tricks.sliding_window_view(template, READ_LENGTH)
    codes = windows[starts]
    chosen = draws.integers(0, len(codes), round(len(codes) * INDELS_PER_READ))
    _slip(codes, chosen, draws.integers(1, READ_LENGTH - 1, len(chosen)), draws)
    _add_stutter(codes, starts, template, draws)
    codes[reverse] = np.array(COMPLEMENT, dtype=np.uint8)[codes[reverse][:, ::-1]]
    qualities = _qualities(len(codes), mate, draws)
    chances = np.zeros(64, dtype=np.uint16)
    for quality in QUALITIES:
        chances[quality] = max(1, round(65536 * 10 ** (-quality / 10)))
    wrong = draws.words(*codes.shape) < chances[qualities]
    codes[wrong] = (codes[wrong] + 1 + draws.bytes(int(wrong.sum())) % 3) & 3
    missing = draws.integers(0, codes.size, round(codes.size * NO_CALLS))
    codes.reshape(-1)[missing] = N
    qualities.reshape(-1)[missing] = QUALITIES[0]
    return codes, qualities


def _add_stutter(codes: Array, starts: Array, template: Array, draws: Draws) -> None:
    """Repeat or leave out one base where the polymerase slipped in a homopolymer of the template."""
    last = np.append(np.flatnonzero(template[1:] != template[:-1]), len(template) - 1)
    lengths = np.diff(last, prepend=-1)
    slippery = (lengths >= SHORTEST_RUN) & (template[last] != N)
    ends, lengths = last[slippery], lengths[slippery]
    if not len(ends):
        return
    following = np.searchsorted(ends, starts + 5).clip(max=len(ends) - 1)
    at = ends[following] - starts
    chance = np.array(STUTTER)[lengths[following].clip(max=len(STUTTER) - 1)]
    chosen = np.flatnonzero((at > 5) & (at < READ_LENGTH - 5) & (draws.uniform(len(codes)) < chance))
    _slip(codes, chosen, at[chosen], draws)


def _slip(codes: Array, chosen: Array, at: Array, draws: Draws) -> None:
    """Shift what follows position `at` of the chosen reads by one base."""
    step = np.where(draws.bytes(len(chosen)) < 96, -1, 1)[:, None]
    cycle = np.arange(READ_LENGTH)
    source = np.where(cycle >= at[:, None], cycle + step, cycle).clip(max=READ_LENGTH - 1)
    codes[chosen] = codes[chosen[:, None], source]


def _qualities(count: int, mate: int, draws: Draws) -> Array:
    """Qualities by cycle: a few cycles to warm up, a slow decline, worse in second reads and poor tails."""
    cycle = np.arange(READ_LENGTH)
    decline = (cycle - 60).clip(0) * (5 if mate == 1 else 8) // 90
    trend = (39 - (mate - 1) - decline - (5 - cycle).clip(0)).astype(np.int16)
    noise = np.array(NOISE, dtype=np.int16)
    shift = draws.normal(0.0, 2.0, count, 1).astype(np.int16)
    tail = np.where(
        draws.bytes(count, 1) < POOR_TAILS * mate, draws.integers(50, READ_LENGTH, count, 1), READ_LENGTH
    )
    values = trend + shift + noise[draws.bytes(count, READ_LENGTH)]
    values -= (14 * (cycle >= tail)).astype(np.int16)
    bins = [max(q for q in QUALITIES if q <= max(value, 11)) for value in range(64)]
    binned: Array = np.array(bins, dtype=np.uint8)[values.clip(0, 63)]
    return binned


def _text(names: list[str], comment: str, codes: Array, qualities: Array) -> bytes:
    bases, scores = letters(codes), str((qualities + 33).astype(np.uint8).tobytes(), "ascii")
    reads = [slice(index * READ_LENGTH, (index + 1) * READ_LENGTH) for index in range(len(names))]
    return "".join(
        f"{name}{comment}\n{bases[read]}\n+\n{scores[read]}\n"
        for name, read in zip(names, reads, strict=True)
    ).encode("ascii")
