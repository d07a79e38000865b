"""The index under fsck: whether it can be trusted, and making a new one from the documents among the objects."""

from __future__ import annotations

import contextlib
import glob
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from stargazer.assets import FormatError, IntegrityError, StorageError
from stargazer.storage.files import is_there, make_folder
from stargazer.storage.index.schema import SIDE_FILES, IndexDamaged, is_intact, set_aside
from stargazer.storage.locks import Tell, alone
from stargazer.storage.maintenance import evictions, judging
from stargazer.storage.objects import StoredObject

if TYPE_CHECKING:
    from stargazer.storage.store import Store

__all__ = ["Rebuilt", "damage", "rebuild", "replay_unknown", "set_aside_before", "sound_documents", "unknown"]


@attrs.frozen
class Rebuilt:
    """A new index: of how many documents, which ones are damaged, and where the old one is."""

    documents: int
    damaged: list[str]
    aside: Path | None


def damage(store: Store, *, full: bool) -> str:
    """What is wrong with the index; empty if nothing is, or if it is missing.

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
            connection.execute("BEGIN")  # one state of it all, whatever others write
            try:
                wrong = next(judging.wrong_records(connection, full=full), "")
            finally:
                connection.execute("ROLLBACK")
        if wrong := wrong or (next(judging.wrong_documents(store), "") if full else ""):
            return wrong
        _try_to_write(store)
        return ""
    except IndexDamaged as error:
        cause = error.__cause__
        return str(cause) if cause else "it cannot be read"
    except (ValueError, KeyError, TypeError) as error:
        return f"a record cannot be read: {error}"


class _Undo(Exception):
    """Ends a transaction that is to change nothing."""


def _try_to_write(store: Store) -> None:
    """Write, and undo it: the header of a file that is otherwise sound may say that it is for reading only.

    Raises:
        IndexDamaged: it does.
    """
    try:
        with contextlib.suppress(_Undo), store.index.transaction() as connection:
            connection.execute("UPDATE tables SET last_id = last_id")
            raise _Undo
    except IndexDamaged:
        raise
    except StorageError:  # a store that may only be read
        pass


def sound_documents(store: Store, cids: Iterable[str]) -> tuple[list[StoredObject], list[str]]:
    """Those of these documents of the ledger whose bytes are right, and those whose are not."""
    sound: list[StoredObject] = []
    damaged: list[str] = []
    for cid in sorted(cids):
        folder = store.ledger.folder(cid)
        if folder is None:  # gone
            continue
        try:
            found = folder.verify(cid)
            store.ledger.read(cid)
            sound.append(found)
        except (IntegrityError, FormatError):
            damaged.append(cid)
        except StorageError:  # gone
            continue
    return sound, damaged


def rebuild(store: Store, tell: Tell) -> Rebuilt:
    """Move what is left of the index to quarantine, and make a new one of the documents of the ledger.

    Raises:
        StorageError: the store cannot be written.
    """
    with alone(store.root, tell):
        sound, damaged = sound_documents(store, store.ledger.cids())
        aside = set_aside(store.index_path)
        kept = _quarantined(store.root, aside) if aside else None
        store.replay(found.cid for found in sound)
        _restore_evictions(store)
    return Rebuilt(len(sound), damaged, kept)


def replay_unknown(store: Store, tell: Tell) -> list[str]:
    """Let the documents that the index does not know take effect, while none is on its way in; which they were.

    Raises:
        StorageError: the store cannot be written.
    """
    with alone(store.root, tell):
        sound, _ = sound_documents(store, unknown(store))
        store.replay(found.cid for found in sound)
    return [found.cid for found in sound]


def unknown(store: Store) -> set[str]:
    """The documents of the ledger that the index does not know, or does not know to be the store's own."""
    with store.index.reading() as connection:
        known_here = dict(connection.execute("SELECT cid, own FROM documents").fetchall())
    return {
        found.cid
        for found, own in store.ledger.scan()
        if isinstance(found, StoredObject)
        and ((own and not known_here.get(found.cid, False)) or found.cid not in known_here)
    }


def set_aside_before(store: Store) -> list[Path]:
    """Move indexes to quarantine that were set aside by a process that was killed before it did so."""
    index = store.index_path
    found = sorted(index.parent.glob(f"{glob.escape(index.name)}.damaged-*"))
    return [_quarantined(store.root, path) for path in found if not path.name.endswith(SIDE_FILES)]


def _quarantined(root: Path, aside: Path) -> Path:
    """Move a damaged index, with what SQLite keeps beside it, into the quarantine of the store."""
    folder = root / "quarantine"
    try:
        make_folder(folder, root)
        number = 1
        while (target := folder / f"index.sqlite-{number}").exists():
            number += 1
        for suffix in ("", *SIDE_FILES):
            with contextlib.suppress(FileNotFoundError):
                shutil.move(f"{aside}{suffix}", f"{target}{suffix}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(
            f"the damaged index {str(aside)!r} cannot be moved to quarantine: {reason}"
        ) from error
    return target


def _restore_evictions(store: Store) -> None:
    """What the notes beside the index say of bytes that are not here."""
    gone = [found for found in evictions.noted(store.root) if store.objects.stat(found.cid) is None]
    if gone:
        store.add_mirrors({found.cid: found.mirrors for found in gone})
        with store.index.transaction() as connection:
            evictions.remember(connection, gone)
