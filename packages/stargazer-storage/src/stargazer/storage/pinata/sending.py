"""Sending what waits in the outbox: files first and several at once, provenance last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
from stargazer.assets import IpFile, StargazerError
from stargazer.storage import outbox
from stargazer.storage.locks import outbox_turn
from stargazer.storage.outbox import Waiting
from stargazer.storage.pinata.api import Unavailable
from stargazer.storage.pinata.listing import as_record
from stargazer.storage.pinata.upload import upload
from stargazer.storage.threads import each

if TYPE_CHECKING:
    from stargazer.storage.pinata.api import PinataFile
    from stargazer.storage.pinata.store import PinataStore

__all__ = ["Progress", "Sender", "Sent"]

AT_ONCE = 4
NOT_US = 401  # HTTP status: the token is refused, whatever is asked

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
        with outbox_turn(self._store.root):
            before = self._store.waiting()
            for rank in (0, 1):
                items = [item for item in self._store.waiting() if item.rank == rank]
                held = self._incomplete() if rank else frozenset()
                ready = [item for item in items if item.cid not in held]
                each(self._try, _in_sequence(ready), AT_ONCE, "stargazer-send")
            still = {item.number: item for item in self._store.waiting()}
        left = [
            attrs.evolve(there, error=there.error or self._down)
            for item in before
            if (there := still.get(item.number)) is not None
        ]
        # provenance without an error waits for files that somebody enqueued meanwhile, and sends
        return Sent(len(before) - len(left), left if any(item.error for item in left) else [])

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
                if isinstance(error, Unavailable) or getattr(error, "status", 0) == NOT_US:
                    self._down = str(error)
                with self._store.index.transaction() as connection:
                    outbox.failed(connection, item, str(error))
            else:
                with self._store.index.transaction() as connection:
                    outbox.settled(connection, item)

    def _settle(self, item: Waiting) -> None:
        """Make the account agree with the record as it is here now."""
        record = self._store.here(item.record)
        if record is None:
            self._follow(item)
        elif known := self._known(item.record, item.public):
            self._correct(item, record, known)
        elif item.wanted and not (item.attempts and self._found(item, record)):
            self._upload(item, record)

    def _correct(self, item: Waiting, record: IpFile, file_id: str) -> None:
        """The record's file is there already: it says how the record came to be, which may have changed."""
        file = self._store.api.file(file_id, public=item.public)
        if file is None:  # somebody removed it
            self._forget(item)
            if item.wanted:
                self._upload(item, record)
        elif dict(file.keyvalues) != dict(record.keyvalues):
            self._update(file, record)

    def _follow(self, item: Waiting) -> None:
        """The record is gone here: its file there gets the metadata that it was changed to, or goes as well.

        Files that other machines made of the same record stay, if they did so unbeknown to this one.
        """
        became = self._became(item)
        for file in self._files(item):
            if became is not None and not self._known(became.id, item.public):
                self._update(file, became)
                self._note(became.id, item.public, file.id)
            else:
                self._store.api.delete(file.id, public=item.public)
        self._forget(item)

    def _became(self, item: Waiting) -> IpFile | None:
        """The record that stands here for one that was amended, maybe several times."""
        seen, id = {item.record}, item.became
        while id and id not in seen:
            if (record := self._store.here(id)) is not None:
                return record
            seen.add(id)
            with self._store.index.reading() as connection:
                id = outbox.successor(connection, id, item.public)
        return None

    def _files(self, item: Waiting) -> list[PinataFile]:
        """The files of a record that is gone here, as far as it is known here that they were made."""
        made_by = {"", *self._store.makers_of(item.record)}
        listed = self._store.api.files(public=item.public, cid=item.cid)
        found = {
            file.id: file
            for file in listed
            if as_record(file).id == item.record and file.keyvalues.get("provenance_cid", "") in made_by
        }
        for id in {*found, self._known(item.record, item.public)} - {
            ""
        }:  # listings are late in both directions
            file = self._store.api.file(id, public=item.public)
            if file is not None:
                found[id] = file
            else:
                found.pop(id, None)
        return list(found.values())

    def _update(self, file: PinataFile, record: IpFile) -> None:
        gone = dict.fromkeys(file.keyvalues.keys() - record.keyvalues.keys())
        self._store.api.update(file.id, public=file.public, keyvalues={**record.keyvalues, **gone})

    def _upload(self, item: Waiting, record: IpFile) -> None:
        path = self._store.read_here(record.cid)

        def remember(url: str) -> None:
            with self._store.index.transaction() as connection:
                outbox.resumable(connection, item, url)

        file = upload(
            self._store.api,
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

    def _found(self, item: Waiting, record: IpFile) -> bool:
        """Whether the record's file is on its network already, and if so remember it."""
        files = self._store.api.files(public=item.public, cid=item.cid)
        same = [file for file in files if as_record(file).id == item.record]
        same.sort(key=lambda file: dict(file.keyvalues) != dict(record.keyvalues))
        for file in same[:1]:
            self._note(item.record, item.public, file.id)
        return bool(same)

    def _known(self, record: str, public: bool) -> str:
        with self._store.index.reading() as connection:
            return outbox.remote_id(connection, record, public)

    def _note(self, record: str, public: bool, file_id: str) -> None:
        with self._store.index.transaction() as connection:
            outbox.sent(connection, record, public, file_id)

    def _forget(self, item: Waiting) -> None:
        with self._store.index.transaction() as connection:
            outbox.removed(connection, item.record, item.public)


def _printable(name: str) -> str:
    """A name as Pinata takes it: control characters are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def _in_sequence(items: Sequence[Waiting]) -> list[list[Waiting]]:
    """Entries that may be sent at once: those of the same bytes follow one another."""
    groups: dict[str, list[Waiting]] = {}
    for item in items:
        groups.setdefault(item.cid, []).append(item)
    return list(groups.values())
