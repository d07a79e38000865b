"""Checks a store's index, compares it with one made from the ledger, and makes a lost or damaged one again."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from stargazer.assets import FormatError, IntegrityError, StargazerError, StorageError, record_id
from stargazer.storage.files import is_there
from stargazer.storage.index.location import network_filesystem
from stargazer.storage.index.records import Index
from stargazer.storage.index.schema import IndexDamaged, is_intact, set_aside
from stargazer.storage.locks import Tell, alone, private_folder
from stargazer.storage.maintenance._evict import take_in_notes
from stargazer.storage.objects import StoredObject
from stargazer.storage.outbox import Outbox
from stargazer.storage.store import Store

__all__ = ["check_documents", "damage", "difference", "rebuild", "record_sizes", "recorded",
           "unknown"]  # fmt: skip

_RECORDS = "JOIN tables USING(tid) WHERE name = 'records'"

# records that provenance speaks of, and documents that are known, without a record of their own
_WITHOUT_RECORD = (
    f"SELECT record FROM claims WHERE NOT ended EXCEPT SELECT value FROM terms {_RECORDS} AND key = 'id' LIMIT 1",
    f"SELECT cid FROM documents EXCEPT SELECT value FROM terms {_RECORDS} AND key = 'cid' LIMIT 1",
)

# what follows from the documents alone, by what it is called, in a fixed order
_FOLLOWS = {
    "records": f"SELECT body FROM docs {_RECORDS} ORDER BY json_extract(body, '$.id')",
    "terms": "SELECT json_extract(body, '$.id'), key, value FROM terms LEFT JOIN docs USING(tid, seq) "
    f"{_RECORDS} ORDER BY 1, 2, 3",
    "documents": "SELECT cid, own FROM documents ORDER BY cid",
    "claims": "SELECT record, document, at, ended FROM claims ORDER BY 1, 2",
    "files by role": "SELECT cid, role, provenance_cid FROM edges ORDER BY 1, 2, 3",
    "superseded records": "SELECT document, record, successor, at, ended FROM superseded ORDER BY 1",
    "amended records": "SELECT record, became FROM amended ORDER BY 1, 2",
    "run keys": "SELECT document, run_key FROM attempts ORDER BY 1",
    "executions": "SELECT document, task, at FROM runs ORDER BY 1",
    "inputs": "SELECT document, cid FROM reads LEFT JOIN runs ON run = runs.number "
    "LEFT JOIN files ON file = files.number ORDER BY 1, 2",
    "outputs": "SELECT document, cid FROM makes LEFT JOIN runs ON run = runs.number "
    "LEFT JOIN files ON file = files.number ORDER BY 1, 2",
    "tools": "SELECT document, name, version FROM tools LEFT JOIN runs ON run = runs.number ORDER BY 1, 2, 3",
}


def recorded(index: Index) -> set[str]:
    """The CIDs that records refer to, provenance included."""
    return {cid for (cid,) in index.rows(f"SELECT value FROM terms {_RECORDS} AND key = 'cid'")}


def record_sizes(index: Index) -> dict[str, int]:
    """The sizes in bytes that records state, by CID."""
    return dict(
        index.rows(f"SELECT json_extract(body, '$.cid'), json_extract(body, '$.size') FROM docs {_RECORDS}")
    )


def unknown(store: Store) -> set[str]:
    """The documents of the ledger that the index does not know, or does not know to be the store's own."""
    known = dict(store.index.rows("SELECT cid, own FROM documents"))
    return {
        found.cid
        for found, own in store.ledger.scan()
        if isinstance(found, StoredObject) and (not known.get(found.cid) if own else found.cid not in known)
    }


# whether the index can be trusted


