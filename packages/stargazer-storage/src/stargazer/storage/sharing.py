"""Files and folders that every user of a shared store can use: they take the permissions of its root folder.

`chmod g+ws` of the root shares a store with a group, `chmod o+w` with everybody on the machine. What Stargazer makes
below it follows, whatever the umask of who makes it. A root that nobody else may write changes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

__all__ = ["file_permissions", "make_folder", "make_folders", "open_shared", "share_file"]

_GROUP, _OTHER, _SET_GROUP = 0o070, 0o007, 0o2000
_WRITE = 0o022


def file_permissions(root: str | os.PathLike[str]) -> int:
    """The bits that a writable file below `root` has at least: group and other may do with it what they may there."""
    return _shared(root) & 0o066


def make_folder(folder: str | os.PathLike[str], root: str | os.PathLike[str]) -> bool:
    """Make one folder below `root`, usable at once by everybody who may write there; False if it was there.

    Raises:
        OSError: it cannot be made.
    """
    permissions = _shared(root)
    if not permissions:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
            return True
        return _present(folder)
    if os.path.isdir(folder):
        return False
    # under another name first: whoever finds the folder may write in it
    new = Path(folder).parent / f".new-{secrets.token_hex(8)}"
    os.mkdir(new)
    try:
        os.chmod(new, os.stat(new).st_mode & 0o7777 | permissions)
        os.rename(new, folder)
        return True
    except OSError:
        os.rmdir(new)
        if os.path.isdir(folder):  # somebody else was first, and has put something into it
            return False
        raise


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
    while True:
        # not O_CREAT at once: it is refused for the files of others in some folders that all may write
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        with contextlib.suppress(FileExistsError):
            if file_permissions(root) and _linked(path, root):
                continue
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            share_file(fd, root)
            return fd


def _linked(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> bool:
    """Make an empty file that all may use as soon as it has its name; False where the filesystem has no links.

    Raises:
        FileExistsError: somebody else was first.
        OSError: it cannot be made.
    """
    new = Path(path).parent / f".new-{secrets.token_hex(8)}"
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        share_file(new, root)
        os.link(new, path)
        return True
    except FileExistsError:
        raise
    except OSError:
        return False
    finally:
        os.unlink(new)


def share_file(file: int | str | os.PathLike[str], root: str | os.PathLike[str]) -> None:
    """Give a file of ours (its descriptor or path) the permissions that files below `root` have at least."""
    with contextlib.suppress(OSError):  # somebody else's, or a filesystem without permissions
        mode = os.stat(file).st_mode & 0o7777
        wanted = mode | file_permissions(root)
        if wanted != mode:
            os.chmod(file, wanted)


def _shared(root: str | os.PathLike[str]) -> int:
    """What group and others may do in a root that they may write, as bits of a folder's mode; 0 if they may not."""
    try:
        mode = os.stat(root).st_mode
    except OSError:
        return 0
    group = mode & (_GROUP | _SET_GROUP) if mode & _GROUP & _WRITE else 0
    other = mode & _OTHER if mode & _OTHER & _WRITE else 0
    return group | other


def _present(folder: str | os.PathLike[str]) -> bool:
    if not os.path.isdir(folder):
        raise NotADirectoryError(errno.ENOTDIR, "a file is in its place", os.fspath(folder))
    return False
