"""What lies below `objects/`: one object, one stray, and the walk over all of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from stargazer.assets import StorageError

from .cid import is_cid

__all__ = ["StoredObject", "Stray", "place_of", "scan_objects", "shard_of"]


@frozen
class StoredObject:
    """One object and the state of its file: while the four figures stay the same, its bytes are those verified.

    Of an object that is linked in place, they are the figures of the file that it links to.
    """

    cid: str
    size: int
    """Bytes."""
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, cid: str, status: os.stat_result) -> StoredObject:
        """The object whose file has this status."""
        return cls(cid, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@frozen
class Stray:
    """Something below `objects/` that is no object."""

    path: Path
    why: str


def shard_of(cid: str) -> str:
    """The name of the folder of an object: every CID begins alike, and its last character has 8 values only."""
    return cid[-3:-1]


def place_of(folder: Path, cid: str) -> str:
    """Where the object with this CID is below a folder of objects: as text, for a Path takes longer than a status.

    Raises:
        StorageError: if `cid` is not a CID.
    """
    if not is_cid(cid):
        raise StorageError(f"{cid!r} is not a CID: expected 'bafkrei...' or 'bafybei...', 59 characters.")
    return f"{folder}/{shard_of(cid)}/{cid}"


def scan_objects(folder: Path) -> Iterator[StoredObject | Stray]:
    """Everything below a folder of objects, in no particular order; what vanishes meanwhile is left out.

    Raises:
        OSError: a folder cannot be read.
    """
    for shard in _entries(folder):
        if not shard.is_dir():
            yield Stray(Path(shard.path), "a file among the folders of objects")
            continue
        for entry in _entries(shard.path):
            try:
                found = _describe(entry, shard.name)
            except FileNotFoundError:
                continue
            yield found


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _describe(entry: os.DirEntry[str], shard: str) -> StoredObject | Stray:
    name = entry.name
    if not is_cid(name):
        return Stray(Path(entry.path), "its name is no CID")
    if shard != shard_of(name):
        return Stray(Path(entry.path), f"it belongs in the folder {shard_of(name)!r}")
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        try:
            status = entry.stat()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            return Stray(Path(entry.path), f"the file it links to, {os.readlink(entry.path)!r}: {reason}")
    if not stat.S_ISREG(status.st_mode):
        return Stray(Path(entry.path), "it is no regular file")
    return StoredObject.of(name, status)
