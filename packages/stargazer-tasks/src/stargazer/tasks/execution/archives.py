"""Folders as one file: an uncompressed tar that depends on nothing but names and contents."""

from __future__ import annotations

import tarfile
from pathlib import Path

__all__ = ["pack"]


def pack(folder: Path, archive: Path) -> Path:
    """Write the files of a folder, sorted by name, times and owners zero, to an uncompressed tar."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            info.mode = 0o755 if path.is_dir() else 0o644
            if path.is_dir():
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = path.stat().st_size
                with open(path, "rb") as file:
                    tar.addfile(info, file)
    return archive
