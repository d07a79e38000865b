"""The durable upload queue: records whose state here is still to be made true on Pinata.

An entry names a record and a network and says nothing of what to do: whoever sends it looks at the record as it is
then. So an entry may be handled twice, by anybody, after any crash. Only one that is `wanted` puts a record where it
is not yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Waiting", "enqueue", "failed", "is_known", "remote_id", "remote_ids", "removed", "resumable",
           "sent", "settled", "started", "successor", "waiting"]  # fmt: skip


@attrs.frozen
class Waiting:
    """A record that is to be made true on one of Pinata's networks.

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
    public: bool
    cid: str
    rank: int
    wanted: bool
    became: str
    attempts: int
    error: str
    upload_url: str
    number: int


def enqueue(
    connection: sqlite3.Connection,
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
    connection.execute(
        "INSERT INTO outbox(record, public, cid, rank, wanted, became, attempts, error, upload_url) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, '', '') ON CONFLICT DO UPDATE SET wanted = excluded.wanted, "
        "became = excluded.became, attempts = max(attempts, excluded.attempts), "
        "number = (SELECT max(number) + 1 FROM outbox)",
        (record, public, cid, rank, wanted, became, int(doubtful)),
    )


def waiting(connection: sqlite3.Connection) -> list[Waiting]:
    """Everything that waits, in the order in which it is to be sent."""
    columns = "record, public, cid, rank, wanted, became, attempts, error, upload_url, number"
    sql = f"SELECT {columns} FROM outbox ORDER BY rank, number"
    return [
        Waiting(record, bool(public), cid, rank, bool(wanted), *rest)
        for record, public, cid, rank, wanted, *rest in connection.execute(sql).fetchall()
    ]


def is_known(connection: sqlite3.Connection, record: str, public: bool) -> bool:
    """Whether a record is on a network, or waits to be."""
    for table in ("remote WHERE", "outbox WHERE wanted AND"):
        sql = f"SELECT 1 FROM {table} record = ? AND public = ?"
        if connection.execute(sql, (record, public)).fetchone():
            return True
    return False


def successor(connection: sqlite3.Connection, record: str, public: bool) -> str:
    """The id under which a record that was amended went on, as far as that waits to be told; else empty."""
    sql = "SELECT became FROM outbox WHERE record = ? AND public = ?"
    row = connection.execute(sql, (record, public)).fetchone()
    return row[0] if row else ""


def started(connection: sqlite3.Connection, item: Waiting) -> None:
    """An attempt begins: whoever comes after knows that the service may have the file already."""
    connection.execute(
        "UPDATE outbox SET attempts = attempts + 1 WHERE record = ? AND public = ?",
        (item.record, item.public),
    )


def failed(connection: sqlite3.Connection, item: Waiting, error: str) -> None:
    """An attempt failed."""
    connection.execute(
        "UPDATE outbox SET error = ? WHERE record = ? AND public = ?", (error, item.record, item.public)
    )


def resumable(connection: sqlite3.Connection, item: Waiting, url: str) -> None:
    """An upload has a URL at which it can be continued."""
    connection.execute(
        "UPDATE outbox SET upload_url = ? WHERE record = ? AND public = ?", (url, item.record, item.public)
    )


def settled(connection: sqlite3.Connection, item: Waiting) -> None:
    """Nothing is left to do for a record, unless it was enqueued again meanwhile."""
    connection.execute("DELETE FROM outbox WHERE number = ?", (item.number,))


def sent(connection: sqlite3.Connection, record: str, public: bool, file_id: str) -> None:
    """A record is on Pinata under this file id."""
    connection.execute("INSERT OR REPLACE INTO remote VALUES(?, ?, ?)", (record, public, file_id))


def removed(connection: sqlite3.Connection, record: str, public: bool) -> None:
    """A record is not on Pinata any more."""
    connection.execute("DELETE FROM remote WHERE record = ? AND public = ?", (record, public))


def remote_id(connection: sqlite3.Connection, record: str, public: bool) -> str:
    """The file id of a record on one network; empty if it is not known to be there."""
    sql = "SELECT file_id FROM remote WHERE record = ? AND public = ?"
    row = connection.execute(sql, (record, public)).fetchone()
    return row[0] if row else ""


def remote_ids(connection: sqlite3.Connection, records: Iterable[str]) -> dict[str, list[tuple[bool, str]]]:
    """Where each of these records is known to be: network (public or not) and file id."""
    found: dict[str, list[tuple[bool, str]]] = {}
    for record in records:
        sql = "SELECT public, file_id FROM remote WHERE record = ?"
        rows = connection.execute(sql, (record,)).fetchall()
        if rows:
            found[record] = [(bool(public), file_id) for public, file_id in rows]
    return found
