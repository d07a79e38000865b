"""Records by name, and why filters select none; records the dictionaries that JSON answers hold."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer import assets
from stargazer.mcp.strict_json import shortened

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Store

__all__ = [
    "as_dict",
    "bring",
    "named_registrations",
    "run_in_place",
    "why_none",
]

NEAR, LOOKED = 5, 5_000  # values that are named where a filter selects nothing, and that are looked at


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
