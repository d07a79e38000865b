"""Whether an alignment is of the sample and the library that are given, as its read groups (@RG) say."""

from __future__ import annotations

import shlex
from pathlib import Path

from stargazer.assets import Alignment, FormatError
from stargazer.storage import Lookup
from stargazer.tasks.checks.contigs import some
from stargazer.tasks.checks.headers import Header, alignment_header

__all__ = ["library", "library_of", "sample", "several_samples"]


def sample(asset: Alignment, path: Path, lookup: Lookup) -> bool | str:
    """The sample that is given against those of the read groups.

    Raises:
        FormatError: they name another one, or several.
    """
    found = alignment_header(path).samples
    if len(found) > 1:
        raise FormatError(several_samples(repr(path.name), found, path.name))
    if not found:
        return f"sample={asset.sample}: its header names no sample (@RG SM)"
    if found[0] != asset.sample:
        raise FormatError(
            f"{path.name!r} is of the sample {found[0]!r} according to its header (@RG SM), and "
            f"sample={asset.sample} was given: give sample={found[0]}, or, where that is the same person, correct the "
            f"header and add that: `samtools reheader -c \"sed 's/SM:{found[0]}/SM:{asset.sample}/'\" "
            f"{shlex.quote(path.name)} > out.bam`"
        )
    return True


def library(asset: Alignment, path: Path, lookup: Lookup) -> bool:
    """The library that is given against the one of the read groups.

    Raises:
        FormatError: they name another one.
    """
    found = library_of(alignment_header(path)) if asset.library else ""
    if found and found != asset.library:
        raise FormatError(
            f"{path.name!r} is of the library {found!r} according to its header (@RG LB), and "
            f"library={asset.library} was given: give library={found}, or leave that out"
        )
    return bool(found)


def library_of(header: Header) -> str:
    """The library that every read group names; "" where they name several, or one names none."""
    found = {group.get("LB", "") for group in header.read_groups}
    return found.pop() if len(found) == 1 else ""


def several_samples(title: str, found: list[str], name: str = "in.bam") -> str:
    """Why a file with reads of several samples is refused, and what to do instead.

    Args:
        title, name: of the file, in the sentence and in commands.
    """
    return (
        f"{title} holds reads of {len(found)} samples ({some(found)}, @RG SM), and an alignment is of one: split it "
        f"by read group (`samtools split -f '%!.bam' {shlex.quote(name)}`), merge those of the same sample "
        "(`samtools merge`), and add each"
    )
