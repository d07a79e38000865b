"""Packs a folder into an uncompressed tar whose bytes depend on names and contents alone, and unpacks it for tasks."""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from stargazer.assets import StorageError
from stargazer.storage import make_folders, write_tar

__all__ = ["pack", "unpacked"]


def pack(folder: Path, archive: Path) -> Path:
    """Write the files of a folder, sorted by name, times and owners zero, to an uncompressed tar."""
    paths = sorted(folder.rglob("*"))
    return write_tar(archive, ((path.relative_to(folder).as_posix(), path) for path in paths))


def unpacked(archive: Path, target: Path, scratch: Path) -> Path:
    """The folder of an archive at `target`, unpacked unless it is there with names, sizes and times unchanged.

    All of it is read-only, for tasks share it. Any number of processes may ask for the same one.

    Args:
        scratch: a private folder on the same filesystem, to unpack in.

    Raises:
        StorageError: it is no tar of a folder, or there is no room for it.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            members = tar.getmembers()
            if not _holds(target, members):
                make_folders(target.parent)
                fresh = Path(tempfile.mkdtemp(prefix=".unpacked-", dir=scratch))
                for member in members:
                    _extract(tar, member, fresh)
                for path in fresh.rglob("*"):
                    path.chmod(0o555 if path.is_dir() else 0o444)
                fresh.chmod(0o755)  # before it has its name: another user of the store may look at once
                while not _holds(target, members):
                    try:
                        fresh.rename(target)
                        target.chmod(0o555)  # only now: a read-only folder cannot move
                    except OSError:
                        if not target.is_dir():
                            raise
                        if _holds(target, members):  # another user of the store was first
                            break
                        with contextlib.suppress(FileNotFoundError):
                            target.chmod(0o755)
                            target.rename(tempfile.mkdtemp(prefix=".outdated-", dir=scratch))
    except (tarfile.TarError, OSError) as error:
        raise StorageError(f"cannot unpack {target.name} in {str(target.parent)!r}: {error}") from error
    return target


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one file or folder of an archive; extractall's own filter came only with Python 3.11.4.

    Raises:
        TarError: it is neither, or would lie outside of the folder.
    """
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"it holds {member.name!r}, which is no file or folder within it")
    path = folder / name
    (path if member.isdir() else path.parent).mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is not None:
        with source, open(path, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        os.utime(path, (member.mtime, member.mtime))


def _holds(folder: Path, members: list[tarfile.TarInfo]) -> bool:
    """Whether a folder still has these members, by their sizes and times."""
    with contextlib.suppress(OSError):
        found = [(folder / member.name).lstat() for member in members]
        return folder.is_dir() and all(
            (status.st_size, int(status.st_mtime)) == (member.size, int(member.mtime))
            for member, status in zip(members, found, strict=True)
            if member.isfile()
        )
    return False
