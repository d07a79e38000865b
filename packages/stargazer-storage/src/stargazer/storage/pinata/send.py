"""Uploads of what waits in the outbox: files first and several at once, provenance last."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import attrs
from stargazer.assets import IpFile, StargazerError
from stargazer.storage.download.http import FileProgress
from stargazer.storage.ledger.claims import statements_of
from stargazer.storage.locks import outbox_turn
from stargazer.storage.outbox import Sent, Waiting
from stargazer.storage.pinata.api import LEDGER, PinataApi, PinataFile, Unavailable
from stargazer.storage.pinata.upload import Upload
from stargazer.storage.store import Store
from stargazer.storage.threads import each

__all__ = ["Sender"]

AT_ONCE = 4
NOT_US = 401  # HTTP status: the token is refused, whatever is asked


class Sender:
    """One turn of sending; one process of a store at a time."""

    def __init__(self, store: Store, api: PinataApi, progress: FileProgress | None = None):
        self._store, self._outbox, self._api = store, store.outbox, api
        self._progress = progress or (lambda name, done, total: None)
        self._down = ""

    def send(self) -> Sent:
        """Send everything that waits; one that is refused does not keep the others, a service that is down does."""
        with outbox_turn(self._store.root):
            before = self._outbox.waiting()
            for rank in (0, 1):
                waiting = self._outbox.waiting()
                files = [self._store.here(item.record) for item in waiting if item.rank == 0] if rank else []
                # the provenance of files that are still to come
                held = {file.keyvalues.get("provenance_cid", "") for file in files if file is not None}
                groups: dict[str, list[Waiting]] = {}  # those of the same bytes follow one another
                for item in waiting:
                    if item.rank == rank and item.cid not in held:
                        groups.setdefault(item.cid, []).append(item)
                each(self._try, groups.values(), AT_ONCE, "stargazer-send")
            still = {item.number: item for item in self._outbox.waiting()}
        left = [
            attrs.evolve(there, error=there.error or self._down)
            for item in before
            if (there := still.get(item.number)) is not None
        ]
        # provenance without an error waits for files that somebody enqueued meanwhile, and sends
        return Sent(len(before) - len(left), left if any(item.error for item in left) else [])

    def _try(self, items: Sequence[Waiting]) -> None:
        for item in items:
            if self._down:
                return
            self._outbox.started(item)
            try:
                self._settle(item)
            except StargazerError as error:
                if isinstance(error, Unavailable) or getattr(error, "status", 0) == NOT_US:
                    self._down = str(error)
                self._outbox.failed(item, str(error))
            else:
                self._outbox.done(item)

    def _settle(self, item: Waiting) -> None:
        """Make the account agree with the record as it is here now."""
        record = self._store.here(item.record)
        if record is None:
            self._follow(item)
            return
        if known := self._outbox.remote_id(item.record, item.public):
            file = self._api.file(known, public=item.public)
            if file is not None:  # it says how the record came to be, which may have changed
                if dict(file.keyvalues) != self._keyvalues(record):
                    self._update(file, record)
                return
            self._outbox.removed(item.record, item.public)  # by somebody
        elif item.attempts and self._found(item, record):
            return
        if item.wanted:
            self._upload(item, record)

    def _follow(self, item: Waiting) -> None:
        """The record is gone here: its file there gets the metadata that it was changed to, or goes as well.

        Files that other machines made of the same record stay, if they did so unbeknown to this one.
        """
        became = self._became(item)
        for file in self._files(item):
            if became is not None and not self._outbox.remote_id(became.id, item.public):
                self._update(file, became)
                self._outbox.sent(became.id, item.public, file.id)
            else:
                self._api.delete(file.id, public=item.public)
        self._outbox.removed(item.record, item.public)

    def _became(self, item: Waiting) -> IpFile | None:
        """The record that stands here for one that was amended, maybe several times."""
        seen, id = {item.record}, item.became
        while id and id not in seen:
            if (record := self._store.here(id)) is not None:
                return record
            seen.add(id)
            id = self._outbox.successor(id, item.public)
        return None

    def _files(self, item: Waiting) -> list[PinataFile]:
        """The files of a record that is gone here, as far as it is known here that they were made."""
        made_by = {""}  # the CIDs of provenance with which it was here, or is
        for cid in self._store.claims.ever_on(item.record):
            with contextlib.suppress(StargazerError):
                statements = statements_of(cid, self._store.document(cid))
                made_by |= {statement.made_by for statement in statements if statement.id == item.record}
        ids = {
            file.id
            for file in self._api.files(public=item.public, cid=item.cid)
            if file.as_record().id == item.record and file.keyvalues.get("provenance_cid", "") in made_by
        }
        ids |= {self._outbox.remote_id(item.record, item.public)} - {""}
        # listings are late in both directions
        files = [self._api.file(id, public=item.public) for id in sorted(ids)]
        return [file for file in files if file is not None]

    def _update(self, file: PinataFile, record: IpFile) -> None:
        pairs = self._keyvalues(record)
        gone = dict.fromkeys(file.keyvalues.keys() - pairs.keys())
        self._api.update(file.id, public=file.public, keyvalues={**pairs, **gone})

    def _upload(self, item: Waiting, record: IpFile) -> None:
        file = Upload(
            self._api,
            self._store.read_here(record.cid),
            cid=record.cid,
            name=record.name or record.cid,
            keyvalues=self._keyvalues(record),
            public=item.public,
            url=item.upload_url,
            on_url=lambda url: self._outbox.resumable(item, url),
            progress=lambda done, total: self._progress(record.name, done, total),
        ).run()
        self._outbox.sent(record.id, item.public, file.id)

    def _found(self, item: Waiting, record: IpFile) -> bool:
        """Whether the record's file is on its network already, and if so remember it."""
        files = self._api.files(public=item.public, cid=item.cid)
        same = [file for file in files if file.as_record().id == item.record]
        same.sort(key=lambda file: dict(file.keyvalues) != self._keyvalues(record))
        for file in same[:1]:
            self._outbox.sent(item.record, item.public, file.id)
        return bool(same)

    def _keyvalues(self, record: IpFile) -> dict[str, str]:
        """The metadata of a record there: a provenance document is marked as the store's own word or not."""
        if record.keyvalues.get("asset") != "provenance":
            return dict(record.keyvalues)
        return {**record.keyvalues, LEDGER: "own" if self._store.ledger.is_own(record.cid) else "foreign"}
