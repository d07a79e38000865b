"""UnixFS files and CARs made for the tests, without the code under test: any tree, also ones no importer makes."""

from __future__ import annotations

import base64
import hashlib

RAW, DAG_PB = 0x55, 0x70


def varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return encoded + bytes((number,))


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


class Block:
    """A block of a file, with the blocks below it; `data` are its own bytes of the file."""

    def __init__(
        self, encoded: bytes, codec: int, data: bytes, children: tuple[Block, ...] = (), version: int = 1
    ):
        self.encoded, self.codec, self.data, self.children, self.version = (
            encoded,
            codec,
            data,
            children,
            version,
        )
        self.digest = hashlib.sha256(encoded).digest()

    @property
    def binary_cid(self) -> bytes:
        prefix = b"" if self.version == 0 else bytes((1, self.codec))
        return prefix + b"\x12\x20" + self.digest

    @property
    def cid(self) -> str:
        binary = bytes((1, self.codec)) + b"\x12\x20" + self.digest
        return "b" + base64.b32encode(binary).decode().lower().rstrip("=")

    @property
    def content(self) -> bytes:
        return self.data + b"".join(child.content for child in self.children)

    def walk(self):
        """All blocks, depth first, repeated ones again."""
        yield self
        for child in self.children:
            yield from child.walk()


def raw(data: bytes) -> Block:
    return Block(data, RAW, data)


def node(
    *children: Block, data: bytes = b"", kind: int = 2, sizes=None, size=None, version: int = 1
) -> Block:
    """A UnixFS node; `sizes` and `size` are what it claims, by default the truth."""
    sizes = [len(child.content) for child in children] if sizes is None else sizes
    size = len(data) + sum(sizes) if size is None else size
    unixfs = field(1, kind) + (field(2, data) if data else b"") + field(3, size)
    unixfs += b"".join(field(4, below) for below in sizes)
    links = b"".join(
        field(2, field(1, child.binary_cid) + field(2, b"") + field(3, len(child.content)))
        for child in children
    )
    return Block(links + field(1, unixfs), DAG_PB, data, children, version)


def section(block: Block) -> bytes:
    return varint(len(block.binary_cid) + len(block.encoded)) + block.binary_cid + block.encoded


def header(*roots: bytes) -> bytes:
    cids = b"".join(b"\xd8\x2a\x58" + bytes((len(root) + 1,)) + b"\x00" + root for root in roots)
    document = b"\xa2\x65roots" + bytes((0x80 + len(roots),)) + cids + b"\x67version\x01"
    return varint(len(document)) + document


def car(root: Block, dups: bool = True) -> bytes:
    stream, sent = header(root.binary_cid), set()
    todo = [root]
    while todo:
        block = todo.pop()
        if not dups and block.binary_cid in sent:
            continue
        sent.add(block.binary_cid)
        stream += section(block)
        todo.extend(reversed(block.children))
    return stream
