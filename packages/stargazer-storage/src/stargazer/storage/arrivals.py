"""Objects on their way in: what arrived for a change that then failed is removed, unless somebody else counts on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.storage import verified
from stargazer.storage.locks import at_work

if TYPE_CHECKING:
    from stargazer.storage.index.records import Index
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
    with at_work(root) as is_alone:
        arrived: list[StoredObject] = []
        began = time.time_ns() - _TICK
        try:
            yield arrived
        except BaseException:
            with contextlib.suppress(OSError):  # nothing can be removed
                if is_alone():
                    with index().reading() as connection:
                        unknown = [
                            found.cid
                            for found in arrived
                            if found.ctime_ns >= began and not verified.is_known(connection, found.cid)
                        ]
                    for cid in unknown:
                        objects.remove(cid)
            raise
