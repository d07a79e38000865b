"""Files and folders on disk: copied while their bytes are hashed, durable, and usable by all users of a shared store.

`chmod g+ws` of a store's root folder shares the store with a group, `chmod o+w` with everybody on the machine. What
Stargazer makes below the root takes its permissions, whatever the umask of who makes it. A root that nobody else may
write changes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.storage.cid import BLOCK_SIZE, READ, CidHasher, compute_cid, hash_file, regular_file

__all__ = ["await_permissions", "copy_and_hash", "file_permissions", "hash_in_place", "is_there", "make_folder",
           "make_folders", "move_file", "open_shared", "opened", "place_link", "replaced", "share_file", "sync_paths",
    "write_file"]  # fmt: skip

_PIECE = 2 * BLOCK_SIZE  # bytes per system call of the copy
_READ_ONLY = 0o444
_MANY = 32
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
_GROUP, _OTHER, _SET_GROUP = 0o070, 0o007, 0o2000
_WRITE = 0o022
_MOMENT = 5.0  # seconds: whoever makes a folder gives it its permissions sooner, however busy the machine


def copy_and_hash(source: str | os.PathLike[str], target: Path) -> str:
    """Copy a file to a new read-only one and return the CID of the bytes that arrived there.

    One thread copies (in the kernel where it can: a reflink costs nothing) while others hash what has arrived. On
    an error the target may be left behind, unfinished.

    Raises:
        StorageError: if the source is missing, unreadable, no regular file, or changed meanwhile.
        OSError: if the target cannot be written.
    """
    with _reading(source) as (reader, size), opened(target, os.O_RDWR | os.O_CREAT | os.O_EXCL) as writer:
        with contextlib.closing(CidHasher(writer)) as hasher:
            _copy(reader, writer, size, hasher.advance)
            if size > BLOCK_SIZE:
                # while the last blocks are hashed; many small files are synced together later
                _sync(writer)
            cid = hasher.finish(size)
        os.fchmod(writer, _READ_ONLY)
    return cid


def hash_in_place(source: Path) -> str:
    """Make a file read-only and return the CID of its bytes.

    Raises:
        StorageError: if it is missing, unreadable, a symbolic link, no regular file, or changed meanwhile.
    """
    with _reading(source, os.O_NOFOLLOW) as (reader, size):
        os.fchmod(reader, _READ_ONLY)  # before hashing: from here on nobody opens it to write
        return hash_file(reader, size)


def sync_paths(paths: Sequence[str | os.PathLike[str]]) -> None:
    """Return when these files' bytes and these folders' names are on the disk itself; all on one filesystem.

    Many are synced by one call for the whole filesystem: 1,000 small files took 0.02 s that way, 0.3 s one by one on
    a quiet disk, and seconds on a busy one.
    """
    if len(paths) >= _MANY and _sync_filesystem(paths[0]):
        return
    for path in paths:
        with opened(path) as fd:
            try:
                _sync(fd)
            except OSError as error:
                # filesystems that cannot sync a folder keep its names in order
                if error.errno != errno.EINVAL:
                    raise


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
        with replaced(target) as new:
            if copy_and_hash(source, new) != compute_cid(source):
                raise OSError(errno.EIO, "the copy differs from what was copied") from error
            sync_paths([new])
        source.unlink()


def place_link(original: Path, target: Path) -> None:
    """Make `target` a symbolic link, in place of what was there.

    Raises:
        StorageError: the filesystem has no symbolic links.
        OSError: it cannot be made; the target is as it was.
    """
    try:
        with replaced(target) as new:
            new.symlink_to(original)
    except OSError as error:
        if error.errno in _NO_LINKS and os.access(target.parent, os.W_OK):
            raise StorageError(
                f"{os.fspath(target.parent)!r} is on a filesystem without symbolic links: add the file as a copy, "
                "without --in-place."
            ) from error
        raise


def write_file(path: Path, data: bytes, *, shared: Path | None = None) -> None:
    """Replace a small file, whole or not at all, durably.

    Args:
        shared: the root folder whose users are to read and write it.

    Raises:
        OSError: it cannot be written.
    """
    with replaced(path) as new:
        new.write_bytes(data)
        if shared is not None:
            share_file(new, shared)
        sync_paths([new])
    sync_paths([path.parent])


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether something is at a path, or a link that leads nowhere.

    Raises:
        OSError: it cannot be told: no permission, an error of the disk, a path that is too long.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


# the permissions of a shared store


def file_permissions(root: str | os.PathLike[str]) -> int:
    """The bits that a writable file below `root` has at least: group and other may do with it what they may there."""
    return _shared(root) & 0o066


def make_folder(folder: str | os.PathLike[str], root: str | os.PathLike[str]) -> bool:
    """Make one folder below `root` that everybody who may write there can use; False if it was there.

    Raises:
        OSError: it cannot be made.
    """
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise NotADirectoryError(errno.ENOTDIR, "a file is in its place", os.fspath(folder)) from None
        await_permissions(folder, root)
        return False
    share_file(folder, root)
    return True


def await_permissions(folder: str | os.PathLike[str], root: str | os.PathLike[str]) -> None:
    """Wait while another user gives a folder, or one above it below `root`, the permissions that follow its name."""
    above = [path for path in (Path(folder), *Path(folder).parents) if Path(root) in path.parents]
    for path in reversed(above if file_permissions(root) else []):
        with contextlib.suppress(OSError):
            while not os.access(path, os.W_OK) and time.time() - os.stat(path).st_ctime < _MOMENT:
                time.sleep(0.01)


def make_folders(folder: str | os.PathLike[str]) -> None:
    """Make a folder and those above it that are missing; each may be used by whoever may write where it is made.

    Raises:
        OSError: one cannot be made.
    """
    if not os.path.isdir(folder):
        parent = Path(os.path.abspath(folder)).parent
        make_folders(parent)
        make_folder(folder, parent)


def open_shared(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> int:
    """Open a file for reading and writing, such as one to lock, making it where it is missing.

    Raises:
        OSError: it cannot be opened or made.
    """
    flags = os.O_RDWR | os.O_CLOEXEC
    while True:
        # not O_CREAT at once: it is refused for the files of others in some folders that all may write
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, flags)
        with contextlib.suppress(FileExistsError):  # another process was first
            _make_file(path, root)


def _make_file(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> None:
    """Make an empty file that has its permissions before it has its name."""
    if not file_permissions(root):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        return
    new = f"{os.fspath(path)}.new-{secrets.token_hex(8)}"
    try:
        with opened(new, os.O_CREAT | os.O_EXCL) as fd:
            share_file(fd, root)
        os.link(new, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with opened(path, os.O_CREAT | os.O_EXCL) as fd:
            share_file(fd, root)
    finally:
        Path(new).unlink(missing_ok=True)


def share_file(file: int | str | os.PathLike[str], root: str | os.PathLike[str]) -> None:
    """Give a file or folder of ours (its descriptor or path) the permissions that those below `root` have at least."""
    with contextlib.suppress(OSError):  # somebody else's, or a filesystem without permissions
        mode = os.stat(file).st_mode
        shared = mode | (_shared(root) if stat.S_ISDIR(mode) else file_permissions(root))
        if mode != shared:
            os.chmod(file, stat.S_IMODE(shared))


def _shared(root: str | os.PathLike[str]) -> int:
    """What group and others may do in a root that they may write, as bits of a folder's mode; 0 if they may not."""
    try:
        mode = os.stat(root).st_mode
    except OSError:
        return 0
    group = mode & (_GROUP | _SET_GROUP) if mode & _GROUP & _WRITE else 0
    other = mode & _OTHER if mode & _OTHER & _WRITE else 0
    return group | other


