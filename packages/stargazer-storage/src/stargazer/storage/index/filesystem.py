"""Where an index may lie: SQLite's write-ahead log needs memory shared between processes, so a local filesystem."""

from __future__ import annotations

import os

__all__ = ["network_filesystem"]

_MOUNTS = "/proc/self/mounts"
_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.beegfs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs",
    "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "panfs", "pvfs2", "smb3", "smbfs",
}  # fmt: skip


def network_filesystem(path: str | os.PathLike[str]) -> str | None:
    """The type of the network filesystem that holds `path` ('nfs4', 'lustre', ...), or None if it is a local one.

    Told from the mount table of Linux; elsewhere every filesystem counts as local.
    """
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
            lines = [line.split(" ") for line in mounts]
    except OSError:
        return None
    target = os.path.realpath(path)
    kind, longest = "", -1
    for _, mount, mounted_type, *_ in lines:
        point = mount.encode("utf-8", "surrogateescape").decode("unicode_escape").rstrip("/")
        if (target == point or target.startswith(point + "/")) and len(point) >= longest:
            kind, longest = mounted_type, len(point)
    return kind if kind in _NETWORK else None
