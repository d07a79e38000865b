"""Hashing many objects on all cores: which of them are not what their CID says."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.objects import StoredObject
from stargazer.storage.settings import available_cores

if TYPE_CHECKING:
    from stargazer.storage.download.http import Progress
    from stargazer.storage.objects import Objects

__all__ = ["UNREADABLE", "hash_all"]

UNREADABLE = "it cannot be read"
"""How the reason begins that an object was not judged: its bytes may be right."""

_BATCH = 64  # small objects that one thread takes at once
_SMALL = 1 << 20  # bytes


def hash_all(
    places: Mapping[str, Objects], found: Iterable[StoredObject], progress: Progress | None = None
) -> Iterator[tuple[StoredObject, str]]:
    """Each object as it was when it was read, and what is wrong with it: nothing, or why it is damaged.

    Objects that vanish meanwhile are left out.

    Args:
        places: the folder of each object, by CID.
    """
    todo = list(found)
    total = sum(item.size for item in todo)
    done = 0
    with ThreadPoolExecutor(available_cores(), thread_name_prefix="stargazer-fsck") as pool:
        stop = threading.Event()
        running: set[Future[list[tuple[StoredObject, str]]]] = set()
        batches = _batches(todo)
        try:
            while True:
                for batch in batches:
                    running.add(pool.submit(_check, places, batch, stop))
                    if len(running) > 2 * available_cores():
                        break
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    for item, why in future.result():
                        done += item.size
                        yield item, why
                    if progress is not None:
                        progress(done, total)
        finally:
            stop.set()


def _batches(todo: list[StoredObject]) -> Iterator[list[StoredObject]]:
    """Large objects one by one and first, then small ones together."""
    small: list[StoredObject] = []
    for item in sorted(todo, key=lambda item: -item.size):
        if item.size > _SMALL:
            yield [item]
            continue
        small.append(item)
        if len(small) == _BATCH:
            yield small
            small = []
    if small:
        yield small


def _check(
    places: Mapping[str, Objects], batch: list[StoredObject], stop: threading.Event
) -> list[tuple[StoredObject, str]]:
    judged: list[tuple[StoredObject, str]] = []
    for item in batch:
        if stop.is_set():
            break
        objects = places[item.cid]
        try:
            judged.append((objects.verify(item.cid), ""))
        except IntegrityError as error:
            in_place = objects.is_link(item.cid)  # then the text names the user's file
            judged.append((item, str(error) if in_place else "its bytes are not those that its CID says"))
        except StorageError as error:
            if objects.stat(item.cid) is not None:
                judged.append((item, f"{UNREADABLE}: {error}"))
    return judged
