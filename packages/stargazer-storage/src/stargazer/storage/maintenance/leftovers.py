"""What is in use and what was left behind below a store's `tmp`, `work` and `views`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from stargazer.storage.cid import is_cid
from stargazer.storage.locks import is_locked

__all__ = ["DAY", "age", "cids_in_use", "dangling_views", "entries", "free_workspaces", "remove_tree",
           "size_of", "temporaries"]  # fmt: skip

DAY = 86_400.0  # seconds
SETTLED = 3_600.0  # seconds: what was touched more recently may be somebody's whom we cannot see

_OWNED = re.compile(r"(\d+)-[0-9a-f]+")


def temporaries(root: Path, grace: float, alone: bool) -> Iterator[Path]:
    """Files in `tmp` that nobody will finish.

    A download that was cut (`.part`) may be continued within the grace (seconds). A temporary file belongs to the
    process in its name; processes in other containers cannot be told from dead ones unless we are alone in the store.
    """
    for path in entries(root / "tmp"):
        idle = age(path)
        owner = _OWNED.fullmatch(path.name)
        if ".part" in path.suffixes:
            if (idle > grace or size_of(path) == 0) and not is_locked(path):
                yield path
        elif idle > DAY or (owner and not _is_running(int(owner[1])) and (alone or idle > SETTLED)):
            yield path


def free_workspaces(root: Path) -> Iterator[tuple[Path, Path | None]]:
    """Folders in `work` that no process holds, each with its lock file; those without one after a day."""
    found = entries(root / "work")
    locks = {path.with_suffix(""): path for path in found if path.suffix == ".lock"}
    for folder, lock in locks.items():
        if not is_locked(lock):
            yield folder, lock
    for path in found:
        if path not in locks and path.suffix != ".lock" and age(path) > DAY:
            yield path, None


def dangling_views(root: Path) -> Iterator[Path]:
    """Links below somebody's views whose object is gone, and what a killed process left of replacing one."""
    for folder, _, names in (entry for views in root.glob("views-*") for entry in os.walk(views)):
        for name in names:
            path = Path(folder, name)
            half_done = re.fullmatch(r"\..+\.[0-9a-f]{32}", name) and age(path) > SETTLED
            if path.is_symlink() and (half_done or not path.exists()):
                yield path


def cids_in_use(root: Path) -> set[str]:
    """The CIDs whose objects or unpacked folders the workspaces of running tasks link to."""
    used: set[str] = set()
    for lock in (root / "work").glob("*.lock"):
        if not is_locked(lock):
            continue
        for folder, folders, names in os.walk(lock.with_suffix("")):
            for name in [*folders, *names]:
                with contextlib.suppress(OSError):  # no link, or gone
                    used.update(filter(is_cid, Path(os.readlink(os.path.join(folder, name))).parts))
    return used


def entries(folder: Path) -> list[Path]:
    """What is in a folder, by name; nothing if it is missing."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def age(path: Path) -> float:
    """Seconds since an entry was last changed; negative if that is in the future, infinite if it is gone."""
    try:
        status = path.lstat()
    except OSError:
        return float("inf")
    return time.time() - max(status.st_mtime, status.st_ctime)


def remove_tree(path: Path) -> bool:
    """Remove a file, link or folder, read-only parts included; whether it is gone."""
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return not os.path.lexists(path)
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(path, ignore_errors=True)
    return not os.path.lexists(path)


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files below a folder."""
    total = 0
    with contextlib.suppress(OSError):
        total += 0 if path.is_dir() and not path.is_symlink() else path.lstat().st_size
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _is_running(pid: int) -> bool:
    """Whether a process is there, dead ones that nobody has waited for aside."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True
