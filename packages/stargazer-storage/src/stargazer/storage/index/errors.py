"""What can be wrong with an index, in the user's words."""

from __future__ import annotations

import os
import re
import sqlite3

from stargazer.assets import StorageError

__all__ = ["BadDocument", "IndexDamaged", "error_kind", "explain"]

_REASONS = {
    "SQLITE_FULL": "the disk is full: free some space and try again; nothing was changed",
    "SQLITE_READONLY": "it cannot be written: check the permissions of the file and its folder, and the mount",
    "SQLITE_CANTOPEN": "it cannot be opened or made: check that its folder exists and can be written",
    "SQLITE_PERM": "no permission: check the permissions of the file and its folder",
    "SQLITE_IOERR": "the disk or filesystem reports an error: check it (dmesg, df) and try again",
    "SQLITE_BUSY": "another program holds it: end that program or try again later",
    "SQLITE_PROTOCOL": "another program holds it: end that program or try again later",
    "SQLITE_LOCKED": "another program holds it: end that program or try again later",
}
_DAMAGE = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"}
_UNREADABLE = re.compile(
    r"Could not decode to UTF-8|unsupported file format"
    r"|no such (table|column): (main\.)?(tables|docs|terms|schemas)\b"
)


class IndexDamaged(StorageError):
    """The file of an index is not what was written; `stargazer fsck` makes a new one from the objects."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(
            f"The index {path!r} is damaged ({what}): run `stargazer fsck`, which rebuilds it from the objects."
        )


class BadDocument(ValueError):
    """A row whose text is no document."""


def explain(path: str, error: sqlite3.Error | BadDocument) -> StorageError:
    """An error of SQLite, or of what was read, in the user's words."""
    kind = error_kind(error)
    if isinstance(error, BadDocument) or kind in _DAMAGE or _UNREADABLE.search(str(error)):
        return IndexDamaged(path, str(error))
    if getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY" and _is_writable(path):
        return IndexDamaged(path, "its header says that it is for reading only")
    if kind == "SQLITE_CANTOPEN" and os.path.isdir(path):
        return IndexDamaged(path, "it is a folder")
    if kind == "SQLITE_CANTOPEN" and os.path.islink(path) and not os.path.exists(path):
        return IndexDamaged(path, "it is a link that leads nowhere")
    if kind == "SQLITE_CANTOPEN" and os.path.exists(path) and not os.access(path, os.R_OK):
        kind = "SQLITE_PERM"
    if kind == "SQLITE_IOERR" and _is_full(path):  # even reading needs a little room, for the files beside it
        kind = "SQLITE_FULL"
    reason = _REASONS.get(kind, "SQLite refused what was asked")
    return StorageError(f"The index {path!r} failed ({error}): {reason}.")


def _is_writable(path: str) -> bool:
    return all(os.access(name, os.W_OK) for name in (path, os.path.dirname(path)))


def _is_full(path: str) -> bool:
    """Whether the disk of an index has no room for the memory that processes share, of 32 KiB."""
    try:
        status = os.statvfs(os.path.dirname(path))
    except OSError:
        return False
    return status.f_blocks > 0 and status.f_bavail * status.f_frsize < 1 << 16


def error_kind(error: BaseException) -> str:
    """SQLite's primary name for an error: SQLITE_IOERR for SQLITE_IOERR_WRITE and the like."""
    name = getattr(error, "sqlite_errorname", None) or ""
    return "_".join(name.split("_")[:2])
