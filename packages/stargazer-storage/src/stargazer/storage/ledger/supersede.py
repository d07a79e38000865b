"""Superseded records: which ones others took the place of, as supersessions and amendments say in any order.

A supersession holds until a later one that knew of it ends it. What a superseded record is amended into is superseded
as well, for its file is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from stargazer.assets import record_id
from stargazer.assets.provenance import Amendment, Supersession

if TYPE_CHECKING:
    import sqlite3

__all__ = ["hidden", "note", "selected", "standing", "successor"]


_BEFORE = """
WITH RECURSIVE before(record) AS (
    VALUES(?) UNION SELECT amended.record FROM amended JOIN before ON amended.became = before.record)
SELECT document, successor FROM superseded JOIN before USING(record) WHERE NOT ended ORDER BY at, document
"""

_HIDDEN = """
WITH RECURSIVE hidden(record) AS (
    SELECT record FROM superseded WHERE NOT ended
    UNION SELECT amended.became FROM amended JOIN hidden ON amended.record = hidden.record)
SELECT record FROM hidden
"""

_FEW = 8  # records that are looked up one by one


def note(connection: sqlite3.Connection, cid: str, document: Amendment | Supersession) -> None:
    """Let a document with this CID count, within a transaction; one that counts already changes nothing."""
    match document:
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
        case Amendment():
            connection.execute(
                "INSERT OR IGNORE INTO amended VALUES(?, ?)",
                (document.record, record_id(document.cid, document.keyvalues)),
            )


def hidden(connection: sqlite3.Connection) -> set[str]:
    """The ids of all records that are superseded now."""
    return {record for (record,) in connection.execute(_HIDDEN).fetchall()}


def selected(
    connection: sqlite3.Connection, records: Iterable[Mapping[str, Any]], superseded: str | None
) -> list[Mapping[str, Any]]:
    """Those records that are superseded, if that is `true`; those that are not, if it is anything else but None."""
    if superseded is None:
        return list(records)
    records = list(records)
    few = [record["id"] for record in records] if len(records) <= _FEW else []
    passed_over = {id for id in few if standing(connection, id)} if few else hidden(connection)
    return [record for record in records if (record["id"] in passed_over) == (superseded == "true")]


def standing(connection: sqlite3.Connection, record: str) -> list[str]:
    """The CIDs of the supersessions by which a record is superseded now, in a fixed order."""
    return [document for document, _ in connection.execute(_BEFORE, (record,)).fetchall()]


def successor(connection: sqlite3.Connection, record: str) -> str:
    """The id of the record to use instead; empty if a record is not superseded."""
    found = connection.execute(_BEFORE, (record,)).fetchall()
    return str(found[-1][1]) if found else ""
