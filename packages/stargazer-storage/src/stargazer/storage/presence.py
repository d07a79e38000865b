"""Whether a path is there: where that cannot be told, it is not taken for missing."""

from __future__ import annotations

import os

__all__ = ["is_there"]


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether something is at a path, or a link that leads nowhere.

    Raises:
        OSError: it cannot be told: no permission, an error of the disk, a path that is too long.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
