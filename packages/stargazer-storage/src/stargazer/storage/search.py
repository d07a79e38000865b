"""Finds records by filters, all of them or a page of them, and what a task said of a file that it made."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from stargazer.assets import REGISTRY, InvalidAssetError, Query, StargazerError, load_asset_types

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.assets.provenance import Execution
    from stargazer.storage.store import Order, Store

__all__ = ["computed_pairs", "find_page", "find_records", "is_computed", "type_counts"]

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
        raise InvalidAssetError(f"superseded is true or false, not {', '.join(map(repr, superseded))}")
    if kinds is None and wanted:
        _refuse_unknown(wanted)
    query = Query(kinds, wanted)
    asked = [{**pairs, "superseded": value} for pairs in query.asked for value in superseded] or query.asked
    found = [record for pairs in asked for record in store.query(pairs)] if store.exists() else []
    records = [asset.record for asset in query.select(found) if asset.record is not None]
    if ids is not None:
        records = [record for record in records if record.id in ids]
    if kinds is None and "cid" not in wanted and ids is None:
        records = [record for record in records if record.keyvalues.get("asset") != "provenance"]
    return records


def find_page(
    store: Store,
    filters: Mapping[str, Sequence[Any]],
    limit: int,
    offset: int = 0,
    *,
    order: Order = "created_at",
    descending: bool = True,
    public: bool | None = None,
) -> tuple[int, list[IpFile]]:
    """How many records `find_records` finds, and some of them, by default the newest, newest first.

    Args:
        limit: at most so many.
        offset: leave out so many, the first in this order.
        order: what they are sorted by; those that are equal come in the order in which they were registered.
        public: only those that are on the public network, or only those that are not.

    Raises:
        InvalidAssetError: as `find_records`.
    """
    if (asked := _decisive(filters)) is not None and store.remote is None:
        if not store.exists():
            return 0, []
        return store.page(asked, limit, offset, order=order, descending=descending, public=public)
    found = [record for record in find_records(store, filters) if public in (None, record.public)]
    if descending:  # stable: of equal ones the newest first
        found.reverse()
    if order != "created_at":
        found.sort(key=attrgetter(order), reverse=descending)
    return len(found), found[offset : offset + limit]


def type_counts(store: Store) -> dict[str, int]:
    """How many records `find_records` finds of each type that there is, in the order of their names."""
    if store.remote is None:
        return store.type_counts() if store.exists() else {}
    found = Counter(record.keyvalues.get("asset", "") for record in find_records(store, {}))
    return dict(sorted(found.items()))


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


def _decisive(filters: Mapping[str, Sequence[Any]]) -> list[dict[str, str]] | None:
    """The pairs of which records that filters select have all of one; None where those may have others too."""
    wanted = {key: list(values) for key, values in filters.items()}
    kinds = wanted.pop("asset", None)
    if kinds is None and not wanted:
        return []
    if any(key in ("id", "superseded") or key.endswith("cid") for key in wanted):
        return None
    load_asset_types()
    if kinds is None:
        _refuse_unknown(wanted)
    elif not REGISTRY.keys() >= set(map(str, kinds)):  # of a script's own, or an error
        return None
    asked = [dict(pairs) for pairs in Query(kinds, wanted).asked]
    asked = [pairs for pairs in asked if kinds or pairs.get("asset") != "provenance"]
    is_whole = all(len(pairs) == len(wanted) + 1 for pairs in asked)
    is_short = len(asked) <= MANY and all(len(value) <= LONG for pairs in asked for value in pairs.values())
    return asked if asked and is_whole and is_short else None


def _refuse_unknown(keys: Iterable[str]) -> None:
    """Refuse a key that no type has, with the nearest that one has."""
    load_asset_types()
    fields = {name for cls in REGISTRY.values() for name in cls.fields()}
    known = sorted(fields | {"cid", "provenance_cid", "id", "asset", "superseded"})
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            known_words = f"a key of your own goes with asset=file; known: {', '.join(known)}"
            hint = f"did you mean {near[0]!r}?" if near else known_words
            raise InvalidAssetError(f"no asset type has a field {key!r}; {hint}")


def _execution(store: Store, record: IpFile) -> Execution | None:
    from stargazer.assets.provenance import Execution  # here: most searches need none of it

    made_by = record.keyvalues.get("provenance_cid", "")
    try:
        document = store.document(made_by) if made_by else None
    except StargazerError:
        return None
    return document if isinstance(document, Execution) else None
