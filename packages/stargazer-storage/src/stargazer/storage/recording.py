"""Writing down what is known of files: records, and the provenance documents that say how they came to be."""

from __future__ import annotations

import contextlib
import datetime
import functools
import getpass
import os
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer.assets import AssetNotFoundError, IpFile, StorageError, provenance, record_id
from stargazer.assets.provenance import (
    Amendment,
    Document,
    Entry,
    Execution,
    Import,
    Retraction,
    Supersession,
)
from stargazer.storage import memo, outbox, superseding, verified
from stargazer.storage.arrivals import arriving
from stargazer.storage.lineage import dependencies
from stargazer.storage.objects import StoredObject
from stargazer.storage.reading import StoreReader
from stargazer.storage.statements import Statement, edges_of, ended_by, statements_of, time_of

if TYPE_CHECKING:
    import sqlite3

__all__ = ["NOTE", "StoreRecorder", "account", "is_note", "now"]

NOTE = "note"
"""The kind of an import without files: it says which documents are somebody else's, and which are trusted."""

MOST_KEPT = 100_000
"""Statements of documents that are kept while records are settled anew."""

_STANDING = """
SELECT document, at, EXISTS(SELECT 1 FROM edges WHERE cid = document AND role = 'foreign') AS foreign_word
FROM claims WHERE record = ? AND NOT ended ORDER BY foreign_word, at, document
"""


def now() -> str:
    """The time as every record holds it: ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def is_note(document: Document) -> bool:
    """Whether a document says only which documents are somebody else's, and which are trusted."""
    return isinstance(document, Import) and not document.files


