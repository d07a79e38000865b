"""Documents as rows: read from their text, added in bulk, and as the mapping that TinyDB's update functions change."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from itertools import islice
from typing import Any

from .conditions import Term, terms_of
from .errors import BadDocument

__all__ = ["TableRows", "append_documents", "load_documents"]

Document = dict[str, Any]

_BATCH = 10_000  # documents whose terms are sorted before they are written
_PLAIN = {str, int, float, bool, type(None)}  # JSON gives back what it was given


def load_documents(bodies: Sequence[str]) -> list[Document]:
    """The documents of these texts: read together, which takes half the time and shares the strings of their keys.

    Raises:
        BadDocument: one of them is no document.
    """
    try:
        found = json.loads(f"[{','.join(bodies)}]")
    except (ValueError, RecursionError) as error:
        raise BadDocument(f"a document cannot be read: {error}") from error
    if len(found) != len(bodies) or not all(type(document) is dict for document in found):
        raise BadDocument("a document is none")
    return found  # type: ignore[no-any-return]


def append_documents(
    connection: sqlite3.Connection, table: int, documents: Sequence[Mapping[str, Any]]
) -> list[int]:
    """Insert documents at the end of a table; returns their ids."""
    (last,) = connection.execute("SELECT last_id FROM tables WHERE tid=?", (table,)).fetchone()
    (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM docs").fetchone()
    numbered = enumerate(documents, 1)
    while batch := list(islice(numbered, _BATCH)):
        rows, terms = [], []
        for number, document in batch:
            body = json.dumps(dict(document))
            rows.append((seq + number, table, last + number, body))
            terms += [(table, key, value, seq + number) for key, value in _terms(document, body)]
        # in the order of their keys: the same pages of the index are written once
        terms.sort(key=lambda term: (term[1], type(term[2]) is str, term[2]))
        connection.executemany("INSERT INTO docs(seq, tid, id, body) VALUES(?, ?, ?, ?)", rows)
        connection.executemany("INSERT INTO terms(tid, key, value, seq) VALUES(?, ?, ?, ?)", terms)
    ids = list(range(last + 1, last + len(documents) + 1))
    if ids:
        connection.execute("UPDATE tables SET last_id=? WHERE tid=?", (ids[-1], table))
    return ids


def _terms(document: Mapping[str, Any], body: str) -> set[Term]:
    """The terms of a document as it will be read again: from its text, unless that cannot say anything else."""
    nested = document.get("keyvalues")
    plain = (
        type(document) is dict
        and type(document.get("id")) in _PLAIN
        and type(document.get("cid")) in _PLAIN
        and (nested is None or (type(nested) is dict and {*map(type, nested)} <= {str}))
        and (nested is None or {*map(type, nested.values())} <= _PLAIN)
    )
    return terms_of(document if plain else json.loads(body))


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
            self._loaded[doc_id] = load_documents([row[1]])[0], row[1]
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
        old, new = map(terms_of, load_documents([before, after]))
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
