"""The object store: read-only files named by their CID, durable before they are acknowledged."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen
from stargazer.assets.errors import IntegrityError, StorageError

from .cid import compute_cid, is_cid
from .ingest import copy_and_hash, hash_in_place, locked_folder, sync_paths

__all__ = ["ObjectStore", "StoredObject"]

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space, or move the store to a larger disk (STARGAZER_LOCAL)",
    errno.EDQUOT: "your disk quota is used up: free some space, or move the store elsewhere (STARGAZER_LOCAL)",
    errno.EROFS: "the filesystem is read-only: mount it writable, or use another store (STARGAZER_LOCAL)",
    errno.EACCES: "no permission: ask the store's owner, or use another store (STARGAZER_LOCAL)",
    errno.EPERM: "no permission: ask the store's owner, or use another store (STARGAZER_LOCAL)",
}


@frozen
class StoredObject:
    """One object and the state of its file: while the four figures stay the same, its bytes are those verified."""

    cid: str
    size: int
    """Bytes."""
    mtime_ns: int
    ctime_ns: int
    inode: int


class ObjectStore:
    """Files by CID below one folder: `objects/<shard>/<cid>`, all read-only.

    `tmp` and `work` lie beside `objects` on the same filesystem, so a finished file is renamed in and never seen
    half-written. What add(), add_many() and adopt() return is on disk, whatever happens next. Any number of
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

    def path(self, cid: str) -> Path:
        """Where the object with this CID is, or would be.

        Raises:
            StorageError: if `cid` is not a CID.
        """
        if not is_cid(cid):
            raise StorageError(f"{cid!r} is not a CID: expected 'bafkrei...' or 'bafybei...', 59 characters.")
        # sharded by these two characters: every CID begins alike, and its last character has 8 values only
        return Path(f"{self._objects}/{cid[-3:-1]}/{cid}")

    def stat(self, cid: str) -> StoredObject | None:
        """The object with this CID as its file is now, or None if there is none."""
        path = self.path(cid)
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._explain(error, f"cannot look up {cid}") from error
        return _stored(cid, status) if stat.S_ISREG(status.st_mode) else None

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
        source = Path(source)
        with self._explained(f"cannot take {os.fspath(source)!r} in"):
            status = os.lstat(source)
            if stat.S_ISLNK(status.st_mode) or status.st_dev == self._folder("objects").stat().st_dev:
                (kept,) = self._keep([(hash_in_place(source), source)])
            else:
                kept = self.add(source)
            source.unlink(missing_ok=True)
        return kept

    def remove(self, cid: str) -> None:
        """Drop the bytes of this CID; it is no error if they are gone already."""
        with self._explained(f"cannot remove {cid}"):
            self.path(cid).unlink(missing_ok=True)

    def verify(self, cid: str) -> StoredObject:
        """Read the object in full and compare it with its CID.

        Raises:
            IntegrityError: if the bytes are not those the CID names.
            StorageError: if there is no such object or it cannot be read.
        """
        stored = self.stat(cid)
        if stored is None:
            raise StorageError(f"{cid} is not in the store {os.fspath(self.root)!r}.")
        with self._explained(f"cannot verify {cid}"):
            found = compute_cid(self.path(cid))
        if found != cid:
            raise IntegrityError(
                f"The bytes of {cid} in the store {os.fspath(self.root)!r} are damaged: they hash to {found}. "
                f"Remove {os.fspath(self.path(cid))!r} and fetch or add the file again."
            )
        return stored

    def new_temporary(self) -> Path:
        """A path in `tmp` that nobody else uses; nothing is there yet."""
        return self._folder("tmp") / f"{os.getpid()}-{secrets.token_hex(8)}"

    def _keep(self, arrived: list[tuple[str, Path]]) -> list[StoredObject]:
        """Sync finished files, rename each to its CID, sync the folders: in that order power may fail anywhere."""
        objects = self._folder("objects")
        shards = sorted({self.path(cid).parent for cid, _ in arrived})
        with self._explained("cannot save the files"):
            new = {path: None for cid, path in arrived if self._present(cid, path) is None}
            sync_paths(list(new))
            for shard in shards:
                shard.mkdir(exist_ok=True)
            kept = [self._rename(path, cid, synced=path in new) for cid, path in arrived]
            sync_paths([*shards, objects])
        return kept

    def _present(self, cid: str, path: Path) -> StoredObject | None:
        """The object that a finished file would duplicate."""
        present = self.stat(cid)
        return present if present is not None and present.size == path.stat().st_size else None

    def _rename(self, source: Path, cid: str, synced: bool) -> StoredObject:
        target = self.path(cid)
        with locked_folder(target.parent):
            present = self._present(cid, source)
            if present is not None:
                return present  # the first copy stays: others may have recorded its figures
            if not synced:  # it was there a moment ago, and somebody removed it
                sync_paths([source])
            source.rename(target)
            return _stored(cid, target.lstat())

    def _folder(self, name: str) -> Path:
        """One of the store's folders, made when it is missing."""
        folder = self.root / name
        if not folder.is_dir():
            with self._explained(f"cannot make its folder {name!r}"):
                missing = [path for path in (folder, *folder.parents) if not path.exists()]
                folder.mkdir(parents=True, exist_ok=True)
                sync_paths([path.parent for path in missing])
        return folder

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            raise self._explain(error, what) from error

    def _explain(self, error: OSError, what: str) -> StorageError:
        reason = _REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())
        return StorageError(f"The store {os.fspath(self.root)!r} {what}: {reason}.")


def _stored(cid: str, status: os.stat_result) -> StoredObject:
    return StoredObject(cid, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
