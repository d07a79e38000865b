"""One table's documents inside a write transaction, as the mapping that TinyDB's update functions work on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, MutableMapping
from typing import Any

from .conditions import terms_of

__all__ = ["TableRows"]

Document = dict[str, Any]


class TableRows(MutableMapping[int, Document]):
    """Documents by id in the order they were inserted; only those that are touched are loaded.

    A document that is changed in place is written by flush().
    """

    def __init__(self, connection: sqlite3.Connection, table: int) -> None:
        self._connection = connection
        self._table = table
        self._loaded: dict[int, tuple[Document, str]] = {}

    def __contains__(self, doc_id: object) -> bool:
        return self._row(doc_id) is not None

    def __len__(self) -> int:
        return int(self._one("SELECT count(*) FROM docs WHERE tid=?", self._table)[0])

    def __iter__(self) -> Iterator[int]:
        rows = self._connection.execute("SELECT id FROM docs WHERE tid=? ORDER BY seq", (self._table,))
        return iter([doc_id for (doc_id,) in rows.fetchall()])

    def __getitem__(self, doc_id: int) -> Document:
        if doc_id not in self._loaded:
            row = self._row(doc_id)
            if row is None:
                raise KeyError(doc_id)
            self._loaded[doc_id] = json.loads(row[1]), row[1]
        return self._loaded[doc_id][0]

    def __setitem__(self, doc_id: int, document: Document) -> None:
        self._loaded.pop(doc_id, None)
        body = json.dumps(document)
        row = self._row(doc_id)
        if row is None:
            sql = "INSERT INTO docs(tid, id, body) VALUES(?, ?, ?)"
            seq = self._connection.execute(sql, (self._table, doc_id, body)).lastrowid
            self._connection.execute(
                "UPDATE tables SET last_id=max(last_id, ?) WHERE tid=?", (doc_id, self._table)
            )
            self._replace_terms(seq, "{}", body)
        else:
            seq, before = row
            self._connection.execute("UPDATE docs SET body=? WHERE seq=?", (body, seq))
            self._replace_terms(seq, before, body)

    def __delitem__(self, doc_id: int) -> None:
        row = self._row(doc_id)
        if row is None:
            raise KeyError(doc_id)
        self._loaded.pop(doc_id, None)
        seq, body = row
        self._replace_terms(seq, body, "{}")
        self._connection.execute("DELETE FROM docs WHERE seq=?", (seq,))

    def clear(self) -> None:
        """Remove every document; ids begin at 1 again."""
        self._loaded.clear()
        self._connection.execute("DELETE FROM terms WHERE tid=?", (self._table,))
        self._connection.execute("DELETE FROM docs WHERE tid=?", (self._table,))
        self._connection.execute("UPDATE tables SET last_id=0 WHERE tid=?", (self._table,))

    def flush(self) -> None:
        """Write the documents that were changed in place."""
        for doc_id, (document, body) in list(self._loaded.items()):
            if json.dumps(document) != body:
                self[doc_id] = document

    def _row(self, doc_id: object) -> tuple[int, str] | None:
        sql = "SELECT seq, body FROM docs WHERE tid=? AND id=?"
        row: tuple[int, str] | None = self._connection.execute(sql, (self._table, doc_id)).fetchone()
        return row

    def _one(self, sql: str, *parameters: object) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection.execute(sql, parameters).fetchone()
        return row

    def _replace_terms(self, seq: int | None, before: str, after: str) -> None:
        """Terms are taken from the JSON text: it holds the keys and values as they will be read again."""
        old, new = terms_of(json.loads(before)), terms_of(json.loads(after))
        if old - new:
            self._connection.executemany(
                "DELETE FROM terms WHERE tid=? AND key=? AND value=? AND seq=?",
                [(self._table, key, value, seq) for key, value in old - new],
            )
        if new - old:
            self._connection.executemany(
                "INSERT INTO terms(tid, key, value, seq) VALUES(?, ?, ?, ?)",
                [(self._table, key, value, seq) for key, value in new - old],
            )
