"""Finds records by filters, and gives them as the dictionaries that JSON answers hold."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer import assets
from stargazer.mcp.strict_json import shortened

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.assets.provenance import Execution
    from stargazer.storage import Store

__all__ = [
    "as_dict",
    "bring",
    "computed_pairs",
    "find_records",
    "is_computed",
    "named_registrations",
    "newest_records",
    "run_in_place",
    "why_none",
]

NEAR, LOOKED = 5, 5_000  # values that are named where a filter selects nothing, and that are looked at
MANY, LONG = 50, 500  # sets of pairs, and characters of a value, that the index is asked for


def find_records(store: Store, filters: Mapping[str, Sequence[Any]]) -> list[IpFile]:
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
        raise assets.InvalidAssetError(f"superseded is true or false, not {', '.join(map(repr, superseded))}")
    if kinds is None and wanted:
        _refuse_unknown(wanted)
    query = assets.Query(kinds, wanted)
    asked = [{**pairs, "superseded": value} for pairs in query.asked for value in superseded] or query.asked
    found = [record for pairs in asked for record in store.query(pairs)] if store.exists() else []
    records = [asset.record for asset in query.select(found) if asset.record is not None]
    if ids is not None:
        records = [record for record in records if record.id in ids]
    if kinds is None and "cid" not in wanted and ids is None:
        records = [record for record in records if record.keyvalues.get("asset") != "provenance"]
    return records


def newest_records(
    store: Store, filters: Mapping[str, Sequence[Any]], limit: int, offset: int
) -> tuple[int, list[IpFile]]:
    """How many records `find_records` finds, and some of them, oldest first.

    Args:
        limit: at most so many, the newest.
        offset: leave out so many, the newest.

    Raises:
        InvalidAssetError: as `find_records`.
    """
    if (asked := _decisive(filters)) is not None and store.remote is None and store.exists():
        return store.newest(asked, limit, offset)
    found = find_records(store, filters)
    last = max(len(found) - offset, 0)
    return len(found), found[max(last - limit, 0) : last]


def why_none(store: Store, filters: Mapping[str, Sequence[Any]]) -> str:
    """Why filters select no record: a value that none has, with the nearest there are, or a key that is no metadata."""
    if not store.exists():
        return ""
    for key, values in filters.items():
        if key in ("asset", "id", "superseded") or not all(isinstance(value, str) for value in values):
            continue
        there = _values(store, key)
        if any(value in there for value in values):
            continue
        near = [
            other for value in values for other in difflib.get_close_matches(value, there, n=NEAR, cutoff=0.5)
        ]
        shown = list(dict.fromkeys(near))[:NEAR] or there[:NEAR]
        asked = " or ".join(map(shortened, values))
        if key == "name":
            fields = ", ".join(
                sorted(kind for kind, cls in assets.REGISTRY.items() if "name" in cls.fields())
            )
            return (
                f"name is a field of {fields}, and no file's own name: filter by asset, sample, build or cid"
            )
        if not there:
            return f"no record has {key}"
        if key.endswith("cid"):
            return f"no record has {key} {asked}"
        listed, is_part = ", ".join(map(shortened, shown)), len(shown) < len(there)
        found = f"the nearest: {listed}" if near and is_part else f"there are {listed}{', ...' * is_part}"
        return f"no record has {key} {asked}; {found}"
    return "no record has all of these: leave one of them out" if len(filters) > 1 else ""


def _values(store: Store, key: str) -> list[str]:
    """What records have under a key, or one that means the same; members of lists on their own."""
    import json

    found: list[str] = []
    for text in [each for name in assets.same_keys(key) for each in store.values(name, most=LOOKED)]:
        try:
            members = json.loads(text) if text.startswith("[") else [text]
        except ValueError:
            members = [text]
        found += map(str, members)
    return list(dict.fromkeys(found))


def _decisive(filters: Mapping[str, Sequence[Any]]) -> list[dict[str, str]] | None:
    """The pairs of which records that filters select have all of one; None where those may have others too."""
    wanted = {key: list(values) for key, values in filters.items()}
    kinds = wanted.pop("asset", None)
    if kinds is None and not wanted:
        return []
    if any(key in ("id", "superseded") or key.endswith("cid") for key in wanted):
        return None
    assets.load_asset_types()
    if kinds is None:
        _refuse_unknown(wanted)
    elif not assets.REGISTRY.keys() >= set(map(str, kinds)):  # of a script's own, or an error
        return None
    asked = [dict(pairs) for pairs in assets.Query(kinds, wanted).asked]
    asked = [pairs for pairs in asked if kinds or pairs.get("asset") != "provenance"]
    is_whole = all(len(pairs) == len(wanted) + 1 for pairs in asked)
    is_short = len(asked) <= MANY and all(len(value) <= LONG for pairs in asked for value in pairs.values())
    return asked if asked and is_whole and is_short else None


def _refuse_unknown(keys: Iterable[str]) -> None:
    """Refuse a key that no type has, with the nearest that one has."""
    assets.load_asset_types()
    fields = {name for cls in assets.REGISTRY.values() for name in cls.fields()}
    known = sorted(fields | {"cid", "provenance_cid", "id", "asset", "superseded"})
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise assets.InvalidAssetError(f"no asset type has a field {key!r}; {hint}")


def named_registrations(store: Store, name: str) -> list[IpFile]:
    """The records of a CID, or the one of an id: one at least.

    Raises:
        AssetNotFoundError: none.
    """
    from stargazer import storage

    found: list[IpFile] = []
    if store.exists():
        found = store.query({"cid": name}) if storage.is_cid(name) else [*filter(None, [store.get(name)])]
    if not found:
        raise assets.AssetNotFoundError(
            run_in_place(name) or f"no registered file has the CID or id {shortened(name)}"
        )
    return found


def run_in_place(name: str) -> str:
    """What to say of the id of a run where a file is asked for; nothing of what is none."""
    from stargazer.workflows import find_run

    try:
        run = find_run(name)
    except assets.StargazerError:
        return ""
    cids = {
        key: value["cid"]
        for key, value in run.results.items()
        if isinstance(value, dict) and isinstance(value.get("cid"), str)
    }
    listed = ", ".join(f"{key} {cid}" for key, cid in [*cids.items()][:NEAR])
    has = f"; of its results give a CID: {listed}" if listed else ""
    return f"{name} is a run, and no file{has}; `stargazer runs show {name}` shows all of it"


def is_computed(store: Store, record: IpFile) -> bool:
    """Whether a task made what a record says, as far as its provenance is here."""
    return _execution(store, record) is not None


def computed_pairs(store: Store, record: IpFile) -> dict[str, str]:
    """What the task that made a file said of it; nothing of a file that none made, as far as its provenance is here."""
    execution = _execution(store, record)
    outputs = (
        [dict(each.keyvalues) for each in execution.outputs if each.cid == record.cid] if execution else []
    )
    # the same bytes as several results: the one that is most like the record
    return max(outputs, key=lambda pairs: len(pairs.items() & record.keyvalues.items()), default={})


def _execution(store: Store, record: IpFile) -> Execution | None:
    from stargazer.assets.provenance import Execution

    made_by = record.keyvalues.get("provenance_cid", "")
    try:
        document = store.document(made_by) if made_by else None
    except assets.StargazerError:
        return None
    return document if isinstance(document, Execution) else None


def as_dict(record: IpFile, dropped: Collection[str] = ()) -> dict[str, Any]:
    """A record for programs.

    Args:
        dropped: the CIDs of evicted bytes.
    """
    return {"id": record.id, "cid": record.cid, "name": record.name, "size": record.size,
            "created_at": record.created_at, "keyvalues": dict(record.keyvalues),
            "evicted": record.cid in dropped}  # fmt: skip


async def bring(store: Store, records: Sequence[IpFile]) -> None:
    """Have the bytes of records and their companions here: downloaded, or computed again where nobody has them."""
    import asyncio  # here: the command line starts without it

    from stargazer import storage

    for record in await asyncio.to_thread(storage.with_companions, store, records):
        if store.objects.stat(record.cid) is None:
            await storage.get_client().download_file(record)
