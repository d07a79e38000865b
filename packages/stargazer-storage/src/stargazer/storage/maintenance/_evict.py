"""Drops the bytes of files that can be had again (`evict`), and keeps note of what was dropped on purpose."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
from stargazer.assets import IpFile, StargazerError, StorageError
from stargazer.storage.cid import is_cid
from stargazer.storage.files import make_folder, sync_paths, write_file
from stargazer.storage.locks import Tell, alone, silent
from stargazer.storage.maintenance.leftovers import cids_in_use
from stargazer.storage.recompute import can_run, makers
from stargazer.storage.refusals import explained
from stargazer.storage.store import Store, check_format

if TYPE_CHECKING:
    from stargazer.assets.provenance import Execution
    from stargazer.storage.download.sources import Source
    from stargazer.storage.objects import Objects

__all__ = ["EvictReport", "Evicted", "Refused", "evict", "evicted", "take_in_notes"]

_EVICTED = "INSERT OR IGNORE INTO evicted(cid) VALUES(?)"
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
    documents = {cid for cid, record in files.items() if record.keyvalues.get("asset") == "provenance"}
    here = {cid: record for cid, record in files.items() if cid in documents or store.objects.stat(cid)}
    used, origins = cids_in_use(store.root), _Origins(store, set(here))
    report = EvictReport(dry_run=dry_run, absent=len(files) - len(here))
    for cid, record in here.items():
        stays = "a running task reads it" if cid in used else ""
        if cid in documents:
            stays = "provenance stays: what is known of files follows from it"
        again = "" if stays else origins.again(cid)
        if stays or not (again or force):
            why = stays or origins.why_lost(cid)
            report.refused.append(Refused(cid, record.name, record.size, why, forcible=not stays))
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
            _drop(store, [found.cid for found in report.evicted])
    return report


class _Origins:
    """How the bytes of a CID can be had when those of some are dropped."""

    def __init__(self, store: Store, dropping: set[str]) -> None:
        self.store, self.dropping = store, dropping
        self._known: dict[str, str] = {}

    def again(self, cid: str) -> str:
        """How to have bytes again that are not here; empty if that is not known."""
        if cid not in self._known:
            self._known[cid] = ""  # while this is found out: nothing comes from itself
            self._known[cid] = next(self._ways(cid), "")
        return self._known[cid]

    def _ways(self, cid: str) -> Iterator[str]:
        for source in self.store.sources(cid):
            if _gives(source, self.store.objects, cid):
                yield f"from {source.name}"
        for document, execution in makers(self.store, cid).items():
            if not self._why_not(document, execution):
                yield f"{execution.task} computes it again when it is needed"

    def why_lost(self, cid: str) -> str:
        """Why bytes could not be had again."""
        for document, execution in makers(self.store, cid).items():
            return self._why_not(document, execution)
        return "it was imported, and no mirror of it gives it now"

    def _why_not(self, document: str, execution: Execution) -> str:
        """Why an execution is not counted on to make its files again; empty if it is."""
        if not self.store.is_trusted(document):
            return (
                f"somebody else says that {execution.task} made it, and is not trusted "
                "(`stargazer bundle fetch --trust`)"
            )
        if not can_run(execution.task):
            return f"{execution.task}, which made it, is not installed here"
        for cid in {entry.cid for entry in execution.inputs}:
            stays = cid not in self.dropping and self.store.objects.stat(cid)
            if not stays and not self.again(cid):
                return "what made it cannot be run again: not all of its inputs can be had"
        return ""


def _gives(source: Source, objects: Objects, cid: str) -> bool:
    """Whether a source gives the first bytes of a file now, and the last ones if it gives parts.

    They are compared with those that are here; where there are none, any bytes will do.
    """
    found = objects.stat(cid)
    try:
        for start in sorted({0, max(0, found.size - _LOOK)} if found else {0}):
            with source.open(cid, start) as body:
                if found is None:
                    return next(iter(body.pieces), None) is not None
                if body.size not in (None, found.size):
                    return False
                got, wanted = b"", min(_LOOK, found.size - body.start)
                while len(got) < wanted and (piece := next(iter(body.pieces), b"")):
                    got += piece
            with open(objects.path(cid), "rb") as file:
                file.seek(body.start)
                if got[:wanted] != file.read(wanted):
                    return False
    except (StargazerError, OSError):
        return False
    return True


# which bytes are not here on purpose: a table of the index, and notes beside it from which it can be made again


def _drop(store: Store, cids: Sequence[str]) -> None:
    """Say durably that the bytes are to be missing, then remove them: a crash in between loses nothing.

    Raises:
        StorageError: the store cannot be written.
    """
    note = store.root / "evictions" / f"{secrets.token_hex(8)}.json"
    entries = [{"cid": cid, "mirrors": store.mirrors(cid)} for cid in cids]  # else known to the index alone
    with explained(f"the store {str(store.root)!r} cannot be written"):
        make_folder(note.parent, store.root)
        write_file(note, json.dumps({"evicted": entries}).encode(), shared=store.root)
        sync_paths([store.root])
    with store.index.transaction() as connection:
        connection.executemany(_EVICTED, [(cid,) for cid in cids])
        connection.executemany("DELETE FROM objects WHERE cid = ?", [(cid,) for cid in cids])
    for cid in cids:
        store.objects.remove(cid)


def evicted(store: Store) -> set[str]:
    """The CIDs whose bytes were dropped on purpose and did not come back; making no store where there is none."""
    dropped = store.index.rows("SELECT cid FROM evicted") if store.exists() else []
    return {cid for (cid,) in dropped if store.objects.stat(cid) is None}


def take_in_notes(store: Store) -> None:
    """Tell an index that was made again what the notes say of bytes that are not here; what cannot be read is left out.

    Raises:
        StorageError: the index cannot be written.
    """
    mirrors: dict[str, list[str]] = {}
    for path in (store.root / "evictions").glob("*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
            for entry in json.loads(path.read_bytes())["evicted"]:
                if is_cid(entry["cid"]) and store.objects.stat(entry["cid"]) is None:
                    mirrors.setdefault(entry["cid"], []).extend(map(str, entry["mirrors"]))
    if mirrors:
        store.add_mirrors(mirrors)
        with store.index.transaction() as connection:
            connection.executemany(_EVICTED, [(cid,) for cid in mirrors])
