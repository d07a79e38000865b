"""Content identifiers (CIDs) of IPFS: computed from a file's bytes, recognised, and read in any spelling.

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
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from stargazer.assets import FormatError, StorageError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["BLOCK_SIZE", "DAG_PB", "LEAF_SIZE", "PINATA", "PROFILES", "RAW", "READ", "CidHasher", "Profile",
           "SumHasher", "Tree", "cid_text", "compute_cid", "compute_cid_like", "fits_another_profile", "hash_file",
           "is_block", "is_cid", "normal", "regular_file"]  # fmt: skip

RAW, DAG_PB = 0x55, 0x70
"""The multicodec of a leaf that is nothing but bytes of the file, and that of a UnixFS node."""

_SHA2_256 = b"\x12\x20"  # how a multihash begins: the hash function's code and the digest's length


class Profile(NamedTuple):
    """How an importer lays out a file: leaves of one size in a balanced tree, as all of IPFS's common ones do.

    The CID is written as CIDv1 whatever the `version`; what that changes is how nodes name their children.
    """

    leaf_size: int
    """Bytes."""
    links: int
    """Children of one node, at most."""
    raw_leaves: bool = True
    """Whether a leaf is nothing but bytes of the file, and no UnixFS node."""
    version: int = 1


PINATA = Profile(256 * 1024, 174)
"""Pinata's layout, also that of `ipfs add --cid-version=1` up to Kubo 0.39: the one that Stargazer's own CIDs have."""

PROFILES = (
    PINATA,
    # "Qm...": unixfs-v0-2015 of IPIP-499, what `ipfs add` has always done by default; Kubo's `legacy-cid-v0`
    Profile(256 * 1024, 174, raw_leaves=False, version=0),
    # Kubo's `test-cid-v1`, and what Helia does by default; source: ipfs/kubo, test/cli/add_test.go
    Profile(1 << 20, 174),
    # unixfs-v1-2025 of IPIP-499, for new data
    Profile(1 << 20, 1024),
)
"""The published layouts, in the order in which they are tried."""

LEAF_SIZE = PINATA.leaf_size
"""Bytes per leaf of Pinata's layout."""

BLOCK_SIZE = 16 * LEAF_SIZE
"""Bytes that one thread reads and hashes at a time: in smaller pieces the threads cost more than they give."""

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""How a file is opened to be read: a pipe must not hang that."""

_AHEAD = 256  # blocks that wait for a thread: nothing of them is in memory
_THREADS = max(2, min(4, os.cpu_count() or 1))
_PATTERN = re.compile(r"baf(?:kre|ybe)i[a-h][a-z2-7]{50}[aeimquy4]")


def is_cid(text: object) -> bool:
    """Whether `text` is a CIDv1 as Stargazer writes it: base32, SHA-256, of a raw leaf or a UnixFS node."""
    return isinstance(text, str) and _PATTERN.fullmatch(text) is not None


def is_block(cid: str) -> bool:
    """Whether a CID is the plain SHA-256 of a file, however large ("bafkrei...")."""
    return cid.startswith("bafkrei")


def cid_text(codec: int, digest: bytes) -> str:
    """The CIDv1 of a block, as text: `codec` is RAW or DAG_PB, `digest` the block's SHA-256."""
    return "b" + base64.b32encode(_binary(codec, digest, 1)).decode("ascii").lower().rstrip("=")


def compute_cid(path: str | os.PathLike[str], profile: Profile = PINATA) -> str:
    """The CID of a file's bytes, read once and in bounded memory.

    Raises:
        OSError: if the file cannot be read.
        StorageError: if it is no regular file, or was changed while it was read.
    """
    fd = os.open(path, READ)
    with regular_file(fd, path) as size:
        return hash_file(fd, size, profile)


def compute_cid_like(path: str | os.PathLike[str], cid: str) -> str:
    """`cid` itself if the file has these bytes, cut in any of the published ways; otherwise its CID at Pinata.

    Raises:
        OSError, StorageError: as compute_cid().
    """
    fd = os.open(path, READ)
    with regular_file(fd, path) as size:
        found = hash_file(fd, size)
        return cid if found == cid or fits_another_profile(fd, size, cid) else found


def fits_another_profile(fd: int, size: int, cid: str) -> bool:
    """Whether the first `size` bytes of an open file have this CID in a published layout other than Pinata's."""
    # The profile that fits is remembered nowhere: files of other layouts, and damaged ones, pay by being read again.
    if is_block(cid):
        return cid_text(RAW, bytes.fromhex(SumHasher(fd, ["sha256"]).finish(size)["sha256"])) == cid
    return any(hash_file(fd, size, profile) == cid for profile in PROFILES[1:])


def hash_file(fd: int, size: int, profile: Profile = PINATA) -> str:
    """The CID of the first `size` bytes of an open file, hashed in parallel and in bounded memory.

    Raises:
        EOFError: if the file is shorter than `size`.
    """
    with closing(CidHasher(fd, profile)) as hasher:
        return hasher.finish(size)


