"""The contigs of a reference, from itself where it is small, else from its dictionary or index."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from stargazer.assets import FormatError
from stargazer.assets.formats import small_contigs
from stargazer.storage import Known, Lookup
from stargazer.tasks.checks.headers import Contig, sam_contigs

__all__ = ["fai_rows", "sequences_of", "small_sequences"]


def sequences_of(reference: Known, lookup: Lookup, *, dictionary: bool = True) -> Mapping[str, Contig] | None:
    """The contigs of a reference by name, in order; None if nothing that tells them is on this machine.

    Args:
        dictionary: its sequence dictionary may be asked.
    """
    if reference.path is not None and (found := small_sequences(reference.path)):
        return found
    if dictionary:
        for known in lookup.companions(reference.asset, "sequence_dict", "reference_cid"):
            if known.path is not None:
                return sam_contigs(known.path.read_text(errors="replace"))
    for known in lookup.companions(reference.asset, "reference_index", "reference_cid"):
        if known.path is not None:
            return {name: Contig(length) for name, length, *_ in fai_rows(known.path)}
    return None


def fai_rows(path: Path) -> list[tuple[str, int, int, int, int]]:
    """The rows of a FASTA index: name, length in bases, offset in bytes, bases and bytes of a line.

    Raises:
        FormatError: it is no FASTA index.
    """
    rows = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        fields = line.split("\t")
        try:
            name, (length, offset, bases, width) = fields[0], map(int, fields[1:])
            if min(length, offset, bases, width) < 0:
                raise ValueError
        except ValueError:
            raise FormatError(
                f"{path.name!r}, line {number}: not a FASTA index (name, length, offset, bases and bytes of a line, "
                f"separated by tabs): {line[:60]!r}; make it with `samtools faidx`"
            ) from None
        rows.append((name, length, offset, bases, width))
    return rows


def small_sequences(path: Path) -> Mapping[str, Contig] | None:
    """The contigs of a small FASTA; None of a large one, and of one that is no valid reference."""
    with contextlib.suppress(FormatError):
        if found := small_contigs(path):
            return {contig.name: Contig(contig.length, contig.md5) for contig in found}
    return None
