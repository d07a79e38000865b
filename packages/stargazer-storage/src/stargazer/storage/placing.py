"""Putting a finished file or a link at its name at once, and what the system's refusals mean to the user."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.storage.files import copy_and_hash, sync_paths

from .cid import compute_cid
from .stored import StoredObject

__all__ = ["explained", "hash_original", "move_file", "place_link", "refusal"]

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space, or move the store to a larger disk (STARGAZER_LOCAL)",
    errno.EDQUOT: "your disk quota is used up: free some space, or move the store elsewhere (STARGAZER_LOCAL)",
    errno.EROFS: "the filesystem is read-only: mount it writable, or use another store (STARGAZER_LOCAL)",
    errno.EACCES: "no permission: ask the store's owner, or use another store (STARGAZER_LOCAL)",
    errno.EPERM: "no permission: ask the store's owner, or use another store (STARGAZER_LOCAL)",
    errno.EISDIR: "a folder is in the place of an object: `stargazer fsck` moves it away",
    errno.ENOTDIR: "a file is in the place of a folder: `stargazer fsck` moves it away",
}
_TICK, _COARSE_TICK = 20_000_000, 2_000_000_000  # ns; the coarse ones are whole seconds
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}


def refusal(root: Path, error: OSError, what: str) -> StorageError:
    """What the system refused a store, in the user's words."""
    reason = _REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())
    return StorageError(f"The store {os.fspath(root)!r} {what}: {reason}.")


@contextlib.contextmanager
def explained(root: Path, what: str) -> Iterator[None]:
    """Turn an error of the system into a StorageError that says what a store cannot do."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise refusal(root, error, what) from error


def move_file(source: Path, target: Path) -> None:
    """Rename a read-only file, or copy it durably where it lies on another filesystem or behind another mount.

    Raises:
        OSError: it cannot be moved; the target is as it was.
    """
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        new = _beside(target)
        try:
            if copy_and_hash(source, new) != compute_cid(source):
                raise OSError(errno.EIO, "the copy differs from what was copied") from error
            sync_paths([new])
            new.replace(target)
            source.unlink()
        finally:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)


def place_link(original: Path, target: Path) -> None:
    """Make `target` a symbolic link, in place of what was there.

    Raises:
        StorageError: the filesystem has no symbolic links.
        OSError: it cannot be made; the target is as it was.
    """
    new = _beside(target)
    try:
        new.symlink_to(original)
        new.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        if error.errno in _NO_LINKS and os.access(target.parent, os.W_OK):
            raise StorageError(
                f"{os.fspath(target.parent)!r} is on a filesystem without symbolic links: add the file as a copy, "
                "without --in-place."
            ) from error
        raise


def hash_original(path: Path) -> str:
    """The CID of a user's file, which is left as it is; any later change of it will show in its times.

    Raises:
        StorageError: it is no regular file, or changes while it is read.
        OSError: it cannot be read.
    """
    before = path.stat()
    changed = max(before.st_mtime_ns, before.st_ctime_ns)
    tick = _COARSE_TICK if changed % 1_000_000_000 == 0 else _TICK
    if 0 <= time.time_ns() - changed < tick:  # a change within one tick of its clock would not
        time.sleep(tick / 1e9)
    cid = compute_cid(path)
    if StoredObject.of(cid, before) != StoredObject.of(cid, path.stat()):
        raise StorageError(
            f"{os.fspath(path)!r} changed while it was read: try again when its writer is done."
        )
    return cid


def _beside(target: Path) -> Path:
    return target.parent / f".new-{secrets.token_hex(8)}"
