"""Sending what waits in the outbox: files first and several at once, provenance last."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import attrs
from stargazer.assets.client import IpFile
from stargazer.assets.errors import StargazerError
from stargazer.storage import outbox
from stargazer.storage.outbox import Waiting
from stargazer.storage.pinata.listing import as_record
from stargazer.storage.pinata.retrying import Unavailable
from stargazer.storage.sharing import open_shared

if TYPE_CHECKING:
    from stargazer.storage.pinata.store import PinataStore

__all__ = ["Progress", "Sender", "Sent"]

AT_ONCE = 4

Progress = Callable[[str, int, "int | None"], None]
"""Told what is being sent, the bytes of it that are up, and how many it has."""


@attrs.frozen
class Sent:
    """What came of sending.

    Attributes:
        count: entries of the outbox that are done.
        left: those that are not, with why. What was enqueued meanwhile is not counted.
    """

    count: int
    left: list[Waiting]


class Sender:
    """One turn of sending; one process of a store at a time."""

    def __init__(self, store: PinataStore, progress: Progress | None = None):
        self._store = store
        self._progress = progress or (lambda name, done, total: None)
        self._down = ""

    def send(self) -> Sent:
        """Send everything that waits; one that is refused does not keep the others, a service that is down does."""
        with self._turn():
            before = self._store.waiting()
            for rank in (0, 1):
                items = [item for item in self._store.waiting() if item.rank == rank]
                held = self._incomplete() if rank else frozenset()
                ready = [item for item in items if item.cid not in held]
                with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="stargazer-send") as pool:
                    list(pool.map(self._try, _in_sequence(ready)))
            still = {(item.record, item.public): item for item in self._store.waiting()}
        left = [still[key] for item in before if (key := (item.record, item.public)) in still]
        return Sent(
            len(before) - len(left), [attrs.evolve(item, error=item.error or self._down) for item in left]
        )

    def _incomplete(self) -> frozenset[str]:
        """The provenance of files that are still to come."""
        records = [self._store.here(item.record) for item in self._store.waiting() if item.rank == 0]
        return frozenset(
            record.keyvalues.get("provenance_cid", "") for record in records if record is not None
        )

    def _try(self, items: Sequence[Waiting]) -> None:
        for item in items:
            if self._down:
                return
            with self._store.index.transaction() as connection:
                outbox.started(connection, item)
            try:
                self._settle(item)
            except StargazerError as error:
                if isinstance(error, Unavailable):
                    self._down = str(error)
                with self._store.index.transaction() as connection:
                    outbox.failed(connection, item, str(error))
            else:
                with self._store.index.transaction() as connection:
                    outbox.settled(connection, item)

    def _settle(self, item: Waiting) -> None:
        """Make the account agree with the record as it is here now."""
        record = self._store.here(item.record)
        file_id = self._file_id(item, gone=record is None)
        if record is None:
            self._follow(item, file_id)
        elif not file_id:
            self._upload(item, record)

    def _follow(self, item: Waiting, file_id: str) -> None:
        """The record is gone here: its file there gets the metadata that it was changed to, or goes as well."""
        became = self._store.here(item.became) if item.became else None
        if file_id and became is not None and not self._known(became.id, item.public):
            old = self._store.api.file(file_id, public=item.public)
            gone = dict.fromkeys((old.keyvalues if old else {}).keys() - became.keyvalues.keys())
            self._store.api.update(file_id, public=item.public, keyvalues={**became.keyvalues, **gone})
            self._note(became.id, item.public, file_id)
        elif file_id:
            self._store.api.delete(file_id, public=item.public)
        with self._store.index.transaction() as connection:
            outbox.removed(connection, item.record, item.public)

    def _upload(self, item: Waiting, record: IpFile) -> None:
        path = self._store.read_here(record.cid)

        def remember(url: str) -> None:
            with self._store.index.transaction() as connection:
                outbox.resumable(connection, item, url)

        file = self._store.api.upload(
            path,
            cid=record.cid,
            name=_printable(record.name) or record.cid,
            keyvalues=record.keyvalues,
            public=item.public,
            url=item.upload_url,
            on_url=remember,
            progress=lambda done, total: self._progress(record.name, done, total),
        )
        self._note(record.id, item.public, file.id)

    def _file_id(self, item: Waiting, *, gone: bool) -> str:
        """The id of a record's file on its network, if it is there already."""
        known = self._known(item.record, item.public)
        if known or (item.attempts == 0 and not gone):
            return known
        for file in self._store.api.files(public=item.public, cid=item.cid):
            if as_record(file).id == item.record:
                self._note(item.record, item.public, file.id)
                return file.id
        return ""

    def _known(self, record: str, public: bool) -> str:
        with self._store.index.reading() as connection:
            return outbox.remote_id(connection, record, public)

    def _note(self, record: str, public: bool, file_id: str) -> None:
        with self._store.index.transaction() as connection:
            outbox.sent(connection, record, public, file_id)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the store's outbox: another process at it is waited for, and has sent part of it then."""
        self._store.root.mkdir(parents=True, exist_ok=True)
        fd = open_shared(self._store.root / "outbox.lock", self._store.root)
        try:
            with contextlib.suppress(OSError):  # no locks here: a file may be sent twice, which does no harm
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _printable(name: str) -> str:
    """A name as Pinata takes it: control characters are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def _in_sequence(items: Sequence[Waiting]) -> list[list[Waiting]]:
    """Entries that may be sent at once: those of the same bytes follow one another."""
    groups: dict[str, list[Waiting]] = {}
    for item in items:
        groups.setdefault(item.cid, []).append(item)
    return list(groups.values())
