"""Which records there are and which are superseded, as it follows from provenance documents.

Every import and execution claims the records of its files, every amendment the record it changes one into; an
amendment or retraction ends the claims that it names. A record is there while one claim on it stands. So what holds
follows from the set of documents alone, in whatever order they are read (an observed-remove set: Shapiro et al.,
Conflict-free Replicated Data Types, 2011).

A supersession holds until a later one that knew of it ends it. What a superseded record is amended into is superseded
as well, for its file is the same.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import record_id
from stargazer.assets.provenance import (
    Amendment,
    Document,
    Entry,
    Execution,
    Import,
    Retraction,
    Supersession,
)
from stargazer.storage.ledger import memo
from stargazer.storage.ledger.documents import Ledger

if TYPE_CHECKING:
    import sqlite3

    from stargazer.storage.index.records import Index

__all__ = ["SUPERSEDED", "Claims", "Statement", "document_record", "edges_of", "ended_by", "is_registered",
           "select_superseded", "statements_of", "successor_of", "supersessions_of", "time_of"]  # fmt: skip

_NO_TIME = "1970-01-01T00:00:00Z"  # of what a document without a time claims
_AT_ONCE = 200  # records asked for by id: each that is found is compared with all that were asked for

_CLAIM = """
INSERT INTO claims VALUES(?, ?, ?, 0) ON CONFLICT DO UPDATE SET at = excluded.at RETURNING ended
"""
_EARLIEST = """
SELECT document FROM (
    SELECT document, rank() OVER (ORDER BY NOT own, at) AS place
    FROM claims JOIN documents ON documents.cid = document WHERE record = ? AND NOT ended)
WHERE place = 1 ORDER BY document
"""

_BEFORE = """
WITH RECURSIVE before(record) AS (
    VALUES(?) UNION SELECT amended.record FROM amended JOIN before ON amended.became = before.record)
SELECT document, successor FROM superseded JOIN before USING(record) WHERE NOT ended ORDER BY at, document
"""

_SUPERSEDED = """
WITH RECURSIVE before(id, record) AS (
    SELECT value, value FROM json_each(?) WHERE EXISTS(SELECT 1 FROM superseded)
    UNION SELECT before.id, amended.record FROM amended JOIN before ON amended.became = before.record)
SELECT DISTINCT before.id FROM superseded JOIN before USING(record) WHERE NOT ended
"""

SUPERSEDED = """
WITH RECURSIVE after(record) AS (
    SELECT record FROM superseded WHERE NOT ended
    UNION SELECT amended.became FROM amended JOIN after USING(record))
SELECT record FROM after
"""
"""SQL of the ids of all records that are superseded, under whatever metadata."""


@attrs.frozen
class Statement:
    """A document's word that there is a record: its file, since when, and what made it."""

    file: Entry
    created_at: str
    made_by: str

    @property
    def id(self) -> str:
        """The record's id."""
        return record_id(self.file.cid, self.file.keyvalues)


def statements_of(cid: str, document: Document) -> Iterator[Statement]:
    """The records that a document with this CID claims."""
    match document:
        case Import(files=files) | Execution(outputs=files):
            for file in files:
                yield Statement(file, time_of(document), cid)
        case Amendment():
            file = Entry(
                cid=document.cid, keyvalues=document.keyvalues, name=document.name, size=document.size
            )
            yield Statement(file, document.created_at or document.at, document.made_by)


def ended_by(document: Document) -> list[tuple[str, str]]:
    """The claims that a document ends, as record and document."""
    if not isinstance(document, Amendment | Retraction):
        return []
    return [(document.record, claimant) for claimant in document.replaces or [document.made_by]]


def edges_of(document: Document) -> list[tuple[str, str]]:
    """The CIDs that a document names, each with its role."""
    match document:
        case Execution():
            edges = [(entry.cid, "input") for entry in document.inputs]
            return edges + [(entry.cid, "output") for entry in document.outputs]
        case Import():
            edges = [(entry.cid, "output") for entry in document.files]
            return edges + [(cid, "trusted") for cid in document.trusted]
        case Amendment():
            return [(document.cid, "amended")]
        case Retraction():
            return [(document.cid, "retracted")]
        case Supersession():
            edges = [(document.cid, "superseded")]
            return edges + ([(document.successor_cid, "superseding")] if document.successor else [])