def damage(store: Store, *, full: bool) -> str:
    """What is wrong with the file of the index and its records; empty if nothing is, or if it is missing.

    Raises:
        StorageError: it cannot be opened for another reason: of a newer version, no permission, on a network.
    """
    if not is_there(store.index_path):
        return ""
    try:
        with store.index.reading() as connection:
            check = "PRAGMA integrity_check(1)" if full else "PRAGMA quick_check(1)"
            (said,) = connection.execute(check).fetchone()
            if said != "ok":
                return str(said).splitlines()[-1]
            if not is_intact(connection):
                return "its header or its tables are not what was written"
            for (body,) in connection.execute(f"SELECT body FROM docs {_RECORDS}"):
                record = json.loads(body)
                if record["id"] != record_id(record["cid"], record["keyvalues"]):
                    return f"the record {record['id']!r} is not what it was"
            for sql in _WITHOUT_RECORD:
                if missing := connection.execute(sql).fetchone():
                    return f"there is no record of {missing[0]!r}, and provenance says that there is"
    except IndexDamaged as error:
        return str(error.__cause__ or "it cannot be read")
    except (ValueError, KeyError, TypeError) as error:
        return f"a record cannot be read: {error}"
    try:  # the header of a sound file may say that it is for reading only
        with store.index.transaction() as connection:
            connection.execute("UPDATE tables SET last_id = last_id WHERE 0")
    except StorageError as error:  # no damage where the store may only be read
        return str(error.__cause__) if isinstance(error, IndexDamaged) else ""
    return ""


def difference(store: Store) -> str:
    """What the index says otherwise than one that is made of the same documents; empty if there is no difference.

    It is empty too if one of these documents cannot be read, for then the other index would know less.

    Raises:
        StorageError: there is no room for the other index.
    """
    with _scratch_folder(store) as folder, store.index.reading() as connection:
        connection.execute("BEGIN")  # one state of it all, whatever others write
        try:
            cids = {cid for (cid,) in connection.execute("SELECT cid FROM documents")}
            if not cids <= store.ledger.cids():
                return ""
            with contextlib.closing(Index(Path(folder, "index.sqlite"))) as other:
                Store(store.objects, other, store.ledger, Outbox(other)).replay(cids)
                with other.reading() as rebuilt:
                    for name, sql in _FOLLOWS.items():
                        rows = zip_longest(*(map(_row, side.execute(sql)) for side in (connection, rebuilt)))
                        if any(one != another for one, another in rows):
                            return f"its {name} are not those that the provenance in the store says"
        except (IntegrityError, FormatError):
            pass
        finally:
            connection.execute("ROLLBACK")
    return ""


def _scratch_folder(store: Store) -> AbstractContextManager[str | Path]:
    """A folder in the store's `work`; elsewhere if that cannot be written, or is where no index can be."""
    with contextlib.suppress(StorageError):
        if network_filesystem(store.objects.work) is None:
            return private_folder(store.objects.work, "fsck")
    return tempfile.TemporaryDirectory()


def _row(row: tuple[Any, ...]) -> object:
    """A row as it can be compared: of a record the members, in any order."""
    return json.loads(row[0]) if len(row) == 1 else row


# making it again


def check_documents(store: Store, cids: Iterable[str]) -> tuple[list[str], dict[str, StargazerError]]:
    """Those of these documents of the ledger that can be read, and what is wrong with others that are there."""
    sound: list[str] = []
    bad: dict[str, StargazerError] = {}
    for cid in sorted(cids):
        try:
            store.ledger.read(cid)
            sound.append(cid)
        except (IntegrityError, FormatError) as error:
            bad[cid] = error
        except StorageError:  # gone
            continue
    return sound, bad


def rebuild(store: Store, tell: Tell) -> tuple[list[str], dict[str, StargazerError], Path | None]:
    """Move what is left of the index to quarantine, and make a new one of the documents of the ledger.

    Returns:
        The documents that took effect, what is wrong with others, and where the old index is.

    Raises:
        StorageError: the store cannot be written.
    """
    with alone(store.root, tell):
        sound, bad = check_documents(store, store.ledger.cids())
        aside = set_aside(store.index_path, store.root / "quarantine")
        store.replay(sound)
        take_in_notes(store)
    return sound, bad, aside
