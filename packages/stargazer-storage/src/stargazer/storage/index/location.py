"""Where the index of a store lies: in the store, unless that is on a network filesystem or another place is set.

SQLite's write-ahead log needs memory that processes share, which network filesystems do not have.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

from stargazer.assets import StorageError

__all__ = ["index_path", "network_filesystem"]

_NAME = "index.sqlite"
_MOUNTS = "/proc/self/mounts"
_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.beegfs", "fuse.ceph", "fuse.cephfs", "fuse.gcsfuse", "fuse.glusterfs",
    "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
}  # fmt: skip
_ESCAPE = re.compile(rb"\\([0-7]{3})")
_told: set[Path] = set()


def index_path(root: Path, configured: Path | None = None) -> Path:
    """The file of a store's index. Nothing is made.

    On a network filesystem SQLite cannot share a file, so the index of a store there lies on a disk of this machine:
    in STARGAZER_HOME, the user's cache or /var/tmp, whichever is local first. That is said once, as a warning. An
    index outside of its store is named after the store's real path, so that several may lie in one folder.

    Args:
        root: the store's folder.
        configured: the folder set by STARGAZER_INDEX; it wins.

    Raises:
        StorageError: the store is on a network filesystem and no disk of this machine is writable.
    """
    if configured is not None:
        return Path(os.path.abspath(configured)) / _name(root)
    kind = network_filesystem(root)
    if kind is None:
        return Path(os.path.abspath(root)) / _NAME
    for folder in _local_folders():
        if network_filesystem(folder) is None and _is_ours(folder):
            path = folder / _name(root)
            if path not in _told:
                _told.add(path)
                warnings.warn(
                    f"The store {os.fspath(root)!r} is on a network filesystem ({kind}), where SQLite cannot share "
                    f"an index: this machine's index of it is {os.fspath(path)!r}. Set STARGAZER_INDEX to a folder "
                    "on a local disk to choose another.",
                    stacklevel=2,
                )
            return path
    raise StorageError(
        f"The store {os.fspath(root)!r} is on a network filesystem ({kind}), where SQLite cannot share an index, and "
        "no local disk was found for it: set STARGAZER_INDEX to a folder on a local disk."
    )


def network_filesystem(path: str | os.PathLike[str]) -> str | None:
    """The type of the network filesystem that holds `path` ('nfs4', 'lustre', ...), or None if it is a local one.

    Told from the mount table of Linux; elsewhere every filesystem counts as local. The path need not exist.
    """
    try:
        with open(_MOUNTS, "rb") as mounts:
            lines = [line.split(b" ") for line in mounts]
    except OSError:
        return None
    target = os.fsencode(os.path.realpath(path))
    kind, longest = "", -1
    for _, mount, mounted_type, *_ in lines:
        point = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 8) & 0xFF]), mount).rstrip(b"/")
        if (target == point or target.startswith(point + b"/")) and len(point) >= longest:
            kind, longest = os.fsdecode(mounted_type), len(point)  # of two on one point, the later is on top
    return kind if kind in _NETWORK else None


def _name(root: Path) -> str:
    """A name for the index of this store among those of others."""
    real = os.fsencode(os.path.realpath(root))
    return f"index-{hashlib.sha256(real).hexdigest()[:16]}.sqlite"


def _local_folders() -> Iterator[Path]:
    places = {"STARGAZER_HOME": "", "XDG_CACHE_HOME": "stargazer", "HOME": ".cache/stargazer"}
    for variable, rest in places.items():
        if value := os.environ.get(variable):
            yield Path(os.path.abspath(os.path.expanduser(value))) / rest
    yield Path(f"/var/tmp/stargazer-{os.getuid()}")


def _is_ours(folder: Path) -> bool:
    """Whether a file can be made in a folder, there or to be made, that nobody but us has prepared."""
    if folder.parent == Path("/var/tmp") and os.path.lexists(folder):  # where anybody may make any name
        status = folder.lstat()
        if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
            return False
    while not os.path.lexists(folder):
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
