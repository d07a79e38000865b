"""The file that a claim is about: its record, of which samples it is, whether it still counts; its verified bytes."""

from __future__ import annotations

import contextlib
import gzip
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import Asset, IntegrityError, IpFile, StorageError
from stargazer.assets.provenance import Supersession
from stargazer.mcp.claims.verdicts import QUERY_FILES, Unverifiable
from stargazer.mcp.strict_json import shortened
from stargazer.storage import Store, is_cid, lineage, maintenance

__all__ = ["File", "find_file", "head", "read_bytes"]

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
        state: of its bytes: `not read`, `verified`, `not here`, `evicted` or `damaged`.
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


def find_file(store: Store, cid: Any, wanted: Iterable[str] = ()) -> File:
    """A file by its CID; of bytes that are registered several times, the record of these samples, if one is.

    Raises:
        Unverifiable: no such file.
    """
    if not isinstance(cid, str) or not is_cid(cid):
        raise Unverifiable(f"no CID: {shortened(cid)}", QUERY_FILES)
    records = store.query({"cid": cid}) if store.exists() else []
    if not records:
        taken_back = bool(store.exists() and store.documents(cid, "retracted"))
        raise Unverifiable(
            "the file is not registered any more" if taken_back else "no file of this CID is registered",
            QUERY_FILES,
        )
    passed_over = {record.id for record in store.query({"cid": cid, "superseded": "true"})}
    records.sort(key=lambda record: record.id in passed_over)
    found = [_described(store, record, record.id in passed_over) for record in records]
    return next((file for file in found if set(wanted) & set(file.samples)), found[0])


def read_bytes(store: Store, files: Sequence[File]) -> Path:
    """The bytes of a file, verified against its CID.

    Args:
        files: it, by one record or several.

    Raises:
        Unverifiable: they are not here, or damaged.
    """
    cid = files[0].record.cid

    def noted(state: str) -> str:
        for file in files:
            file.state = state
        return state

    if not store.is_here(cid):
        state = noted("evicted" if cid in maintenance.evicted(store) else "not here")
        raise Unverifiable(
            f"the bytes of the file are {state}",
            f'call download_file {{"cid": "{cid}"}} to have them again, then check again',
        )
    try:
        path = store.read_here(cid)
    except IntegrityError:
        noted("damaged")
        raise Unverifiable(
            "the bytes of the file are not those of its CID: they were damaged", "run `stargazer fsck`"
        ) from None
    except StorageError as error:
        raise Unverifiable(f"the bytes of the file cannot be read: {error}") from None
    noted("verified")
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
