"""Which filesystem a path is on: SQLite's write-ahead log needs memory shared between processes, so a local one."""

from __future__ import annotations

import os
import re

__all__ = ["network_filesystem"]

_MOUNTS = "/proc/self/mounts"
_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.beegfs", "fuse.ceph", "fuse.cephfs", "fuse.gcsfuse", "fuse.glusterfs",
    "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
}  # fmt: skip
_ESCAPE = re.compile(rb"\\([0-7]{3})")


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
