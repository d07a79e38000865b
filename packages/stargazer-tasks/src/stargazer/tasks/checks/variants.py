"""Checks of variants and known sites: contigs, build and samples by their header, and whether they are a GVCF."""

from __future__ import annotations

import itertools
import shlex
import struct
from pathlib import Path
from typing import BinaryIO

from stargazer.assets import FormatError, Variants
from stargazer.assets.keyvalues import list_text
from stargazer.storage import Lookup
from stargazer.tasks.checks.bgzf import opened
from stargazer.tasks.checks.contigs import build, contigs, some
from stargazer.tasks.checks.headers import variants_header

__all__ = ["build", "contigs", "is_gvcf", "samples"]

RECORDS = 200
ANY_OF_GATK = b"<NON_REF>"
ANY = b"<*>"
LARGEST = 1 << 28  # bytes of a header, or of a record


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


def is_gvcf(path: Path) -> bool:
    """Whether one of the first records names `<NON_REF>`, or is a block of `<*>` alone with an end and a genotype.

    The header alone does not tell, for joint calls inherit it. Of a BCF, only `<NON_REF>` counts.

    Raises:
        FormatError: a damaged block of BGZF.
    """
    with opened(open(path, "rb")) as file:
        if file.peek(4)[:4] == b"BCF\x02":
            return _names_any(file)
        lines = (line for line in file if not line.startswith(b"#"))
        return any(_is_block(line.rstrip().split(b"\t", 9)) for line in itertools.islice(lines, RECORDS))


def _is_block(fields: list[bytes]) -> bool:
    if len(fields) < 9:
        return False
    alternates, information, formats = fields[4], fields[7].split(b";"), fields[8].split(b":")
    if ANY_OF_GATK in alternates.split(b","):
        return True
    has_end = any(item.startswith(b"END=") for item in information)
    return alternates == ANY and has_end and formats[0] == b"GT"


def _names_any(file: BinaryIO) -> bool:
    """Whether one of the first records of a BCF has the allele of GATK."""
    try:
        file.read(5)
        file.read(min(LARGEST, *struct.unpack("<I", file.read(4))))
        for _ in range(RECORDS):
            shared, individual = struct.unpack("<II", file.read(8))
            if ANY_OF_GATK in file.read(min(shared, LARGEST)):
                return True
            file.read(min(individual, LARGEST))
    except struct.error:  # the end
        pass
    return False
