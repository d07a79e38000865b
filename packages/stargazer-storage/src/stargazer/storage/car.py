"""A file out of a CAR stream, every byte checked against the CID as it arrives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO

from stargazer.assets import FormatError, IntegrityError

from .cid import is_cid
from .dag import MAX_BLOCK, Node, decode, walk
from .links import Link, parse_binary, parse_cid
from .profiles import DAG_PB, RAW, binary_cid

__all__ = ["extract"]

Read = Callable[[int], bytes]
KeepNode = Callable[[bytes, Node], None]

_PIECE = 1 << 20
_MAX_CID = 128
_V2 = b"\xa1\x67version\x02"
_BROKEN_OFF = b"Gateway Error"  # boxo's words, in the middle of a stream that then ends cleanly


def extract(
    read: Read, cid: str, out: BinaryIO, *, size: int | None = None, keep_node: KeepNode | None = None
) -> int:
    """Write the file with this CID from a CARv1 stream to `out`; returns its size in bytes.

    `read(n)` gives at most `n` bytes, and none at the end. Any chunker will do; blocks come depth first, repeated ones
    again or not (`order=dfs;dups=y` or `n`). `out` is an empty file open for writing and reading, and worthless if
    this raises. Where the size is known, `size` spares the disk what is larger. `keep_node` is given each UnixFS
    node once it is verified, see layouts.recorder(). Memory stays below 100 MB at any size; with `dups=n`, a repeated
    block is known for files up to about 28 GB.

    Raises:
        IntegrityError: if the stream is not exactly the blocks of this file: cut short, altered, another file's.
        FormatError: if the CID is not that of a file, or of one that contradicts itself.
    """
    root = parse_cid(cid)
    if not is_cid(cid):
        cid = str(root)
    stream = _Stream(read)
    try:
        stream.header(root)
        extraction = _Extraction(stream, out, keep_node)
        found = walk(root, extraction.visit, size)
        extraction.finish()
    except _Bad as error:
        raise IntegrityError(f"The CAR that came for {cid} {error}: nothing of it is used.") from error
    except FormatError as error:
        raise FormatError(f"{cid} cannot be read as a file: {error}") from error
    return found


class _Bad(Exception):
    """What is wrong with the stream, as the rest of a sentence."""


class _Stream:
    """The blocks of a CAR, each with the hash that its CID says."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def header(self, root: Link) -> None:
        """Read the header; roots may be left out, but no others may be named."""
        length = self._length()
        if length is None:
            raise _Bad("is empty")
        if length > _MAX_CID:
            raise _Bad("does not begin like a CAR")
        header = self._exactly(length)
        if header == _V2:
            raise _Bad("is a CARv2, and only CARv1 is read")
        roots = [binary_cid(root.codec, root.digest, 1)]
        if root.codec == DAG_PB:
            roots.append(binary_cid(root.codec, root.digest, 0))
        if header not in (_header(), *map(_header, roots)):
            raise _Bad("names another root, or does not begin like a CAR")

    def block(self) -> tuple[Link, bytes] | None:
        """The next block, or None at the end."""
        length = self._length()
        if length is None:
            return None
        if length > MAX_BLOCK + _MAX_CID:
            raise _Bad(f"has a block of {length:,} bytes, more than the {MAX_BLOCK:,} that a block may have")
        section = self._exactly(length)
        try:
            end = 34 if section.startswith(b"\x12\x20") else 36
            link = parse_binary(section[:end])
        except FormatError as error:
            raise _Bad(f"has a block that is not of a file ({error}){_said(section)}") from error
        if hashlib.sha256(memoryview(section)[end:]).digest() != link.digest:
            raise _Bad(f"has a block that is not what its CID {link} says")
        return link, section[end:]

    def _length(self) -> int | None:
        number = 0
        for shift in range(0, 35, 7):
            byte = self._read(1)
            if not byte:
                if shift:
                    break
                return None
            number |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                if shift and byte[0] == 0:
                    break
                return number
        raise _Bad("breaks off, or gives a length that makes no sense")

    def _exactly(self, length: int) -> bytes:
        data = self._read(length)
        if len(data) < length:
            pieces = bytearray(data)
            while len(pieces) < length:
                if not data:
                    raise _Bad(f"breaks off{_said(pieces)}")
                data = self._read(length - len(pieces))
                pieces += data
            return bytes(pieces)
        return data


class _Extraction:
    """The blocks of a stream, written as the walk over the file asks for them."""

    def __init__(self, stream: _Stream, out: BinaryIO, keep_node: KeepNode | None) -> None:
        self._stream, self._out, self._keep_node = stream, out, keep_node
        self._next: tuple[Link, bytes] | None = None

    def visit(self, link: Link, position: int, size: int | None, earlier: int | None) -> Node | int:
        if self._next is None:
            self._next = self._stream.block()
        if self._next is None or self._next[0] != link:
            if earlier is None or size is None:
                what = "ends" if self._next is None else f"has block {self._next[0]}"
                raise _Bad(f"{what} where block {link} belongs (or is not in the order 'dfs')")
            self._copy(earlier, position, size)
            return size
        block, self._next = self._next[1], None
        if link.codec == RAW:
            self._out.write(block)
            return len(block)
        node = decode(block)
        self._out.write(node.data)
        if self._keep_node is not None and earlier is None:
            self._keep_node(block, node)
        return node

    def finish(self) -> None:
        """See that nothing follows."""
        if self._next is not None or self._stream.block() is not None:
            raise _Bad("goes on after the file's last block")

    def _copy(self, start: int, target: int, size: int) -> None:
        """Write again what stands at `start`: a block that came once and is there twice."""
        for at in range(0, size, _PIECE):
            self._out.seek(start + at)
            piece = self._out.read(min(_PIECE, size - at))
            self._out.seek(target + at)
            self._out.write(piece)


def _header(*roots: bytes) -> bytes:
    """The header of a CARv1, which has one spelling only: {"roots": [...], "version": 1} in DAG-CBOR."""
    listed = b"".join(b"\xd8\x2a\x58" + bytes((len(root) + 1, 0)) + root for root in roots)
    return b"\xa2\x65roots" + bytes((0x80 + len(roots),)) + listed + b"\x67version\x01"


def _said(rest: bytes | bytearray) -> str:
    at = rest.find(_BROKEN_OFF)
    return "" if at < 0 else f", saying {bytes(rest[at : at + 100]).decode('utf-8', 'replace')!r}"
