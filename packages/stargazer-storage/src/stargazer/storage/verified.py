"""Objects whose bytes were compared with their CIDs: as the index remembers, or by hashing them now.

While the size, times and inode of a file stay what they were when it was hashed, its bytes are those of its CID.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.index.records import Index
from stargazer.storage.objects import Objects, StoredObject

__all__ = ["Verified", "remember"]


def remember(connection: sqlite3.Connection, objects: Iterable[StoredObject]) -> None:
    """Note objects that were hashed just now, within a transaction."""
    connection.executemany("INSERT OR REPLACE INTO objects VALUES(?, ?, ?, ?, ?)", map(_row, objects))


@attrs.frozen
class Verified:
    """The objects of a store, each hashed when it is needed and not known to be right."""

    objects: Objects
    index: Index

    def state(self, cid: str) -> StoredObject | None:
        """An object as it was when it was hashed; None if whatever brought it did not come to its end."""
        rows = self.index.rows("SELECT * FROM objects WHERE cid = ?", cid)
        return StoredObject(*rows[0]) if rows else None

    def are_known(self, stored: Sequence[StoredObject]) -> bool:
        """Whether every one of these objects is as it was when it was hashed."""
        sql = "SELECT * FROM objects WHERE cid IN (SELECT value FROM json_each(?))"
        return set(map(_row, stored)) == set(
            self.index.rows(sql, json.dumps([found.cid for found in stored]))
        )

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
        if self.state(found.cid) != found:
            self.remember(self.objects.verify(found.cid))
        return self.objects.path(found.cid)

    def sound(self, cid: str) -> StoredObject | None:
        """An object as it is now; None if it is missing, or was damaged and is removed."""
        found = self.objects.stat(cid)
        if found is None or self.state(cid) in (None, found):
            return found
        try:
            return self.objects.verify(cid)
        except IntegrityError:
            self.objects.remove(cid)
            return None

    def link(self, path: Path, cid: str | None) -> StoredObject:
        """The object that is a link to a user's file, hashed unless it is known and unchanged.

        Args:
            cid: of the file, if it was added before and has not changed since.
        """
        found = self.objects.stat(cid) if cid and self.objects.original(cid) == path.resolve() else None
        return found if found is not None and self.state(found.cid) == found else self.objects.link(path)

    def copy(self, cids: Mapping[Path, str | None]) -> dict[Path, StoredObject]:
        """The objects of users' files, copied unless they are known and unchanged; what is there is verified.

        Args:
            cids: of the files; None of one that was not added before, or has changed since.
        """
        own = {path: cid for path, cid in cids.items() if cid and not self.objects.is_link(cid)}
        known = {path: found for path, cid in own.items() if (found := self.sound(cid))}
        fresh = [path for path in cids if path not in known]
        known.update(zip(fresh, self.objects.add_many(fresh), strict=True))
        for path in fresh:
            if not known[path].is_new and not self.sound(known[path].cid):
                known[path] = self.objects.add(path)
        return known


def _row(stored: StoredObject) -> tuple[str, int, int, int, int]:
    return stored.cid, stored.size, stored.mtime_ns, stored.ctime_ns, stored.inode
