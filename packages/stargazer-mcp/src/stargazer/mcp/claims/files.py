"""The file that a claim is about: its record, of which samples it is, whether it still counts; its verified bytes."""

from __future__ import annotations

import contextlib
import gzip
import json
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import Asset, IntegrityError, IpFile, StorageError
from stargazer.assets.provenance import Supersession
from stargazer.mcp.claims.verdicts import QUERY_FILES, Unverifiable
from stargazer.mcp.strict_json import shortened
from stargazer.storage import Store, is_cid, lineage, maintenance

__all__ = ["File", "Files", "head"]

HEAD = 64  # bytes that tell what a file is


@attrs.define(kw_only=True)
class File:
    """What is known of a file.

    Attributes:
        asset: its record as an asset.
        samples: of which it is: as its record says, else those of the files that it was made of.
        is_said: its own record says of which sample it is.
        linked: what its links point at.
        superseded: another file took its place.
        superseded_by: the CID of that.
        state: of its bytes: `not read`, `verified`, `not here`, `evicted`, `damaged` or `unreadable`.
    """

    record: IpFile
    asset: Asset
    samples: list[str]
    is_said: bool
    linked: list[Asset]
    superseded: bool
    superseded_by: str = ""
    state: str = "not read"

    def field(self, name: str) -> Any:
        """What the metadata says: typed, or as text where the type is not known.

        Raises:
            LookupError: its type has no such field.
        """
        if name in ("cid", "name", "size", "created_at"):
            return getattr(self.record, name)
        name = (
            {"sample": "samples", "samples": "sample"}.get(name, name)
            if name not in self.asset.fields()
            else name
        )
        if name in self.asset.fields():
            return getattr(self.asset, name)
        return self.record.keyvalues[name]

    def names(self) -> list[str]:
        """The fields that its metadata has."""
        return ["cid", "name", "size", "created_at", *self.record.keyvalues, *self.asset.fields()]

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

    def find(self, cid: Any, wanted: Collection[str] = ()) -> File:
        """A file by its CID; of bytes that are registered several times, the record of these samples, if one is.

        Raises:
            Unverifiable: no such file.
        """
        if not isinstance(cid, str) or not is_cid(cid):
            raise Unverifiable(f"no CID: {shortened(cid)}", QUERY_FILES)
        if cid not in self._known:
            self._known[cid] = self._look_up(cid)
        found = self._known[cid]
        return next((file for file in found if {*wanted} & {*file.samples}), found[0])

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
        linked = [
            Asset.from_record(found)
            for link in asset.links()
            if isinstance(cid := getattr(asset, link), str)
            for found in store.query({"cid": cid})[:1]
        ]
    samples = _own(asset)
    is_said = bool(samples)
    if not samples:
        samples = list(dict.fromkeys(name for each in linked for name in _own(each)))
    if not samples and record.keyvalues.get("asset") != "provenance":
        before = lineage.walk(lineage.why(store, record.cid))
        samples = sorted({name for step in before for name in _named(step.entry.keyvalues)})
    return File(
        record=record,
        asset=asset,
        samples=samples,
        is_said=is_said,
        linked=linked,
        superseded=superseded,
        superseded_by=_successor(store, record) if superseded else "",
    )


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
