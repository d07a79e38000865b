"""Folders that are one asset: which they are, and how they become one file that does not depend on where they lay."""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
from stargazer.assets import FormatError
from stargazer.storage.additions import Addition, status_of
from stargazer.storage.filenames import FOLDERS, folder_parts, guess_folder
from stargazer.storage.locks import private_folder
from stargazer.storage.refusals import explained
from stargazer.storage.store import Store

__all__ = ["folder_type", "packed", "write_tar"]

MATRIX_FOLDERS = (
    "filtered_feature_bc_matrix",
    "outs/filtered_feature_bc_matrix",
    "count/sample_filtered_feature_bc_matrix",
)
"""Where the runs of Cell Ranger have the matrix of what it takes for cells."""


def folder_type(path: Path) -> str:
    """The asset type of a folder.

    Raises:
        FormatError: it is none; the message names the folder in it that is one, as in `outs` of Cell Ranger.
    """
    if key := guess_folder(_names(path)):
        return key
    for below in MATRIX_FOLDERS:
        if (path / below).is_dir() and (key := guess_folder(_names(path / below))):
            raise FormatError(
                f"{str(path)!r} is a folder with a {key} in it: give {str(path / below)!r}, or the files that you want"
            )
    raise FormatError(f"{str(path)!r} is a folder: give the files in it")


@contextlib.contextmanager
def packed(items: list[Addition], store: Store) -> Iterator[list[Addition]]:
    """The same additions with a tar in the place of each folder, for as long as the block lasts.

    Only the files that belong to its type are in it, under their plain names, so that equal contents are equal bytes.

    Raises:
        FormatError: a file is missing, or cannot be read.
        StorageError: there is no room for it.
    """
    parts = {number: _parts(item) for number, item in enumerate(items) if os.path.isdir(item.path)}
    if not parts:
        yield items
        return
    with private_folder(store.objects.work, "packed") as folder:
        made = list(items)
        for number, files in parts.items():
            name = os.path.basename(os.path.abspath(items[number].path))
            (folder / str(number)).mkdir()
            archive = folder / str(number) / f"{name}.tar"  # errors name it
            with explained(f"cannot pack {name!r}"):
                write_tar(archive, sorted(files.items()))
            made[number] = attrs.evolve(made[number], path=archive, origin=name)
        yield made


def write_tar(archive: Path, entries: Iterable[tuple[str, Path]]) -> Path:
    """Write files and folders under these names, in this order, times and owners zero, to an uncompressed tar."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, path in entries:
            info = tarfile.TarInfo(name)
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                info.size = path.stat().st_size
                with open(path, "rb") as file:
                    tar.addfile(info, file)
    return archive


def _parts(item: Addition) -> dict[str, Path]:
    """The files of a folder by the names that they get."""
    folder, key = item.path, item.asset.asset_key
    if key not in FOLDERS:
        raise FormatError(f"{str(folder)!r} is a folder: give the files in it")
    try:
        found = {plain: folder / name for plain, name in folder_parts(key, _names(folder)).items()}
    except FormatError as error:
        raise FormatError(f"{str(folder)!r} is no {key}: {error}") from None
    for path in found.values():
        if not stat.S_ISREG(status_of(path).st_mode) or not os.access(path, os.R_OK):
            raise FormatError(f"{str(path)!r} cannot be read: check that it is a file, and its permissions")
    return found


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise FormatError(f"{str(folder)!r} cannot be listed: {error.strerror}") from None
