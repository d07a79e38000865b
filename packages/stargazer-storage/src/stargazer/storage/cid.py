"""Content identifiers: the IPFS CIDv1 of a file in Pinata's layout, computed here.

Pinata cuts a file into leaves of 256 KiB, stores each as a raw block, and joins at most 174 of them under one
UnixFS node, level by level, until one root is left (a balanced tree). A file of one leaf is named by the leaf
itself, so its CID is a plain SHA-256 of its bytes. The same layout here gives the same CID as an upload there.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Iterator

from stargazer.assets.errors import StorageError

__all__ = [
    "BLOCK_SIZE",
    "LEAF_SIZE",
    "LINKS_PER_NODE",
    "cid_from_leaves",
    "compute_cid",
    "hash_leaves",
    "is_cid",
]

LEAF_SIZE = 256 * 1024
"""Bytes per leaf."""

LINKS_PER_NODE = 174
"""Children of one node, at most."""

BLOCK_SIZE = 16 * LEAF_SIZE
"""Bytes that one thread reads and hashes at a time: in smaller pieces the threads cost more than they give."""

_RAW, _DAG_PB = 0x55, 0x70
_SHA2_256 = b"\x12\x20"
_HASHERS = max(2, min(4, os.cpu_count() or 1))
_PATTERN = re.compile(r"baf(?:kre|ybe)i[a-h][a-z2-7]{50}[aeimquy4]")


def is_cid(text: object) -> bool:
    """Whether `text` is a CIDv1 as Stargazer writes it: base32, SHA-256, of a raw leaf or a UnixFS node."""
    return isinstance(text, str) and _PATTERN.fullmatch(text) is not None


def compute_cid(path: str | os.PathLike[str]) -> str:
    """The CID of a file's bytes, read once and in bounded memory.

    Raises:
        OSError: if the file cannot be read.
        StorageError: if it is no regular file, or shrank or grew while it was read.
    """
    fd = os.open(
        path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    )  # O_NONBLOCK: a pipe must not hang the open
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{os.fspath(path)!r} is not a regular file: only files have a CID.")
        digests = hash_leaves(fd, status.st_size)
        if os.fstat(fd).st_size != status.st_size:
            raise EOFError
    except EOFError:
        raise StorageError(
            f"{os.fspath(path)!r} changed its size while it was read: wait until its writer is done and try again."
        ) from None
    finally:
        os.close(fd)
    return cid_from_leaves(digests, status.st_size)


def cid_from_leaves(digests: Iterable[bytes], size: int) -> str:
    """The CID of a file of `size` bytes whose leaves have these SHA-256 digests, in order.

    Raises:
        ValueError: if the number of digests does not fit the size.
    """
    level = list(_leaves(digests, size))
    while len(level) > 1:
        level = [_node(level[i : i + LINKS_PER_NODE]) for i in range(0, len(level), LINKS_PER_NODE)]
    return "b" + base64.b32encode(level[0][0]).decode("ascii").lower().rstrip("=")


def hash_leaves(fd: int, size: int, wait_until: Callable[[int], None] | None = None) -> list[bytes]:
    """The SHA-256 digests of the leaves of the first `size` bytes of an open file, hashed in parallel.

    `wait_until(end)` is called before the bytes up to `end` are read: it may block until somebody has written them,
    and may raise to give up.

    Raises:
        EOFError: if the file is shorter than `size`.
    """
    if size <= BLOCK_SIZE:
        if wait_until is not None:
            wait_until(size)
        return list(_hash_block(fd, 0, size, bytearray(size)))

    digests = [b""] * -(-size // LEAF_SIZE)
    starts = iter(range(0, size, BLOCK_SIZE))
    lock = threading.Lock()
    failures: list[BaseException] = []

    def hash_blocks() -> None:
        buffer = bytearray(BLOCK_SIZE)
        try:
            while not failures:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return
                end = min(start + BLOCK_SIZE, size)
                if wait_until is not None:
                    wait_until(end)
                first = start // LEAF_SIZE
                for number, digest in enumerate(_hash_block(fd, start, end, buffer), first):
                    digests[number] = digest
        except BaseException as error:  # raised again below, in the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=hash_blocks, name="stargazer-hash") for _ in range(_HASHERS)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:  # Ctrl-C while waiting: the threads must not outlive the descriptor
        failures.append(error)
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise
    if failures:
        raise failures[0]
    return digests


def _hash_block(fd: int, start: int, end: int, buffer: bytearray) -> Iterator[bytes]:
    block = memoryview(buffer)[: end - start]
    filled = 0
    while filled < len(block):
        count = os.preadv(fd, [block[filled:]], start + filled)
        if count == 0:
            raise EOFError
        filled += count
    for offset in range(0, max(len(block), 1), LEAF_SIZE):
        yield hashlib.sha256(block[offset : offset + LEAF_SIZE]).digest()


_Link = tuple[
    bytes, int, int
]  # the child's binary CID, the bytes of file below it, the bytes of blocks below it


def _leaves(digests: Iterable[bytes], size: int) -> Iterator[_Link]:
    left, count = size, 0
    for digest in digests:
        count += 1
        length = min(left, LEAF_SIZE)
        left -= length
        yield _binary_cid(_RAW, digest), length, length
    if count != max(1, -(-size // LEAF_SIZE)):
        raise ValueError(f"{size} bytes do not make {count} leaves of {LEAF_SIZE} bytes")


def _node(links: list[_Link]) -> _Link:
    """One dag-pb node over its children: PBLink{Hash, Name, Tsize}... then Data = UnixFS{Type: File, sizes}."""
    block = bytearray()
    unixfs = bytearray(b"\x08\x02")
    size, total = 0, 0
    for cid, length, below in links:
        block += _field(0x12, _field(0x0A, cid) + b"\x12\x00\x18" + _varint(below))
        size += length
        total += below
    unixfs += b"\x18" + _varint(size)
    for _, length, _ in links:
        unixfs += b"\x20" + _varint(length)
    block += _field(0x0A, bytes(unixfs))
    return _binary_cid(_DAG_PB, hashlib.sha256(block).digest()), size, len(block) + total


def _binary_cid(codec: int, digest: bytes) -> bytes:
    return bytes((1, codec)) + _SHA2_256 + digest


def _field(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
