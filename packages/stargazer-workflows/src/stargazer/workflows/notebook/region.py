"""Regions as people write them: `contig`, `contig:position`, `contig:start-end` or `contig:start-`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from stargazer.assets import InvalidAssetError

__all__ = ["first_names", "parse_region"]

PLACES = re.compile(r"([0-9,]{1,20})(?:(-)([0-9,]{0,20}))?")
LAST = 2**31 - 1
"""The last base that BAM and VCF can name."""
MOST_NAMES = 5
"""Contigs that a message names."""


def parse_region(text: str, contigs: Collection[str]) -> tuple[str, int, int | None]:
    """The contig of a region, its first and its last base, from one; None is the end of the contig.

    Args:
        text: `contig`, `contig:position` (that base alone), `contig:start-end` (both belong to it) or `contig:start-`
            (to the end of the contig). Numbers may have commas, a contig's name may have colons.
        contigs: those that there are.

    Raises:
        InvalidAssetError: it is none, or of another contig.
    """
    region = text.strip()
    if region in contigs:
        return region, 1, None
    contig, _, places = region.rpartition(":")
    found = PLACES.fullmatch(places.replace(" ", ""))
    if found is None or contig not in contigs:
        known = first_names(contigs) or "none"
        raise InvalidAssetError(
            f"there is no region {text!r} here: give `contig:start-end`; the contigs are {known}"
        )
    first, dash, last = (each.replace(",", "") for each in found.groups(default=""))
    start = int(first or 0)
    end = int(last) if last else LAST if dash else start
    if not 1 <= start <= end <= LAST:
        raise InvalidAssetError(
            f"{text!r} is no region: it begins at 1 or later, ends no earlier, and at {LAST:,} at most"
        )
    return contig, start, end if last or not dash else None


def first_names(names: Iterable[str]) -> str:
    """The first names of many."""
    known = list(names)
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return ", ".join(known[:MOST_NAMES]) + more
