"""Reading BGZF from any block on: a few records of a file of any size (SAM specification, section 4.1)."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

from stargazer.assets import FormatError
from stargazer.assets.formats import GZIP, is_bgzf

__all__ = ["HEADER", "Blocks", "opened"]

HEADER = 18


class Blocks(io.RawIOBase):
    """The decompressed bytes of a BGZF file, block by block, none before it is asked for.

    The standard library's gzip would read on through zeros behind a block, byte by byte, be they 10 GB.

    Args:
        file: open for reading; closed with this.
        offset: virtual, where to begin: that of a block << 16 | that of a byte in it.

    Reading raises FormatError where there is no whole block.
    """

    def __init__(self, file: BinaryIO, offset: int = 0):
        super().__init__()
        self._file = file
        self._ready = b""
        file.seek(offset >> 16)
        self._skip = offset & 0xFFFF

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer with what is left of the block, or with the next one."""
        while not self._ready:
            block = self._next()
            if block is None:
                return 0
            self._ready, self._skip = block[self._skip :], max(0, self._skip - len(block))
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()

    def _next(self) -> bytes | None:
        where = self._file.tell()
        head = self._file.read(HEADER)
        if not head:
            return None
        if not is_bgzf(head) or len(head) < HEADER:
            raise FormatError(f"no BGZF block begins at byte {where:,}")
        size = int.from_bytes(head[16:18], "little") + 1
        data = head[HEADER:] + self._file.read(size - HEADER)
        try:
            return zlib.decompressobj(wbits=-15).decompress(data[:-8])
        except zlib.error as error:
            raise FormatError(f"the BGZF block at byte {where:,} is damaged: {error}") from None


def opened(file: io.BufferedReader, offset: int = 0) -> io.BufferedReader:
    """A file to read from, beginning at a virtual offset: decompressed if it is BGZF."""
    return io.BufferedReader(Blocks(file, offset)) if file.peek(2)[:2] == GZIP else file
