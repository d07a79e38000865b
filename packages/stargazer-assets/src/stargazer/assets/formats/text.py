"""The lines of a text file, or those at either end of a large one."""

from __future__ import annotations

from pathlib import Path

import attrs
from stargazer.assets.errors import FormatError
from stargazer.assets.formats.compression import both_ends

__all__ = ["Text", "text_of"]


@attrs.frozen
class Text:
    """The lines of a text file, without their ends: all of them, or those at either end of a large file.

    Attributes:
        first, last: whole lines; all lines in both where the file is small, `last` empty where it is out of reach.
        whole: these are all lines of the file.
        ended: the last line has a line end.
    """

    first: list[str]
    last: list[str]
    whole: bool
    ended: bool


def text_of(path: Path, what: str) -> Text:
    """The lines of a text file, decompressed if it is gzip.

    Raises:
        FormatError: it is empty, or a gzip file that is cut or damaged.
    """
    if not path.stat().st_size:
        raise FormatError(f"{path.name!r} is empty, expected {what}")
    first, last, whole = both_ends(path)
    if not first:
        raise FormatError(f"{path.name!r} holds nothing, expected {what}")
    if whole:
        lines = _split(first)
        return Text(lines, lines, whole=True, ended=first.endswith(b"\n"))
    inside = last.partition(b"\n")[2]
    ended = not inside or inside.endswith(b"\n")
    return Text(_split(first.rpartition(b"\n")[0]), _split(inside), whole=False, ended=ended)


def _split(data: bytes) -> list[str]:
    lines = [line.removesuffix("\r") for line in data.decode("latin-1").split("\n")]
    return lines if lines[-1] else lines[:-1]
