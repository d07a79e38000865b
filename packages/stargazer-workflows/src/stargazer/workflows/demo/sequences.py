"""Contigs of a FASTA file, read into memory without an index beside it."""

from __future__ import annotations

import gzip
from collections.abc import Collection
from pathlib import Path

from stargazer.assets import FormatError

__all__ = ["read_fasta"]


def read_fasta(path: str, contigs: Collection[str]) -> dict[str, str]:
    """Read these contigs of a FASTA file, plain or gzipped, as upper-case text.

    Raises:
        FormatError: if the file cannot be read, is not FASTA, or lacks one of the contigs.
    """
    try:
        content = Path(path).read_bytes()
        text = (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).decode("ascii")
    except (OSError, EOFError, ValueError) as error:
        raise FormatError(f"{path!r} cannot be read as a FASTA file: {error}") from error
    if not text.startswith(">"):
        raise FormatError(f"{path!r} is not a FASTA file: it begins with {text[:20]!r}, not with '>'")
    found = {}
    for record in text[1:].split("\n>"):
        title, _, lines = record.partition("\n")
        name = title.split()[0] if title.split() else ""
        if name in contigs:
            found[name] = "".join(lines.split()).upper()
    missing = sorted(set(contigs) - set(found))
    if missing:
        raise FormatError(
            f"{path!r} lacks {', '.join(map(repr, missing[:5]))}: not the reference of these regions?"
        )
    return found