@contextmanager
def regular_file(fd: int, path: str | os.PathLike[str]) -> Iterator[int]:
    """The size of an open file that is read within the block; it is closed at the end.

    Raises:
        StorageError: it is no regular file, was changed within the block, or ended early there (EOFError).
    """
    name = os.fspath(path)
    try:
        before = os.fstat(fd)
        if stat.S_ISDIR(before.st_mode):
            raise StorageError(
                f"{name!r} is a folder, not a regular file: give its files, or pack it into one uncompressed tar file."
            )
        if not stat.S_ISREG(before.st_mode):
            raise StorageError(f"{name!r} is not a regular file: write its content to a file first.")
        yield before.st_size
        after = os.fstat(fd)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise EOFError
    except EOFError:
        raise StorageError(
            f"{name!r} changed while it was read: wait until its writer is done, then try again."
        ) from None
    finally:
        os.close(fd)


# hashing a file while it grows


class CidHasher:
    """Computes the CID of a file that grows: whole blocks in threads of its own, as soon as they are there.

        >>> with closing(CidHasher(fd)) as hasher:
        ...     for piece in pieces:
        ...         written += os.write(fd, piece)
        ...         hasher.advance(written)
        ...     cid = hasher.finish(written)

    advance() and finish() raise:
        OSError: the file cannot be read.
        EOFError: it is shorter than was said.
    """

    def __init__(self, fd: int, profile: Profile = PINATA) -> None:
        self._fd, self._leaf_size, self._tree = fd, profile.leaf_size, Tree(profile)
        self._block_size = max(1, BLOCK_SIZE // profile.leaf_size) * profile.leaf_size
        self._given = 0
        self._waiting: deque[Future[list[_Child]]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def advance(self, size: int) -> None:
        """Go on: the file has at least `size` bytes now, and those before them do not change any more."""
        # the last block is left to finish(): a small file needs no thread
        while size - self._given > self._block_size:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(_THREADS, "stargazer-hash")
            if len(self._waiting) == _AHEAD:
                self._add(self._waiting.popleft().result())
            end = self._given + self._block_size
            self._waiting.append(self._pool.submit(self._hash, self._given, end))
            self._given = end

    def finish(self, size: int) -> str:
        """The CID of the file, which has `size` bytes; the hasher is of no use afterwards."""
        self.advance(size)
        while self._waiting:
            self._add(self._waiting.popleft().result())
        self._add(self._hash(self._given, size))
        return self._tree.cid()

    def close(self) -> None:
        """Give up; nothing reads the file any more when this returns."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _hash(self, start: int, end: int) -> list[_Child]:
        """The leaves of a block, in any thread; a file without bytes has one."""
        starts = range(start, max(end, start + 1), self._leaf_size)
        return [self._tree.leaf(_read(self._fd, min(self._leaf_size, end - at), at)) for at in starts]

    def _add(self, leaves: list[_Child]) -> None:
        for leaf in leaves:
            self._tree.add(leaf)


class SumHasher:
    """Computes checksums of a file that grows, in hexadecimal (`sha256`, `md5`); used like a CidHasher."""

    def __init__(self, fd: int, names: Iterable[str]) -> None:
        self._fd, self._done = fd, 0
        self._digests = {name: hashlib.new(name, usedforsecurity=False) for name in names}

    def advance(self, size: int) -> None:
        """Go on, in this thread."""
        while self._done < size:
            data = _read(self._fd, min(BLOCK_SIZE, size - self._done), self._done)
            for digest in self._digests.values():
                digest.update(data)
            self._done += len(data)

    def finish(self, size: int) -> dict[str, str]:
        """The checksums of the file, which has `size` bytes."""
        self.advance(size)
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    def close(self) -> None:
        """There is nothing to give up."""


def _read(fd: int, length: int, start: int) -> bytes:
    data = os.pread(fd, length, start)
    if len(data) < length:
        raise EOFError
    return data


# UnixFS nodes


class _Child(NamedTuple):
    """What a node says about one child: its binary CID, the bytes of file and the bytes of blocks below it."""

    cid: bytes
    size: int
    total: int


class Tree:
    """Leaves joined by nodes as soon as a node is full, so that no more than one node a level is held."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._levels: list[list[_Child]] = [[]]

    def leaf(self, data: bytes) -> _Child:
        """A leaf with these bytes, to be added in its turn."""
        if self._profile.raw_leaves:
            block, codec = data, RAW
        else:  # a node without children, whose UnixFS is {Type: File, Data, filesize}
            unixfs = b"\x08\x02" + (_field(0x12, data) if data else b"") + b"\x18" + _varint(len(data))
            block, codec = _field(0x0A, unixfs), DAG_PB
        cid = _binary(codec, hashlib.sha256(block).digest(), self._profile.version)
        return _Child(cid, len(data), len(block))

    def add(self, child: _Child, level: int = 0) -> None:
        """Append a leaf, or a node of a higher level."""
        if level == len(self._levels):
            self._levels.append([])
        row = self._levels[level]
        if len(row) == self._profile.links:  # only now: a full row may turn out to be the root's
            self.add(self._joined(row), level + 1)
            row.clear()
        row.append(child)

    def cid(self) -> str:
        """The CID of the root over all; nothing can be added afterwards."""
        for level, row in enumerate(self._levels):  # which grows meanwhile
            if level < len(self._levels) - 1 or len(row) > 1:
                self.add(self._joined(row), level + 1)
        root = self._levels[-1][0].cid
        return cid_text(DAG_PB if root.startswith(_SHA2_256) else root[1], root[-32:])

    def _joined(self, children: list[_Child]) -> _Child:
        """The node over these children: PBLink{Hash, Name, Tsize}... then Data = UnixFS{Type: File, sizes}."""
        size = sum(child.size for child in children)
        links = [_field(0x0A, child.cid) + b"\x12\x00\x18" + _varint(child.total) for child in children]
        unixfs = (
            b"\x08\x02\x18" + _varint(size) + b"".join(b"\x20" + _varint(child.size) for child in children)
        )
        block = b"".join(_field(0x12, link) for link in links) + _field(0x0A, unixfs)
        cid = _binary(DAG_PB, hashlib.sha256(block).digest(), self._profile.version)
        return _Child(cid, size, len(block) + sum(child.total for child in children))


def _binary(codec: int, digest: bytes, version: int) -> bytes:
    """A CID as nodes hold it; version 0 is for nodes only, and has no codec."""
    return (_SHA2_256 if codec == DAG_PB and version == 0 else bytes((1, codec)) + _SHA2_256) + digest


def _field(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    return bytes((number,)) if number < 0x80 else bytes((number & 0x7F | 0x80,)) + _varint(number >> 7)


# CIDs as others write them

_DIGITS = {
    "f": "0123456789abcdef",
    "b": "abcdefghijklmnopqrstuvwxyz234567",
    "u": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    "k": "0123456789abcdefghijklmnopqrstuvwxyz",
    "z": "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
}  # source: the multibase table, github.com/multiformats/multibase
_HEAD = re.compile(rb"\x01([\x80-\xff]{0,8}[\0-\x7f])([\x80-\xff]{0,8}[\0-\x7f])")
_OTHERS = {
    0x71: "a dag-cbor document",
    0x72: "an IPNS key",
    0x78: "a git object",
    0x0129: "a dag-json document",
}


def normal(cid: str) -> str:
    """A CID as Stargazer writes it: CIDv1 in base32, whatever base and version it comes in.

        >>> normal("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH")
        'bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y'

    Raises:
        FormatError: if it is no CID, or not one of a file hashed by SHA-256.
    """
    try:
        data = _decoded(cid)
        if data.startswith(_SHA2_256) and len(data) == 34:
            return cid_text(DAG_PB, data[2:])
        head = _HEAD.match(data)
        if head is None:
            raise FormatError("unknown version, malformed, or no CID at all")
        codec, function = (
            sum((byte & 0x7F) << 7 * place for place, byte in enumerate(varint)) for varint in head.groups()
        )
        if codec not in (RAW, DAG_PB):
            raise FormatError(f"it names {_OTHERS.get(codec, f'data of type {codec:#x}')}")
        if function != _SHA2_256[0]:
            raise FormatError(
                f"it is hashed by function {function:#x}, and only SHA-256 (0x12) is verified here"
            )
        if len(data) != 36 or data[3] != 32:
            raise FormatError("its digest is too short or too long")
        return cid_text(codec, data[4:])
    except ValueError as error:
        reason = str(error) if isinstance(error, FormatError) else "it does not decode"
    raise FormatError(
        f"{cid!r} is not the CID of a file: {reason}. Expected 'bafybei...', 'bafkrei...' or 'Qm...'."
    )


def _decoded(text: str) -> bytes:
    """The bytes behind a CID's text.

    Raises:
        ValueError: it has a character that is no digit of its base; a FormatError says what else is wrong.
    """
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_=-]{2,128}", text):
        raise FormatError("no CID has such characters or such a length")
    base, body = ("z", text) if text.startswith("Qm") else (text[0], text[1:])
    if base in "bB" and text not in (text.lower(), text.upper()):
        raise FormatError("small and capital letters are mixed")
    if base in "fFbBkK":
        base, body = base.lower(), body.lower()
    elif base in "uU":
        base, body = "u", body.rstrip("=")
    if base not in _DIGITS:
        raise FormatError(f"unknown base {base!r}")
    digits, number = _DIGITS[base], 0
    for character in body:
        number = number * len(digits) + digits.index(character)
    bits = len(digits).bit_length() - 1
    if base in "zk":  # numbers: a digit of zero in front is a byte of zeros, with which no CID begins
        return b"" if body[0] == digits[0] else number.to_bytes((number.bit_length() + 7) // 8, "big")
    size, spare = divmod(bits * len(body), 8)
    if spare >= bits or number % (1 << spare):
        raise FormatError("its last character is wrong")
    return (number >> spare).to_bytes(size, "big")
