"""The object store: read-only files named by their CID, durable before they are acknowledged."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from stargazer.assets import IntegrityError, StorageError

from .cid import compute_cid_like
from .ingest import copy_and_hash, hash_in_place, locked_folder, sync_paths
from .placing import explained, hash_original, move_file, place_link, refusal
from .sharing import make_folder
from .stored import StoredObject, Stray, place_of, scan_objects

__all__ = ["ObjectStore", "StoredObject", "Stray"]

_READ_ONLY = 0o444


class ObjectStore:
    """Files by CID below one folder: `objects/<shard>/<cid>`, all read-only.

    `tmp` and `work` lie beside `objects`, on the same filesystem if they can: a finished file is renamed in and never
    seen half-written. What add(), keep() and their like return is on disk, whatever happens next. Any number of
    processes and threads may use the same store; the same content arriving twice is kept once, the first one.

        >>> store = ObjectStore(tmp_path / "store")
        >>> store.add(tmp_path / "reads.fastq.gz").cid
        'bafkrei...'
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.abspath(root))
        self._objects = self.root / "objects"

    @property
    def work(self) -> Path:
        """The folder for private workspaces, made when it is missing."""
        return self._folder("work")

    # finding

    def path(self, cid: str) -> Path:
        """Where the object with this CID is, or would be.

        Raises:
            StorageError: if `cid` is not a CID.
        """
        return Path(place_of(self._objects, cid))

    def stat(self, cid: str) -> StoredObject | None:
        """The object with this CID as its file is now, or None if there is none, or its original is gone."""
        path = place_of(self._objects, cid)
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refusal(self.root, error, f"cannot look up {cid}") from error
        return StoredObject.of(cid, status) if stat.S_ISREG(status.st_mode) else None

    def is_link(self, cid: str) -> bool:
        """Whether the object is a link to a user's file, which may be gone."""
        return self.original(cid) is not None

    def original(self, cid: str) -> Path | None:
        """The user's file that an object links to, there or gone; None for bytes of our own or no object."""
        path = self.path(cid)
        try:
            return Path(os.readlink(path))
        except OSError:
            return None

    def scan(self) -> Iterator[StoredObject | Stray]:
        """Everything below `objects`, by its status alone, in no particular order.

        Raises:
            StorageError: if a folder cannot be read.
        """
        with self._explained("cannot list its objects"):
            yield from scan_objects(self._objects)

    # taking in

    def add(self, source: str | os.PathLike[str]) -> StoredObject:
        """Copy a file into the store, hashing the bytes that are kept.

        Raises:
            StorageError: if the source is missing, not a file, or changes while it is read; or if the store cannot
                be written. Nothing is left behind.
        """
        return self.add_many([source])[0]

    def add_many(self, sources: Iterable[str | os.PathLike[str]]) -> list[StoredObject]:
        """Copy files into the store, made durable together: many small ones cost little more than their copies.

        The answer is in the order of the sources. If one of them cannot be read, none is added.
        """
        arrived: list[tuple[str, Path]] = []
        try:
            for source in sources:
                temporary = self.new_temporary()
                arrived.append(("", temporary))
                with self._explained(f"cannot add {os.fspath(source)!r}"):
                    arrived[-1] = copy_and_hash(source, temporary), temporary
            return self._keep(arrived)
        finally:
            for _, temporary in arrived:
                with contextlib.suppress(OSError):
                    temporary.unlink()

    def adopt(self, source: str | os.PathLike[str]) -> StoredObject:
        """Take a finished file of our own (in `work` or `tmp`) into the store without copying it.

        The file becomes read-only and moves: `source` is gone afterwards.

        Raises:
            StorageError: if the source is missing, a symbolic link or no regular file, or changes meanwhile.
        """
        with self._explained(f"cannot take {os.fspath(source)!r} in"):
            cid = hash_in_place(Path(source))
        return self.keep(source, cid)

    def keep(self, path: str | os.PathLike[str], cid: str) -> StoredObject:
        """Take a file of our own (in `work` or `tmp`) whose bytes were just found to be those of `cid`.

        They are not hashed again. The file becomes read-only and moves: `path` is gone afterwards, unless it is the
        object itself. An object of the
        same size that is there already stays, so a damaged one is to be removed or put into quarantine before.

        Raises:
            StorageError: if the file is missing, a symbolic link or no regular file; or if the store cannot be
                written.
        """
        path = Path(path)
        with self._explained(f"cannot take {os.fspath(path)!r} in"):
            if not stat.S_ISREG(path.lstat().st_mode):
                raise StorageError(
                    f"{os.fspath(path)!r} is not a regular file: only finished files are kept."
                )
            with contextlib.suppress(PermissionError):  # begun by another user of this store
                path.chmod(_READ_ONLY)
            (kept,) = self._keep([(cid, path)])
            if path != self.path(cid):
                path.unlink(missing_ok=True)
        return kept

    def link(self, source: str | os.PathLike[str]) -> StoredObject:
        """Make an object of a user's file where it is: hashed, but neither copied, moved nor changed.

        The object is a symbolic link to the file's real path. Bytes of our own that are here already stay.

        Raises:
            StorageError: if the source is missing, not a file, changes while it is read or lies in the store; or if
                the store cannot be written.
        """
        original = Path(os.path.realpath(source))
        if original.is_relative_to(os.path.realpath(self.root)):
            raise StorageError(f"{os.fspath(source)!r} lies in the store itself: give a file of your own.")
        with self._explained(f"cannot link to {os.fspath(source)!r}"):
            cid = hash_original(original)
            if self._own(cid) is None or compute_cid_like(self.path(cid), cid) != cid:
                shard = self._shard(cid)
                with locked_folder(shard):
                    place_link(original, self.path(cid))
                sync_paths([shard, self._objects])
            return StoredObject.of(cid, self.path(cid).stat())

    # taking out

    def remove(self, cid: str) -> None:
        """Drop the bytes of this CID; it is no error if they are gone already. Of a link, the user's file stays."""
        path = self.path(cid)
        with self._explained(f"cannot remove {cid}"):
            path.unlink(missing_ok=True)

    def quarantine(self, cid: str) -> Path:
        """Move damaged bytes out of the way, to `quarantine/<cid>-<n>`, and say where they are.

        Of a link only the link goes; the answer is the user's file, which stays as it is.

        Raises:
            StorageError: if there is no such object, or it cannot be moved.
        """
        original = self.original(cid)
        if original is not None:
            self.remove(cid)
            return original
        folder = self._folder("quarantine")
        with self._explained(f"cannot move {cid} into quarantine"), locked_folder(folder):
            taken = {path.name for path in folder.iterdir()}
            number = next(n for n in range(1, len(taken) + 2) if f"{cid}-{n}" not in taken)
            target = folder / f"{cid}-{number}"
            move_file(self.path(cid), target)
            sync_paths([folder, self.path(cid).parent])
        self.remove(cid)
        return target

    def verify(self, cid: str) -> StoredObject:
        """Read the object in full and compare it with its CID.

        Raises:
            IntegrityError: if the bytes are not those the CID names.
            StorageError: if there is no such object or it cannot be read.
        """
        stored, original = self.stat(cid), self.original(cid)
        if stored is None:
            gone = f": the file it was linked to, {os.fspath(original)!r}, is gone" if original else ""
            raise StorageError(f"{cid} is not in the store {os.fspath(self.root)!r}{gone}.")
        with self._explained(f"cannot verify {cid}"):
            found = compute_cid_like(self.path(cid), cid)
        if found == cid:
            return stored
        if original is not None:
            raise IntegrityError(
                f"The file {os.fspath(original)!r} was added in place as {cid} and has changed since: its bytes hash "
                f"to {found}. Restore it, or add it again as what it is now."
            )
        raise IntegrityError(
            f"The bytes of {cid} in the store {os.fspath(self.root)!r} are damaged: they hash to {found}. "
            "`stargazer fsck` fetches them again from where they are, or moves them out of the way."
        )

    def new_temporary(self) -> Path:
        """A path in `tmp` that nobody else uses; nothing is there yet."""
        return self._folder("tmp") / f"{os.getpid()}-{secrets.token_hex(8)}"

    # how

    def _keep(self, arrived: Sequence[tuple[str, Path]]) -> list[StoredObject]:
        """Sync finished files, rename each to its CID, sync the folders: in that order power may fail anywhere."""
        with self._explained("cannot save the files"):
            new = {path: None for cid, path in arrived if self._present(cid, path) is None}
            sync_paths(list(new))
            shards = {cid: self._shard(cid) for cid, _ in arrived}
            kept = [self._rename(path, cid, synced=path in new) for cid, path in arrived]
            sync_paths([*sorted(set(shards.values())), self._folder("objects")])
        return kept

    def _own(self, cid: str) -> StoredObject | None:
        """The object, if its bytes are our own."""
        return None if self.is_link(cid) else self.stat(cid)

    def _present(self, cid: str, path: Path) -> StoredObject | None:
        """The object that a finished file would duplicate; bytes of our own are better than a link."""
        present = self._own(cid)
        return present if present is not None and present.size == path.stat().st_size else None

    def _rename(self, source: Path, cid: str, synced: bool) -> StoredObject:
        target = self.path(cid)
        with locked_folder(target.parent):
            present = self._present(cid, source)
            if present is not None:
                return present  # the first copy stays: others may have recorded its figures
            if not synced:  # it was there a moment ago, and somebody removed it
                sync_paths([source])
            move_file(source, target)
            return StoredObject.of(cid, target.lstat())

    def _shard(self, cid: str) -> Path:
        """The folder of this object, made when it is missing."""
        folder = self.path(cid).parent
        if not folder.is_dir():
            make_folder(folder, self._folder("objects").parent)
        return folder

    def _folder(self, name: str) -> Path:
        """One of the store's folders, made when it is missing."""
        folder = self.root / name
        if not folder.is_dir():
            with self._explained(f"cannot make its folder {name!r}"):
                missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
                self.root.mkdir(parents=True, exist_ok=True)
                make_folder(folder, self.root)
                sync_paths([self.root, *(path.parent for path in missing)])
        return folder

    def _explained(self, what: str) -> AbstractContextManager[None]:
        return explained(self.root, what)
