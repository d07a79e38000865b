"""Error messages for what the operating system refuses: for each error number what it means and what to do about it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from stargazer.assets import StorageError

__all__ = ["REASONS", "explained", "failed", "reason", "refused"]

_STORE = "STARGAZER_LOCAL, or STARGAZER_HOME for everything"

REASONS = {
    errno.EACCES: f"no permission: ask its owner, or use another store ({_STORE})",
    errno.EPERM: f"no permission: ask its owner, or use another store ({_STORE})",
    errno.ENOSPC: f"the disk is full: free some space, or use a store on a larger disk ({_STORE})",
    errno.EDQUOT: f"your disk quota is used up: free some space, or use a store elsewhere ({_STORE})",
    errno.EFBIG: "the file is too large for this filesystem, or for the limit of this process (`ulimit -f`): raise it, "
    f"or use another disk ({_STORE})",
    errno.EROFS: f"the filesystem is read-only: mount it writable, or use another store ({_STORE})",
    errno.EIO: "the disk or its filesystem reports an error: check it (`dmesg`, `df`), then run `stargazer fsck`",
    errno.ENAMETOOLONG: f"the path is too long for the filesystem: use a shorter one ({_STORE}, TMPDIR, or the path "
    "that was given)",
    errno.ELOOP: "its symbolic links lead round in a circle: correct them (`readlink -f`)",
    errno.ENOTDIR: "a file is where a folder belongs: move it away (in a store `stargazer fsck` does), or give another "
    "path",
    errno.EISDIR: "a folder is where a file belongs: move it away (in a store `stargazer fsck` does), or give another "
    "path",
    errno.ENOENT: "no such file, or it was removed meanwhile: try again; if that does not help, `stargazer fsck`",
    errno.EEXIST: "something of this name is there already: move it away, or try again",
    errno.ENOTEMPTY: "the folder is not empty, another program writes in it: try again",
    errno.EMFILE: "this process has too many open files: raise its limit (`ulimit -n`) and try again",
    errno.ENFILE: "the machine has too many open files: end other programs, or raise `fs.file-max`, and try again",
    errno.ENOMEM: "the machine has no memory left: end other programs and try again",
    errno.ESTALE: "the network filesystem has lost the file: mount it again and try again",
    errno.EBUSY: "another program holds it: end that program or try again later",
    errno.ETXTBSY: "another program holds it: end that program or try again later",
    errno.EAGAIN: "another program holds it: end that program or try again later",
    errno.EDEADLK: "another program holds it: end that program or try again later",
    errno.ENOLCK: "its filesystem has no locks left: use a store on a local disk, and end other programs",
    errno.EXDEV: f"it lies on another filesystem: let the store be on one ({_STORE})",
    errno.EMLINK: f"its filesystem allows no more links or folders here: use another store ({_STORE})",
    errno.ENODEV: "its device is gone: attach and mount it, then try again",
    errno.ENXIO: "its device is gone: attach and mount it, then try again",
    errno.ENOTCONN: "its filesystem is not connected any more: mount it again and try again",
    errno.ETIMEDOUT: "its filesystem does not answer: check the network or the mount, and try again",
    errno.EOPNOTSUPP: f"its filesystem cannot do that: use a store on a local disk ({_STORE})",
    errno.ENOSYS: f"its filesystem cannot do that: use a store on a local disk ({_STORE})",
    errno.EINVAL: f"its filesystem does not take that: use a store on a local disk ({_STORE})",
}


def refused(error: OSError, place: str | os.PathLike[str]) -> StorageError:
    """An error of the system as one that is meant for the user.

    Args:
        place: what was worked on; said where the system does not say which file it was.
    """
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    what = " and ".join(map(repr, names)) or f"a file of {os.fspath(place)!r}"
    said = (error.strerror or str(error) or type(error).__name__).lower()
    remedy = REASONS.get(error.errno or 0, "check the disk and its filesystem (`df`, `dmesg`), and try again")
    return StorageError(f"{what} cannot be used ({said}): {remedy}")


def reason(error: OSError) -> str:
    """What an error of the system means and what to do about it; the system's own words where that is not known."""
    return REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())


def failed(what: str, error: OSError) -> StorageError:
    """An error of the system as one for the user; one that is for the user already as it is.

    Args:
        what: who cannot do what: "The store '/data' cannot add 'x.bam'".
    """
    return error if isinstance(error, StorageError) else StorageError(f"{what}: {reason(error)}.")


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an error of the system within the block into one for the user.

    Args:
        what: as for `failed`.

    Raises:
        StorageError: the system refused something.
    """
    try:
        yield
    except OSError as error:
        raise failed(what, error) from error
