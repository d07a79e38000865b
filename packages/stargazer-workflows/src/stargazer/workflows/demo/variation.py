"""Variants of a trio: two founders with their haplotypes, and a child that inherits with crossovers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from stargazer.workflows.demo.alleles import normalise
from stargazer.workflows.demo.draws import Array, Draws
from stargazer.workflows.demo.genome import BASES, Contig, letters

__all__ = [
    "CHILD",
    "FATHER",
    "MOTHER",
    "Variant",
    "genotype",
    "haplotype_codes",
    "make_sites",
    "make_variants",
]

FATHER, MOTHER, CHILD = 0, 1, 2
"""Order of the samples: haplotypes 2 * sample and 2 * sample + 1 are theirs."""

CARRIERS = (12, 6, 4, 3)
"""How often a variant is on 1, 2, 3 or 4 of the founders' haplotypes: the neutral spectrum, 1 / count."""
IN_ONE_PERSON = 0.72
"""Share of those variants that any one of the trio has."""
BASES_PER_SNV, BASES_PER_INDEL = 800, 6_500
INDEL_LENGTHS = (45, 17, 9, 9, 4, 4, 2, 2, 2, 2, 1, 1, 1, 1, 1)
"""How often an indel is 1 to 15 bases long."""
TRANSITION = (2, 3, 0, 1)


@dataclass(frozen=True)
class Variant:
    """A normalised change (position counted from 1) and which haplotypes carry it, two for each sample."""

    position: int
    ref: str
    alt: str
    carriers: tuple[bool, ...] = ()

    @property
    def is_snv(self) -> bool:
        """Whether one base takes the place of one other."""
        return len(self.ref) == len(self.alt) == 1


def genotype(variant: Variant, sample: int) -> str:
    """The phased genotype of a sample as VCF writes it; of the child, paternal before maternal."""
    return "|".join(str(int(carrier)) for carrier in variant.carriers[2 * sample : 2 * sample + 2])


def make_variants(contig: Contig, seed: int, number: int) -> list[Variant]:
    """Make the variants of the `number`-th contig in order, inherited by the child without new mutations."""
    draws = Draws(seed, 2, number)
    sites = make_sites(contig, draws)
    crossovers = [_crossovers(len(contig.codes), draws) for _parent in (FATHER, MOTHER)]
    counts = draws.weighted(CARRIERS, len(sites)) + 1
    variants = []
    for site, count in zip(sites, counts, strict=True):
        chosen = set(draws.order(4)[: int(count)].tolist())
        founders = [haplotype in chosen for haplotype in range(4)]
        inherited = [
            founders[2 * parent + (first + sum(point < site.position for point in points)) % 2]
            for parent, (first, points) in enumerate(crossovers)
        ]
        variants.append(Variant(site.position, site.ref, site.alt, (*founders, *inherited)))
    return variants


def make_sites(
    contig: Contig,
    draws: Draws,
    indel_lengths: Sequence[float] = INDEL_LENGTHS,
    bases_per_indel: int = BASES_PER_INDEL,
) -> list[Variant]:
    """Make SNVs and indels of a contig in order, far enough from each other, that nobody carries yet.

    Args:
        contig: without variants.
        draws: where randomness comes from.
        indel_lengths: how often an indel is 1, 2, 3... bases long.
        bases_per_indel: on average, in one person.
    """
    return _spaced([*_snvs(contig, draws), *_indels(contig, draws, indel_lengths, bases_per_indel)])


def haplotype_codes(contig: Contig, variants: Iterable[Variant], haplotype: int) -> Array:
    """The base codes of a contig with the variants that this haplotype carries."""
    pieces, copied = [], 0
    for variant in variants:
        if variant.carriers[haplotype]:
            start = variant.position - 1
            alt = np.array([BASES.index(base) for base in variant.alt.encode()], dtype=np.uint8)
            pieces += [contig.codes[copied:start], alt]
            copied = start + len(variant.ref)
    pieces.append(contig.codes[copied:])
    return np.concatenate(pieces)


def _snvs(contig: Contig, draws: Draws) -> list[Variant]:
    size = len(contig.codes)
    count = round(size / BASES_PER_SNV / IN_ONE_PERSON)
    positions = draws.integers(1, size, count)
    changes = draws.uniform(count)
    snvs = []
    for position, change in zip(positions.tolist(), changes.tolist(), strict=True):
        code = int(contig.codes[position - 1])
        if code > 3:
            continue
        other = TRANSITION[code] if change < 0.67 else (code + (1 if change < 0.835 else 3)) % 4
        snvs.append(Variant(position, chr(BASES[code]), chr(BASES[other])))
    return snvs


def _indels(contig: Contig, draws: Draws, lengths: Sequence[float], bases_per_indel: int) -> list[Variant]:
    sequence = contig.sequence()
    tandem = [feature for feature in contig.features if feature.kind == "tandem"]
    indels: list[Variant] = []
    for _ in range(round(len(sequence) / bases_per_indel / IN_ONE_PERSON)):
        length = int(draws.weighted(lengths, 1)[0]) + 1
        start = draws.one(100, len(sequence) - 100)
        kind = draws.one(0, 8)
        if tandem and kind < 3:
            start = tandem[draws.one(0, len(tandem))].start + 1
        around = sequence[start - 1 : start + length]
        if "N" in sequence[start - 50 : start + 50]:
            continue
        if draws.one(0, 2):
            change = (around, around[0])
        elif kind % 2:
            change = (around[0], around)
        else:
            change = (around[0], around[0] + letters(draws.bytes(length) & 3))
        indels.extend(Variant(*normal) for normal in normalise(sequence, start, *change))
    return indels


def _spaced(sites: list[Variant]) -> list[Variant]:
    """Leave out what stands so close to another variant that its normalised form would be ambiguous."""
    kept: list[Variant] = []
    for site in sorted(sites, key=lambda site: (site.position, site.ref, site.alt)):
        if kept:
            gap = 0 if site.is_snv and kept[-1].is_snv else 12
            if site.position < kept[-1].position + len(kept[-1].ref) + gap:
                continue
        kept.append(site)
    return kept


def _crossovers(size: int, draws: Draws) -> tuple[int, list[int]]:
    """The parent's haplotype that a gamete begins with, and the positions where it changes to the other."""
    first = draws.one(0, 2)
    return first, sorted(draws.integers(1, size, draws.one(0, 3)).tolist())
