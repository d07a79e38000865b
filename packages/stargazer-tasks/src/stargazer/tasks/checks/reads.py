"""Checks that reads can come from the platform that is given, and that their qualities are Phred+33."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote

from stargazer.assets import R1, R2, FormatError
from stargazer.assets.formats import first_reads
from stargazer.storage import Lookup

__all__ = ["LONG_READS", "LONG_READ_NAMES", "encoding", "is_phred64", "platform"]

PLATFORMS = ("CAPILLARY", "DNBSEQ", "ELEMENT", "HELICOS", "ILLUMINA", "IONTORRENT", "LS454", "ONT", "PACBIO",
             "SINGULAR", "SOLID", "ULTIMA")  # fmt: skip
"""Of the SAM specification, section 1.3, @RG PL."""

NAMES = {
    "PACBIO": re.compile(rb"m\d{5}[eU]?_\d{6}_\d{6}(_s\d+)?/\d+/"),
    "ONT": re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    "ILLUMINA": re.compile(rb"[\w-]+:\d+:[\w-]+:\d+:\d+:\d+:\d+(:|\s|/|$)"),
}
"""How the instruments of a platform name reads."""

LONG_READS = ("ONT", "PACBIO")
"""Platforms whose reads the short-read profiles of aligners do not fit."""

LONG_READ_NAMES = re.compile(
    r"^ONT$|NANOPORE|PAC_?BIO|MINION|GRIDION|PROMETHION|^SEQUEL|^REVIO", re.IGNORECASE
)
"""What headers call them, whatever the specification says."""

LONGEST = 600  # bases; of a read that Illumina's naming and length tell apart from a long one
FIRST = 33  # of the characters that can be a quality: !
SOLEXA = 59 - FIRST  # of ;, the least quality character of Phred+64 and of Solexa's scale
BEYOND = 89 - FIRST  # of Y: Q56, which no instrument gives (Element's go to Q50), and Q25 in Phred+64
MOST_64 = 105 - FIRST  # of i: Q41 in Phred+64; HiFi and consensus reads go beyond it
ENOUGH = 1000  # qualities, fewer of which tell nothing of their encoding


def platform(asset: R1 | R2, path: Path, lookup: Lookup) -> bool:
    """The platform that is given against those there are, and against the names of the first reads.

    Raises:
        FormatError: there is no such platform, or the reads were named by another one.
    """
    given = asset.platform.upper()
    if given not in PLATFORMS:
        raise FormatError(
            f"{path.name!r}: platform={asset.platform} is none that read groups can name (SAM specification, @RG PL): "
            f"give one of {', '.join(PLATFORMS)}"
        )
    reads = first_reads(path)
    for other, pattern in NAMES.items():
        if not reads or other == given or not all(pattern.match(line) for line, _, _ in reads):
            continue
        if other in LONG_READS or (
            given in LONG_READS and all(len(sequence) <= LONGEST for _, sequence, _ in reads)
        ):
            shown = reads[0][0][:40].decode("ascii", "backslashreplace")
            raise FormatError(
                f"{path.name!r}: its reads are named as those of {other} are ({shown!r}), and "
                f"platform={asset.platform} was given or is the default: give platform={other}"
            )
    return True


def encoding(asset: R1 | R2, path: Path, lookup: Lookup) -> bool:
    """The first qualities: Phred+33, as the SAM specification has it.

    Raises:
        FormatError: they are Phred+64 (Illumina before 1.8).
    """
    letters = b"".join(qualities for _, _, qualities in first_reads(path))
    if letters and is_phred64(min(letters) - FIRST, max(letters) - FIRST, len(letters)):
        raise FormatError(
            f"{path.name!r}: its qualities are Phred+64 (from {chr(min(letters))!r} to {chr(max(letters))!r}), which "
            f"would be read as far too good: convert them to Phred+33, `seqtk seq -Q64 -V {quote(path.name)}`, and add "
            "what that prints"
        )
    return bool(letters)


def is_phred64(lowest: int, highest: int, count: int) -> bool:
    """Whether scores that were read as Phred+33 are Phred+64: none is low, and the best are what no instrument gives.

    `lowest` and `highest` are the scores of `count` bases (a character less 33). Fewer than 1,000 tell nothing. Good
    data stay: any with a score below 26, all bases at Q40 alike, and HiFi and consensus reads, which go above Q72.
    """
    return count >= ENOUGH and lowest >= SOLEXA and BEYOND <= highest <= MOST_64
