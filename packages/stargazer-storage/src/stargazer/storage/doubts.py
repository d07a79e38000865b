"""Reasons not to believe a store's index: it is lost, emptied, damaged, or does not know what the store holds."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.storage.files import is_there
from stargazer.storage.index.records import Index
from stargazer.storage.index.schema import CHECKED, INCOMPLETE, NEW, mark_of, set_mark
from stargazer.storage.locks import alone
from stargazer.storage.objects import Objects, StoredObject
from stargazer.storage.refusals import refused

__all__ = ["doubt", "holds_files", "noticed"]

_LEDGER = ("ledger/own", "ledger/foreign")


def doubt(root: Path, index: Index) -> str:
    """Why answers of the index may be wrong, and what to do about it; empty if nothing speaks against them.

    Of an index that is not there, none is made.
    """
    try:
        if not is_there(index.path):
            return _lost(root) if holds_files(root) else ""
        with index.reading() as connection:
            return _lost(root) if _is_incomplete(root, connection) else ""
    except OSError as error:
        return str(error if isinstance(error, StorageError) else refused(error, root))


def holds_files(root: Path, folders: Sequence[str] = ("objects", *_LEDGER)) -> bool:
    """Whether there are objects or documents in these folders of a store; of many, the first few are looked at."""
    for folder in folders:
        with contextlib.suppress(StorageError):
            if any(isinstance(found, StoredObject) for found in Objects(root, folder).scan()):
                return True
    return False


def noticed(root: Path, index: Index) -> str:
    """Why answers of an index that was just opened may be wrong; empty if nothing speaks against them.

    One that is empty where provenance is is marked, unless that may be of somebody who is at work. Other files do not
    count: those of a bundle arrive before they are registered.
    """
    with index.reading() as connection:
        if not _is_incomplete(root, connection):
            return ""
    # where nothing can be written, nothing is added either
    with (
        contextlib.suppress(StorageError),
        alone(root, wait=False) as nobody_else,
        index.transaction() as connection,
    ):
        if mark_of(connection) == NEW:
            if not (nobody_else and _is_incomplete(root, connection)):
                return ""
            set_mark(connection, INCOMPLETE)
    return _lost(root)


def _is_incomplete(root: Path, connection: sqlite3.Connection) -> bool:
    """Whether the index is marked, or nothing was ever registered in it and there is provenance."""
    mark = mark_of(connection)
    if mark == NEW and not connection.execute("SELECT 1 FROM docs LIMIT 1").fetchone():
        return holds_files(root, _LEDGER)
    return mark not in (NEW, CHECKED)


def _lost(root: Path) -> str:
    return (
        f"the index of the store {os.fspath(root)!r} was lost or emptied and does not know all that the store "
        "holds: run `stargazer fsck`, which takes in the provenance among its files"
    )
