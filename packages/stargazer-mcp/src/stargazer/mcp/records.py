"""Records as people and programs read them, and the filters that find them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
from stargazer.assets import REGISTRY, InvalidAssetError, IpFile, assemble, load_asset_types
from stargazer.assets.keyvalues import list_text
from stargazer.storage import LocalStore
from stargazer.storage.maintenance import evicted as cids_evicted

__all__ = ["DirectClient", "as_dict", "evicted", "fields_text", "find_records", "run_now"]

T = TypeVar("T")


def find_records(store: LocalStore, filters: Mapping[str, Sequence[Any]]) -> list[IpFile]:
    """The records that typed filters select, oldest first; provenance only when it is asked for.

    Args:
        filters: the values of each key, any of which will do; the key `asset` names types, `id` a record, and
            `superseded` is `true` for what others took the place of, which is found by that, `cid` and `id` alone.

    Raises:
        InvalidAssetError: an unknown type or key, or a value that its field does not take.
    """
    wanted = {key: list(values) for key, values in filters.items()}
    kinds, ids = wanted.pop("asset", None), wanted.pop("id", None)
    superseded = [str(value).lower() for value in wanted.pop("superseded", ["true", "false"] if ids else [])]
    if not {"true", "false"}.issuperset(superseded):
        raise InvalidAssetError(f"superseded is true or false, not {', '.join(map(repr, superseded))}")
    if kinds is None:
        _refuse_unknown(wanted)
    assets = run_now(assemble(asset=kinds, client=DirectClient(store, superseded), **wanted))
    records = [asset.record for asset in assets if asset.record is not None]
    if ids is not None:
        records = [record for record in records if record.id in ids]
    if kinds is None and "cid" not in wanted and ids is None:
        records = [record for record in records if record.keyvalues.get("asset") != "provenance"]
    return records


def _refuse_unknown(keys: Iterable[str]) -> None:
    """Refuse a key that no type has, with the nearest that one has."""
    load_asset_types()
    known = {name for cls in REGISTRY.values() for name in cls.fields()} | {
        "cid",
        "provenance_cid",
        "id",
        "asset",
        "superseded",
    }
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise InvalidAssetError(f"no asset type has a field {key!r}; {hint}")


def evicted(store: LocalStore) -> set[str]:
    """The CIDs of the bytes that were evicted and did not come back; read it before records are asked for."""
    if not store.exists():
        return set()
    with store.index.reading() as connection:
        dropped = cids_evicted(connection)
    return {cid for cid in dropped if store.objects.stat(cid) is None}


def as_dict(record: IpFile, dropped: Collection[str] = ()) -> dict[str, Any]:
    """A record for programs.

    Args:
        dropped: the CIDs of evicted bytes.
    """
    return {"id": record.id, "cid": record.cid, "name": record.name, "size": record.size,
            "created_at": record.created_at, "keyvalues": dict(record.keyvalues),
            "evicted": record.cid in dropped}  # fmt: skip


def fields_text(keyvalues: Mapping[str, str]) -> str:
    """What is said of a file, for people: `sample=NA12878 lane=L001`; links and what is false are left out."""
    pairs = {
        key: value
        for key, value in keyvalues.items()
        if key not in ("asset", "run_key") and not key.endswith("_cid") and value not in ("false", "[]")
    }
    return " ".join(f"{key}={_plain_list(value)}" for key, value in pairs.items())


def _plain_list(value: str) -> str:
    """A list as people write it, with commas; any other value as it is."""
    if value.startswith('["'):
        try:
            return list_text(json.loads(value))
        except ValueError:
            pass
    return value


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("this coroutine waits: it needs an event loop")


class DirectClient:
    """The part of a storage client that searching and reading need, answered at once.

    Args:
        superseded: which of `true` and `false` to find; those that the store shows by itself if there are none.
    """

    def __init__(self, store: LocalStore, superseded: Sequence[str] = ()):
        self.store = store
        self.superseded = superseded
        self.views: Path = store.views

    async def query_files(self, keyvalues: Mapping[str, str], public: bool | None = None) -> list[IpFile]:
        if not self.store.exists():
            return []
        asked = [{**keyvalues, "superseded": value} for value in self.superseded] or [dict(keyvalues)]
        return [record for pairs in asked for record in self.store.query(pairs)]

    async def upload_file(
        self, path: Path, keyvalues: Mapping[str, str], public: bool | None = None, *, name: str | None = None
    ) -> IpFile:
        raise NotImplementedError

    async def download_file(self, ipfile: IpFile, dest: Path | None = None) -> IpFile:
        return attrs.evolve(ipfile, path=self.store.read(ipfile.cid))

    async def update_file(self, ipfile: IpFile, keyvalues: Mapping[str, str | None]) -> IpFile:
        raise NotImplementedError

    async def delete_file(self, ipfile: IpFile) -> None:
        raise NotImplementedError
