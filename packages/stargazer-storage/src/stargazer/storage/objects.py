"""The object store: the bytes of files, read-only and named by their CIDs, on the disk before they are acknowledged."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import field, frozen
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.cid import compute_cid, compute_cid_like, is_cid
from stargazer.storage.files import (
    await_permissions,
    copy_and_hash,
    hash_in_place,
    make_folder,
    move_file,
    place_link,
    sync_paths,
)
from stargazer.storage.locks import locked_folder
from stargazer.storage.refusals import failed

__all__ = ["Objects", "StoredObject", "Stray", "shard_of"]

_READ_ONLY = 0o444
_TICK, _COARSE_TICK = 20_000_000, 2_000_000_000  # ns; the coarse ones are whole seconds


@frozen
class StoredObject:
    """One object and the state of its file: while the four figures stay the same, its bytes are those verified.

    Of an object that is linked in place, they are the figures of the file that it links to.
    """

    cid: str
    size: int
    """Bytes."""
    mtime_ns: int
    ctime_ns: int
    inode: int
    is_new: bool = field(default=False, eq=False)
    """It was brought just now, and its bytes were hashed on the way."""

    @classmethod
    def of(cls, cid: str, status: os.stat_result, *, is_new: bool = False) -> StoredObject:
        """The object whose file has this status."""
        return cls(cid, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, is_new)


@frozen
class Stray:
    """Something in a folder of objects that is no object."""

    path: Path
    why: str


class Objects:
    """Files by CID below one folder: `objects/<shard>/<cid>`, all read-only.

    `tmp`, `work` and `quarantine` lie beside that folder, on the same filesystem if they can: a finished file is
    renamed in and never seen half-written. What add(), keep() and their like return is on disk, whatever happens
    next. Any number of processes and threads may use the same folder; the same content arriving twice is kept once,
    the first one.

    Args:
        root: of the store.
        folder: below the root; made, as the others are, when it is first needed.

        >>> objects = Objects(tmp_path / "store")
        >>> objects.add(tmp_path / "reads.fastq.gz").cid
        'bafkrei...'
    """

    def __init__(self, root: str | os.PathLike[str], folder: str = "objects") -> None:
        self.root = Path(os.path.abspath(root))
        self.folder = self.root / folder
        self._name = folder

    @property
    def work(self) -> Path:
        """The folder for private workspaces, made when it is missing."""
        return self._made("work")

    # finding

    def path(self, cid: str) -> Path:
        """Where the object with this CID is, or would be.

        Raises:
            StorageError: if `cid` is not a CID.
        """
        return Path(self._place(cid))

    def stat(self, cid: str) -> StoredObject | None:
        """The object with this CID as its file is now, or None if there is none, or its original is gone."""
        path = self._place(cid)
        try:
            try:
                status = os.stat(path)
            except PermissionError:
                await_permissions(os.path.dirname(path), self.root)
                status = os.stat(path)
        except FileNotFoundError:
            return None
        except OSError:
            with self._explained(f"cannot look up {cid}"):
                raise
        return StoredObject.of(cid, status) if stat.S_ISREG(status.st_mode) else None

    def is_link(self, cid: str) -> bool:
        """Whether the object is a link to a user's file, which may be gone."""
        return os.path.islink(self._place(cid))

    def original(self, cid: str) -> Path | None:
        """The user's file that an object links to, there or gone; None for bytes of our own or no object."""
        path = self.path(cid)
        with contextlib.suppress(OSError):
            return Path(os.readlink(path))
        return None

    def scan(self) -> Iterator[StoredObject | Stray]:
        """Everything below the folder, by its status alone, in no order; what vanishes meanwhile is left out.

        Raises:
            StorageError: if a folder cannot be read.
        """
        with self._explained("cannot list its objects"):
            for shard in _entries(self.folder):
                if not shard.is_dir():
                    yield Stray(Path(shard.path), "a file among the folders of objects")
                    continue
                for entry in _entries(shard.path):
                    with contextlib.suppress(FileNotFoundError):
                        yield _describe(entry, shard.name)

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
        temporaries = [(source, self.new_temporary()) for source in sources]
        arrived = []
        try:
            for source, temporary in temporaries:
                with self._explained(f"cannot add {os.fspath(source)!r}"):
                    arrived.append((copy_and_hash(source, temporary), temporary))
            return self._keep(arrived) if arrived else []
        finally:
            for _, temporary in temporaries:
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
        object itself. An object of the same size that is there already stays, so a damaged one is to be removed or
        put into quarantine before.

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
                sync_paths([shard, self.folder])
            return StoredObject.of(cid, self.path(cid).stat())

    # taking out

    def remove(self, cid: str) -> None:
        """Drop the bytes of this CID; it is no error if they are gone already. Of a link, the user's file stays."""
        with self._explained(f"cannot remove {cid}"):
            self.path(cid).unlink(missing_ok=True)

    def quarantine(self, cid: str) -> Path:
        """Move damaged bytes out of the way, to `quarantine/<cid>-<n>`, and say where they are.

        Of a link only the link goes; the answer is the user's file, which stays as it is.

        Raises:
            StorageError: if there is no such object, or it cannot be moved.
        """
        aside = self.original(cid) or self.set_aside(self.path(cid))
        self.remove(cid)
        return aside

    def set_aside(self, path: Path) -> Path:
        """Move whatever is at a path, of the store but no object of it, to `quarantine/<name>-<n>`; where it is now.

        Raises:
            StorageError: it cannot be moved.
        """
        folder = self._made("quarantine")
        with self._explained(f"cannot move {path.name!r} into quarantine"), locked_folder(folder):
            names = (folder / f"{path.name}-{number}" for number in itertools.count(1))
            target = next(name for name in names if not os.path.lexists(name))
            move_file(path, target)
            sync_paths([folder, path.parent])
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
        return self._made("tmp") / f"{os.getpid()}-{secrets.token_hex(8)}"

    # how

    def _keep(self, arrived: Sequence[tuple[str, Path]]) -> list[StoredObject]:
        """Sync finished files, rename each to its CID, sync the folders: in that order power may fail anywhere."""
        with self._explained("cannot save the files"):
            new = {path: None for cid, path in arrived if self._present(cid, path) is None}
            sync_paths(list(new))
            shards = {cid: self._shard(cid) for cid, _ in arrived}
            kept = [self._rename(path, cid, synced=path in new) for cid, path in arrived]
            sync_paths([*sorted(set(shards.values())), self.folder])
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
            return StoredObject.of(cid, target.lstat(), is_new=True)

    def _place(self, cid: str) -> str:
        """What path() gives, as text: a Path takes longer than a status."""
        if not is_cid(cid):
            raise StorageError(f"{cid!r} is not a CID: expected 'bafkrei...' or 'bafybei...', 59 characters.")
        return f"{self.folder}/{shard_of(cid)}/{cid}"

    def _shard(self, cid: str) -> Path:
        """The folder of this object, made when it is missing."""
        folder = self.path(cid).parent
        if not os.access(folder, os.W_OK):
            self._made(self._name)
            make_folder(folder, self.root)
        return folder

    def _made(self, name: str | Path) -> Path:
        """One of the store's folders, made when it is missing."""
        below = Path(name)
        folder = self.root / below
        if not os.access(folder, os.W_OK):
            with self._explained(f"cannot make its folder {os.fspath(name)!r}"):
                made = [path for path in (self.root, *self.root.parents) if not path.exists()]
                self.root.mkdir(parents=True, exist_ok=True)
                for path in reversed([below, *below.parents][:-1]):
                    if make_folder(self.root / path, self.root):
                        made.append(self.root / path)
                sync_paths([path.parent for path in made])
        return folder

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise failed(f"The store {os.fspath(self.root)!r} {what}", error) from error


def shard_of(cid: str) -> str:
    """The name of the folder of an object: every CID begins alike, and its last character has 8 values only."""
    return cid[-3:-1]


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


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _describe(entry: os.DirEntry[str], shard: str) -> StoredObject | Stray:
    name = entry.name
    if not is_cid(name):
        return Stray(Path(entry.path), "its name is no CID")
    if shard != shard_of(name):
        return Stray(Path(entry.path), f"it belongs in the folder {shard_of(name)!r}")
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        try:
            status = entry.stat()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            return Stray(Path(entry.path), f"the file it links to, {os.readlink(entry.path)!r}: {reason}")
    if not stat.S_ISREG(status.st_mode):
        return Stray(Path(entry.path), "it is no regular file")
    return StoredObject.of(name, status)
