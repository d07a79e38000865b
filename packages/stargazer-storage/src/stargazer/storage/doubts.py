"""Reasons not to believe a store's index: it is lost, emptied, damaged, or does not know what the store holds."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.storage.files import is_there
from stargazer.storage.index.records import Index
from stargazer.storage.index.schema import is_incomplete, is_new, mark_incomplete
from stargazer.storage.locks import alone
from stargazer.storage.objects import Objects, StoredObject
from stargazer.storage.refusals import refused

__all__ = ["doubt", "holds_files", "noticed"]

_FOLDERS = ("objects", "ledger/own", "ledger/foreign")


def doubt(root: Path, index: Index) -> str:
    """Why answers of the index may be wrong, and what to do about it; empty if nothing speaks against them.

    Of an index that is not there, none is made.
    """
    try:
        if not is_there(index.path):
            return _lost(root) if holds_files(root) else ""
        with index.reading() as connection:
            incomplete = is_incomplete(connection) or (is_new(connection) and _holds_provenance(root))
        return _lost(root) if incomplete else ""
    except StorageError as error:
        return str(error)
    except OSError as error:
        return str(refused(error, root))


def holds_files(root: Path) -> bool:
    """Whether there are objects or documents in a store; of many, the first few are looked at."""
    return any(_holds(Objects(root, folder)) for folder in _FOLDERS)


def noticed(root: Path, index: Index) -> str:
    """Why answers of an index that was just opened may be wrong; empty if nothing speaks against them.

    One that is empty where provenance is is marked, unless that may be of somebody who is at work. Other files do not
    count: those of a bundle arrive before they are registered.
    """
    with index.reading() as connection:
        if is_incomplete(connection):
            return _lost(root)
        if not is_new(connection) or not _holds_provenance(root):
            return ""
    # where nothing can be written, nothing is added either
    with contextlib.suppress(StorageError), alone(root, wait=False) as nobody_else:
        if not nobody_else:
            return ""
        with index.transaction() as connection:
            if not is_new(connection):
                return ""
            mark_incomplete(connection)
    return _lost(root)


def _holds_provenance(root: Path) -> bool:
    return any(_holds(Objects(root, folder)) for folder in _FOLDERS[1:])


def _holds(folder: Objects) -> bool:
    with contextlib.suppress(StorageError):
        return any(isinstance(found, StoredObject) for found in folder.scan())
    return False


def _lost(root: Path) -> str:
    return (
        f"the index of the store {os.fspath(root)!r} was lost or emptied and does not know all that the store "
        "holds: run `stargazer fsck`, which takes in the provenance among its files"
    )
