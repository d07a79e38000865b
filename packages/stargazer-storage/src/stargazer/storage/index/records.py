"""The interface of an index, which is TinyDB's: a database with tables of documents, kept as rows of SQLite.

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
from itertools import islice
from typing import Any

from attrs import frozen
from stargazer.storage.index.database import BadDocument, Engine
from tinydb import TinyDB
from tinydb.queries import QueryLike
from tinydb.table import Document, Table

__all__ = ["Index", "IndexTable", "compile_condition", "select_documents", "terms_of"]

Scalar = str | int | float | bool
Term = tuple[str, Scalar]
Sql = tuple[str, list[Scalar]]  # with its parameters

TABLE_ID = "(SELECT tid FROM tables WHERE name=?)"
"""The number of a table in SQL; NULL, which no table has, where there is none of that name."""

_FIELDS = ("cid", "id")
_NESTED = "keyvalues"
_LONGEST = 512  # characters of an indexed string
_LARGEST = 2**53  # beyond it integers and floats compare differently in Python and SQLite
_MOST_VALUES = 10_000  # bound variables in one statement; SQLite's limit is 32,766
_MOST_BRANCHES = 200  # of 500 in a compound SELECT
_DEEPEST = 50
_COUNTED = 1_000  # rows that are looked at to find which part of an AND is the rarest

_PAGE = 1_000  # documents that are read at a time
_BATCH = 10_000  # documents whose terms are sorted before they are written


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
            return next(self._matches(connection, cond), None)

    def all(self) -> list[Document]:
        """All documents, as they were at one moment."""
        with self._storage.reading() as connection:
            return list(self._matches(connection))

    def __iter__(self) -> Iterator[Document]:
        """The same; what is inserted meanwhile is not among them."""
        return iter(self.all())

    # --- writing: TinyDB's own methods, each one transaction

    def insert(self, document: Mapping[str, Any]) -> int:
        """Insert one document; returns its id."""
        return self.insert_multiple([document])[0]

    def insert_multiple(self, documents: Iterable[Mapping[str, Any]]) -> list[int]:
        """Insert documents, all or none; returns their ids."""
        documents = list(documents)  # a slow generator must not hold the write lock
        with self._storage.transaction() as connection:
            if any(
                isinstance(document, self.document_class) for document in documents
            ):  # with ids of their own
                return super().insert_multiple(documents)
            if not all(isinstance(document, Mapping) for document in documents):
                raise ValueError("Document is not a Mapping")
            return _append(connection, self.name, documents)

    def update(
        self,
        fields: Mapping[str, Any] | Callable[[MutableMapping[str, Any]], None],
        cond: QueryLike | None = None,
        doc_ids: Iterable[int] | None = None,
    ) -> list[int]:
        """Change the documents that match, or those with these ids, or all; returns their ids."""
        with self._storage.transaction() as connection:
            return super().update(fields, None, self._targets(connection, cond, doc_ids))

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
            rows = _Rows(connection, _numbers(connection, self.name)[0])
            updater(rows)
            rows.flush()

    def _get_next_id(self) -> int:
        with self._storage.transaction() as connection:
            table, last, _ = _numbers(connection, self.name)
            connection.execute("UPDATE tables SET last_id=last_id+1 WHERE tid=?", (table,))
            return last + 1

    def _documents(self, rows: Sequence[tuple[Any, ...]]) -> list[Document]:
        """The documents of rows of id and body."""
        contents = _loaded([row[1] for row in rows])
        make, number = self.document_class, self.document_id_class
        return [make(content, number(row[0])) for row, content in zip(rows, contents, strict=True)]

    def _matches(self, connection: sqlite3.Connection, cond: QueryLike | None = None) -> Iterator[Document]:
        """The documents that match, or all, in the order they were inserted."""
        chosen = f"tid={TABLE_ID}"
        parameters: list[Scalar] = [self.name]
        if plan := compile_condition(cond):
            sql, parameters = select_documents(connection, self.name, plan)
            chosen = f"seq IN ({sql})"
        rows = connection.execute(f"SELECT id, body FROM docs WHERE {chosen} ORDER BY seq", parameters)
        while page := rows.fetchmany(_PAGE):
            yield from self._documents(page) if cond is None else filter(cond, self._documents(page))

    def _by_ids(self, connection: sqlite3.Connection, doc_ids: Iterable[int]) -> list[Document]:
        sql = f"SELECT id, body FROM docs WHERE tid={TABLE_ID} AND id IN (SELECT value FROM json_each(?)) ORDER BY +seq"
        return self._documents(connection.execute(sql, (self.name, json.dumps([*doc_ids]))).fetchall())

    def _targets(
        self, connection: sqlite3.Connection, cond: QueryLike | None, doc_ids: Iterable[int] | None
    ) -> Iterable[int] | None:
        if doc_ids is not None or cond is None:
            return doc_ids
        return [document.doc_id for document in self._matches(connection, cond)]


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
            for relation in ("terms", "docs", "tables"):
                connection.execute(f"DELETE FROM {relation} WHERE tid={TABLE_ID}", (name,))
        self._tables.pop(name, None)


def _numbers(connection: sqlite3.Connection, name: str) -> tuple[int, int, int]:
    """The number of a table, made if it is missing, the last id in it, and the last `seq` in all tables."""
    sql = "SELECT tid, last_id, (SELECT coalesce(max(seq), 0) FROM docs) FROM tables WHERE name=?"
    if (row := connection.execute(sql, (name,)).fetchone()) is None:
        connection.execute("INSERT INTO tables(name) VALUES(?)", (name,))
        return _numbers(connection, name)
    table, last, seq = row
    return table, last, seq


# documents as rows


class _Rows(MutableMapping[int, dict[str, Any]]):
    """Documents by id in the order they were inserted; only those that are touched are loaded.

    A document that is changed in place is written by flush().
    """

    def __init__(self, connection: sqlite3.Connection, table: int) -> None:
        self._connection = connection
        self._table = table
        self._loaded: dict[int, tuple[dict[str, Any], str]] = {}

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[int]:
        rows = self._connection.execute("SELECT id FROM docs WHERE tid=? ORDER BY seq", (self._table,))
        return iter([doc_id for (doc_id,) in rows.fetchall()])

    def __getitem__(self, doc_id: int) -> dict[str, Any]:
        if doc_id not in self._loaded:
            _, body = self._row(doc_id)
            self._loaded[doc_id] = _loaded([body])[0], body
        return self._loaded[doc_id][0]

    def __setitem__(self, doc_id: int, document: dict[str, Any]) -> None:
        body = json.dumps(document)
        if doc_id in self:
            seq, before = self._row(doc_id)
            self._connection.execute("UPDATE docs SET body=? WHERE seq=?", (body, seq))
        else:
            sql = "INSERT INTO docs(tid, id, body) VALUES(?, ?, ?)"
            seq, before = self._connection.execute(sql, (self._table, doc_id, body)).lastrowid or 0, "{}"
            sql = "UPDATE tables SET last_id=max(last_id, ?) WHERE tid=?"
            self._connection.execute(sql, (doc_id, self._table))
        self._loaded.pop(doc_id, None)
        self._replace_terms(seq, before, body)

    def __delitem__(self, doc_id: int) -> None:
        seq, body = self._row(doc_id)
        self._loaded.pop(doc_id, None)
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

    def _row(self, doc_id: int) -> tuple[int, str]:
        sql = "SELECT seq, body FROM docs WHERE tid=? AND id=?"
        for seq, body in self._connection.execute(sql, (self._table, doc_id)).fetchall():
            return seq, body
        raise KeyError(doc_id)

    def _replace_terms(self, seq: int, before: str, after: str) -> None:
        """Terms are taken from the JSON text: it holds the keys and values as they will be read again."""
        old, new = map(terms_of, _loaded([before, after]))
        for sql, terms in (
            ("DELETE FROM terms WHERE tid=? AND key=? AND value=? AND seq=?", old - new),
            ("INSERT INTO terms(tid, key, value, seq) VALUES(?, ?, ?, ?)", new - old),
        ):
            self._connection.executemany(sql, [(self._table, key, value, seq) for key, value in terms])


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


def _append(connection: sqlite3.Connection, name: str, documents: Sequence[Mapping[str, Any]]) -> list[int]:
    """Insert documents at the end of a table; returns their ids."""
    table, last, seq = _numbers(connection, name)
    numbered = enumerate(documents, 1)
    while batch := list(islice(numbered, _BATCH)):
        bodies = [json.dumps(dict(document)) for _, document in batch]
        rows = [(seq + n, table, last + n, body) for (n, _), body in zip(batch, bodies, strict=True)]
        terms = [
            (table, key, value, row[0])
            for row, document in zip(rows, _loaded(bodies), strict=True)
            for key, value in terms_of(document)
        ]
        # in the order of their keys: the same pages of the index are written once
        terms.sort(key=lambda term: (term[1], type(term[2]) is str, term[2]))
        connection.executemany("INSERT INTO docs(seq, tid, id, body) VALUES(?, ?, ?, ?)", rows)
        connection.executemany("INSERT INTO terms(tid, key, value, seq) VALUES(?, ?, ?, ?)", terms)
    ids = list(range(last + 1, last + len(documents) + 1))
    if ids:
        connection.execute("UPDATE tables SET last_id=? WHERE tid=?", (ids[-1], table))
    return ids


# conditions


@frozen
class Leaf:
    """Documents in which the term's key has one of these values."""

    key: str
    values: tuple[Scalar, ...]


