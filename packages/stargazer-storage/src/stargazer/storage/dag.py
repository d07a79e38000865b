"""UnixFS files block by block: dag-pb nodes decoded strictly, the walk over a file, the profile behind a root."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen
from stargazer.assets import FormatError

from .links import Link, normal, parse_binary, parse_cid, read_varint
from .profiles import PINATA, RAW, SHA2_256, UNIXFS_V1_2025, Child, Profile, join, leaf

__all__ = [
    "MAX_BLOCK",
    "MAX_DEPTH",
    "Link",
    "Node",
    "decode",
    "infer_profile",
    "normal",
    "parse_binary",
    "parse_cid",
    "walk",
]

MAX_BLOCK = 2 * 1024 * 1024
"""Bytes of a block, at most: no IPFS node takes a larger one from another."""

MAX_DEPTH = 64
"""Levels of nodes, at most; a balanced tree of 4 EiB has 8."""

_MAX_SIZE = 1 << 63
_REMEMBERED = 110_000  # blocks found again without being sent again: 35 MB, 28 GB of file in 256 KiB leaves
_MAX_LINKS = 8192
_LEAST_OVERHEAD, _MOST_OVERHEAD = 40, 160  # bytes of blocks beside those of the file, a leaf
_KINDS = {1: "a folder", 3: "metadata", 4: "a symbolic link", 5: "a (sharded) folder"}


@frozen
class Node:
    """A dag-pb block of a UnixFS file: its own bytes of the file come first, then those of each child."""

    data: bytes
    offset: int
    """Where in the block `data` begins."""
    children: tuple[Child, ...]

    @property
    def size(self) -> int:
        """Bytes of the file in this node and below it."""
        return len(self.data) + sum(child.size for child in self.children)


def decode(block: bytes) -> Node:
    """A dag-pb block that is (part of) a UnixFS file.

    Strict, so that one block never means one file here and another one elsewhere: fields are known and come once,
    and the sizes add up.

    Raises:
        FormatError: if it is no such block: a folder, a symbolic link, or malformed.
    """
    cids: list[bytes] = []
    totals: list[int] = []
    data: tuple[int, int] | None = None
    closed = False  # links are one run, before the data or (as old encoders had it) after it
    previous = 0
    for field, value in _fields(block, 0, len(block)):
        if field == 2 and isinstance(value, tuple) and not closed:
            cid, total = _decode_link(block, *value)
            cids.append(cid)
            totals.append(total)
        elif field == 1 and isinstance(value, tuple) and data is None:
            data = value
        else:
            raise FormatError(f"malformed dag-pb node: field {field} is unknown, repeated or out of order")
        closed = closed or (previous == 2 and field != 2)
        previous = field
    if data is None:
        raise FormatError("a dag-pb node without UnixFS data: no file")
    content, sizes, declared = _decode_unixfs(block, *data)
    if len(sizes) != len(cids):
        raise FormatError(f"malformed UnixFS node: {len(cids)} links, but the sizes of {len(sizes)}")
    for cid in cids:
        parse_binary(cid)
    children = tuple(map(Child, cids, sizes, totals))
    node = Node(block[slice(*content)], content[0], children)
    if node.size >= _MAX_SIZE or declared not in (None, node.size):
        raise FormatError(f"malformed UnixFS node: declares {declared} bytes, but its parts have {node.size}")
    return node


def _decode_link(block: bytes, start: int, end: int) -> tuple[bytes, int]:
    cid, total, previous = b"", 0, 0
    for field, value in _fields(block, start, end):
        if field <= previous:
            raise FormatError("malformed dag-pb link: a field is repeated or out of order")
        previous = field
        if field == 1 and isinstance(value, tuple):
            cid = block[slice(*value)]
        elif field == 3 and isinstance(value, int):
            total = value
        elif field != 2 or not isinstance(value, tuple):  # 2: a name, which means nothing in a file
            raise FormatError(f"malformed dag-pb link: unknown field {field}")
    if not cid:
        raise FormatError("malformed dag-pb link: it has no CID")
    return cid, total


def _decode_unixfs(block: bytes, start: int, end: int) -> tuple[tuple[int, int], list[int], int | None]:
    """Where the node's own bytes are, the sizes of its children, and the size of all, if it is said."""
    sizes: list[int] = []
    others: dict[int, int | tuple[int, int]] = {}
    for field, value in _fields(block, start, end):
        if field == 4 and isinstance(value, int):
            sizes.append(value)
        elif field in others:
            raise FormatError(f"malformed UnixFS node: field {field} is repeated")
        else:
            others[field] = value
    kind, content, declared = others.get(1), others.get(2, (end, end)), others.get(3)
    if isinstance(kind, int) and kind in _KINDS:
        raise FormatError(f"{_KINDS[kind]}, not a file: give the CID of a single file")
    if kind not in (0, 2) or not others.keys() <= {1, 2, 3, 7, 8}:  # 7, 8: mode and time, which name no byte
        raise FormatError(f"malformed UnixFS node of type {kind!r}, with the fields {sorted(others)}")
    if not isinstance(content, tuple) or isinstance(declared, tuple):
        raise FormatError("malformed UnixFS node: its size is no number, or its data no bytes")
    return content, sizes, declared


