"""The file that a claim is about: its record, of which samples it is, whether it still counts; its verified bytes."""

from __future__ import annotations

import contextlib
import gzip
import json
import warnings
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import Asset, IntegrityError, IpFile, StorageError
from stargazer.assets.provenance import Supersession
from stargazer.mcp.claims.numbers import same
from stargazer.mcp.claims.verdicts import QUERY_FILES, Unverifiable
from stargazer.mcp.strict_json import shortened
from stargazer.storage import Store, computed_pairs, is_cid, is_computed, lineage, maintenance

__all__ = ["OF_ABOUT", "OF_RECORD", "File", "Files", "head"]

OF_RECORD = ("cid", "name", "size", "created_at")
OF_ABOUT = ("id", "sample", "samples", "superseded")
"""What `about` takes that is no field of metadata to compare."""
BUILD = "build"
LINKED = 20  # files that links lead to, one after another
HEAD = 64  # bytes that tell what a file is


@attrs.define(kw_only=True)
class File:
    """What is known of a file.

    Attributes:
        asset: its record as an asset.
        samples: of which it is: as its record says, else those of the files that it was made of.
        is_said: its own record says of which sample it is.
        linked: what its links point at, and so on.
        computed: a task made it, and said what it is.
        amended: what somebody said instead of the task that made it.
        linked_amended: the same of what it is linked to.
        superseded: another file took its place.
        superseded_by: the CID of that.
        state: of its bytes: `not read`, `verified`, `not here`, `evicted`, `damaged` or `unreadable`.
    """

    record: IpFile
    asset: Asset
    samples: list[str]
    is_said: bool
    linked: list[Asset]
    computed: bool
    amended: frozenset[str]
    linked_amended: frozenset[str]
    superseded: bool
    superseded_by: str = ""
    state: str = "not read"

    def has(self, name: str) -> bool:
        """Whether its metadata has a field."""
        return (
            name in OF_RECORD
            or (name == BUILD and bool(self.says(name)))
            or _other(name) in self.names()
            or name in self.names()
        )

    def field(self, name: str) -> Any:
        """What the metadata says: typed, or as text where the type is not known; the build of what it is linked to.

        Raises:
            Unverifiable: it is not what the task said that made the file.
        """
        if name in OF_RECORD:
            return getattr(self.record, name)
        name = name if name in self.names() else _other(name)
        self.refuse_amended(name)
        if name == BUILD:
            return next(iter(self.says(name)), None)
        if name in self.asset.fields():
            return getattr(self.asset, name)
        return self.record.keyvalues.get(name)

    def says(self, key: str) -> list[Any]:
        """What its metadata says of a key, or that of what it is linked to; nothing if nobody says it."""
        said = [getattr(asset, key) for asset in (self.asset, *self.linked) if key in asset.fields()]
        said = [each for each in said if each is not None][:1]
        if key in self.record.keyvalues and not said:
            said = [self.record.keyvalues[key]]
        return said

    def refuse_amended(self, *keys: str) -> None:
        """See that somebody has not said something else than the task that made the file.

        Raises:
            Unverifiable: he has.
        """
        for key in keys:
            is_own = getattr(self.asset, key, None) is not None or key in self.record.keyvalues
            if key in self.amended or (key in self.linked_amended and not is_own):
                raise Unverifiable(
                    f"{shortened(key)} was amended: it is not what the task said that computed the file",
                    "claim it of what the file was computed from: call why",
                )

    def names(self) -> list[str]:
        """The fields that its metadata has."""
        return [*OF_RECORD, *self.record.keyvalues, *self.asset.fields()]

    def as_dict(self) -> dict[str, Any]:
        """What an answer says of it."""
        told: dict[str, Any] = {
            "name": self.record.name,
            "asset": self.record.keyvalues.get("asset", ""),
            "samples": self.samples[:20],
            "bytes": self.state,
        }
        if len(self.samples) > 20:
            told["samples (number)"] = len(self.samples)
        if self.superseded:
            told["superseded_by"] = self.superseded_by
        return told


