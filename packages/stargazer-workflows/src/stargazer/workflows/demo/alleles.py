"""Brings alleles into one comparable form: trimmed, left-aligned, anchored on the base before an indel."""

from __future__ import annotations

__all__ = ["Allele", "normalise"]

Allele = tuple[str, int, str, str]
"""Contig, position counted from 1, reference bases, alternative bases."""


def normalise(sequence: str, position: int, ref: str, alt: str) -> list[tuple[int, str, str]]:
    """Give the minimal left-aligned form of a change (Tan, Abecasis and Kang 2015), as `bcftools norm` does.

    Args:
        sequence: the whole contig.
        position: of the first base of `ref`, counted from 1.
        ref: the reference bases.
        alt: the bases instead; symbolic alleles are not accepted.

    Returns:
        (position, ref, alt) of each change: one, or for a substitution of several bases each that differs;
        none if ref and alt are equal.
    """
    ref, alt = ref.upper(), alt.upper()
    if len(ref) == len(alt):
        return [(position + i, r, a) for i, (r, a) in enumerate(zip(ref, alt, strict=True)) if r != a]
    while ref[-1:] == alt[-1:]:
        ref, alt = ref[:-1], alt[:-1]
        if not ref or not alt:
            if position == 1:
                after = sequence[len(ref)].upper()
                return [(1, ref + after, alt + after)]
            position -= 1
            before = sequence[position - 1].upper()
            ref, alt = before + ref, before + alt
    while len(ref) > 1 and len(alt) > 1 and ref[0] == alt[0]:
        ref, alt, position = ref[1:], alt[1:], position + 1
    return [(position, ref, alt)]
