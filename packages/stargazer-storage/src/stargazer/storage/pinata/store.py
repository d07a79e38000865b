"""The local store of an account at Pinata: what is registered here goes there, and what is there is found here.

Everything happens here first, in one transaction, together with an entry of the outbox. Sending comes after: when it
fails, nothing is lost and nothing else fails.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets import Asset, IpFile, StorageError
from stargazer.assets.provenance import Amendment, Document, Execution, Retraction, Supersession
from stargazer.storage import outbox
from stargazer.storage.pinata.finding import AccountReader
from stargazer.storage.pinata.sending import Progress, Sender, Sent
from stargazer.storage.statements import statements_of
from stargazer.storage.store import Addition

if TYPE_CHECKING:
    import sqlite3

    from stargazer.storage.pinata.api import PinataApi

__all__ = ["PinataStore"]


class PinataStore(AccountReader):
    """A local store that an account at Pinata completes.

    Args:
        root, index, api, gateway, token, private_gateway: of what it reads (see `AccountReader`).
        public: whether what is added goes to the public network unless it is said.
        everything: what a task makes is sent before the task ends, for the next one may run elsewhere.
    """

    def __init__(
        self,
        root: Path,
        index: Path | None,
        api: PinataApi,
        *,
        gateway: str,
        token: str = "",
        private_gateway: str = "",
        public: bool = False,
        everything: bool = False,
    ):
        super().__init__(root, index, api, gateway=gateway, token=token, private_gateway=private_gateway)
        self._public, self._everything = public, everything

    @property
    def publishes(self) -> bool:
        """Whether what is added and pushed goes to the public network unless it is said."""
        return self._public

    def add(self, additions: Iterable[Addition], command: str = "add") -> list[IpFile]:
        """Register files here, then send them; what cannot be sent now waits (see `waiting`)."""
        additions = list(additions)
        records = super().add(additions, command)
        with self.index.transaction() as connection:
            for record, item in zip(records, additions, strict=True):
                public = self._public if item.public is None else item.public
                if not outbox.is_known(connection, record.id, public):  # it was here before
                    outbox.enqueue(connection, record.id, record.cid, public=public, doubtful=True)
        self._send_what_can_be()
        return [self._with_network(record) for record in records]

    def commit(self, execution: Execution, outputs: Sequence[tuple[str, Asset]]) -> Execution:
        """Register what an execution made; in the cloud it is also sent, and an error if it cannot be."""
        made = super().commit(execution, outputs)
        if self._everything and (left := self.send().left):
            raise StorageError(
                f"{execution.task}: its results are not on Pinata, where the next task would look for them:\n"
                + "\n".join(f"  {item.record}: {item.error}" for item in left)
            )
        return made

    def amend(self, ipfile: IpFile, keyvalues: Mapping[str, str | None]) -> IpFile:
        """Change metadata here, then there."""
        record = super().amend(self._here(ipfile), keyvalues)
        self._send_what_can_be()
        return self._with_network(record)

    def retract(self, ipfile: IpFile) -> None:
        """Remove a record here, then there."""
        super().retract(self._here(ipfile))
        self._send_what_can_be()

    def supersede(self, old: IpFile, new: IpFile, reason: str = "") -> None:
        """Let another record stand for one here, and tell the account."""
        super().supersede(self._here(old), self._here(new), reason)
        self._send_what_can_be()

    def reinstate(self, record: IpFile, reason: str = "") -> None:
        """Let a superseded record count again here, and tell the account."""
        super().reinstate(record, reason)
        self._send_what_can_be()

    def hand_over(self, records: Iterable[IpFile]) -> None:
        """Send the results of what somebody started, with everything that says how they were made."""
        self.enqueue(records, public=False)
        self._send_what_can_be()

    def enqueue(self, records: Iterable[IpFile], *, public: bool) -> None:
        """Let records wait to be sent, with the provenance that leads to them, as far as either is not there."""
        records = list(records)
        documents = self.explaining(records)
        roles = ("foreign", "trusted")
        documents += [note for cid in documents for role in roles for note in self.documents(cid, role)]
        own = [
            document for cid in documents for document in self._search({"asset": "provenance", "cid": cid})
        ]
        with self.index.transaction() as connection:
            for rank, network, several in ((0, public, records), (1, False, own)):
                for record in several:
                    if not outbox.is_known(connection, record.id, network):
                        outbox.enqueue(
                            connection, record.id, record.cid, public=network, rank=rank, doubtful=True
                        )

    def waiting(self) -> list[outbox.Waiting]:
        """What is not on Pinata yet."""
        with self.index.reading() as connection:
            return outbox.waiting(connection)

    def send(self, progress: Progress | None = None) -> Sent:
        """Send everything that waits, as far as the service takes it; another process at it is waited for."""
        try:
            return Sender(self, progress).send()
        finally:
            self.listing.forget()

    def _send_what_can_be(self) -> None:
        sent = self.send()
        if sent.left:
            count = f"{len(sent.left)} of {sent.count + len(sent.left)} files"
            warnings.warn(
                f"{count} are not on Pinata yet ({sent.left[0].error}); they are safe here, "
                "and `stargazer push` sends them",
                stacklevel=3,
            )

    def _took_effect(
        self,
        connection: sqlite3.Connection,
        id: str,
        cid: str,
        document: Document,
        records: Mapping[str, IpFile],
        public: Mapping[str, bool | None],
    ) -> None:
        if isinstance(document, Amendment | Retraction):
            self._follow(connection, document, records)
        elif self._everything or not isinstance(document, Execution):
            for record in records.values():
                wanted = public.get(record.id)
                outbox.enqueue(
                    connection,
                    record.id,
                    record.cid,
                    public=self._public_files(document) if wanted is None else wanted,
                )
        outbox.enqueue(connection, id, cid, public=False, rank=1)

    def _public_files(self, document: Document) -> bool:
        """Whether a document's files are public unless it is said: what tasks make never is."""
        return self._public and not isinstance(document, Execution)

    def replay(self, cids: Iterable[str]) -> int:
        """As every store does; changes of our own that the account has not seen wait to be sent."""
        fresh = [cid for cid in dict.fromkeys(cids) if not self.is_registered(cid)]
        count = super().replay(fresh)
        if own := [cid for cid in fresh if not self.is_foreign(cid)]:
            self._follow_again(own)
        return count

    def _follow_again(self, cids: Iterable[str]) -> None:
        """Let changes wait that were written down but not enqueued, or were forgotten with an index."""
        there: set[str] = set()
        with self._reachable():
            there = set(self.listing.documents())
        for cid in cids:
            document = self.document(cid) if cid not in there else None
            if isinstance(document, Supersession):
                self._enqueue_document(cid)
            elif isinstance(document, Amendment | Retraction):
                ids = [statement.id for statement in statements_of(cid, document)]
                records = {id: record for id in ids if (record := self.here(id))}
                with self.index.transaction() as connection:
                    self._follow(connection, document, records)
                    self._enqueue_document(cid)

    def _enqueue_document(self, cid: str) -> None:
        (own,) = self._search({"asset": "provenance", "cid": cid})
        with self.index.transaction() as connection:
            outbox.enqueue(connection, own.id, cid, public=False, rank=1, doubtful=True)
