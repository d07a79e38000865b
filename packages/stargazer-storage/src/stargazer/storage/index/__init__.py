"""The index of a store: TinyDB's interface over one SQLite file, safe between processes, threads and forks."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager

from tinydb import TinyDB

from .engine import Engine
from .errors import IndexDamaged
from .filesystem import network_filesystem
from .making import set_aside
from .table import IndexTable, drop_tables, table_names

__all__ = ["Index", "IndexDamaged", "network_filesystem", "set_aside"]


class Index(TinyDB):
    """A TinyDB database in one SQLite file, which the first operation opens or makes.

    Documents and queries are TinyDB's. What a write returns from is on disk. Equality (`==`, `one_of`) on `id`,
    `cid` and `keyvalues.*`, and what `&` and `|` make of it, is looked up; every other query reads all documents of
    the table and answers the same as TinyDB.

    Args:
        path: the SQLite file; made, with its folder, when it is missing.
        schema: SQL for tables of our own in the same file, `CREATE ... IF NOT EXISTS` statements.
        has_files: asked when the file is made: whether there is already what it should know.
        first_use: called once, by the first operation.

    Raises:
        IndexDamaged: if what was written is not what is read.
        StorageError: if the file is of a newer version or not an index; cannot be written; or lies on a network
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

    def __init__(
        self,
        path: str | os.PathLike[str],
        schema: str = "",
        has_files: Callable[[], bool] = lambda: False,
        first_use: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(path, schema=schema, has_files=has_files, first_use=first_use)

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

    def tables(self) -> set[str]:
        """The names of the tables that have been written to."""
        with self.reading() as connection:
            return table_names(connection)

    def drop_tables(self) -> None:
        """Drop every table of documents (tables of the schema stay)."""
        with self.transaction() as connection:
            drop_tables(connection, table_names(connection))
        self._tables.clear()

    def drop_table(self, name: str) -> None:
        """Drop one table of documents."""
        with self.transaction() as connection:
            drop_tables(connection, {name})
        self._tables.pop(name, None)
