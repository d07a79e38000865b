"""A VCF or BCF file as pysam reads it: opened, its samples, and what its records and alleles say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stargazer.assets import FormatError
from stargazer.tasks import quiet_htslib

__all__ = ["is_sequence", "opened", "passes", "sample_names"]


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """A VCF or BCF file as pysam's VariantFile; what cannot be read becomes a FormatError."""
    import pysam

    try:
        with quiet_htslib(), pysam.VariantFile(path) as variants:
            yield variants
    except (OSError, ValueError) as error:
        raise FormatError(f"{path!r} cannot be read as VCF or BCF: {error}") from error


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
