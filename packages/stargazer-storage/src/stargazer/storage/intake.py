"""Taking bytes in: files that are added, results of tasks, and bytes that were computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stargazer.assets import Asset, FormatError, IntegrityError, InvalidAssetError
from stargazer.storage import statcache, verified
from stargazer.storage.additions import Addition
from stargazer.storage.deciding import StoreDecider
from stargazer.storage.documents import is_document
from stargazer.storage.files import hash_in_place
from stargazer.storage.objects import StoredObject

__all__ = ["StoreIntake"]


class StoreIntake(StoreDecider):
    """Makes objects of files; what is there already is verified, and a damaged object gives place."""

    def restore(self, files: Mapping[Path, str]) -> None:
        """Take in files of the work folder whose bytes were just found to be those of CIDs: records are as they were.

        Raises:
            StorageError: the store cannot take them.
        """
        with self._arriving() as arrived:
            for path, cid in files.items():
                self._sound(cid)
                arrived.append(self.objects.keep(path, cid))
            with self.index.transaction() as connection:
                verified.remember(connection, arrived)

    def _take_in(self, additions: Sequence[Addition]) -> list[StoredObject]:
        """The objects of files, copied or linked unless they are known and unchanged; what is there is verified."""
        linked = {item.path: self._link(item.path) for item in additions if item.in_place}
        paths = [item.path for item in additions if item.path not in linked]
        with self.index.reading() as connection:
            cids = dict(zip(paths, statcache.known_cids(connection, paths), strict=True))
        own = {path: cid for path, cid in cids.items() if cid and not self.objects.is_link(cid)}
        known = {path: found for path, cid in own.items() if (found := self._sound(cid))}
        fresh = [path for path in cids if path not in known]
        known.update(zip(fresh, self.objects.add_many(fresh), strict=True))
        for path in fresh:
            if not self._sound(known[path].cid):
                (known[path],) = self.objects.add_many([path])
        known |= linked
        return [known[item.path] for item in additions]

    def _refuse_documents(self, additions: Sequence[Addition], stored: Sequence[StoredObject]) -> None:
        """Refuse files that are provenance documents: an index that is made again would take their word."""
        with self.index.reading() as connection:
            known = [verified.is_known(connection, found.cid) for found in stored]
        for item, found, is_known in zip(additions, stored, known, strict=True):
            if not is_known and is_document(self.objects.path(found.cid)):
                raise FormatError(
                    f"{str(item.path)!r} is a provenance document: it belongs to the files that it speaks of, and "
                    "comes with them (`stargazer bundle`, `stargazer pull`)"
                )

    def _link(self, path: Path) -> StoredObject:
        """The object that is a link to a user's file, hashed unless it is known and unchanged."""
        with self.index.reading() as connection:
            (cid,) = statcache.known_cids(connection, [path])
            found = self.objects.stat(cid) if cid and self.objects.original(cid) == path.resolve() else None
            if found is not None and verified.is_verified(connection, found):
                return found
        return self.objects.link(path)

    def _sound(self, cid: str) -> StoredObject | None:
        """The object as it is now; None if it is missing, or was damaged and is removed."""
        found = self.objects.stat(cid)
        with self.index.reading() as connection:
            unsure = (
                found and verified.is_known(connection, cid) and not verified.is_verified(connection, found)
            )
        if not unsure:
            return found
        try:
            return self.objects.verify(cid)
        except IntegrityError:
            self.objects.remove(cid)
            return None

    def _adopt(self, assets: Sequence[Asset], arrived: list[StoredObject]) -> None:
        """Move the files of new assets in, and set their CIDs."""
        taken: dict[Path, str] = {}
        for asset in assets:
            path = Path(asset.path or "")
            if path not in taken:
                if is_document(path):
                    raise InvalidAssetError(f"{path.name!r} is a provenance document: no task makes one")
                cid = hash_in_place(path)
                self._sound(cid)  # removes a damaged one, which this takes the place of
                arrived.append(self.objects.keep(path, cid))
                taken[path] = cid
            asset.cid = taken[path]

    def _size(self, cid: str) -> int:
        found = self.objects.stat(cid)
        return found.size if found else 0
