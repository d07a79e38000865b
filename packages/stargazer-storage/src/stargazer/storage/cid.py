"""Content identifiers: the IPFS CIDv1 of a file in Pinata's layout, or in another one, computed here.

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
from collections.abc import Callable, Iterable

from stargazer.assets import StorageError

from .profiles import (
    DAG_PB,
    PINATA,
    SHA2_256,
    UNIXFS_V0_2015,
    UNIXFS_V1_2025,
    Profile,
    Tree,
    binary_cid,
    leaf,
    leaf_frame,
)

__all__ = [
    "BLOCK_SIZE",
    "LEAF_SIZE",
    "LINKS_PER_NODE",
    "PINATA",
    "UNIXFS_V0_2015",
    "UNIXFS_V1_2025",
    "Profile",
    "cid_from_leaves",
    "cid_text",
    "compute_cid",
    "hash_file",
    "is_cid",
]

LEAF_SIZE = PINATA.leaf_size
"""Bytes per leaf of Pinata's layout."""

LINKS_PER_NODE = PINATA.links
"""Children of one node of Pinata's layout, at most."""

BLOCK_SIZE = 16 * LEAF_SIZE
"""Bytes that one thread reads and hashes at a time: in smaller pieces the threads cost more than they give."""

_MANY_LEAVES = 4096  # in one piece of work: their digests are held together
_HASHERS = max(2, min(4, os.cpu_count() or 1))
_PATTERN = re.compile(r"baf(?:kre|ybe)i[a-h][a-z2-7]{50}[aeimquy4]")


def is_cid(text: object) -> bool:
    """Whether `text` is a CIDv1 as Stargazer writes it: base32, SHA-256, of a raw leaf or a UnixFS node."""
    return isinstance(text, str) and _PATTERN.fullmatch(text) is not None


def cid_text(codec: int, digest: bytes) -> str:
    """The CIDv1 of a block, as text: `codec` is RAW or DAG_PB, `digest` the block's SHA-256."""
    return "b" + base64.b32encode(binary_cid(codec, digest, 1)).decode("ascii").lower().rstrip("=")


def compute_cid(path: str | os.PathLike[str], profile: Profile = PINATA) -> str:
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
        cid = hash_file(fd, status.st_size, profile=profile)
        if os.fstat(fd).st_size != status.st_size:
            raise EOFError
    except EOFError:
        raise StorageError(
            f"{os.fspath(path)!r} changed its size while it was read: wait until its writer is done and try again."
        ) from None
    finally:
        os.close(fd)
    return cid


def hash_file(
    fd: int, size: int, wait_until: Callable[[int], None] | None = None, *, profile: Profile = PINATA
) -> str:
    """The CID of the first `size` bytes of an open file, hashed in parallel and in bounded memory.

    `wait_until(end)` is called before the bytes up to `end` are read: it may block until somebody has written them,
    and may raise to give up.

    Raises:
        EOFError: if the file is shorter than `size`.
    """
    tree = _LeafTree(profile, size)
    _hash_in_order(fd, size, wait_until, profile, tree.add)
    return tree.cid()


def cid_from_leaves(digests: Iterable[bytes], size: int, profile: Profile = PINATA) -> str:
    """The CID of a file of `size` bytes whose leaves have these SHA-256 digests, in order.

    Raises:
        ValueError: if the number of digests does not fit the size.
    """
    tree, count = _LeafTree(profile, size), 0
    for digest in digests:
        tree.add(digest)
        count += 1
    if count != max(1, -(-size // profile.leaf_size)):
        raise ValueError(f"{size} bytes do not make {count} leaves of {profile.leaf_size} bytes")
    return tree.cid()


class _LeafTree:
    """The tree over a file of known size, given the digests of its leaves one after the other."""

    def __init__(self, profile: Profile, size: int) -> None:
        self._profile, self._left, self._tree = profile, size, Tree(profile)

    def add(self, digest: bytes) -> None:
        length = min(self._left, self._profile.leaf_size)
        self._left -= length
        self._tree.add(leaf(self._profile, digest, length))

    def cid(self) -> str:
        root = self._tree.root().cid
        return cid_text(DAG_PB if root.startswith(SHA2_256) else root[1], root[-32:])


def _hash_in_order(
    fd: int,
    size: int,
    wait_until: Callable[[int], None] | None,
    profile: Profile,
    take: Callable[[bytes], None],
) -> None:
    """Give `take` the digest of each leaf, in the file's order; it is never called by two threads at once."""
    block_size = min(max(1, BLOCK_SIZE // profile.leaf_size), _MANY_LEAVES) * profile.leaf_size
    if size <= block_size:
        if wait_until is not None:
            wait_until(size)
        for digest in _hash_block(fd, 0, size, bytearray(size), profile):
            take(digest)
        return

    starts = iter(range(0, size, block_size))
    finished: dict[int, list[bytes]] = {}  # blocks that were done before an earlier one
    taken = 0
    lock = threading.Lock()
    failures: list[BaseException] = []

    def hash_blocks() -> None:
        nonlocal taken
        buffer = bytearray(block_size)
        try:
            while not failures:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return
                end = min(start + block_size, size)
                if wait_until is not None:
                    wait_until(end)
                digests = _hash_block(fd, start, end, buffer, profile)
                with lock:
                    finished[start] = digests
                    while taken in finished:
                        for digest in finished.pop(taken):
                            take(digest)
                        taken += block_size
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


def _hash_block(fd: int, start: int, end: int, buffer: bytearray, profile: Profile) -> list[bytes]:
    block = memoryview(buffer)[: end - start]
    filled = 0
    while filled < len(block):
        count = os.preadv(fd, [block[filled:]], start + filled)
        if count == 0:
            raise EOFError
        filled += count
    leaves = (block[at : at + profile.leaf_size] for at in range(0, max(len(block), 1), profile.leaf_size))
    if profile.raw_leaves:
        return [hashlib.sha256(data).digest() for data in leaves]
    digests = []
    for data in leaves:
        before, after = leaf_frame(len(data))
        digest = hashlib.sha256(before)
        digest.update(data)
        digest.update(after)
        digests.append(digest.digest())
    return digests
