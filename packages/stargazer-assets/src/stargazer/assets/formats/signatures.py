"""Checks of formats that are known by their first bytes and an end marker: BAM, CRAM, indexes, tar and JSON.

Each `check_*` takes a path and raises FormatError when the file cannot be what it is registered as.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from stargazer.assets.errors import FormatError
from stargazer.assets.formats.compression import GZIP, check_bgzf, head_of, is_small, start_of, tail_of

__all__ = ["check_alignment", "check_json", "check_magic", "check_tar"]

CRAM_END = 38  # bytes; those of CRAM 2 are fewer
TAR_END = bytes(1024)


def check_alignment(path: Path) -> None:
    """BAM or CRAM, whole to the end marker."""
    raw = start_of(path)
    if raw.startswith(b"CRAM"):
        if b"EOF" not in tail_of(path, CRAM_END):
            raise FormatError(f"{path.name!r} is truncated: it lacks the CRAM end marker; copy it again")
        return
    if not head_of(path, "BAM or CRAM").startswith(b"BAM\x01") or not raw.startswith(GZIP):
        raise FormatError(f"{path.name!r} is neither BAM nor CRAM (convert SAM with `samtools view -b`)")
    check_bgzf(path)


def check_json(path: Path) -> None:
    """A JSON document: all of a small one, of a large one how it begins."""
    head = head_of(path, "JSON")
    try:
        if is_small(path):
            json.loads(path.read_bytes())
        elif head.lstrip()[:1] not in (b"{", b"["):
            raise ValueError(f"it begins with {head[:8]!r}")
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path.name!r} is not JSON: {error}") from None


def check_magic(*magics: bytes, what: str) -> Callable[[Path], None]:
    """A check that a file, decompressed if it is gzip, begins with one of these bytes."""

    def check(path: Path) -> None:
        head = head_of(path, what)
        if not head.startswith(magics):
            raise FormatError(f"{path.name!r} is not {what}: it begins with {head[:8]!r}")

    return check


def check_tar(path: Path) -> None:
    """An uncompressed tar, whole to the end marker."""
    raw = start_of(path)
    if not raw:
        raise FormatError(f"{path.name!r} is empty, expected a tar")
    if raw[257:262] != b"ustar":
        raise FormatError(f"{path.name!r} is not an uncompressed tar")
    if tail_of(path, len(TAR_END)) != TAR_END:
        raise FormatError(f"{path.name!r} is truncated: it lacks the end marker of a tar; pack it again")