def account() -> str:
    """Who is at work: the name of the operating system's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class StoreRecorder(StoreReader):
    """What every change of a store is made of."""

    @functools.cached_property
    def _kept_statements(self) -> dict[str, dict[str, Statement]]:
        return {}

    def _arriving(self) -> contextlib.AbstractContextManager[list[StoredObject]]:
        """A list for the objects of one change, which are removed again if it fails."""
        return arriving(self.root, self.objects, lambda: self.index)

    def write_document(self, document: Document, arrived: list[StoredObject]) -> StoredObject:
        """A provenance document as an object, which is added to those that arrived.

        Raises:
            StorageError: the store cannot take it.
        """
        path = self.objects.new_temporary()
        try:
            path.write_bytes(provenance.dump(document))
            arrived.append(self.objects.adopt(path))
        except StorageError:
            raise
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StorageError(f"the store {str(self.root)!r} cannot save provenance: {reason}") from error
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return arrived[-1]

    def _existing(self, ipfile: IpFile) -> IpFile:
        """The record as it is now."""
        current = self.get(ipfile.id or record_id(ipfile.cid, ipfile.keyvalues))
        if current is None:
            raise AssetNotFoundError(f"no record {ipfile.id or ipfile.cid!r} in the store {str(self.root)!r}")
        return current

    # inside a transaction

    def _apply(
        self,
        stored: StoredObject,
        document: Document,
        *,
        live: bool = True,
        public: Mapping[str, bool | None] = types.MappingProxyType({}),
    ) -> dict[str, IpFile]:
        """Let a document take effect: its own record, its edges, its claims, the records that follow, the memo.

        Documents may come in any order; one that has taken effect before changes nothing.

        Args:
            live: it was written just now, so that others may have to be told.
            public: of records by id, whether they are to be public where that has a meaning.

        Returns:
            The records that it claims, as far as they stand, by id.
        """
        statements = {statement.id: statement for statement in statements_of(stored.cid, document)}
        at = time_of(document)
        with self.index.transaction() as connection:
            verified.remember(connection, [stored])
            own = _document_entry(stored, document)
            if not self._documents([own.id]):
                self._insert([own], stored.cid)
                connection.executemany(
                    "INSERT INTO edges(cid, role, provenance_cid) VALUES(?, ?, ?)",
                    [(*edge, stored.cid) for edge in edges_of(document)],
                )
            superseding.note(connection, stored.cid, document)
            dependencies.note(connection, stored.cid, document)
            memo.note(connection, stored.cid, document)
            connection.executemany(
                "INSERT INTO claims VALUES(?, ?, ?, 0) ON CONFLICT DO UPDATE SET at = excluded.at",
                [(id, stored.cid, at) for id in statements],
            )
            connection.executemany(
                "INSERT INTO claims VALUES(?, ?, '', 1) ON CONFLICT DO UPDATE SET ended = 1",
                ended := ended_by(document),
            )
            if isinstance(document, Amendment):
                self._give_place(document.record, statements, stored.cid)
            records = self._settle(connection, statements, stored.cid)
            touched = [record for record, _ in ended]
            if isinstance(document, Import):
                touched += [record for cid in document.foreign for record in _claimed(connection, cid)]
            for record in dict.fromkeys(touched):
                self._resettle(connection, record)
            if live:
                self._took_effect(connection, own.id, stored.cid, document, records, public)
        return records

    def _took_effect(
        self,
        connection: sqlite3.Connection,
        id: str,
        cid: str,
        document: Document,
        records: Mapping[str, IpFile],
        public: Mapping[str, bool | None],
    ) -> None:
        """Called within the transaction in which a document that was written just now takes effect.

        Args:
            id, cid: of the document's record.
            records: that it claims, by id.

        What becomes of a record that is in an account waits to be told there, also while there is no token.
        """
        if not isinstance(document, Amendment | Retraction | Supersession):
            return
        if outbox.remote_ids(connection, [document.record]):
            if isinstance(document, Amendment | Retraction):
                self._follow(connection, document, records)
            outbox.enqueue(connection, id, cid, public=False, rank=1)

    def _follow(
        self, connection: sqlite3.Connection, document: Amendment | Retraction, records: Mapping[str, IpFile]
    ) -> None:
        """A record is changed or removed there too, wherever it is; what replaces it belongs where it was to be."""
        became = next(iter(records), "")
        networks = [
            public for public in (False, True) if outbox.is_known(connection, document.record, public)
        ]
        for public in (False, True):
            outbox.enqueue(
                connection, document.record, document.cid, public=public, wanted=False, became=became
            )
        for public in networks if became else ():
            outbox.enqueue(connection, became, document.cid, public=public, doubtful=True)

    def _settle(
        self, connection: sqlite3.Connection, statements: Mapping[str, Statement], document: str
    ) -> dict[str, IpFile]:
        """The records that a document claims: made if they are missing, unless the claim was ended before it came."""
        sql = "SELECT record FROM claims WHERE document = ? AND ended"
        ended = (
            {record for (record,) in connection.execute(sql, (document,)).fetchall()} if statements else ()
        )
        wanted = {id: statement for id, statement in statements.items() if id not in ended}
        present = self._documents(wanted)
        made = self._insert([wanted[id] for id in wanted if id not in present], document)
        for id in present:
            self._resettle(connection, id)
        again = self._documents(present) if present else {}
        return {id: self._ipfile({**again, **made}[id]) for id in wanted}

    def _give_place(self, record: str, statements: Mapping[str, Statement], document: str) -> None:
        """Let what a record was amended to have its place, unless either is elsewhere already."""
        from tinydb import where

        if self._claimants(record) or self._documents(statements):
            return
        for id, statement in statements.items():
            if document in self._claimants(id):  # else it was amended again, or taken back
                self.index.table("records").update(_row(statement, document), where("id") == record)

    def _resettle(self, connection: sqlite3.Connection, record: str) -> None:
        """Let a record follow the earliest claim on it that stands, our own first; it goes if there is none."""
        from tinydb import where

        standing = connection.execute(_STANDING, (record,)).fetchall()
        first = standing[0] if standing else None
        records = self.index.table("records")
        current = records.get(where("id") == record)
        if current and first and current.get("stated_by") in [*_earliest(standing), None]:
            return
        if current:
            records.remove(where("id") == record)
        if first:
            claimed = self._statements(first[0]).get(record)
            self._insert([claimed] if claimed else [], first[0])

    def _statements(self, document: str) -> Mapping[str, Statement]:
        """What a document claims, by record; read once for many records that follow it."""
        kept = self._kept_statements
        if document not in kept:
            kept[document] = {item.id: item for item in statements_of(document, self.document(document))}
            while len(kept) > 1 and sum(map(len, kept.values())) > MOST_KEPT:
                del kept[next(iter(kept))]
        return kept[document]

    def _insert(self, statements: Iterable[Statement], document: str) -> dict[str, dict[str, Any]]:
        """New records of what a document claims, by id."""
        new = {statement.id: _row(statement, document) for statement in statements}
        if new:
            self.index.table("records").insert_multiple(new.values())
        return new


def _earliest(claims: Sequence[tuple[str, str, int]]) -> list[str]:
    """The documents of those claims (document, time, whether it is foreign) that are as early as the first."""
    return [document for document, *rank in claims if rank == list(claims[0][1:])]


def _claimed(connection: sqlite3.Connection, document: str) -> list[str]:
    """The ids of the records that a document claims."""
    sql = "SELECT record FROM claims WHERE document = ?"
    return [record for (record,) in connection.execute(sql, (document,)).fetchall()]


def _row(statement: Statement, document: str) -> dict[str, Any]:
    """A record as the index keeps it."""
    made = {"provenance_cid": statement.made_by} if statement.made_by else {}
    return {
        "id": statement.id,
        "cid": statement.file.cid,
        "name": statement.file.name,
        "size": statement.file.size,
        "created_at": statement.created_at or now(),
        "keyvalues": {**statement.file.keyvalues, **made},
        "stated_by": document,
    }


def _document_entry(stored: StoredObject, document: Document) -> Statement:
    """The record of a provenance document itself."""
    kind = NOTE if is_note(document) else type(document).__name__.lower()
    pairs = {"asset": "provenance", "kind": kind}
    if isinstance(document, Execution):
        pairs |= {"task": document.task} | ({"run_key": document.run_key} if document.run_key else {})
    file = Entry(cid=stored.cid, keyvalues=pairs, name=f"{kind}.json", size=stored.size)
    return Statement(file, time_of(document), "")
