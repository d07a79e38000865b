"""The interface of an index, which is TinyDB's: a database with tables of documents, kept as rows of SQLite.

Asking, inserting, and changing or removing what a query finds is SQL. Every other method is TinyDB's own, which reads a
whole table and writes it again.

TinyDB's queries are translated to SQL. The table `terms` holds one row for each scalar value of `id`, `cid` and
`keyvalues.*` of a document. A condition is known by TinyDB's own description of it, the hash of a query:
("==", path, value), ("and", {...}) and so on. That is private to TinyDB, hence the pinned version and the differential
test. What compiles selects every document that matches, perhaps more: the caller still asks the condition itself.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from itertools import count, islice
from operator import itemgetter
from typing import Any

from stargazer.storage.index.database import BadDocument, Engine
from tinydb import TinyDB
from tinydb.queries import QueryLike
from tinydb.table import Document, Table

__all__ = ["Index", "IndexTable", "compile_condition", "select_documents", "terms_of"]

Scalar = str | int | float | bool
Term = tuple[str, Scalar]
Leaf = tuple[str, tuple[Scalar, ...]]  # the key of a term, and the values of which it has one
Plan = list[list[Leaf]]  # documents of which all leaves of one of the lists are true
Sql = tuple[str, list[Scalar]]  # with its parameters

_TABLE = "(SELECT tid FROM tables WHERE name=?)"  # its number; NULL, which no table has, if there is none

_FIELDS = ("cid", "id")
_NESTED = "keyvalues"
_LONGEST = 512  # characters of an indexed string
_LARGEST = 2**53  # beyond it integers and floats compare differently in Python and SQLite
_MOST_VALUES = 10_000  # bound variables in one statement; SQLite's limit is 32,766
_MOST_BRANCHES = 200  # of 500 in a compound SELECT
_COUNTED = 1_000  # rows that are looked at to find which part of an AND is the rarest

_PAGE = 1_000  # documents that are read at a time
_BATCH = 10_000  # documents whose terms are sorted before they are written


class IndexTable(Table):
    """A table of an index.

    There is no query cache: it would not see what other processes write, and a look-up costs less than a
    millisecond. Ids are not used again while the table exists.
    """

    _storage: Engine

    def search(self, cond: QueryLike) -> list[Document]:
        """All documents that match, in the order they were inserted."""
        with self._storage.reading() as connection:
            return [document for _, document in self._matches(connection, cond)]

    def get(self, cond=None, doc_id=None, doc_ids=None):  # type: ignore[no-untyped-def]
        """The first document that matches, or the one with this id, or those with these ids."""
        with self._storage.reading() as connection:
            if doc_id is not None:
                found = self._documents(connection, f"tid={_TABLE} AND id=?", [self.name, doc_id])
            elif cond is None or doc_ids is not None:
                return super().get(doc_ids=doc_ids)
            else:
                found = self._matches(connection, cond)
            return next((document for _, document in found), None)

    def __iter__(self) -> Iterator[Document]:
        """All documents, as they are at this moment."""
        with self._storage.reading() as connection:
            return iter([document for _, document in self._matches(connection)])

    def insert(self, document: Mapping[str, Any]) -> int:
        """Insert one document; returns its id."""
        return self.insert_multiple([document])[0]

    def insert_multiple(self, documents: Iterable[Mapping[str, Any]]) -> list[int]:
        """Insert documents, all or none; returns their ids."""
        documents = list(documents)  # a slow generator must not hold the write lock
        if not all(isinstance(item, Mapping) and not isinstance(item, Document) for item in documents):
            return super().insert_multiple(documents)  # with ids of their own, or refused
        with self._storage.transaction() as connection:
            table, last, seq = self._numbers(connection)
            rows = [(seq + n, last + n, document) for n, document in enumerate(documents, 1)]
            _put(connection, table, rows)
        return [doc_id for _, doc_id, _ in rows]

    def update(
        self,
        fields: Mapping[str, Any] | Callable[[MutableMapping[str, Any]], None],
        cond: QueryLike | None = None,
        doc_ids: Iterable[int] | None = None,
    ) -> list[int]:
        """Change the documents that match, or those with these ids, or all; returns their ids."""
        if cond is None or doc_ids is not None:
            return super().update(fields, cond, doc_ids)

        def change(documents: dict[int, Document]) -> None:
            for document in documents.values():
                if callable(fields):
                    fields(document)
                else:
                    document.update(fields)

        return self._update_table(change, cond)

    def upsert(self, document: Mapping[str, Any], cond: QueryLike | None = None) -> list[int]:
        """Update what matches, or insert if nothing does; one transaction."""
        with self._storage.transaction():
            return super().upsert(document, cond)

    def remove(self, cond: QueryLike | None = None, doc_ids: Iterable[int] | None = None) -> list[int]:
        """Remove the documents that match, or those with these ids; returns their ids."""
        if cond is None or doc_ids is not None:
            return super().remove(cond, doc_ids)
        return self._update_table(dict.clear, cond)

    def truncate(self) -> None:
        """Remove every document; ids begin at 1 again."""
        with self._storage.transaction() as connection:
            super().truncate()
            connection.execute("UPDATE tables SET last_id=0 WHERE name=?", (self.name,))

    # what TinyDB's own methods stand on

    def _read_table(self) -> dict[str, Mapping[str, Any]]:
        return {str(document.doc_id): document for document in self}

    def _update_table(self, updater: Callable[[Any], None], cond: QueryLike | None = None) -> list[int]:
        """Write what becomes of the documents that match, or of all, by id; returns the ids that they had."""
        with self._storage.transaction() as connection:
            table, _, last = self._numbers(connection)
            before = list(self._matches(connection, cond))
            terms = [(table, *term, seq) for seq, document in before for term in terms_of(document)]
            connection.executemany("DELETE FROM terms WHERE tid=? AND key=? AND value=? AND seq=?", terms)
            connection.executemany("DELETE FROM docs WHERE seq=?", [(seq,) for seq, _ in before])
            places = {document.doc_id: seq for seq, document in before}
            updater(documents := {document.doc_id: document for _, document in before})
            new = count(last + 1)
            _put(
                connection, table, [(places.get(id) or next(new), id, item) for id, item in documents.items()]
            )
        return list(places)

    def _get_next_id(self) -> int:
        with self._storage.transaction() as connection:
            table, last, _ = self._numbers(connection)
            connection.execute("UPDATE tables SET last_id=last_id+1 WHERE tid=?", (table,))
        return last + 1

    def _numbers(self, connection: sqlite3.Connection) -> tuple[int, int, int]:
        """The number of the table, which is made if it is missing, the last id in it, and the last `seq` of all."""
        connection.execute("INSERT OR IGNORE INTO tables(name) VALUES(?)", (self.name,))
        sql = "SELECT tid, last_id, (SELECT coalesce(max(seq), 0) FROM docs) FROM tables WHERE name=?"
        table, last, seq = connection.execute(sql, (self.name,)).fetchone()
        return table, last, seq

    def _matches(
        self, connection: sqlite3.Connection, cond: QueryLike | None = None
    ) -> Iterator[tuple[int, Document]]:
        """The documents that match, or all, in the order they were inserted, each after its `seq`."""
        if plan := compile_condition(cond):
            sql, parameters = select_documents(connection, self.name, plan)
            found = self._documents(connection, f"seq IN ({sql})", parameters)
        else:
            found = self._documents(connection, f"tid={_TABLE}", [self.name])
        return found if cond is None else (pair for pair in found if cond(pair[1]))

    def _documents(
        self, connection: sqlite3.Connection, where: str, parameters: Sequence[Scalar]
    ) -> Iterator[tuple[int, Document]]:
        rows = connection.execute(f"SELECT body, id, seq FROM docs WHERE {where} ORDER BY seq", parameters)
        while page := rows.fetchmany(_PAGE):
            contents = _loaded([body for body, *_ in page])
            for content, (_, doc_id, seq) in zip(contents, page, strict=True):
                yield seq, Document(content, doc_id)


class Index(TinyDB):
    """A TinyDB database in one SQLite file, opened when it is first used.

    Documents and queries are TinyDB's. What a write returns from is on disk. Equality (`==`, `one_of`) on `id`,
    `cid` and `keyvalues.*`, and what `&` and `|` make of it, is looked up; every other query reads all documents of
    the table and answers the same as TinyDB. Beside them are the tables of `schema`, for SQL.

    Args:
        path: the SQLite file; made, with its folder, when it is missing.
        has_files: asked when the file is made: whether there is already what it should know.
        before: called before the file is opened or made; refuses that by an error.
        first_use: called once, by the first operation, when the file is open.

    Every use may raise:
        IndexDamaged: what was written is not what is read.
        StorageError: the file is of another version or not an index; cannot be written; or lies on a network
            filesystem.

        >>> index = Index(tmp_path / "index.sqlite")
        >>> index.table("records").insert({"id": "r1", "keyvalues": {"asset": "reference", "build": "GRCh38"}})
        1
        >>> index.table("records").get(where("keyvalues").build == "GRCh38")["id"]
        'r1'
    """

    table_class = IndexTable
    default_storage_class = Engine  # type: ignore[assignment]  # TinyDB declares its JSON storage

    _storage: Engine

    @property
    def path(self) -> str:
        """The SQLite file."""
        return self._storage.path

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """All or nothing: what happens inside, on the connection or on tables, is one write transaction.

        Transactions nest; an inner one that fails undoes its own part only. Others wait, so keep it short and never
        await inside.
        """
        return self._storage.transaction()

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """The connection, for SELECT statements; inside a transaction of this thread they see what it wrote."""
        return self._storage.reading()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of a SELECT statement with these parameters."""
        with self.reading() as connection:
            return connection.execute(sql, values).fetchall()

    def tables(self) -> set[str]:
        """The names of the tables of documents that have been written to."""
        return {name for (name,) in self.rows("SELECT name FROM tables")}

    def drop_tables(self) -> None:
        """Drop every table of documents (those for SQL stay)."""
        with self.transaction():
            for name in self.tables():
                self.drop_table(name)

    def drop_table(self, name: str) -> None:
        """Drop one table of documents."""
        with self.transaction() as connection:
            self.table(name).truncate()
            connection.execute("DELETE FROM tables WHERE name=?", (name,))
        self._tables.pop(name, None)