def time_of(document: Document) -> str:
    """When what a document tells was done."""
    return document.finished if isinstance(document, Execution) else document.at


def is_registered(index: Index, cid: str) -> bool:
    """Whether a provenance document has taken effect."""
    return bool(index.rows("SELECT 1 FROM documents WHERE cid = ?", cid))


@attrs.frozen
class Claims:
    """The records of an index, kept as the documents of a ledger say."""

    index: Index
    ledger: Ledger

    def on(self, record: str) -> list[str]:
        """The documents whose claim on a record stands, in a fixed order."""
        sql = "SELECT document FROM claims WHERE record = ? AND NOT ended ORDER BY at, document"
        return [found for (found,) in self.index.rows(sql, record)]

    def ever_on(self, record: str) -> list[str]:
        """The documents that claim or claimed a record."""
        return [found for (found,) in self.index.rows("SELECT document FROM claims WHERE record = ?", record)]

    def of(self, document: str) -> set[str]:
        """The records on which the claim of a document stands."""
        sql = "SELECT record FROM claims WHERE document = ? AND NOT ended"
        return {record for (record,) in self.index.rows(sql, document)}

    def records(self, ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Those of these records that are there, by id."""
        from tinydb import where

        table, ids = self.index.table("records"), list(ids)
        found: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(ids), _AT_ONCE):
            wanted = where("id").one_of(ids[start : start + _AT_ONCE])
            found |= {record["id"]: record for record in table.search(wanted)}
        return found

    def take_effect(
        self, connection: sqlite3.Connection, cid: str, size: int, document: Document, *, own: bool
    ) -> dict[str, Mapping[str, Any]]:
        """Let a document count, within a transaction: its own record, its edges, its claims, what follows from them.

        Documents may come in any order; one that has taken effect before changes nothing, unless it was somebody
        else's and is the store's own now.

        Args:
            cid, size: of the document; bytes.

        Returns:
            The records that it claims, as far as they stand, by id.
        """
        statements = {statement.id: statement for statement in statements_of(cid, document)}
        ended = ended_by(document)
        is_new = connection.execute("INSERT OR IGNORE INTO documents VALUES(?, ?)", (cid, own)).rowcount > 0
        becomes_own = "UPDATE documents SET own = 1 WHERE cid = ? AND NOT own"
        became_own = own and connection.execute(becomes_own, (cid,)).rowcount > 0
        if is_new:
            _note(connection, cid, document)
        wanted = {
            id: statement
            for id, statement in statements.items()
            for (is_ended,) in connection.execute(_CLAIM, (id, cid, time_of(document))).fetchall()
            if not is_ended
        }
        connection.executemany(
            "INSERT INTO claims VALUES(?, ?, '', 1) ON CONFLICT DO UPDATE SET ended = 1", ended
        )
        if isinstance(document, Amendment):
            self._give_place(document.record, statements, cid)
        present = self.records(wanted)
        own_record = [document_record(cid, document, size)] if is_new else []
        made = self._insert([*own_record, *(wanted[id] for id in wanted if id not in present)], cid)
        touched = [*present, *(record for record, _ in ended), *(statements if became_own else [])]
        for record in dict.fromkeys(touched):
            self._resettle(record)
        records = {**self.records(present), **made}
        return {id: records[id] for id in wanted}

    def _give_place(self, record: str, statements: Mapping[str, Statement], document: str) -> None:
        """Let what a record was amended to have its place, unless either is elsewhere already."""
        from tinydb import where

        if self.on(record) or self.records(statements):
            return
        for id, statement in statements.items():
            if document in self.on(id):  # else it was amended again, or taken back
                self.index.table("records").update(_row(statement, document), where("id") == record)

    def _resettle(self, record: str) -> None:
        """Let a record follow the earliest claim on it that stands, our own first; it goes if there is none."""
        from tinydb import where

        earliest = [document for (document,) in self.index.rows(_EARLIEST, record)]
        table = self.index.table("records")
        current = table.get(where("id") == record)
        if current and earliest and current.get("stated_by") in (*earliest, None):
            return
        if current:
            table.remove(where("id") == record)
        for document in earliest[:1]:
            claimed = _claimed(self.ledger, document).get(record)
            self._insert([claimed] if claimed else [], document)

    def _insert(self, statements: Iterable[Statement], document: str) -> dict[str, dict[str, Any]]:
        """New records of what a document claims, by id."""
        new = {statement.id: _row(statement, document) for statement in statements}
        if new:
            self.index.table("records").insert_multiple(new.values())
        return new


@functools.lru_cache(maxsize=4)
def _claimed(ledger: Ledger, document: str) -> dict[str, Statement]:
    """What a document claims, by record; read once for many records that follow it."""
    return {item.id: item for item in statements_of(document, ledger.read(document))}


def _row(statement: Statement, document: str) -> dict[str, Any]:
    """A record as the index keeps it."""
    made = {"provenance_cid": statement.made_by} if statement.made_by else {}
    return {
        "id": statement.id,
        "cid": statement.file.cid,
        "name": statement.file.name,
        "size": statement.file.size,
        "created_at": statement.created_at or _NO_TIME,
        "keyvalues": {**statement.file.keyvalues, **made},
        "stated_by": document,
    }


def document_record(cid: str, document: Document, size: int = 0) -> Statement:
    """The record of a provenance document itself; of an import without files the kind is `trust` or `check`."""
    kind = type(document).__name__.lower()
    if isinstance(document, Import) and not document.files:
        kind = "trust" if document.trusted else "check"
    pairs = {"asset": "provenance", "kind": kind}
    if isinstance(document, Execution):
        pairs |= {"task": document.task} | ({"run_key": document.run_key} if document.run_key else {})
    return Statement(Entry(cid=cid, keyvalues=pairs, name=f"{kind}.json", size=size), time_of(document), "")


def _note(connection: sqlite3.Connection, cid: str, document: Document) -> None:
    """Note what a new document names, and whether it is an execution, an amendment or a supersession."""
    sql = "INSERT INTO edges(cid, role, provenance_cid) VALUES(?, ?, ?)"
    connection.executemany(sql, [(*edge, cid) for edge in edges_of(document)])
    match document:
        case Execution():
            memo.note(connection, cid, document)
        case Amendment():
            became = record_id(document.cid, document.keyvalues)
            connection.execute("INSERT OR IGNORE INTO amended VALUES(?, ?)", (document.record, became))
        case Supersession():
            if document.successor:
                connection.execute(
                    "INSERT INTO superseded VALUES(?, ?, ?, ?, 0) ON CONFLICT DO UPDATE "
                    "SET record = excluded.record, successor = excluded.successor, at = excluded.at",
                    (cid, document.record, document.successor, document.at),
                )
            connection.executemany(
                "INSERT INTO superseded VALUES(?, '', '', '', 1) ON CONFLICT DO UPDATE SET ended = 1",
                [(replaced,) for replaced in document.replaces],
            )


def select_superseded(
    index: Index, records: Iterable[Mapping[str, Any]], superseded: str | None
) -> list[Mapping[str, Any]]:
    """Those records that are superseded, if that is `true`; those that are not, if it is anything else but None."""
    records = list(records)
    if superseded is None or not records:
        return records
    ids = json.dumps([record["id"] for record in records])
    passed_over = {id for (id,) in index.rows(_SUPERSEDED, ids)}
    return [record for record in records if (record["id"] in passed_over) == (superseded == "true")]


def supersessions_of(index: Index, record: str) -> list[str]:
    """The CIDs of the supersessions by which a record is superseded now, in a fixed order."""
    return [document for document, _ in index.rows(_BEFORE, record)]


def successor_of(index: Index, record: str) -> str:
    """The id of the record to use instead; empty if a record is not superseded."""
    found = index.rows(_BEFORE, record)
    return str(found[-1][1]) if found else ""