class Files:
    """The files of a store that claims are about, each looked up once.

    Args:
        store: that has them.
    """

    def __init__(self, store: Store):
        self.store = store
        self._known: dict[str, list[File]] = {}

    def find(self, cid: Any, wanted: Collection[str], about: Mapping[str, Any]) -> list[File]:
        """A file by its CID: each registration that counts, as far as what is said of it does not select some.

        Args:
            wanted: the samples that it is said to be of.
            about: what else is said of it; `id` selects a registration.

        Raises:
            Unverifiable: no such file.
        """
        if not isinstance(cid, str) or not is_cid(cid):
            raise Unverifiable(f"no CID: {shortened(cid)}", QUERY_FILES)
        if cid not in self._known:
            self._known[cid] = self._look_up(cid)
        found = self._known[cid]
        if "id" in about:
            chosen = [file for file in found if file.record.id == about["id"]]
            if not chosen:
                raise Unverifiable(f"the file has no registration {shortened(about['id'])}", QUERY_FILES)
            return chosen
        old = about.get("superseded") is True
        chosen = [file for file in found if file.superseded is old] or found
        chosen = [file for file in chosen if {*wanted} & {*file.samples}] or chosen
        chosen = sorted(chosen, key=lambda file: not file.computed)
        for key, value in about.items():
            said = [
                file for file in chosen if key not in OF_ABOUT and same([value], file.says(key), Decimal(0))
            ]
            if not any(
                file.computed for file in chosen if file not in said
            ):  # a task is not overruled by an import
                chosen = said or chosen
        return chosen

    def _look_up(self, cid: str) -> list[File]:
        store = self.store
        records = store.query({"cid": cid}) if store.exists() else []
        if not records:
            gone = store.exists() and store.documents(cid, "retracted")
            why = "the file is not registered any more" if gone else "no file of this CID is registered"
            raise Unverifiable(why, QUERY_FILES)
        passed_over = {record.id for record in store.query({"cid": cid, "superseded": "true"})}
        records.sort(key=lambda record: record.id in passed_over)
        return [_described(store, record, record.id in passed_over) for record in records]

    def read(self, file: File) -> Path:
        """The file's bytes, verified against its CID.

        Raises:
            Unverifiable: they are not here, or damaged.
        """
        cid, store = file.record.cid, self.store
        path, then, state = None, "", "verified"
        try:
            if store.is_here(cid):
                path = store.read_here(cid)
            else:
                state = "evicted" if cid in maintenance.evicted(store) else "not here"
                then = f'call download_file {{"cid": "{cid}", "folder": "results"}} to bring them, and check again'
        except IntegrityError:
            state, then = "damaged", "run `stargazer fsck`"
        except StorageError:
            state = "unreadable"
        for each in self._known[cid]:
            each.state = state
        if path is None:
            raise Unverifiable(f"the bytes of the file are {state}", then)
        return path


def head(path: Path) -> bytes:
    """The first bytes of a file, decompressed if it is gzip."""
    with path.open("rb") as file:
        first = file.read(HEAD)
        if not first.startswith(b"\x1f\x8b"):
            return first
        file.seek(0)
        with contextlib.suppress(OSError, EOFError), gzip.GzipFile(fileobj=file) as text:
            return text.read(HEAD)
    return first


def _described(store: Store, record: IpFile, superseded: bool) -> File:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unknown type is read as text
        asset = Asset.from_record(record)
        direct = _linked(store, asset)
        records, more = list(direct), direct
        while more and len(records) < LINKED:
            known = {each.cid for each in records}
            more = [
                found
                for each in more
                for found in _linked(store, Asset.from_record(each))
                if found.cid not in known
            ]
            records += more
        linked = [Asset.from_record(each) for each in records]
    samples = _own(asset)
    is_said = bool(samples)
    if not samples:
        samples = list(dict.fromkeys(name for each in linked[: len(direct)] for name in _own(each)))
    if not samples and record.keyvalues.get("asset") != "provenance":
        before = lineage.walk(lineage.why(store, record.cid))
        samples = sorted({name for step in before for name in _named(step.entry.keyvalues)})
    return File(
        record=record,
        asset=asset,
        samples=samples,
        is_said=is_said,
        linked=linked,
        computed=is_computed(store, record),
        amended=_amended(store, record),
        linked_amended=frozenset(key for each in records for key in _amended(store, each)),
        superseded=superseded,
        superseded_by=_successor(store, record) if superseded else "",
    )


def _other(name: str) -> str:
    """The field that says the same of one sample, or of several."""
    return {"sample": "samples", "samples": "sample"}.get(name, name)


def _linked(store: Store, asset: Asset) -> list[IpFile]:
    """The records that an asset's links point at: of several of one file, what a task said."""
    cids = [cid for link in asset.links() if isinstance(cid := getattr(asset, link), str)]
    found = [store.query({"cid": cid}) for cid in cids]
    return [min(records, key=lambda record: not is_computed(store, record)) for records in found if records]


def _amended(store: Store, record: IpFile) -> frozenset[str]:
    """The keys of which a record says something else than the task that made the file."""
    said = computed_pairs(store, record)
    keys = {*said, *record.keyvalues} - {"provenance_cid"} if said else set()
    return frozenset(key for key in keys if said.get(key) != record.keyvalues.get(key))


def _own(asset: Asset) -> list[str]:
    """The samples that an asset's own fields name."""
    if several := getattr(asset, "samples", None):
        return list(several)
    sample = getattr(asset, "sample", None)
    return [sample] if sample else _named(asset.extra)


def _named(pairs: Mapping[str, str]) -> list[str]:
    """The samples that metadata names, as text."""
    if "samples" in pairs:
        with contextlib.suppress(ValueError):
            return [str(name) for name in json.loads(pairs["samples"])]
    return [pairs["sample"]] if pairs.get("sample") else []


def _successor(store: Store, record: IpFile) -> str:
    """The CID of the file that took another's place."""
    found = ""
    for cid in store.documents(record.cid, "superseded"):
        with contextlib.suppress(StorageError):
            document = store.document(cid)
            if isinstance(document, Supersession) and document.record == record.id and document.successor:
                found = document.successor_cid
    return found
