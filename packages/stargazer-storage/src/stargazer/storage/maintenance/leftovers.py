"""Removes what killed processes left in a store: temporary files, workspaces and views that nobody holds any more."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import attrs
from stargazer.storage import locks
from stargazer.storage.cid import is_cid
from stargazer.storage.locks import is_locked, try_lock
from stargazer.storage.store import Store

__all__ = ["GRACE", "SweepReport", "age", "cids_in_use", "entries", "remove_tree", "size_of", "statuses",
           "sweep"]  # fmt: skip

DAY = 86_400.0  # seconds
GRACE = 14 * DAY
"""Seconds for which what nobody refers to stays, and a download that was cut can be continued."""

_SETTLED = 3_600.0  # seconds: what was touched more recently may be somebody's whom we cannot see
_OWNED = re.compile(r"(\d+)-[0-9a-f]+")


@attrs.define
class SweepReport:
    """What was removed, or would be.

    Attributes:
        removed: paths within the store.
        freed: their bytes.
    """

    removed: list[str] = attrs.field(factory=list)
    freed: int = 0


def sweep(store: Store, *, grace: float = GRACE, dry_run: bool = False, alone: bool = False) -> SweepReport:
    """Remove the temporary files, workspaces and dangling views of processes that are gone.

    Args:
        grace: seconds for which a download that was cut stays, to be continued.
        dry_run: remove nothing and report the same.
        alone: the caller holds the store alone.

    Raises:
        StorageError: the store cannot be locked.
    """
    root, report = store.root, SweepReport()
    if not root.is_dir():
        return report
    with contextlib.nullcontext(True) if alone else locks.alone(root, wait=False) as nobody_else:
        notes = (root / "evictions").glob(".*") if nobody_else else ()  # that were being written
        others = chain(_temporaries(root, grace, nobody_else), _dangling_views(root), notes)
        for path, lock in chain(_free_workspaces(root), ((path, None) for path in others)):
            size = size_of(path)
            if dry_run or (_clear(path, lock) if lock else remove_tree(path)):
                report.removed.append(str(path.relative_to(root)))
                report.freed += size
    for views in [] if dry_run else root.glob("views-*"):
        for folder in entries(views):
            if age(folder) > _SETTLED:  # a recent one may be about to be filled
                with contextlib.suppress(OSError):  # not empty
                    folder.rmdir()
    return report


def _temporaries(root: Path, grace: float, alone: bool) -> Iterator[Path]:
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
        elif idle > DAY or (owner and not _is_running(int(owner[1])) and (alone or idle > _SETTLED)):
            yield path


def _free_workspaces(root: Path) -> Iterator[tuple[Path, Path | None]]:
    """Folders in `work` that no process holds, each with its lock, to be held meanwhile; without one after a day."""
    found = entries(root / "work")
    locks = {path.with_suffix(""): path for path in found if path.suffix == ".lock"}
    yield from ((folder, lock) for folder, lock in locks.items() if not is_locked(lock))
    others = [path for path in found if path.suffix != ".lock" and path not in locks]
    yield from ((path, None) for path in others if age(path) > DAY)


def _dangling_views(root: Path) -> Iterator[Path]:
    """Links below somebody's views whose object is gone, and what a killed process left of replacing one."""
    for folder, _, names in (entry for views in root.glob("views-*") for entry in os.walk(views)):
        for name in names:
            path = Path(folder, name)
            half_done = re.fullmatch(r"\..+\.[0-9a-f]{32}", name) and age(path) > _SETTLED
            if path.is_symlink() and (half_done or not path.exists()):
                yield path


def _clear(folder: Path, lock: Path) -> bool:
    """Remove a workspace and then its lock, unless somebody holds it now; whether both are gone."""
    with contextlib.suppress(OSError), open(lock, "rb") as held:
        if try_lock(held.fileno()) and remove_tree(folder):
            lock.unlink(missing_ok=True)
            return True
    return False


def cids_in_use(root: Path) -> set[str]:
    """The CIDs whose objects or unpacked folders the workspaces of running tasks link to."""
    used: set[str] = set()
    for lock in filter(is_locked, (root / "work").glob("*.lock")):
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


def statuses(path: Path) -> Iterator[os.stat_result]:
    """The status of an entry and of everything below it; what vanishes is left out."""
    below = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    for entry in chain([path], below):
        with contextlib.suppress(OSError):
            yield entry.lstat()


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files below a folder."""
    return sum(found.st_size for found in statuses(path) if not stat.S_ISDIR(found.st_mode))


def remove_tree(path: Path) -> bool:
    """Remove a file, link or folder, read-only parts included; whether it is gone."""
    with contextlib.suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        for folder, folders, _ in os.walk(path):
            for inner in [folder, *(os.path.join(folder, name) for name in folders)]:
                with contextlib.suppress(OSError):
                    if not os.path.islink(inner):
                        os.chmod(inner, 0o700)
        shutil.rmtree(path, ignore_errors=True)
    return not os.path.lexists(path)


def _is_running(pid: int) -> bool:
    """Whether a process is there, dead ones that nobody has waited for aside."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's, or a system without /proc
        return True
