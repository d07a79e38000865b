"""Compares the header of an alignment made elsewhere with a reference and a sample, and conforms it to them."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from stargazer.assets import InvalidAssetError
from stargazer.tasks.checks.alignments import several_samples
from stargazer.tasks.checks.contigs import compare, some
from stargazer.tasks.checks.headers import Contig, Header
from stargazer.tasks.checks.reads import LONG_READ_NAMES

__all__ = ["Fit", "check_header", "conformed_header"]


@attrs.frozen
class Fit:
    """How the header of an alignment fits a reference.

    Attributes:
        missing: contigs of the alignment that the reference does not have.
        in_order: whether those that both have are in the same order.
        notes: what is to be changed or missed, in sentences.
    """

    missing: set[str]
    in_order: bool
    notes: list[str]


def check_header(header: Header, sample: str, build: str, reference: Mapping[str, Contig]) -> Fit:
    """How a header fits, once nothing in it contradicts the reference and the sample.

    Args:
        sample: that the read groups may name.
        build, reference: the name of the reference, and its contigs in order.

    Raises:
        FormatError: no contig in common, or contigs of other lengths or checksums (M5).
        InvalidAssetError: read groups of another sample, or of a platform with long reads.
    """
    title = f"the alignment of {sample!r}"
    compare(title, header.contigs, f"the reference {build}", reference)
    _check_groups(header, sample, title)
    missing = [name for name in header.contigs if name not in reference]
    absent = [name for name in reference if name not in header.contigs]
    shared = [name for name in header.contigs if name in reference]
    in_order = shared == [name for name in reference if name in header.contigs]
    notes = []
    if missing:
        notes.append(f"{title} names {_count(missing)} without reads that the reference {build} does not have; "
                     f"left out: {some(missing)}.")  # fmt: skip
    if absent:
        notes.append(f"{title} was made without {_count(absent)} of the reference {build} ({some(absent)}): "
                     "no variant of this sample can be called there.")  # fmt: skip
    if not in_order:
        notes.append(
            f"{title} has its contigs in another order than the reference {build}; it was put in that order."
        )
    if not header.read_groups:
        notes.append(f"{title} has no read groups: all its reads were taken for those of {sample!r}.")
    elif any(not group.get("SM") for group in header.read_groups):
        notes.append(f"{title} has read groups that name no sample: they were taken for those of {sample!r}.")
    return Fit(set(missing), in_order, notes)


def conformed_header(text: str, sample: str, reference: Mapping[str, Contig]) -> str:
    """A SAM header with the contigs of a reference, in its order, and a sample in each read group.

    Lines of contigs stay as they are; those that the alignment lacks are added as the reference has them.
    """
    lines = text.rstrip("\n").split("\n")
    contigs = {_field(line, "SN"): line for line in lines if line.startswith("@SQ\t")}
    added = {name: f"@SQ\tSN:{name}\tLN:{contig.length}" for name, contig in reference.items()}
    chosen = [contigs.get(name, line) for name, line in added.items()]
    groups = [
        _of_sample(line, sample) if line.startswith("@RG\t") else line
        for line in lines
        if not line.startswith(("@HD\t", "@SQ\t"))
    ]
    first = [line for line in lines if line.startswith("@HD\t")]
    return "".join(f"{line}\n" for line in [*first, *chosen, *groups])


def _check_groups(header: Header, sample: str, title: str) -> None:
    if len(header.samples) > 1:
        raise InvalidAssetError(several_samples(title, header.samples))
    if header.samples not in ([], [sample]):
        raise InvalidAssetError(
            f"the read groups of the alignment registered for {sample!r} name {header.samples[0]!r}: register it "
            f"under that name (`stargazer amend CID sample=...`), or give it the name {sample!r} where that is the "
            f"same person: `samtools reheader -c \"sed 's/SM:{header.samples[0]}/SM:{sample}/'\" in.bam > out.bam`"
        )
    if long := [name for name in header.platforms if LONG_READ_NAMES.search(name)]:
        raise InvalidAssetError(
            f"{title} holds reads of {', '.join(long)} (@RG PL), and variants are called here with a profile for short "
            "reads, which would be wrong in silence: call it with a caller for long reads (Clair3, DeepVariant)"
        )


def _of_sample(line: str, sample: str) -> str:
    """A read group that names its sample, as the sample is written here."""
    given = _field(line, "SM")
    return line.replace(f"\tSM:{given}", f"\tSM:{sample}", 1) if given else f"{line}\tSM:{sample}"


def _field(line: str, tag: str) -> str:
    return next((field[3:] for field in line.split("\t") if field.startswith(f"{tag}:")), "")


def _count(contigs: list[str]) -> str:
    return f"{len(contigs):,} contig{'s' if len(contigs) > 1 else ''}"
