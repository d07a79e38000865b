"""evict: bytes are dropped and their records stay, where the bytes can be had again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import attrs
from stargazer.assets import IpFile, StargazerError, StorageError
from stargazer.storage.locks import Tell, alone, silent
from stargazer.storage.maintenance import evictions, leftovers
from stargazer.storage.recompute import can_run, makers
from stargazer.storage.store import check_format

if TYPE_CHECKING:
    from pathlib import Path

    from stargazer.assets.provenance import Execution
    from stargazer.storage.download.sources import Source
    from stargazer.storage.objects import StoredObject
    from stargazer.storage.store import Store

__all__ = ["EvictReport", "Evicted", "Refused", "evict"]

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
        StorageError: the store cannot be written.
    """
    check_format(store.root)
    files = {record.cid: record for record in records}
    here = {
        cid: record
        for cid, record in files.items()
        if store.objects.stat(cid) is not None or record.keyvalues.get("asset") == "provenance"
    }
    absent = len(files) - len(here)
    used = leftovers.cids_in_use(store.root)
    origins = _Origins(store, set(here))
    dropped: list[Evicted] = []
    refused: list[Refused] = []
    for cid, record in here.items():
        why, forcible, again = _judge(record, cid in used, origins)
        if why and not (force and forcible):
            refused.append(Refused(cid, record.name, record.size, why, forcible))
        else:
            size = 0 if store.objects.is_link(cid) else record.size
            dropped.append(Evicted(cid, record.name, size, again))
    if refused:
        return EvictReport(dry_run=dry_run, refused=refused, absent=absent)
    if dropped and not dry_run:
        with alone(store.root, tell):
            if begun := leftovers.cids_in_use(store.root) & set(here):
                raise StorageError(
                    f"a task has just begun to read {min(begun)}: nothing was dropped; try again"
                )
            _drop(store, dropped)
    return EvictReport(dry_run=dry_run, evicted=dropped, absent=absent)


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
        found = self.store.objects.stat(cid)
        for source in self.store.sources(cid):
            if _has(source, found, self.store.objects.path(cid)) if found else _answers(source, cid):
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
            return f"somebody else says that {execution.task} made it, and is not trusted (`stargazer trust`)"
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
    if record.keyvalues.get("asset") == "provenance":
        return "provenance stays: what is known of files follows from it", False, ""
    if used:
        return "a running task reads it", False, ""
    again = origins.again(record.cid)
    if again:
        return "", True, again
    for document, execution in makers(origins.store, record.cid).items():
        return origins.why_not(document, execution), True, ""
    return "it was imported, and no mirror of it gives it now", True, ""


def _answers(source: Source, cid: str) -> bool:
    """Whether a source gives any bytes of a file now, with which there is nothing here to compare."""
    try:
        with source.open(cid, 0) as body:
            return next(iter(body.pieces), None) is not None
    except (StargazerError, OSError):
        return False


def _has(source: Source, found: StoredObject, path: Path) -> bool:
    """Whether a source gives the first bytes of a file now, and the last ones if it gives parts; nothing in between."""
    starts = dict.fromkeys([0, max(0, found.size - _LOOK)])
    return all(_gives(source, found, path, start) for start in starts)


def _gives(source: Source, found: StoredObject, path: Path, start: int) -> bool:
    """Whether a source gives some bytes of a file from an offset on, or from where it begins to give any."""
    try:
        with source.open(found.cid, start) as body, open(path, "rb") as file:
            if body.size not in (None, found.size):
                return False
            got = b""
            wanted = min(_LOOK, found.size - body.start)
            for piece in body.pieces:
                got += piece
                if len(got) >= wanted:
                    break
            file.seek(body.start)
            return got[:wanted] == file.read(wanted)
    except (StargazerError, OSError):
        return False


def _drop(store: Store, files: Iterable[Evicted]) -> None:
    """Say durably that the bytes are to be missing, then remove them: a crash in between loses nothing."""
    from stargazer.storage.ledger.documents import now

    at = now()
    found = [evictions.Eviction(file.cid, file.size, at, store.mirrors(file.cid)) for file in files]
    try:
        evictions.note_down(store.root, at, found)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"the store {str(store.root)!r} cannot be written: {reason}") from error
    with store.index.transaction() as connection:
        evictions.remember(connection, found)
        connection.executemany("DELETE FROM objects WHERE cid = ?", [(file.cid,) for file in found])
    for file in found:
        store.objects.remove(file.cid)
