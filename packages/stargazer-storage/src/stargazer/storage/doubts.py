"""What keeps a store's index from being believed: it is lost, emptied, damaged, or does not know what is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets import StorageError
from stargazer.storage.documents import looks_like_document
from stargazer.storage.files import is_there
from stargazer.storage.locks import try_alone
from stargazer.storage.objects import StoredObject, place_of, scan_objects
from stargazer.storage.refusals import refused

if TYPE_CHECKING:
    from stargazer.storage.index.records import Index
    from stargazer.storage.reading import StoreReader

__all__ = ["doubt", "holds_files", "noticed"]


def doubt(store: StoreReader) -> str:
    """Why answers of the index may be wrong, and what to do about it; empty if nothing speaks against them.

    Of an index that is not there, none is made.
    """
    from stargazer.storage.index.schema import is_incomplete, is_new  # here: with it comes SQLite

    try:
        if not is_there(store.index_path):
            return _lost(store) if holds_files(store.root) else ""
        with store.index.reading() as connection:
            incomplete = is_incomplete(connection) or (is_new(connection) and _holds_provenance(store.root))
        return _lost(store) if incomplete else ""
    except StorageError as error:
        return str(error)
    except OSError as error:
        return str(refused(error, store.root))


def holds_files(root: Path) -> bool:
    """Whether there are objects in a store; of many, the first few are looked at."""
    try:
        return any(isinstance(found, StoredObject) for found in scan_objects(root / "objects"))
    except OSError:
        return False


def noticed(store: StoreReader, index: Index) -> str:
    """Why answers of an index that was just opened may be wrong; empty if nothing speaks against them.

    One that is empty where provenance is is marked, unless that may be of somebody who is at work. Other files do not
    count: those of a bundle arrive before they are registered.
    """
    from stargazer.storage.index.schema import is_incomplete, is_new, mark_incomplete

    with index.reading() as connection:
        if is_incomplete(connection):
            return _lost(store)
        if not is_new(connection) or not _holds_provenance(store.root):
            return ""
    try:
        with try_alone(store.root) as nobody_else:
            if not nobody_else:
                return ""
            with index.transaction() as connection:
                if not is_new(connection):
                    return ""
                mark_incomplete(connection)
    except StorageError:  # where nothing can be written, nothing is added either
        pass
    return _lost(store)


def _holds_provenance(root: Path) -> bool:
    folder = root / "objects"
    try:
        return any(
            isinstance(found, StoredObject) and looks_like_document(Path(place_of(folder, found.cid)))
            for found in scan_objects(folder)
        )
    except OSError:
        return False


def _lost(store: StoreReader) -> str:
    return (
        f"the index of the store {os.fspath(store.root)!r} was lost or emptied and does not know all that the store "
        "holds: run `stargazer fsck`, which takes in the provenance among its files"
    )
