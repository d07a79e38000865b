"""Whether variants are a GVCF, by their first records: a header alone does not tell, for joint calls inherit it."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import BinaryIO

from stargazer.assets.formats import GZIP
from stargazer.tasks.checks.bgzf import opened

__all__ = ["is_gvcf"]

RECORDS = 200
ANY_OF_GATK = b"<NON_REF>"
ANY = b"<*>"
LARGEST = 1 << 28  # bytes of a header, or of a record


def is_gvcf(path: Path) -> bool:
    """Whether one of the first records names `<NON_REF>`, or is a block of `<*>` alone with an end and a genotype.

    Of a BCF, only the first counts.

    Raises:
        FormatError: a damaged block of BGZF.
    """
    with open(path, "rb") as raw:
        file = opened(raw) if raw.peek(2)[:2] == GZIP else raw
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
