"""How a file was cut into blocks where that is not Pinata's way: kept beside the object, believed in nothing.

A layout is what it takes to compute a file's CID again: the profile, where one fits, or else the UnixFS nodes without
the file's own bytes in them. It is no secret and no authority: everything follows from the bytes of the file and must
end in the CID. A lost layout loses nothing but the proof, which the file's source can give again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import attrs
from stargazer.assets import FormatError, StorageError
from stargazer.storage.files import sync_paths

from .cid import PINATA, UNIXFS_V0_2015, UNIXFS_V1_2025, Profile, compute_cid
from .dag import MAX_BLOCK, Node, decode, walk
from .links import Link, parse_cid
from .profiles import RAW

__all__ = ["LAYOUT_SUFFIX", "layout_path", "load", "recorder", "save", "verify", "write_profile"]

LAYOUT_SUFFIX = ".layout"
"""Of the file beside an object that says how its bytes were cut into blocks, where that is not Pinata's way."""

_MAGIC = b"stargazer layout 1: UnixFS nodes\n"
_MAX_PROFILE = 1000
_PIECE = 1 << 20


def layout_path(path: Path) -> Path:
    """Where the layout of this object is, or would be."""
    return path.with_name(path.name + LAYOUT_SUFFIX)


def write_profile(out: BinaryIO, profile: Profile) -> None:
    """Write a layout that is a profile."""
    out.write(json.dumps(attrs.asdict(profile)).encode() + b"\n")


def recorder(out: BinaryIO) -> Callable[[bytes, Node], None]:
    """Write a layout that is a file's nodes: the `keep_node` of car.extract().

    >>> with open(folder / "layout", "wb") as nodes:
    ...     extract(response.read, cid, out, keep_node=recorder(nodes))
    """
    out.write(_MAGIC)

    def keep(block: bytes, node: Node) -> None:
        before, after = block[: node.offset], block[node.offset + len(node.data) :]
        for number in (len(before), len(node.data), len(after)):
            out.write(number.to_bytes(4, "big"))
        out.write(before + after)

    return keep


def save(path: Path, layout: Path) -> None:
    """Move a finished layout, a file on the same filesystem, beside the object at `path`; durable on return.

    Save the layout first and the object after it: an object without its layout does not verify.

    Raises:
        OSError: if it cannot be written.
    """
    target = layout_path(path)
    layout.chmod(0o444)
    sync_paths([layout])
    layout.replace(target)
    sync_paths([target.parent])


def load(path: Path) -> Profile | None:
    """The profile of the object at `path`; None where it has no layout, or one that is no profile."""
    try:
        with layout_path(path).open("rb") as file:
            said = json.loads(file.read(_MAX_PROFILE))
        profile = Profile(**said)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return profile if profile.leaf_size <= MAX_BLOCK else None


def verify(path: Path, cid: str) -> bool:
    """Whether the file's bytes are those of `cid`, by its layout or by a common profile. Reads all of it.

    Raises:
        OSError: if the file cannot be read.
        StorageError: if it is no regular file, or changed its size meanwhile.
        FormatError: if `cid` is no CID.
    """
    root = parse_cid(cid)
    if root.codec == RAW:  # one block, however large
        return _sha256(path) == root.digest
    if _fits_nodes(path, root):
        return True
    profiles = dict.fromkeys([load(path) or PINATA, PINATA, UNIXFS_V0_2015, UNIXFS_V1_2025])
    return any(compute_cid(path, profile) == str(root) for profile in profiles)


class _Otherwise(Exception):
    """The file is not what the nodes say."""


class _Comparison:
    """A file and the nodes of its layout, put together and hashed as the walk asks for them."""

    def __init__(self, file: io.FileIO, nodes: BinaryIO) -> None:
        self._file, self._nodes = file, nodes

    def visit(self, link: Link, position: int, size: int | None, earlier: int | None) -> Node | int:
        if link.codec == RAW and size is not None:
            digest = hashlib.sha256()
            for piece in self._pieces(position, size):
                digest.update(piece)
            if digest.digest() != link.digest:
                raise _Otherwise
            return size
        if (
            earlier is not None and size is not None
        ):  # a node that stands again is kept once, where it came first
            for one, other in zip(self._pieces(earlier, size), self._pieces(position, size), strict=True):
                if one != other:
                    raise _Otherwise
            return size
        frame = self._read_node()
        if frame is None:
            raise _Otherwise
        before, length, after = frame
        block = b"".join([before, *self._pieces(position, length), after])
        if hashlib.sha256(block).digest() != link.digest:
            raise _Otherwise
        return decode(block)

    def _read_node(self) -> tuple[bytes, int, bytes] | None:
        numbers = self._nodes.read(12)
        before, length, after = (int.from_bytes(numbers[at : at + 4], "big") for at in (0, 4, 8))
        if len(numbers) < 12 or before + length + after > MAX_BLOCK:
            return None
        frame = self._nodes.read(before + after)
        return (frame[:before], length, frame[before:]) if len(frame) == before + after else None

    def _pieces(self, start: int, size: int) -> Iterator[bytes]:
        for at in range(start, start + size, _PIECE):
            piece = os.pread(self._file.fileno(), min(_PIECE, start + size - at), at)
            if len(piece) < min(_PIECE, start + size - at):
                raise _Otherwise  # the file ends here
            yield piece


def _fits_nodes(path: Path, root: Link) -> bool:
    try:
        nodes = layout_path(path).open("rb")
    except FileNotFoundError:
        return False
    with nodes:
        if nodes.read(len(_MAGIC)) != _MAGIC:
            return False
        with _opened(path) as file:
            try:
                walk(root, _Comparison(file, nodes).visit, os.fstat(file.fileno()).st_size)
            except (_Otherwise, FormatError):
                return False
    return True


def _sha256(path: Path) -> bytes:
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _opened(path: Path) -> io.FileIO:
    file = io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))  # a pipe must not hang here
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise StorageError(f"{os.fspath(path)!r} is not a regular file: only files have a CID.")
    return file
