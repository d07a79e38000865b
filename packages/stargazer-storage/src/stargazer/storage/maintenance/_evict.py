"""Drops the bytes of files that can be had again (`evict`), and keeps note of what was dropped on purpose."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import IpFile, StargazerError, StorageError
from stargazer.storage.cid import is_cid
from stargazer.storage.files import make_folder, share_file, sync_paths, write_file
from stargazer.storage.ledger.documents import now
from stargazer.storage.locks import Tell, alone, silent
from stargazer.storage.maintenance.leftovers import cids_in_use
from stargazer.storage.recompute import can_run, makers
from stargazer.storage.refusals import explained
from stargazer.storage.store import Store, check_format

if TYPE_CHECKING:
    import sqlite3

    from stargazer.assets.provenance import Execution
    from stargazer.storage.download.sources import Source
    from stargazer.storage.objects import StoredObject

__all__ = ["EvictReport", "Evicted", "Eviction", "Refused", "evict", "evicted", "forget", "noted", "remember"]

_LOOK = 64 << 10  # bytes at either end of a file that a source is asked for


@attrs.frozen
class Evicted:
    """Bytes that were dropped, or would be.

    Attributes:
        size: bytes that are freed; none for a link to a user's file.
        again: how to have them again; empty for those that were forced out.
    """

    cid: str
    name: str
    size: int
    again: str


@attrs.frozen
class Refused:
    """Bytes that are not dropped, and why; `forcible` if they are where that is forced."""

    cid: str
    name: str
    size: int
    why: str
    forcible: bool


@attrs.frozen(kw_only=True)
class EvictReport:
    """What evict did, or would do; nothing is dropped where anything is refused."""

    dry_run: bool
    evicted: list[Evicted] = attrs.field(factory=list)
    refused: list[Refused] = attrs.field(factory=list)
    absent: int = 0
    """Files whose bytes were not here."""

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(found.size for found in self.evicted)


def evict(
    store: Store,
    records: Sequence[IpFile],
    *,
    force: bool = False,
    dry_run: bool = False,
    tell: Tell = silent,
) -> EvictReport:
    """Drop the bytes of records, which stay; of all of them, or of none if any cannot be had again.

    Bytes can be had again from a source that gives them now, or by running what made them: an installed task whose
    inputs stay or can be had again, by our own word or that of somebody who is trusted. Of a file that was added in
    place, the link goes and the file stays.

    Args:
        force: also what cannot be had again. Provenance and what a running task reads stay all the same.
        dry_run: drop nothing and report the same.
        tell: told whom it waits for.

    Raises:
        StorageError: the store is of another format, or cannot be written.
    """
    check_format(store.root)
    files = {record.cid: record for record in records}
    here = {
        cid: record
        for cid, record in files.items()
        if _is_provenance(record) or store.objects.stat(cid) is not None
    }
    used = cids_in_use(store.root)
    origins = _Origins(store, set(here))
    report = EvictReport(dry_run=dry_run, absent=len(files) - len(here))
    for cid, record in here.items():
        why, forcible, again = _judge(record, cid in used, origins)
        if why and not (force and forcible):
            report.refused.append(Refused(cid, record.name, record.size, why, forcible))
        else:
            size = 0 if store.objects.is_link(cid) else record.size
            report.evicted.append(Evicted(cid, record.name, size, again))
    if report.refused:
        report.evicted.clear()
    if report.evicted and not dry_run:
        with alone(store.root, tell):
            if begun := cids_in_use(store.root) & set(here):
                raise StorageError(
                    f"a task has just begun to read {min(begun)}: nothing was dropped; try again"
                )
            _drop(store, report.evicted)
    return report


def _is_provenance(record: IpFile) -> bool:
    return record.keyvalues.get("asset") == "provenance"


class _Origins:
    """How the bytes of a CID can be had when those of some are dropped."""

    def __init__(self, store: Store, dropping: set[str]) -> None:
        self.store, self.dropping = store, dropping
        self._known: dict[str, str] = {}

    def again(self, cid: str) -> str:
        """How to have bytes again that are not here; empty if that is not known."""
        if cid not in self._known:
            self._known[cid] = ""  # while this is found out: nothing comes from itself
            self._known[cid] = self._source(cid) or self._made(cid)
        return self._known[cid]

    def _source(self, cid: str) -> str:
        """A source that gives the first bytes of a file now, and the last ones if it gives parts."""
        found, path = self.store.objects.stat(cid), self.store.objects.path(cid)
        starts = sorted({0, max(0, found.size - _LOOK) if found else 0})
        for source in self.store.sources(cid):
            if all(_gives(source, cid, start, found, path) for start in starts):
                return f"from {source.name}"
        return ""

    def _made(self, cid: str) -> str:
        for document, execution in makers(self.store, cid).items():
            if not self.why_not(document, execution):
                return f"{execution.task} computes it again when it is needed"
        return ""

    def why_not(self, document: str, execution: Execution) -> str:
        """Why an execution is not counted on to make its files again; empty if it is."""
        if not self.store.is_trusted(document):
            return (
                f"somebody else says that {execution.task} made it, and is not trusted "
                "(`stargazer bundle fetch --trust`)"
            )
        if not can_run(execution.task):
            return f"{execution.task}, which made it, is not installed here"
        if not all(map(self._stays, {entry.cid for entry in execution.inputs})):
            return "what made it cannot be run again: not all of its inputs can be had"
        return ""

    def _stays(self, cid: str) -> bool:
        here = cid not in self.dropping and self.store.objects.stat(cid) is not None
        return here or bool(self.again(cid))


def _judge(record: IpFile, used: bool, origins: _Origins) -> tuple[str, bool, str]:
    """Why a file is not to be dropped, whether that can be forced, and how it can be had again."""
    if _is_provenance(record):
        return "provenance stays: what is known of files follows from it", False, ""
    if used:
        return "a running task reads it", False, ""
    if again := origins.again(record.cid):
        return "", True, again
    for document, execution in makers(origins.store, record.cid).items():
        return origins.why_not(document, execution), True, ""
    return "it was imported, and no mirror of it gives it now", True, ""


def _gives(source: Source, cid: str, start: int, found: StoredObject | None, path: Path) -> bool:
    """Whether a source gives some bytes of a file from an offset on, or from where it begins to give any.

    Args:
        found: the object at `path`, with which they are compared; where there is none, any bytes will do.
    """
    try:
        with source.open(cid, start) as body:
            if found is None:
                return next(iter(body.pieces), None) is not None
            if body.size not in (None, found.size):
                return False
            got, wanted = b"", min(_LOOK, found.size - body.start)
            for piece in body.pieces:
                got += piece
                if len(got) >= wanted:
                    break
        with open(path, "rb") as file:
            file.seek(body.start)
            return got[:wanted] == file.read(wanted)
    except (StargazerError, OSError):
        return False


def _drop(store: Store, files: Iterable[Evicted]) -> None:
    """Say durably that the bytes are to be missing, then remove them: a crash in between loses nothing."""
    at = now()
    found = [Eviction(file.cid, file.size, at, store.mirrors(file.cid)) for file in files]
    _note_down(store.root, at, found)
    with store.index.transaction() as connection:
        remember(connection, found)
        connection.executemany("DELETE FROM objects WHERE cid = ?", [(file.cid,) for file in found])
    for file in found:
        store.objects.remove(file.cid)


# which bytes are not here on purpose: a table of the index, and notes beside it from which it can be made again


@attrs.frozen
class Eviction:
    """Bytes that were dropped: how many, when, and URLs that had them then."""

    cid: str
    size: int
    at: str
    mirrors: list[str]


def remember(connection: sqlite3.Connection, evictions: Iterable[Eviction]) -> None:
    """Note in the index that bytes are not here on purpose."""
    connection.executemany(
        "INSERT OR REPLACE INTO evicted VALUES(?, ?, ?)",
        [(found.cid, found.size, found.at) for found in evictions],
    )


def evicted(connection: sqlite3.Connection) -> set[str]:
    """The CIDs whose bytes were dropped on purpose; some may have come back."""
    return {cid for (cid,) in connection.execute("SELECT cid FROM evicted")}


def forget(connection: sqlite3.Connection, cids: Iterable[str]) -> None:
    """Note in the index that bytes have come back."""
    connection.executemany("DELETE FROM evicted WHERE cid = ?", [(cid,) for cid in cids])


def noted(root: Path) -> Iterator[Eviction]:
    """What the notes beside the index say, oldest first; what cannot be read is left out."""
    for path in sorted((root / "evictions").glob("*.json")):
        try:
            body = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        yield from filter(None, map(_parsed, body.get("evicted", []) if isinstance(body, Mapping) else []))


def _parsed(entry: Any) -> Eviction | None:
    match entry:
        case {"cid": str() as cid, "size": int() as size, "at": str() as at, "mirrors": list() as urls} if (
            is_cid(cid)
        ):
            return Eviction(cid, size, at, [url for url in urls if isinstance(url, str)])
    return None


def _note_down(root: Path, at: str, evictions: Iterable[Eviction]) -> None:
    """Write a durable note: mirrors are known to the index alone, and it may be lost.

    Raises:
        StorageError: the store cannot be written.
    """
    note = root / "evictions" / f"{''.join(filter(str.isdigit, at))}-{secrets.token_hex(4)}.json"
    with explained(f"the store {str(root)!r} cannot be written"):
        make_folder(note.parent, root)
        write_file(note, json.dumps({"evicted": [attrs.asdict(found) for found in evictions]}).encode())
        share_file(note, root)
        sync_paths([root])
