"""How importers lay a file out on IPFS: leaves of one size in a balanced tree of UnixFS nodes, and its CIDs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import attrs

__all__ = [
    "DAG_PB",
    "PINATA",
    "RAW",
    "UNIXFS_V0_2015",
    "UNIXFS_V1_2025",
    "Child",
    "Profile",
    "Tree",
    "binary_cid",
    "join",
    "leaf",
    "leaf_frame",
]

RAW, DAG_PB = 0x55, 0x70
"""The multicodec of a leaf that is nothing but bytes of the file, and that of a UnixFS node."""

SHA2_256 = b"\x12\x20"
"""How a multihash of this kind begins: the hash function's code and the digest's length."""


@attrs.frozen
class Profile:
    """How an importer lays out a file: leaves of one size in a balanced tree, as all of IPFS's common ones do.

    The CID is written as CIDv1 whatever the `version`; what that changes is how nodes name their children.
    """

    leaf_size: int = attrs.field(validator=[attrs.validators.instance_of(int), attrs.validators.ge(1)])
    links: int = attrs.field(validator=[attrs.validators.instance_of(int), attrs.validators.ge(2)])
    raw_leaves: bool = attrs.field(default=True, validator=attrs.validators.instance_of(bool))
    version: int = attrs.field(default=1, validator=attrs.validators.in_((0, 1)))


PINATA = Profile(256 * 1024, 174)
"""Pinata's layout, also that of `ipfs add --cid-version=1` up to Kubo 0.39: the one that Stargazer's own CIDs have."""

UNIXFS_V1_2025 = Profile(1 << 20, 1024)
"""IPIP-499's profile for new data."""

UNIXFS_V0_2015 = Profile(256 * 1024, 174, raw_leaves=False, version=0)
"""IPIP-499's name for what `ipfs add` has always done by default ("Qm...")."""


class Child(NamedTuple):
    """What a node says about one child: its binary CID, the bytes of file and the bytes of blocks below it."""

    cid: bytes
    size: int
    total: int


class Tree:
    """Leaves joined by nodes as soon as a node is full, so that no more than one node a level is held."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._levels: list[list[Child]] = [[]]

    def add(self, child: Child, level: int = 0) -> None:
        """Append the next leaf (or, at a level above, the next node)."""
        if level == len(self._levels):
            self._levels.append([])
        row = self._levels[level]
        if len(row) == self._profile.links:  # only now: a full row may turn out to be the root's
            self.add(join(self._profile, row), level + 1)
            row.clear()
        row.append(child)

    def root(self) -> Child:
        """Join what is left; nothing can be added afterwards."""
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level]) > 1:
            self.add(join(self._profile, self._levels[level]), level + 1)
            level += 1
        return self._levels[level][0]


def leaf(profile: Profile, digest: bytes, length: int) -> Child:
    """A leaf with `length` bytes of the file, whose block has this SHA-256."""
    if profile.raw_leaves:
        return Child(binary_cid(RAW, digest, 1), length, length)
    return Child(
        binary_cid(DAG_PB, digest, profile.version), length, length + sum(map(len, leaf_frame(length)))
    )


def join(profile: Profile, children: Iterable[Child]) -> Child:
    """The node over these children: PBLink{Hash, Name, Tsize}... then Data = UnixFS{Type: File, sizes}."""
    block = bytearray()
    unixfs = bytearray()
    size, total = 0, 0
    for child in children:
        block += _field(0x12, _field(0x0A, child.cid) + b"\x12\x00\x18" + _varint(child.total))
        unixfs += b"\x20" + _varint(child.size)
        size += child.size
        total += child.total
    block += _field(0x0A, b"\x08\x02\x18" + _varint(size) + bytes(unixfs))
    digest = hashlib.sha256(block).digest()
    return Child(binary_cid(DAG_PB, digest, profile.version), size, len(block) + total)


def leaf_frame(length: int) -> tuple[bytes, bytes]:
    """What stands before and after the data in a leaf that is a node itself."""
    before = b"\x08\x02" + (b"\x12" + _varint(length) if length else b"")
    after = b"\x18" + _varint(length)
    return b"\x0a" + _varint(len(before) + length + len(after)) + before, after


def binary_cid(codec: int, digest: bytes, version: int) -> bytes:
    """A CID as nodes and CARs hold it; version 0 has no codec, it is always DAG_PB."""
    return (SHA2_256 if version == 0 else bytes((1, codec)) + SHA2_256) + digest


def _field(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