# documents as rows


def _put(
    connection: sqlite3.Connection, table: int, rows: Iterable[tuple[int, int, Mapping[str, Any]]]
) -> None:
    """Write documents, each after its `seq` and id, into the table with this number."""
    rows = iter(rows)
    while batch := list(islice(rows, _BATCH)):
        bodies = [json.dumps(dict(document)) for _, _, document in batch]
        # terms are those of the JSON text: it holds the keys and values as they will be read again
        terms = [
            (table, *term, seq)
            for (seq, _, _), document in zip(batch, _loaded(bodies), strict=True)
            for term in terms_of(document)
        ]
        # in the order of their keys: the same pages of the index are written once
        terms.sort(key=lambda term: (term[1], type(term[2]) is str, term[2]))
        docs = [(seq, table, doc_id, body) for (seq, doc_id, _), body in zip(batch, bodies, strict=True)]
        connection.executemany("INSERT INTO docs(seq, tid, id, body) VALUES(?, ?, ?, ?)", docs)
        connection.executemany("INSERT INTO terms(tid, key, value, seq) VALUES(?, ?, ?, ?)", terms)
    highest = "(SELECT coalesce(max(id), 0) FROM docs WHERE docs.tid=tables.tid)"
    connection.execute(f"UPDATE tables SET last_id=max(last_id, {highest}) WHERE tid=?", (table,))


