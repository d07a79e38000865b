"""Finds the records that a command line means by CIDs, ids, files of this machine or `key=value` filters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer import storage
from stargazer.assets import (
    AmbiguousAssetError,
    AssetNotFoundError,
    FormatError,
    StorageError,
)
from stargazer.mcp.cli.console import Words, listing
from stargazer.mcp.records import bring as records_brought

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Store

__all__ = ["ADD_FIRST", "bring", "existing", "folder_of_store", "named_records", "no_store", "one_cid",
           "one_record", "some_records"]  # fmt: skip

ADD_FIRST = "`stargazer add FILE ...` registers files"


def existing() -> Store:
    """The store, which searching shall not make.

    Raises:
        AssetNotFoundError: nothing was ever registered.
    """
    store = storage.get_client().store
    if not store.exists():
        raise AssetNotFoundError(no_store(store))
    return store


def folder_of_store() -> Store:
    """The store if there is its folder at least, with an index or without: looking after a store shall not make it.

    Raises:
        AssetNotFoundError: there is none.
    """
    store = storage.get_client().store
    if not store.root.is_dir():
        raise AssetNotFoundError(f"there is no store at {str(store.root)!r} yet")
    return store


def no_store(store: Store) -> str:
    """That there is no store, and how to get one."""
    return f"there is no store at {str(store.root)!r} yet: {ADD_FIRST}"


def some_records(store: Store, words: Words, *, files: bool = True) -> list[IpFile]:
    """The records that CIDs, ids, files of this machine (if `files`) or filters name: at least one for each.

    Raises:
        AssetNotFoundError: none; the message says for which word.
    """
    found = named_records(store, words.plain, files=files)
    if words.pairs:
        records = storage.find_records(store, words.pairs)
        if not records:
            asked = " ".join(f"{key}={value}" for key, values in words.pairs.items() for value in values)
            raise AssetNotFoundError(f"no record matches {asked}: `stargazer query` lists what there is")
        found += records
    return list({record.id: record for record in found}.values())


def named_records(store: Store, names: Sequence[str], *, files: bool = False) -> list[IpFile]:
    """The records of CIDs, ids, and files of this machine (if `files`): at least one for each.

    Raises:
        AssetNotFoundError: none; the message says for which name.
    """
    found: list[IpFile] = []
    for name in names:
        records = store.query({"cid": name}) if storage.is_cid(name) else [*filter(None, [store.get(name)])]
        if not records and files and os.path.exists(name):
            cid = _cid_of(name)
            records = store.query({"cid": cid})
            if not records:
                raise AssetNotFoundError(f"no record of the file {name!r} ({cid}): it was never registered")
        if not records:
            raise AssetNotFoundError(
                f"no record {name!r}: give a CID, an id (`stargazer query --json`) or key=value"
            )
        found += records
    return found


def one_record(store: Store, name: str) -> IpFile:
    """The one record that a name means: where a task made the same bytes again, the one that somebody registered.

    Raises:
        AssetNotFoundError: none.
        AmbiguousAssetError: the same bytes are registered as several things.
    """
    records = named_records(store, [name], files=True)
    if len(records) > 1:
        records = [record for record in records if not storage.is_computed(store, record)] or records
    if len(records) > 1:
        raise AmbiguousAssetError(
            f"{name!r} is registered {len(records)} times:\n{listing(records)}\nname one by its id"
        )
    return records[0]


def one_cid(store: Store, words: Words) -> str:
    """The one CID that a CID, an id, a file of this machine or filters name; with `--latest`, of the newest match.

    Raises:
        StorageError: a word is none of these.
        AssetNotFoundError: nothing is known of it.
        AmbiguousAssetError: several files match.
    """
    if words.plain:
        name = words.plain[0]
        if storage.is_cid(name):
            return name
        if record := store.get(name):
            return record.cid
        if not os.path.exists(name):
            raise StorageError(f"{name!r} is neither a file, nor a CID, nor the id of a record")
        cid = _cid_of(name)
        if not store.query({"cid": cid}) and not store.documents(cid):
            raise AssetNotFoundError(
                f"nothing is known of {name!r} ({cid}) in {str(store.root)!r}: it was never registered"
            )
        return cid
    records = some_records(store, words)
    if len({record.cid for record in records}) > 1 and not words.options.latest:
        raise AmbiguousAssetError(
            f"{len(records)} records match:\n{listing(records)}\nadd a filter, name one by its CID, or give --latest"
        )
    return records[-1].cid


def _cid_of(name: str) -> str:
    """The CID of a file of this machine.

    Raises:
        FormatError: a folder, or something else without bytes of its own.
    """
    if not Path(name).is_file():
        kind = "a folder" if Path(name).is_dir() else "no regular file"
        raise FormatError(f"{name!r} is {kind}: name a file")
    return storage.compute_cid(Path(name))


def bring(store: Store, records: Sequence[IpFile]) -> None:
    """Have the bytes of records and their companions here: downloaded, or computed again where nobody has them."""
    wanted = storage.with_companions(store, records)
    if all(store.objects.stat(record.cid) is not None for record in wanted):
        return
    import asyncio

    from stargazer.mcp.cli.progress import tasks_shown
    from stargazer.tasks.execution import observe

    with tasks_shown("bringing back what is not here") as show, observe(show):
        asyncio.run(records_brought(store, records))
