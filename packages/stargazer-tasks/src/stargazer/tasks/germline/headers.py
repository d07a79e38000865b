"""What the header of an alignment says about where it belongs."""

from __future__ import annotations

from collections.abc import Mapping

from stargazer.assets.errors import InvalidAssetError

__all__ = ["check_header"]


def check_header(header: str, sample: str, build: str, known: Mapping[str, int]) -> set[str]:
    """The contigs of a SAM header that a reference lacks, once all else in the header fits.

    Args:
        header: as `samtools view -H` prints it.
        sample: that all read groups must name.
        build, known: of the reference: its name, and the lengths of its contigs in bases.

    Raises:
        InvalidAssetError: no contig in common, contigs of other lengths, or read groups of another sample or none.
    """
    lines = [line.split("\t") for line in header.splitlines()]
    found = {fields["SN"]: int(fields["LN"]) for fields in _fields(lines, "@SQ")}
    if not found.keys() & known.keys():
        raise InvalidAssetError(
            f"the alignment of {sample!r} and the reference {build} have no contig in common: "
            f"{_some(found)} and {_some(known)}; it was aligned to another build, or not at all"
        )
    for contig, length in found.items():
        if known.get(contig, length) != length:
            raise InvalidAssetError(
                f"the alignment of {sample!r} was made with another reference than {build}: contig {contig!r} has "
                f"{length} bases there and {known[contig]} here; add the reference that it was aligned to"
            )
    samples = {fields.get("SM", "") for fields in _fields(lines, "@RG")}
    if samples != {sample}:
        named = ", ".join(map(repr, sorted(filter(None, samples)))) or "no sample"
        raise InvalidAssetError(
            f"the read groups of the alignment registered for {sample!r} name {named}; register it under that name, or "
            f"correct its header: `samtools addreplacerg -r ID:1 -r SM:{sample} -o out.bam in.bam`, and add that"
        )
    return found.keys() - known.keys()


def _fields(lines: list[list[str]], kind: str) -> list[dict[str, str]]:
    return [
        dict(field.split(":", 1) for field in line[1:] if ":" in field) for line in lines if line[0] == kind
    ]


def _some(contigs: Mapping[str, int]) -> str:
    return (
        ", ".join(map(repr, list(contigs)[:3])) + (", ..." if len(contigs) > 3 else "") if contigs else "none"
    )
