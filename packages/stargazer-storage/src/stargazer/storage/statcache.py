"""The stat cache: a file whose size, times and inode are those of an earlier addition is not hashed again."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from stargazer.storage.index.records import Index

__all__ = ["Signature", "known_cids", "remember", "signature"]

_AT_ONCE = 500  # paths of one look-up
SETTLED = 2_000_000_000  # ns: a file changed more recently may change again without its times telling

Signature: TypeAlias = tuple[int, int, int, int]


def signature(path: Path) -> Signature | None:
    """What changes when a file does; None for one that changed so recently that it may change again unseen."""
    return _settled(path.stat(), time.time_ns())


def known_cids(index: Index, paths: Sequence[Path]) -> list[str | None]:
    """The CID of each file that has not changed since it was remembered; None for any other, also a missing one."""
    states = list(_states(paths))
    keys = [key for key, signature in states if signature]
    known: dict[tuple[bytes, Signature | None], str] = {}
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        sql = f"SELECT * FROM sources WHERE path IN ({','.join('?' * len(some))})"
        known.update(((row[0], row[1:5]), row[5]) for row in index.rows(sql, *some))
    return [known.get(state) for state in states]


def remember(connection: sqlite3.Connection, path: Path, before: Signature | None, cid: str) -> None:
    """Remember a file's CID, if its signature before it was read still holds."""
    if before and before == signature(path):
        connection.execute(
            "INSERT OR REPLACE INTO sources VALUES(?, ?, ?, ?, ?, ?)", (_key(path), *before, cid)
        )


def _states(paths: Sequence[Path]) -> Iterator[tuple[bytes, Signature | None]]:
    """The key and the signature of each file; a folder's real path is found once for all that are in it."""
    folders: dict[str, str] = {}
    now = time.time_ns()  # before the first look: what changes meanwhile changed more recently
    for path in map(os.fspath, paths):
        folder, name = os.path.split(path)
        try:
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                if folder not in folders:
                    folders[folder] = os.path.realpath(folder)
                key = os.fsencode(os.path.join(folders[folder], name))
            else:
                status, key = os.stat(path), _key(path)
        except (OSError, ValueError):
            yield b"", None
            continue
        yield key, _settled(status, now)


def _settled(found: os.stat_result, now: int) -> Signature | None:
    if now - max(found.st_mtime_ns, found.st_ctime_ns) < SETTLED:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _key(path: Path | str) -> bytes:
    return os.fsencode(os.path.realpath(path))