@frozen
class Branch:
    """Documents in all ("and") or any ("or") of the parts."""

    operator: str
    parts: tuple[Plan, ...]


Plan = Leaf | Branch


def terms_of(document: Mapping[str, Any]) -> set[Term]:
    """The (key, value) pairs under which a document is indexed; keys of keyvalues begin with a dot."""
    pairs = [(field, document.get(field)) for field in _FIELDS]
    if isinstance(nested := document.get(_NESTED), Mapping):
        pairs += [(f".{key}", value) for key, value in nested.items() if _indexable(key)]
    return {(key, value) for key, value in pairs if value is not None and _indexable(value)}


def compile_condition(condition: object) -> Plan | None:
    """The plan that finds a condition's matches, or None if only reading every document can."""
    plan = _compile(getattr(condition, "_hash", None), depth=0)
    return plan if plan is not None and _count_values(plan) <= _MOST_VALUES else None


def select_documents(connection: sqlite3.Connection, table: str, plan: Plan) -> Sql:
    """A SELECT of the `seq` of every document in the table of this name that the plan finds."""
    match plan:
        case Leaf():
            where, parameters = _where(table, plan)
            return f"SELECT u.seq AS seq FROM terms u WHERE {where}", parameters
        case Branch("or", parts):
            return _joined(
                " UNION ",
                "SELECT seq FROM ({})",
                [select_documents(connection, table, part) for part in parts],
            )
        case Branch(_, parts):
            counts, parameters = _joined(", ", "{}", [_estimate(table, part) for part in parts])
            visited = connection.execute(f"SELECT {counts}", parameters).fetchone()
            rarest, *others = sorted(range(len(parts)), key=visited.__getitem__)
            sql, parameters = select_documents(connection, table, parts[rarest])
            probes, values = _joined(" AND ", "{}", [_probe(table, parts[other]) for other in others])
            return f"SELECT s.seq AS seq FROM ({sql}) s WHERE {probes or 1}", parameters + values