def _loaded(bodies: Sequence[str]) -> list[dict[str, Any]]:
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


# conditions


def terms_of(document: Mapping[str, Any]) -> set[Term]:
    """The (key, value) pairs under which a document is indexed; keys of keyvalues begin with a dot."""
    pairs = [(field, document.get(field)) for field in _FIELDS]
    if isinstance(nested := document.get(_NESTED), Mapping):
        pairs += [(f".{key}", value) for key, value in nested.items() if _indexable(key)]
    return {(key, value) for key, value in pairs if value is not None and _indexable(value)}


def compile_condition(condition: object) -> Plan | None:
    """The plan that finds a condition's matches, or None if only reading every document can."""
    plan = _compile(getattr(condition, "_hash", None)) or []
    values = sum(len(values) for leaves in plan for _, values in leaves)
    return plan if 0 < len(plan) <= _MOST_BRANCHES and values <= _MOST_VALUES else None


def select_documents(connection: sqlite3.Connection, table: str, plan: Plan) -> Sql:
    """A SELECT of the `seq` of every document in the table of this name that the plan finds.

    Of several leaves the rarest is looked up, and the others are asked of what is found.
    """
    selects: list[str] = []
    parameters: list[Scalar] = []
    for leaves in plan:
        parts: list[Sql] = [
            (f"tid={_TABLE} AND key=? AND value IN ({','.join('?' * len(values))})", [table, key, *values])
            for key, values in leaves
        ]
        if len(parts) > 1:
            counts = [
                f"(SELECT count(*) FROM (SELECT 1 FROM terms WHERE {sql} LIMIT {_COUNTED}))"
                for sql, _ in parts
            ]
            asked = [value for _, values in parts for value in values]
            counted = connection.execute(f"SELECT {', '.join(counts)}", asked).fetchone()
            parts = [part for _, part in sorted(zip(counted, parts, strict=True), key=itemgetter(0))]
        (first, _), *others = parts
        probes = [f" AND EXISTS(SELECT 1 FROM terms WHERE {sql} AND seq=s.seq)" for sql, _ in others]
        selects.append(f"SELECT seq FROM terms s WHERE {first}{''.join(probes)}")
        parameters += [value for _, values in parts for value in values]
    return " UNION ".join(selects), parameters


