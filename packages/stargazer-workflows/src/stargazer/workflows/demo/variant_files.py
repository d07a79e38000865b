"""What the comparison needs of VCF and BCF files: samples, alleles with their copies, genotypes of a trio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stargazer.assets import FormatError
from stargazer.workflows.demo.alleles import Allele, normalise
from stargazer.workflows.demo.regions import Regions

__all__ = [
    "Observation",
    "Site",
    "is_sequence",
    "observations",
    "opened",
    "passes",
    "sample_names",
    "trio_genotypes",
]


@dataclass(frozen=True)
class Observation:
    """An allele as one record gives it for one sample."""

    copies: int
    genotype: str
    quality: float | None
    depth: int | None
    alt_depth: int | None


@dataclass(frozen=True)
class Site:
    """A record with the complete genotypes of several samples."""

    contig: str
    position: int
    ref: str
    alts: tuple[str, ...]
    quality: float | None
    genotypes: tuple[tuple[int, int], ...]


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """A VCF or BCF file as pysam's VariantFile; what cannot be read becomes a FormatError."""
    import pysam

    verbosity = pysam.set_verbosity(0)
    try:
        with pysam.VariantFile(path) as variants:
            yield variants
    except (OSError, ValueError) as error:
        raise FormatError(f"{path!r} cannot be read as VCF or BCF: {error}") from error
    finally:
        pysam.set_verbosity(verbosity)


def sample_names(path: str) -> list[str]:
    """The samples of a VCF or BCF file in its order."""
    with opened(path) as variants:
        return list(variants.header.samples)


def passes(record: Any) -> bool:
    """Whether a record's FILTER is PASS or unset."""
    return all(name == "PASS" for name in record.filter)


def is_sequence(allele: str) -> bool:
    """Whether an allele is spelled out in bases: not symbolic, not `*`."""
    return bool(allele) and all(letter in "ACGTNacgtn" for letter in allele)


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
                    seen = _observation(record, sample, number)
                    if seen is not None:
                        for key in keys:
                            found[sample].setdefault(key, seen)
    return found


def trio_genotypes(path: str, samples: Sequence[str], regions: Regions | None) -> Iterator[Site]:
    """Yield the passing records where these samples have complete diploid genotypes, not all reference."""
    with opened(path) as variants:
        for record in variants:
            if record.alts is None or not passes(record):
                continue
            if regions is not None and not regions.hold(record.contig, record.start, record.stop):
                continue
            genotypes: tuple[Any, ...] = tuple(record.samples[sample].get("GT") or () for sample in samples)
            if any(len(genotype) != 2 or None in genotype for genotype in genotypes):
                continue
            if any(allele for genotype in genotypes for allele in genotype):
                yield Site(record.contig, record.pos, record.ref, record.alts, record.qual, genotypes)


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
