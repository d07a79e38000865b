"""Objects on their way in: what arrived for a change that then failed is removed, unless somebody else counts on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets import StorageError
from stargazer.storage import verified
from stargazer.storage.files import open_shared

if TYPE_CHECKING:
    from stargazer.storage.index import Index
    from stargazer.storage.objects import Objects, StoredObject

__all__ = ["arriving"]

_TICK = 50_000_000  # ns: a filesystem's clock may be a little behind


@contextlib.contextmanager
def arriving(root: Path, objects: Objects, index: Callable[[], Index]) -> Iterator[list[StoredObject]]:
    """A list for the objects that arrive inside; when the block fails, those that nothing refers to are removed.

    Everybody holds a shared lock from an object's arrival to the transaction that refers to it. Whoever clears up
    takes it alone, so that an object which another process found here and counts on is not removed; while another
    is at work, nothing is.

    Raises:
        StorageError: the store cannot be written.
    """
    index()  # made before any file is there: one that is made where files are is taken for a lost one
    with _lock_file(root) as fd:
        arrived: list[StoredObject] = []
        began = time.time_ns() - _TICK
        try:
            yield arrived
        except BaseException:
            with contextlib.suppress(OSError):  # somebody else is at work, or nothing can be removed
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with index().reading() as connection:
                    unknown = [
                        found.cid
                        for found in arrived
                        if found.ctime_ns >= began and not verified.is_known(connection, found.cid)
                    ]
                for cid in unknown:
                    objects.remove(cid)
            raise


@contextlib.contextmanager
def _lock_file(root: Path) -> Iterator[int]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        fd = open_shared(root / "arrivals.lock", root)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"the store {str(root)!r} cannot be written: {reason}; check its permissions and the mount, "
            "or use another store (STARGAZER_LOCAL)"
        ) from error
    try:
        with contextlib.suppress(OSError):  # no locks on this filesystem
            fcntl.flock(fd, fcntl.LOCK_SH)
        yield fd
    finally:
        os.close(fd)