def _compile(description: object) -> Plan | None:
    match description:
        case ("==", tuple() as path, value):
            return _leaf(path, (value,))
        case ("one_of", tuple() as path, tuple() | frozenset() as values):
            return _leaf(path, tuple(values))
        case ("and" | "or" as operator, frozenset() as descriptions):
            found = list(filter(None, map(_compile, descriptions)))
            if operator == "or":
                return [item for plan in found for item in plan] if len(found) == len(descriptions) else None
            # an AND may leave a part to the condition itself: one of several branches, if there are others
            leaves = [leaf for part in found if len(part) == 1 for leaf in part[0]]
            return [leaves] if leaves else next(iter(found), None)
    return None


def _leaf(path: tuple[object, ...], values: tuple[Any, ...]) -> Plan | None:
    match path:
        case (str() as key,) if key in _FIELDS:
            pass
        case (str() as parent, str() as name) if parent == _NESTED and _indexable(name):
            key = f".{name}"
        case _:
            return None
    return [[(key, values)]] if all(map(_indexable, values)) else None


def _indexable(value: object) -> bool:
    """Whether SQLite compares the value exactly as Python does."""
    if type(value) is str:
        return len(value) <= _LONGEST and (
            value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)
        )
    return type(value) in (int, float, bool) and -_LARGEST <= value <= _LARGEST  # type: ignore[operator]