# how


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> Iterator[int]:
    """The descriptor of a file or folder within the block; a file that this makes is ours alone.

    Raises:
        OSError: it cannot be opened.
    """
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _reading(source: str | os.PathLike[str], flags: int = 0) -> Iterator[tuple[int, int]]:
    """A regular file to be read, and its size; it must neither change nor end early (EOFError) within the block."""
    name = os.fspath(source)
    try:
        fd = os.open(source, READ | flags)
    except OSError as error:
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW:
            raise StorageError(f"{name!r} is a symbolic link: give the file it points to.") from error
        reason = (error.strerror or str(error)).lower()
        raise StorageError(
            f"{name!r} cannot be read: {reason}. Check the path and its permissions."
        ) from error
    with regular_file(fd, name) as size:
        yield fd, size


def _copy(reader: int, writer: int, size: int, advance: Callable[[int], None]) -> None:
    """Copy `size` bytes between two open files, telling how many have arrived."""
    copied = 0
    in_kernel = hasattr(os, "copy_file_range") and size > BLOCK_SIZE
    while copied < size:
        count = 0
        if in_kernel:
            try:
                count = os.copy_file_range(reader, writer, min(_PIECE, size - copied), copied, copied)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
                    raise
            in_kernel = count > 0  # some filesystems refuse, some copy nothing: then by hand
        if count == 0:
            piece = os.pread(reader, min(BLOCK_SIZE, size - copied), copied)
            if not piece:
                raise EOFError
            count = os.pwrite(writer, piece, copied)
        if hasattr(os, "posix_fadvise") and count >= BLOCK_SIZE:
            # has the disk begin with these bytes now, so that fsync() has less to wait for: 0.61 s for 1 GiB, not
            # 0.71 s; what this call is for, dropping pages, it does not do to those that are yet to be written
            with contextlib.suppress(OSError):
                os.posix_fadvise(writer, copied, count, os.POSIX_FADV_DONTNEED)
        copied += count
        advance(copied)


def _sync(fd: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync() stops at the disk's cache
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def _sync_filesystem(path: str | os.PathLike[str]) -> bool:
    """Sync the whole filesystem of a path; False where the system has no such call."""
    import ctypes

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    with opened(path) as fd:
        if syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(path))
    return True


@contextlib.contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A path beside a file, to be made there within the block; it takes the place of the file at the end.

    Raises:
        OSError: it cannot be put there; the file is as it was.
    """
    new = target.parent / f".new-{secrets.token_hex(8)}"
    try:
        yield new
        new.replace(target)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