def _compile(description: object, depth: int) -> Plan | None:
    if depth > _DEEPEST:
        return None
    match description:
        case ("==", tuple() as path, value):
            return _leaf(path, (value,))
        case ("one_of", tuple() as path, tuple() | frozenset() as values):
            return _leaf(path, tuple(values))
        case ("and" | "or" as operator, frozenset() as descriptions):
            return _branch(operator, [_compile(part, depth + 1) for part in descriptions])
    return None


def _leaf(path: tuple[object, ...], values: tuple[Any, ...]) -> Leaf | None:
    match path:
        case (str() as field,) if field in _FIELDS:
            key = field
        case (str() as parent, str() as name) if parent == _NESTED and _indexable(name):
            key = f".{name}"
        case _:
            return None
    return Leaf(key, values) if all(map(_indexable, values)) else None


def _branch(operator: str, parts: list[Plan | None]) -> Plan | None:
    found = [part for part in parts if part is not None]
    if not found or (operator == "or" and len(found) < len(parts)):
        return None  # an AND may leave a part to the condition itself, an OR may not
    flat: list[Plan] = []
    for part in found:  # a & b & c comes as (a & b) & c
        flat.extend(part.parts if isinstance(part, Branch) and part.operator == operator else (part,))
    return Branch(operator, tuple(flat)) if len(flat) <= _MOST_BRANCHES else None


def _indexable(value: object) -> bool:
    """Whether SQLite compares the value exactly as Python does."""
    if type(value) is str:
        return len(value) <= _LONGEST and (
            value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)
        )
    return type(value) in (int, float, bool) and -_LARGEST <= value <= _LARGEST  # type: ignore[operator]


def _count_values(plan: Plan) -> int:
    return len(plan.values) if isinstance(plan, Leaf) else sum(map(_count_values, plan.parts))


def _where(table: str, leaf: Leaf) -> Sql:
    places = ",".join("?" * len(leaf.values))
    return f"u.tid={TABLE_ID} AND u.key=? AND u.value IN ({places})", [table, leaf.key, *leaf.values]


def _probe(table: str, plan: Plan) -> Sql:
    """Whether document s.seq is in the plan."""
    if isinstance(plan, Leaf):
        where, parameters = _where(table, plan)
        return f"EXISTS(SELECT 1 FROM terms u WHERE {where} AND u.seq=s.seq)", parameters
    probes, parameters = _joined(f" {plan.operator} ", "{}", [_probe(table, part) for part in plan.parts])
    return f"({probes})", parameters


def _estimate(table: str, plan: Plan) -> Sql:
    """How many documents a plan visits, counted no further than is needed to find a rare one."""
    if isinstance(plan, Leaf):
        where, parameters = _where(table, plan)
        return f"(SELECT count(*) FROM (SELECT 1 FROM terms u WHERE {where} LIMIT {_COUNTED}))", parameters
    parts = [_estimate(table, part) for part in plan.parts]
    counts, parameters = _joined(" UNION ALL ", "SELECT {} AS n", parts)
    return f"(SELECT {'min' if plan.operator == 'and' else 'sum'}(n) FROM ({counts}))", parameters


def _joined(separator: str, form: str, parts: Sequence[Sql]) -> Sql:
    """SQL made of parts, each put into a form, with the parameters of all."""
    return (
        separator.join(form.format(sql) for sql, _ in parts),
        [value for _, parameters in parts for value in parameters],
    )
