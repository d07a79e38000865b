"""The outbox of a store: records whose state here is still to be made true in the account, and what is there.

An entry names a record and a network and says nothing of what to do: whoever sends it looks at the record as it is
then. So an entry may be handled twice, by anybody, after any crash. Only one that is `wanted` puts a record where it
is not yet. A change of a record that is in an account is enqueued in its own transaction, token or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import attrs
from stargazer.assets.provenance import Change, Document, Execution, Supersession
from stargazer.storage.ledger.claims import document_record

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage.index.records import Index

__all__ = ["PUBLIC", "Account", "Outbox", "Sent", "Waiting"]

PUBLIC = "SELECT record FROM remote WHERE public"
"""SQL of the ids of the records that are known to be on the public network."""


@attrs.frozen
class Waiting:
    """A record that is to be made true on one network of the account.

    Attributes:
        rank: 0 for files, 1 for provenance, which goes last: it says that the files are complete.
        wanted: the record is to be on this network; else only what is there of it already follows it.
        became: the id under which a record that was amended went on.
        attempts: how often it was begun; after the first, the service is asked what it has.
        error: why the last attempt failed.
        upload_url: of an upload that was cut, to go on with.
        number: its place, a new one each time it was enqueued.
    """

    record: str
    public: bool = attrs.field(converter=bool)
    cid: str
    rank: int
    wanted: bool = attrs.field(converter=bool)
    became: str
    attempts: int
    error: str
    upload_url: str
    number: int


class Account(Protocol):
    """What an account takes.

    Attributes:
        publishes: what is added goes to the public network unless it is said.
        sends_results: what a task makes is sent before the task ends, for the next one may run elsewhere.
    """

    publishes: bool
    sends_results: bool


@attrs.frozen
class Sent:
    """What came of sending.

    Attributes:
        count: entries of the outbox that are done.
        left: those that are not, with why. What was enqueued meanwhile is not counted.
    """

    count: int
    left: list[Waiting]


class Outbox:
    """The upload queue of a store and the file ids of its records in the account, in two tables of the index.

    Its methods may be called within a transaction of the index, and are then part of it.
    """

    def __init__(self, index: Index):
        self._index = index

    def enqueue(
        self,
        record: str,
        cid: str,
        *,
        public: bool,
        rank: int = 0,
        wanted: bool = True,
        became: str = "",
        doubtful: bool = False,
    ) -> None:
        """Let a record wait; one that waits already goes to the end, so that nobody at work on it takes it for done.

        `doubtful`: the service may have it already.
        """
        self._write(
            "INSERT INTO outbox(record, public, cid, rank, wanted, became, attempts, error, upload_url) "
            "VALUES(?, ?, ?, ?, ?, ?, ?, '', '') ON CONFLICT DO UPDATE SET wanted = excluded.wanted, "
            "became = excluded.became, attempts = max(attempts, excluded.attempts), "
            "number = (SELECT max(number) + 1 FROM outbox)",
            record, public, cid, rank, wanted, became, int(doubtful),
        )  # fmt: skip

    def enqueue_missing(self, record: IpFile, *, public: bool) -> None:
        """Let a record wait that is neither known to be on a network nor waits to be: the service may have it."""
        if public not in self.networks(record.id, wanted=True):
            rank = int(record.keyvalues.get("asset") == "provenance")
            self.enqueue(record.id, record.cid, public=public, rank=rank, doubtful=True)

    def enqueue_effect(
        self,
        cid: str,
        document: Document,
        records: Mapping[str, IpFile],
        public: Mapping[str, bool | None],
        account: Account | None,
    ) -> None:
        """Let what a new document says wait to be sent: to the account, or of a record that is in one, token or not.

        Args:
            cid: of the document.
            records: that it claims, by id.
            public: of records by id, whether they are to be public; else as the account has it.
        """
        if isinstance(document, Change):
            if account is not None or self.networks(document.record):
                self.enqueue_change(cid, document, next(iter(records), ""))
        elif account is not None:
            is_run = isinstance(document, Execution)  # what tasks make is never public
            for record in records.values() if account.sends_results or not is_run else ():
                wanted = public.get(record.id)
                publish = account.publishes and not is_run if wanted is None else wanted
                self.enqueue(record.id, record.cid, public=publish)
            self.enqueue(document_record(cid, document).id, cid, public=False, rank=1)

    def enqueue_change(
        self,
        cid: str,
        document: Change,
        became: str,
        *,
        doubtful: bool = False,
    ) -> None:
        """Let a change wait: its record follows it wherever it is; what it became belongs where it was to be."""
        with self._index.transaction():
            if not isinstance(document, Supersession):
                networks = self.networks(document.record, wanted=True)
                for public in (False, True):
                    self.enqueue(document.record, document.cid, public=public, wanted=False, became=became)
                for public in networks if became else ():
                    self.enqueue(became, document.cid, public=public, doubtful=True)
            id = document_record(cid, document).id
            self.enqueue(id, cid, public=False, rank=1, doubtful=doubtful)

    def waiting(self) -> list[Waiting]:
        """Everything that waits, in the order in which it is to be sent."""
        columns = ", ".join(attrs.fields_dict(Waiting))
        return [
            Waiting(*row) for row in self._index.rows(f"SELECT {columns} FROM outbox ORDER BY rank, number")
        ]

    def successor(self, record: str, public: bool) -> str:
        """The id under which a record that was amended went on, as far as that waits to be told; else empty."""
        rows = self._index.rows("SELECT became FROM outbox WHERE record = ? AND public = ?", record, public)
        return "".join(became for (became,) in rows)

    def note(self, item: Waiting, column: str, value: object) -> None:
        """Keep what came of an attempt with an entry, also with one that was enqueued again meanwhile."""
        sql = f"UPDATE outbox SET {column} = ? WHERE record = ? AND public = ?"
        self._write(sql, value, item.record, item.public)

    def done(self, item: Waiting) -> None:
        """Nothing is left to do for a record, unless it was enqueued again meanwhile."""
        self._write("DELETE FROM outbox WHERE number = ?", item.number)

    def sent(self, record: str, public: bool, file_id: str) -> None:
        """A record is in the account under this file id."""
        self._write("INSERT OR REPLACE INTO remote VALUES(?, ?, ?)", record, public, file_id)

    def removed(self, record: str, public: bool) -> None:
        """A record is not in the account any more."""
        self._write("DELETE FROM remote WHERE record = ? AND public = ?", record, public)

    def networks(self, record: str, *, wanted: bool = False) -> dict[bool, str]:
        """The networks, public or not, on which a record is known to be, with the id of its file there.

        Args:
            wanted: those too on which it waits to be.
        """
        sql = "SELECT public, file_id FROM remote WHERE record = ?1"
        if wanted:
            sql += " UNION SELECT public, '' FROM outbox WHERE wanted AND record = ?1"
        return {bool(public): file_id for public, file_id in self._index.rows(sql, record)}

    def _write(self, sql: str, *values: object) -> None:
        with self._index.transaction() as connection:
            connection.execute(sql, values)
