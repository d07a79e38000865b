"""A simulated cohort: samples at depths of their own, a haploid chrM, lower-case repeats, indels to 60 bases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from stargazer.assets import InvalidAssetError
from stargazer.workflows.demo.alleles import Allele, normalise
from stargazer.workflows.demo.draws import Array, Draws
from stargazer.workflows.demo.genome import Contig, N, background, make_genome
from stargazer.workflows.demo.reads import READ_LENGTH, draw_fragments, write_reads
from stargazer.workflows.demo.variation import Variant, haplotype_codes, make_sites

__all__ = ["MITOCHONDRION", "Cohort", "simulate_cohort"]

MITOCHONDRION = "chrM"
MITOCHONDRION_LENGTH = 16_569
MITOCHONDRIA = 10
"""Copies of chrM in a sample for each copy of the other contigs."""
INDEL_LENGTHS = (8.0,) * 5 + (40 / 15,) * 15 + (1.0,) * 40
"""How often an indel is 1 to 60 bases long: 1 to 5, 6 to 20 and 21 to 60 equally often."""
BASES_PER_INDEL = 1_500
DELETIONS = (300, 700, 1500)
"""Bases of the stretches that a sample lacks on both haplotypes."""
PRIVATE_SHARE, FREQUENCY = 0.5, 0.4
"""Share of the variants that one sample has; how often a haplotype carries one of the others."""
SOFT_MASKED = ("line", "sine", "tandem")


@dataclass(frozen=True)
class Cohort:
    """What was simulated: the files, and the truth behind them."""

    reference: Path
    reads: dict[str, tuple[Path, Path]]
    """Of each sample in order: first and second reads."""
    contigs: list[Contig]
    variants: dict[str, list[Variant]]
    """Of each contig, in order. The haplotypes of sample i are 2 * i and 2 * i + 1; on chrM they are one."""
    deletions: dict[str, list[tuple[str, int, int]]]
    """What each sample lacks: contig, start counted from 0, end excluded."""

    def truth(self) -> dict[str, dict[Allele, int]]:
        """The alleles of each sample, normalised, with their copies: one or two, on chrM one."""
        found: dict[str, dict[Allele, int]] = {}
        for number, sample in enumerate(self.reads):
            alleles = found[sample] = {}
            for contig, variants in self.variants.items():
                for variant in variants:
                    if copies := sum(variant.carriers[2 * number : 2 * number + 2]):
                        allele = (contig, variant.position, variant.ref, variant.alt)
                        alleles[allele] = 1 if contig == MITOCHONDRION else copies
        return found


def simulate_cohort(folder: Path, depths: Mapping[str, float], length: int, seed: int) -> Cohort:
    """Simulate a reference and the paired reads of unrelated samples into a folder that exists.

    The reference is `make_genome`'s with its repeats in lower case, and chrM. Files: reference.fa, and for each sample
    NAME_R1.fastq.gz and NAME_R2.fastq.gz; the same seed gives the same content everywhere.

    Args:
        folder: where to write.
        depths: sample -> mean depth, duplicates included.
        length: of the reference without chrM, in bases.
        seed: a whole number >= 0.

    Raises:
        InvalidAssetError: if the genome is too short for the deletions.
    """
    draws = Draws(seed, 6)
    mitochondrion = Contig(MITOCHONDRION, background(MITOCHONDRION_LENGTH, draws))
    nuclear = make_genome(length, seed)
    contigs = [*nuclear, mitochondrion]
    variants = {}
    for contig in contigs:
        sites = make_sites(contig, draws, INDEL_LENGTHS, BASES_PER_INDEL)
        haploid = contig is mitochondrion
        variants[contig.name] = [
            replace(site, carriers=_carriers(len(depths), haploid, draws)) for site in sites
        ]
    deletions: dict[str, list[tuple[str, int, int]]] = {}
    for number, sample in enumerate(depths):
        missing = deletions[sample] = []
        for size in DELETIONS:
            contig, deletion = _deletion(nuclear, size, missing, draws)
            carriers = tuple(haplotype // 2 == number for haplotype in range(2 * len(depths)))
            variants[contig.name] = _deleted(
                variants[contig.name], replace(deletion, carriers=carriers), number
            )
            missing.append((contig.name, deletion.position, deletion.position + size))
    (folder / "reference.fa").write_text(
        "".join(contig.fasta(SOFT_MASKED) for contig in contigs), encoding="ascii"
    )
    reads = {}
    for number, (sample, depth) in enumerate(depths.items()):
        template = _template(contigs, variants, number)
        pairs = round(len(template) / 2 * depth / (2 * READ_LENGTH))
        reads[sample] = folder / f"{sample}_R1.fastq.gz", folder / f"{sample}_R2.fastq.gz"
        draws = Draws(seed, 7, number)
        (fragments,) = draw_fragments(template, pairs, 1, draws)
        write_reads(reads[sample], template, fragments, "A01234:43:HSTARDSX8:1", "ATTACTCG+TATAGCCT", draws)
    return Cohort(folder / "reference.fa", reads, contigs, variants, deletions)


def _carriers(samples: int, haploid: bool, draws: Draws) -> tuple[bool, ...]:
    """Which haplotypes carry a variant, of one sample or of several; both of a sample or none where it is haploid."""
    if float(draws.uniform(1)[0]) < PRIVATE_SHARE:
        owner, both, first = draws.one(0, samples), draws.one(0, 3) == 0, draws.one(0, 2)
        chosen = {2 * owner, 2 * owner + 1} if both else {2 * owner + first}
    else:
        chosen = {haplotype for haplotype, draw in enumerate(draws.uniform(2 * samples)) if draw < FREQUENCY}
        chosen = chosen or {draws.one(0, 2 * samples)}
    if haploid:
        chosen = {2 * (haplotype // 2) + copy for haplotype in chosen for copy in (0, 1)}
    return tuple(haplotype in chosen for haplotype in range(2 * samples))


def _deletion(
    contigs: Sequence[Contig], size: int, missing: Sequence[tuple[str, int, int]], draws: Draws
) -> tuple[Contig, Variant]:
    """A stretch away from N, duplications, tandem repeats and what is missing already, that nobody lacks yet."""
    for _ in range(1000):
        contig = contigs[draws.one(0, len(contigs))]
        start = draws.one(1000, len(contig.codes) - size - 1000)
        taken = [(f.start, f.end) for f in contig.features if f.kind in ("gap", "duplication", "tandem")]
        taken += [(begin, end) for name, begin, end in missing if name == contig.name]
        if all(end + 500 <= start or start + size + 500 <= begin for begin, end in taken):
            break
    else:
        raise InvalidAssetError(
            f"the genome has no room for a deletion of {size} bases: simulate a longer one"
        )
    bases = contig.sequence()
    ((position, ref, alt),) = normalise(bases, start, bases[start - 1 : start + size], bases[start - 1])
    return contig, Variant(position, ref, alt)


def _deleted(variants: Sequence[Variant], deletion: Variant, number: int) -> list[Variant]:
    """The variants with the deletion, without those that its carrier can no longer have."""
    kept = [deletion]
    for variant in variants:
        if (
            variant.position < deletion.position + len(deletion.ref) + 12
            and deletion.position < variant.position + len(variant.ref) + 12
        ):
            carriers = tuple(carried and h // 2 != number for h, carried in enumerate(variant.carriers))
            variant = replace(variant, carriers=carriers)
        if any(variant.carriers):
            kept.append(variant)
    return sorted(kept, key=lambda variant: variant.position)


def _template(contigs: Sequence[Contig], variants: Mapping[str, Sequence[Variant]], number: int) -> Array:
    """All that is sequenced of a sample: both haplotypes of each contig, and chrM as often as cells have it."""
    gap = np.full(700, N, dtype=np.uint8)
    pieces = []
    for haplotype in (2 * number, 2 * number + 1):
        for contig in contigs:
            copies = MITOCHONDRIA if contig.name == MITOCHONDRION else 1
            pieces += [haplotype_codes(contig, variants[contig.name], haplotype), gap] * copies
    return np.concatenate(pieces)
