"""Whether alignments and variants fit the reference that they claim, and variants the samples."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from stargazer.assets import Alignment, Asset, FormatError, KnownSites, Variants
from stargazer.assets.keyvalues import list_text
from stargazer.storage import Lookup
from stargazer.tasks.checks.headers import Contig, alignment_header, variants_header
from stargazer.tasks.checks.sequences import sequences_of

__all__ = ["CONTIGS_UNKNOWN", "alignment", "compare", "not_here", "order", "samples", "some", "variants"]

CONTIGS_UNKNOWN = (
    "the contigs of that reference are not known on this machine (its index or dictionary would tell)"
)


def alignment(asset: Alignment, path: Path, lookup: Lookup) -> bool | str:
    """Names, lengths and checksums (M5) of the contigs of a BAM or CRAM against the reference it claims.

    Raises:
        FormatError: it was aligned to another one.
    """
    known = lookup.target(asset, "reference_cid") if asset.reference_cid else None
    reference = sequences_of(known, lookup) if known else None
    if known is None or not reference:
        return not_here(asset, "reference_cid", CONTIGS_UNKNOWN)
    compare(repr(path.name), alignment_header(path).contigs, f"the reference {known.asset.build}", reference)  # type: ignore[attr-defined]
    return True


def order(asset: Alignment, path: Path, lookup: Lookup) -> bool | str:
    """The order of an alignment as its header and its metadata say.

    Raises:
        FormatError: they contradict each other.
    """
    said = alignment_header(path).order
    sorted_orders = ("coordinate", "queryname")
    if asset.sorted_by not in sorted_orders:
        return False
    if said not in sorted_orders:
        return f"sorted_by={asset.sorted_by}: its header names no order (@HD SO)"
    if said != asset.sorted_by:
        raise FormatError(
            f"{path.name!r} is sorted by {said} according to its header, and sorted_by={asset.sorted_by} was given: "
            f"give sorted_by={said}, or sort it"
        )
    return True


def variants(asset: Variants | KnownSites, path: Path, lookup: Lookup) -> bool | str:
    """Names, lengths and checksums of the contigs of a VCF or BCF against the reference it claims.

    Raises:
        FormatError: its variants were called, or are placed, on another one.
    """
    known = lookup.target(asset, "reference_cid") if asset.reference_cid else None
    reference = sequences_of(known, lookup) if known else None
    if known is None or not reference:
        return not_here(asset, "reference_cid", CONTIGS_UNKNOWN)
    header = variants_header(path)
    contigs = header.contigs or ({header.first: Contig()} if header.first else {})
    if contigs:
        compare(repr(path.name), contigs, f"the reference {known.asset.build}", reference)  # type: ignore[attr-defined]
    return bool(contigs) or f"reference_cid={asset.reference_cid}: its header names no contig"


def samples(asset: Variants, path: Path, lookup: Lookup) -> bool:
    """The samples that a VCF or BCF is said to hold against the columns that it has.

    Raises:
        FormatError: they are others.
    """
    if not asset.samples:
        return False
    found = variants_header(path).samples
    if sorted(found) != sorted(asset.samples):
        raise FormatError(
            f"{path.name!r} holds calls of {len(found)} samples ({some(found)}), and "
            f"samples={shlex.quote(list_text(asset.samples))} was given: "
            + (
                f"give samples={shlex.quote(list_text(found))}"
                if found
                else "leave that out, for it is a list of sites"
            )
        )
    return True


def not_here(asset: Asset, link: str, what: str) -> bool | str:
    """Why what a link points at cannot be looked at; False if there is no link."""
    value = getattr(asset, link)
    cid = value.cid if isinstance(value, Asset) else value
    return f"{link}={cid}: {what}" if cid else False


def compare(title: str, contigs: Mapping[str, Contig], of: str, reference: Mapping[str, Contig]) -> None:
    """See that contigs do not contradict those of a reference, which may hold some of them alone.

    Args:
        title, of: what the file and the reference are called in errors.

    Raises:
        FormatError: no contig in common, or one of another length or checksum (M5).
    """
    common = contigs.keys() & reference.keys()
    if not common:
        raise FormatError(
            f"{title} and {of} have no contig in common: {some(contigs)} and {some(reference)}; "
            "it belongs to another build, or to none"
        )
    way_out = "use the reference that it was made with (`stargazer add` it, with a build= of its own)"
    for contig in (contig for contig in contigs if contig in common):
        here, there = contigs[contig], reference[contig]
        if None not in (here.length, there.length) and here.length != there.length:
            raise FormatError(
                f"{title} does not belong to {of}: contig {contig!r} has {here.length:,} bases in its header and "
                f"{there.length:,} in the reference; {way_out}"
            )
        if here.md5 and there.md5 and here.md5 != there.md5:
            raise FormatError(
                f"{title} does not belong to {of}: the sequence of contig {contig!r} has another checksum (M5) in "
                f"its header, {here.md5}, than in the reference, {there.md5}; {way_out}"
            )


def some(names: Iterable[str]) -> str:
    """The first three of some names, quoted."""
    names = list(names)
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "") if names else "none"
