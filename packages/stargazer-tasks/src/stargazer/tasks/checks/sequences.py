"""The contigs of a reference, from itself where it is small, else from its dictionary or index."""

from __future__ import annotations

import functools
import gzip
import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

from stargazer.assets.errors import FormatError
from stargazer.storage.checking import Known, Lookup
from stargazer.tasks.checks.headers import Contig, sam_contigs

__all__ = ["SMALL", "fai_rows", "sequences_of"]

SMALL = 32 << 20
"""Bytes, as they are and decompressed, of a FASTA that is read whole: a fraction of a second."""

GZIP = b"\x1f\x8b"


def sequences_of(reference: Known, lookup: Lookup, *, dictionary: bool = True) -> Mapping[str, Contig] | None:
    """The contigs of a reference by name, in order; None if nothing that tells them is on this machine.

    Args:
        dictionary: its sequence dictionary may be asked.
    """
    if reference.path is not None and (found := _of_fasta(reference.path)):
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


def _of_fasta(path: Path) -> Mapping[str, Contig] | None:
    status = path.stat()
    return _scan(path, status.st_size, status.st_mtime_ns) if status.st_size <= SMALL else None


@functools.lru_cache(maxsize=4)
def _scan(path: Path, size: int, modified: int) -> Mapping[str, Contig] | None:
    """Names, lengths and checksums of the sequences of a FASTA; None if it decompresses to more than is read."""
    data = path.read_bytes()
    if data.startswith(GZIP):
        try:
            with gzip.open(path) as file:
                data = file.read(SMALL + 1)
        except (OSError, EOFError, zlib.error):
            return None
        if len(data) > SMALL:
            return None
    found = {}
    for part in (b"\n" + data.replace(b"\r", b"")).split(b"\n>")[1:]:
        title, _, lines = part.partition(b"\n")
        sequence = lines.translate(None, b"\n \t").upper()
        name = (title.decode("utf-8", "replace").split() or [""])[0]
        found[name] = Contig(len(sequence), hashlib.md5(sequence, usedforsecurity=False).hexdigest())
    return found
