"""Whether an index says what it was told: each record against itself, and all of it against the provenance."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stargazer.assets import StargazerError, record_id
from stargazer.assets.provenance import Document, Execution
from stargazer.storage.ledger import memo
from stargazer.storage.ledger.claims import edges_of, ended_by, statements_of, time_of
from stargazer.storage.maintenance import known

if TYPE_CHECKING:
    import sqlite3

    from stargazer.storage.store import Store

__all__ = ["wrong_documents", "wrong_records"]


def wrong_records(connection: sqlite3.Connection, *, full: bool) -> Iterator[str]:
    """Records whose id does not follow from what they hold, or that searching would not find."""
    sql = "SELECT seq, body FROM docs JOIN tables USING(tid) WHERE name = 'records'"
    rows = dict(connection.execute(sql).fetchall())
    ids = set()
    for body in rows.values():
        record = json.loads(body)
        ids.add(record["id"])
        if record["id"] != record_id(record["cid"], record["keyvalues"]):
            yield f"the record {record['id']!r} is not what it was"
    claims = "SELECT DISTINCT record FROM claims WHERE NOT ended"
    stated = {record for (record,) in connection.execute(claims)}
    if missing := stated - ids:
        yield f"there is no record {min(missing)!r}, and provenance says that there is"
    if full:
        yield from _wrong_terms(connection, rows)


def _wrong_terms(connection: sqlite3.Connection, rows: dict[int, str]) -> Iterator[str]:
    from stargazer.storage.index.conditions import terms_of

    terms: dict[int, set[tuple[str, Any]]] = {}
    sql = "SELECT seq, key, value FROM terms JOIN tables USING(tid) WHERE name = 'records'"
    for seq, key, value in connection.execute(sql):
        terms.setdefault(seq, set()).add((key, value))
    if set(terms) - set(rows):
        yield "terms of records that are not there"
    for seq, body in rows.items():
        if terms_of(json.loads(body)) != terms.get(seq, set()):
            yield f"a record's terms are not those of the record: {json.loads(body)['id']!r}"


def wrong_documents(store: Store) -> Iterator[str]:
    """Where the index differs from a provenance document that has taken effect and can be read."""
    with store.index.reading() as connection:
        cids = sorted(known.known_documents(connection))
    for cid in cids:
        try:
            document = store.document(cid)
        except StargazerError:  # missing or damaged: another matter
            continue
        with store.index.reading() as connection:
            if not _is_told(connection, cid, document):
                yield f"it does not say what the provenance {cid} says"


def _is_told(connection: sqlite3.Connection, cid: str, document: Document) -> bool:
    """Whether edges, claims, records and memo are what this document makes them."""
    edges = connection.execute("SELECT cid, role FROM edges WHERE provenance_cid = ?", (cid,)).fetchall()
    if Counter(edges) != Counter(edges_of(document)):
        return False
    claims = dict(connection.execute("SELECT record, at FROM claims WHERE document = ?", (cid,)).fetchall())
    statements = {statement.id: statement for statement in statements_of(cid, document)}
    if claims.keys() != statements.keys() or any(at != time_of(document) for at in claims.values()):
        return False
    for claim in ended_by(document):
        if connection.execute(
            "SELECT ended FROM claims WHERE record = ? AND document = ?", claim
        ).fetchone() != (1,):
            return False
    for id, statement in statements.items():
        record = _record(connection, id)
        if record is None or record.get("stated_by") != cid:
            continue
        told = (
            statement.file.cid,
            statement.file.name,
            statement.file.size,
            statement.created_at,
            statement.made_by,
        )
        made_by = record["keyvalues"].get("provenance_cid", "")
        if told != (*(record.get(key) for key in ("cid", "name", "size", "created_at")), made_by):
            return False
    if isinstance(document, Execution) and document.run_key:
        return cid in memo.executions(connection, document.run_key)
    return True


def _record(connection: sqlite3.Connection, id: str) -> Mapping[str, Any] | None:
    sql = (
        "SELECT body FROM terms JOIN tables USING(tid) JOIN docs USING(seq) "
        "WHERE name = 'records' AND key = 'id' AND value = ?"
    )
    row = connection.execute(sql, (id,)).fetchone()
    record: Mapping[str, Any] | None = json.loads(row[0]) if row else None
    return record
