"""TinyDB's Table on rows: reads that look up, writes that touch only what they change."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import closing
from typing import Any

from tinydb.queries import QueryLike
from tinydb.table import Document, Table

from .conditions import compile_condition, select_documents
from .engine import Engine
from .rows import TableRows, append_documents, load_documents

__all__ = ["IndexTable", "drop_tables", "table_names"]

_PAGE = 1_000  # documents that an iteration holds in memory


class IndexTable(Table):
    """A table of an index.

    There is no query cache: it would not see what other processes write, and a look-up costs less than a
    millisecond. Ids are not used again while the table exists.
    """

    _storage: Engine

    # --- reading

    def search(self, cond: QueryLike) -> list[Document]:
        """All documents that match, in the order they were inserted."""
        with self._storage.reading() as connection:
            return list(self._matches(connection, cond))

    def get(self, cond=None, doc_id=None, doc_ids=None):  # type: ignore[no-untyped-def]
        """The first document that matches, or the one with this id, or those with these ids."""
        with self._storage.reading() as connection:
            if doc_id is not None:
                return next(iter(self._by_ids(connection, [doc_id])), None)
            if doc_ids is not None:
                return self._by_ids(connection, doc_ids)
            if cond is None:
                raise RuntimeError("You have to pass either cond or doc_id or doc_ids")
            with closing(self._matches(connection, cond, size=1)) as matches:
                return next(matches, None)

    def all(self) -> list[Document]:
        """All documents, as they were at one moment."""
        with self._storage.reading() as connection:
            return [document for page in self._pages(self._rows(connection), _PAGE) for document in page]

    def __iter__(self) -> Iterator[Document]:
        """All documents, page by page: a large table is never in memory as a whole."""
        after, last = -1, None
        while True:
            with self._storage.reading() as connection:
                table = _table_id(connection, self.name)
                if last is None:  # what is inserted meanwhile would never end
                    last = connection.execute("SELECT max(seq) FROM docs WHERE tid=?", (table,)).fetchone()[0]
                page = connection.execute(
                    "SELECT id, body, seq FROM docs WHERE tid=? AND seq>? AND seq<=? ORDER BY seq LIMIT ?",
                    (table, after, last, _PAGE),
                ).fetchall()
                documents = self._documents(page)
            yield from documents
            if len(page) < _PAGE:
                return
            after = page[-1][2]

    def __len__(self) -> int:
        with self._storage.reading() as connection:
            table = _table_id(connection, self.name)
            return int(connection.execute("SELECT count(*) FROM docs WHERE tid=?", (table,)).fetchone()[0])

    # --- writing: TinyDB's own methods, each one transaction

    def insert(self, document: Mapping[str, Any]) -> int:
        """Insert one document; returns its id."""
        if isinstance(document, self.document_class):  # with an id of its own
            with self._storage.transaction():
                return super().insert(document)
        return self.insert_multiple([document])[0]

    def insert_multiple(self, documents: Iterable[Mapping[str, Any]]) -> list[int]:
        """Insert documents, all or none; returns their ids."""
        documents = list(documents)  # a slow generator must not hold the write lock
        with self._storage.transaction() as connection:
            if any(isinstance(document, self.document_class) for document in documents):
                return super().insert_multiple(documents)
            if not all(isinstance(document, Mapping) for document in documents):
                raise ValueError("Document is not a Mapping")
            return append_documents(connection, _table_id(connection, self.name, create=True), documents)

    def update(
        self,
        fields: Mapping[str, Any] | Callable[[MutableMapping[str, Any]], None],
        cond: QueryLike | None = None,
        doc_ids: Iterable[int] | None = None,
    ) -> list[int]:
        """Change the documents that match, or those with these ids, or all; returns their ids."""
        with self._storage.transaction() as connection:
            return super().update(fields, None, self._targets(connection, cond, doc_ids))

    def update_multiple(self, updates):  # type: ignore[no-untyped-def]
        """Several updates, all or none."""
        with self._storage.transaction():
            return super().update_multiple(updates)

    def upsert(self, document: Mapping[str, Any], cond: QueryLike | None = None) -> list[int]:
        """Update what matches, or insert if nothing does."""
        with self._storage.transaction():
            return super().upsert(document, cond)

    def remove(self, cond: QueryLike | None = None, doc_ids: Iterable[int] | None = None) -> list[int]:
        """Remove the documents that match, or those with these ids; returns their ids."""
        with self._storage.transaction() as connection:
            return super().remove(None, self._targets(connection, cond, doc_ids))

    # --- what TinyDB's methods stand on

    def _read_table(self) -> dict[str, Mapping[str, Any]]:
        return {str(document.doc_id): document for document in self.all()}

    def _update_table(self, updater: Callable[[Any], None]) -> None:
        with self._storage.transaction() as connection:
            rows = TableRows(connection, _table_id(connection, self.name, create=True))
            updater(rows)
            rows.flush()

    def _get_next_id(self) -> int:
        with self._storage.transaction() as connection:
            table = _table_id(connection, self.name, create=True)
            connection.execute("UPDATE tables SET last_id=last_id+1 WHERE tid=?", (table,))
            (last,) = connection.execute("SELECT last_id FROM tables WHERE tid=?", (table,)).fetchone()
            return int(last)

    def _documents(self, rows: Sequence[tuple[Any, ...]]) -> list[Document]:
        """The documents of rows of id and body."""
        contents = load_documents([row[1] for row in rows])
        make, number = self.document_class, self.document_id_class
        return [make(content, number(row[0])) for row, content in zip(rows, contents, strict=True)]

    def _pages(self, rows: sqlite3.Cursor, size: int) -> Generator[list[Document], None, None]:
        """The documents of rows, the first few at once and then more at a time."""
        while page := rows.fetchmany(size):
            yield self._documents(page)
            size = min(4 * size, _PAGE)

    def _rows(self, connection: sqlite3.Connection, cond: QueryLike | None = None) -> sqlite3.Cursor:
        """Id and body of every document that may match, in the order they were inserted."""
        table = _table_id(connection, self.name)
        plan = compile_condition(cond)
        if plan is None:
            return connection.execute("SELECT id, body FROM docs WHERE tid=? ORDER BY seq", (table,))
        sql, parameters = select_documents(connection, table, plan)
        return connection.execute(f"SELECT id, body FROM docs WHERE seq IN ({sql}) ORDER BY seq", parameters)

    def _matches(
        self, connection: sqlite3.Connection, cond: QueryLike, size: int = _PAGE
    ) -> Generator[Document, None, None]:
        with closing(self._rows(connection, cond)) as rows:
            for page in self._pages(rows, size):
                yield from filter(cond, page)

    def _by_ids(self, connection: sqlite3.Connection, doc_ids: Iterable[int]) -> list[Document]:
        table = _table_id(connection, self.name)
        sql = "SELECT id, body, seq FROM docs WHERE tid=? AND id=?"
        found = [connection.execute(sql, (table, doc_id)).fetchone() for doc_id in set(doc_ids)]
        return self._documents(sorted(filter(None, found), key=lambda row: row[2]))

    def _targets(
        self, connection: sqlite3.Connection, cond: QueryLike | None, doc_ids: Iterable[int] | None
    ) -> Iterable[int] | None:
        if doc_ids is not None or cond is None:
            return doc_ids
        return [document.doc_id for document in self._matches(connection, cond)]


def table_names(connection: sqlite3.Connection) -> set[str]:
    """The names of the tables of documents."""
    return {name for (name,) in connection.execute("SELECT name FROM tables").fetchall()}


def drop_tables(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Delete tables of documents with all that is in them."""
    for name in names:
        table = _table_id(connection, name)
        for relation in ("terms", "docs", "tables"):
            connection.execute(f"DELETE FROM {relation} WHERE tid=?", (table,))


def _table_id(connection: sqlite3.Connection, name: str, create: bool = False) -> int:
    """The number of a table; -1, which no table has, if there is none and none is to be made."""
    row = connection.execute("SELECT tid FROM tables WHERE name=?", (name,)).fetchone()
    if row is not None:
        return int(row[0])
    if not create:
        return -1
    return int(connection.execute("INSERT INTO tables(name) VALUES(?)", (name,)).lastrowid or 0)
