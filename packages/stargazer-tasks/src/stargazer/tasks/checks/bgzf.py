"""Opens files that are BGZF, at any block, or plain: a few records of a file of any size (SAM specification, 4.1)."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

from stargazer.assets import FormatError
from stargazer.assets.formats import GZIP

__all__ = ["HEADER", "opened"]

HEADER = 18
"""Bytes of a block that tell that it is one."""


@contextlib.contextmanager
def opened(path: Path, offset: int = 0) -> Iterator[io.BufferedReader]:
    """A file to read from, decompressed if it is BGZF.

    Args:
        offset: virtual, where to begin: that of a block << 16 | that of a byte in it.

    Raises:
        FormatError: there is no whole block where it is read.
    """
    with open(path, "rb") as raw:
        if raw.peek(2)[:2] != GZIP:
            yield raw
            return
        raw.seek(offset >> 16)
        try:
            with gzip.GzipFile(fileobj=raw) as file:
                file.read(offset & 0xFFFF)
                yield io.BufferedReader(file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FormatError(f"no whole BGZF block at byte {offset >> 16:,} or behind: {error}") from None
