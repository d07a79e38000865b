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


@attrs.define
class Sender:
    """One turn of sending; one process of a store at a time.

    Attributes:
        down: why nothing more is sent in this turn; empty while something is.
    """

    store: Store
    api: PinataApi
    progress: FileProgress | None = None
    down: str = ""

    def send(self) -> Sent:
        """Send everything that waits; one that is refused does not keep the others, a service that is down does."""
        outbox = self.store.outbox
        with outbox_turn(self.store.root):
            before = outbox.waiting()
            for rank in (0, 1):
                waiting = outbox.waiting()
                files = [self.store.here(item.record) for item in waiting if item.rank == 0] if rank else []
                # the provenance of files that are still to come
                held = {file.keyvalues.get("provenance_cid", "") for file in files if file is not None}
                groups: dict[str, list[Waiting]] = {}  # those of the same bytes follow one another
                for item in waiting:
                    if item.rank == rank and item.cid not in held:
                        groups.setdefault(item.cid, []).append(item)
                each(self._try, groups.values(), AT_ONCE, "stargazer-send")
            still = {item.number: item for item in outbox.waiting()}
        left = [still[item.number] for item in before if item.number in still]
        # provenance without an error waits for files that somebody enqueued meanwhile, and sends
        failed = any(item.error for item in left)
        told = [attrs.evolve(item, error=item.error or self.down) for item in left] if failed else []
        return Sent(len(before) - len(left), told)

    def _try(self, items: Sequence[Waiting]) -> None:
        for item in items:
            if self.down:
                return
            self.store.outbox.note(item, "attempts", item.attempts + 1)
            try:
                self._settle(item)
            except StargazerError as error:
                if isinstance(error, Unavailable) or getattr(error, "status", 0) == NOT_US:
                    self.down = str(error)
                self.store.outbox.note(item, "error", str(error))
            else:
                self.store.outbox.done(item)

    def _settle(self, item: Waiting) -> None:
        """Make the account agree with the record as it is here now."""
        record = self.store.here(item.record)
        if record is None:
            self._follow(item)
            return
        if known := self.store.outbox.networks(item.record).get(item.public):
            file = self.api.file(known, public=item.public)
            if file is not None:
                self._update(file, record)
                return
            self.store.outbox.removed(item.record, item.public)  # by somebody
        elif item.attempts and (files := self._listed(item)):
            file = min(files, key=lambda file: file.keyvalues != self._keyvalues(record))
            self.store.outbox.sent(item.record, item.public, file.id)
            return
        if item.wanted:
            self._upload(item, record)

    def _follow(self, item: Waiting) -> None:
        """The record is gone here: its file there gets the metadata that it was changed to, or goes as well.

        Files that other machines made of the same record stay, if they did so unbeknown to this one.
        """
        outbox, became = self.store.outbox, self._became(item)
        made_by = {""}  # the CIDs of provenance with which it was here, or is
        for cid in self.store.claims.ever_on(item.record):
            with contextlib.suppress(StargazerError):
                statements = statements_of(cid, self.store.document(cid))
                made_by |= {statement.made_by for statement in statements if statement.id == item.record}
        listed = self._listed(item)
        ids = {file.id for file in listed if file.keyvalues.get("provenance_cid", "") in made_by}
        for id in sorted(ids | {outbox.networks(item.record).get(item.public, "")} - {""}):
            file = self.api.file(id, public=item.public)
            if file is None:  # listings are late in both directions
                continue
            if became is not None and item.public not in outbox.networks(became.id):
                self._update(file, became)
                outbox.sent(became.id, item.public, file.id)
            else:
                self.api.delete(file.id, public=item.public)
        outbox.removed(item.record, item.public)

    def _became(self, item: Waiting) -> IpFile | None:
        """The record that stands here for one that was amended, maybe several times."""
        seen, id = {"", item.record}, item.became
        while id not in seen:
            if (record := self.store.here(id)) is not None:
                return record
            seen.add(id)
            id = self.store.outbox.successor(id, item.public)
        return None

    def _listed(self, item: Waiting) -> list[PinataFile]:
        """The record's files on its network, whoever made them."""
        files = self.api.files(public=item.public, cid=item.cid)
        return [file for file in files if file.as_record().id == item.record]

    def _update(self, file: PinataFile, record: IpFile) -> None:
        """Let a file say what the record does, also of how it came to be, which may have changed."""
        pairs = self._keyvalues(record)
        if pairs != file.keyvalues:
            gone = dict.fromkeys(file.keyvalues.keys() - pairs.keys())
            self.api.update(file.id, public=file.public, keyvalues={**pairs, **gone})

    def _upload(self, item: Waiting, record: IpFile) -> None:
        file = Upload(
            self.api,
            self.store.read_here(record.cid),
            cid=record.cid,
            name=record.name or record.cid,
            keyvalues=self._keyvalues(record),
            public=item.public,
            url=item.upload_url,
            on_url=lambda url: self.store.outbox.note(item, "upload_url", url),
            progress=lambda done, total: self.progress and self.progress(record.name, done, total),
        ).run()
        self.store.outbox.sent(record.id, item.public, file.id)

    def _keyvalues(self, record: IpFile) -> dict[str, str]:
        """The metadata of a record there: a provenance document is marked as the store's own word or not."""
        if record.keyvalues.get("asset") != "provenance":
            return dict(record.keyvalues)
        return {**record.keyvalues, LEDGER: "own" if self.store.ledger.is_own(record.cid) else "foreign"}