def _fields(block: bytes, start: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """The fields of a protobuf message: numbers as they are, bytes as (start, end)."""
    at = start
    while at < end:
        key, at = read_varint(block, at, end)
        value, at = read_varint(block, at, end)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2 and at + value <= end:
            yield key >> 3, (at, at + value)
            at += value
        else:
            raise FormatError(
                "malformed protobuf: truncated, or of a type that neither dag-pb nor UnixFS has"
            )


# the walk


Visit = Callable[[Link, int, int | None, int | None], Node | int]


@frozen
class _Visited:
    """All below a node was visited: it began here."""

    link: Link
    position: int


def walk(root: Link, visit: Visit, size: int | None = None) -> int:
    """Visit the blocks of a file in its own order, depth first; returns the file's size in bytes.

    `visit(link, position, size, earlier)` is told a block, where in the file its bytes begin, how many they are (None
    of the root, where nobody said), and where the same bytes were before (None where they were not, or so many
    blocks ago that it is forgotten). It answers with the decoded node, to go on below it, or with the number of bytes
    that it has dealt with itself.

    Raises:
        FormatError: if nodes and children contradict each other, or the file is not of `size` bytes.
    """
    position = 0
    seen: dict[Link, tuple[int, int]] = {}
    todo: list[tuple[Link, int | None, int] | _Visited] = [(root, size, 0)]
    while todo:
        item = todo.pop()
        if isinstance(item, _Visited):
            if len(seen) < _REMEMBERED:
                seen[item.link] = item.position, position - item.position
            continue
        link, expected, depth = item
        if depth > MAX_DEPTH:
            raise FormatError(f"its blocks lie more than {MAX_DEPTH} levels deep")
        earlier, length = seen.get(link, (None, expected))
        if length != expected:
            raise FormatError(f"its block {link} counts once as {length} and once as {expected} bytes")
        answer = visit(link, position, expected, earlier)
        found = answer if isinstance(answer, int) else answer.size
        if expected not in (None, found):
            raise FormatError(
                f"its block {link} holds {found} bytes of the file where {expected} are announced"
            )
        if isinstance(answer, int):
            if earlier is None and len(seen) < _REMEMBERED:
                seen[link] = position, found
            position += found
            continue
        if len(answer.children) > 1 and not all(
            child.size for child in answer.children
        ):  # else few blocks could make endless work
            raise FormatError(f"its block {link} has children without bytes")
        todo.append(_Visited(link, position))
        position += len(answer.data)
        todo.extend((parse_binary(child.cid), child.size, depth + 1) for child in reversed(answer.children))
    return position


# layouts


def infer_profile(root_block: bytes) -> Profile | None:
    """The profile of which this is the root of a file, or None if no balanced layout of one leaf size fits.

    A root says the sizes below each link, of file and of blocks: what a profile would say is compared with all of
    them. That is a strong hint and no proof: the CID that compute_cid() then gives is.

    Raises:
        FormatError: if the block is no (part of a) UnixFS file.
    """
    root = decode(root_block)
    children = root.children
    if not children:
        return Profile(max(PINATA.leaf_size, root.size), PINATA.links, raw_leaves=False, version=0)
    if root.data or len(children) < 2:
        return None
    said = [_outline(child) for child in children]
    return next((profile for profile in _candidates(root) if _children(profile, root.size) == said), None)


def _candidates(root: Node) -> Iterator[Profile]:
    """Profiles that would give the first child about its size, the usual ones first."""
    count, (cid, size, total) = len(root.children), root.children[0]
    usual = [links for links in (PINATA.links, UNIXFS_V1_2025.links) if links >= count]
    raw, version = parse_binary(cid).codec == RAW, 0 if cid.startswith(SHA2_256) else 1
    if _sensible(size, root.size):  # the children are the leaves
        yield Profile(size, (usual or [count])[0], raw, version)
    if raw:
        return
    for links in dict.fromkeys([*usual, *range(count, _MAX_LINKS)]):
        leaves = links
        while leaves * _LEAST_OVERHEAD <= total - size:
            leaf_size, rest = divmod(size, leaves)
            if total - size <= leaves * _MOST_OVERHEAD and not rest and _sensible(leaf_size, root.size):
                yield Profile(leaf_size, links, raw_leaves=True, version=version)
                yield Profile(leaf_size, links, raw_leaves=False, version=version)
            leaves *= links


def _sensible(leaf_size: int, size: int) -> bool:
    """Whether hashing in such leaves takes neither more memory nor far more time than in common ones."""
    return 0 < leaf_size <= MAX_BLOCK and (leaf_size >= 1024 or size <= leaf_size << 16)


def _children(profile: Profile, size: int) -> list[tuple[bytes, int, int]]:
    """What the root of a file of `size` bytes says about its children, whatever they hold."""
    digest = bytes(32)
    count, rest = divmod(size, profile.leaf_size)
    full = leaf(profile, digest, profile.leaf_size)
    last = [leaf(profile, digest, rest)] if rest else []
    while count + len(last) > profile.links:
        count, rest = divmod(count, profile.links)
        tail = [full] * rest + last
        last = [join(profile, tail)] if tail else []
        full = join(profile, [full] * profile.links)
    return [_outline(child) for child in [full] * count + last]


def _outline(child: Child) -> tuple[bytes, int, int]:
    return child.cid[:-32], child.size, child.total
