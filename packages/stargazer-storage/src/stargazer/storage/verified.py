"""Objects whose bytes were compared with their CIDs: as the index remembers, or by hashing them now.

While the size, times and inode of a file stay what they were when it was hashed, its bytes are those of its CID.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from stargazer.assets import IntegrityError, StorageError
from stargazer.storage import statcache
from stargazer.storage.index.records import Index
from stargazer.storage.objects import Objects, StoredObject

__all__ = ["Verified", "are_verified", "remember", "state"]


def remember(connection: sqlite3.Connection, objects: Iterable[StoredObject]) -> None:
    """Objects as they were when they were hashed."""
    connection.executemany("INSERT OR REPLACE INTO objects VALUES(?, ?, ?, ?, ?)", map(_row, objects))


def state(connection: sqlite3.Connection, cid: str) -> StoredObject | None:
    """An object as it was when it was hashed; None if whatever brought it did not come to its end."""
    found = connection.execute("SELECT * FROM objects WHERE cid = ?", (cid,)).fetchone()
    return StoredObject(*found) if found else None


def are_verified(connection: sqlite3.Connection, stored: Sequence[StoredObject]) -> bool:
    """Whether every one of these objects is as it was when it was hashed."""
    cids = json.dumps([found.cid for found in stored])
    sql = "SELECT * FROM objects WHERE cid IN (SELECT value FROM json_each(?))"
    return set(map(_row, stored)) == set(connection.execute(sql, (cids,)).fetchall())


class Verified:
    """The objects of a store, each hashed when it is needed and not known to be right."""

    def __init__(self, objects: Objects, index: Index):
        self.objects, self.index = objects, index

    def remember(self, found: StoredObject) -> None:
        """Note an object that was hashed just now; one of a store that may only be read is hashed every time."""
        with contextlib.suppress(StorageError), self.index.transaction() as connection:
            remember(connection, [found])

    def path(self, found: StoredObject) -> Path:
        """The read-only file of an object that is here.

        Raises:
            IntegrityError: its bytes are not what the CID says.
            StorageError: it cannot be read.
        """
        with self.index.reading() as connection:
            known = state(connection, found.cid) == found
        if not known:
            self.remember(self.objects.verify(found.cid))
        return self.objects.path(found.cid)

    def sound(self, cid: str) -> StoredObject | None:
        """An object as it is now; None if it is missing, or was damaged and is removed."""
        found = self.objects.stat(cid)
        with self.index.reading() as connection:
            before = state(connection, cid)
        if found is None or before in (None, found):
            return found
        try:
            return self.objects.verify(cid)
        except IntegrityError:
            self.objects.remove(cid)
            return None

    def link(self, path: Path) -> StoredObject:
        """The object that is a link to a user's file, hashed unless it is known and unchanged."""
        with self.index.reading() as connection:
            (cid,) = statcache.known_cids(connection, [path])
            found = self.objects.stat(cid) if cid and self.objects.original(cid) == path.resolve() else None
            if found is not None and state(connection, found.cid) == found:
                return found
        return self.objects.link(path)

    def copy(self, paths: Sequence[Path], *, look_up: bool) -> list[StoredObject]:
        """The objects of users' files, copied unless they are known and unchanged; what is there is verified.

        Args:
            look_up: whether any of them may be known.
        """
        cids: dict[Path, str | None] = dict.fromkeys(paths)
        if look_up:
            with self.index.reading() as connection:
                cids = dict(zip(paths, statcache.known_cids(connection, paths), strict=True))
        own = {path: cid for path, cid in cids.items() if cid and not self.objects.is_link(cid)}
        known = {path: found for path, cid in own.items() if (found := self.sound(cid))}
        fresh = [path for path in cids if path not in known]
        known.update(zip(fresh, self.objects.add_many(fresh), strict=True))
        for path in fresh:
            if not known[path].is_new and not self.sound(known[path].cid):
                (known[path],) = self.objects.add_many([path])
        return [known[path] for path in paths]


def _row(stored: StoredObject) -> tuple[str, int, int, int, int]:
    return stored.cid, stored.size, stored.mtime_ns, stored.ctime_ns, stored.inode
