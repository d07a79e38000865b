"""Splits an interleaved FASTQ file, in which first and second reads alternate, into a file of each."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from stargazer import storage
from stargazer.assets import FormatError
from stargazer.assets.formats import Record, in_order, name_of, opened, read_fastq, template_name

__all__ = ["split"]

LEVEL = 4  # of compression: half the time of the usual 6 for a file that is a twentieth larger


def split(path: Path, folder: Path) -> tuple[Path, Path]:
    """Write the first and the second reads of a file into two in a folder: equal reads give equal bytes.

    Raises:
        FormatError: it is no FASTQ, damaged, or not interleaved.
    """
    first, second = (folder / name for name in storage.names_of_mates(path.name))
    with (
        opened(path) as file,
        open(first, "wb") as one,
        open(second, "wb") as two,
        gzip.GzipFile("", "wb", LEVEL, one, mtime=0) as ones,
        gzip.GzipFile("", "wb", LEVEL, two, mtime=0) as twos,
    ):
        reads = read_fastq(file, path.name)
        for number, one_read in enumerate(reads):
            pair = [one_read, *islice(reads, 1)]
            mates = _mates(path.name, number, pair)
            for out, (line, bases, qualities) in zip((ones, twos), mates, strict=True):
                out.write(b"@%b\n%b\n+\n%b\n" % (line, bases, qualities))
    return first, second


def _mates(title: str, number: int, pair: Sequence[Record]) -> Sequence[Record]:
    """Two mates, the first read first."""
    if len(pair) == 2 and in_order(pair[0][0], pair[1][0])[0] is not pair[0][0]:
        pair = pair[::-1]
    names = [name_of(line) for line, _, _ in pair]
    if len(names) < 2:
        raise FormatError(
            f"{title!r} is not interleaved: it holds {2 * number + 1} reads, and the last one, {names[0].decode()!r}, "
            "has no mate"
        )
    if template_name(names[0], names[1]) is None:
        raise FormatError(
            f"{title!r} is not interleaved: records {2 * number + 1} and {2 * number + 2} are no mates: "
            f"{names[0].decode()!r} and {names[1].decode()!r}"
        )
    return pair
