"""A stored file and its companions laid side by side in a folder, as links under the names that tools expect."""

from __future__ import annotations

import uuid
from pathlib import Path

from stargazer.assets.errors import StorageError

__all__ = ["beside", "lay_link"]


def beside(primary: Path, suffix: str) -> Path:
    """Where tools look for a companion: `x.bam.bai` for `x.bam`; `x.dict` for `x.fa` (suffix `^.dict`)."""
    if not suffix.startswith("^"):
        return primary.with_name(primary.name + suffix)
    stem = Path(primary.name.removesuffix(".gz")).stem
    return primary.with_name(stem + suffix[1:])


def lay_link(path: Path, file: Path | None, *, replace: bool) -> None:
    """A symbolic link at `path` to a file of the store; another file there stays, unless `replace`.

    Raises:
        StorageError: another file is there, or the link cannot be made.
    """
    if file is None:
        raise StorageError(f"the store gave no file for {path.name!r}")
    target = file.absolute()
    try:
        path.symlink_to(target)
    except FileExistsError:
        if path.resolve() == target.resolve():
            return
        if not replace and path.exists():
            raise StorageError(f"{str(path)!r} is another file: fetch into a folder of its own") from None
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        temporary.symlink_to(target)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot lay out {path.name!r} in {str(path.parent)!r}: {error.strerror}"
        ) from error
