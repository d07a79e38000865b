"""Filters on the fields of one asset type: what to ask a store for, and which of its records they select.

Filters are equalities, all of which hold. A list means any of these; a filter on a list field selects the
assets that have it as a member. Values are typed as the fields are: `duplicates_marked=False`, `n_obs=5` and
`n_obs="5"` work. `sample` and `samples` mean the same: a type that has only one of these fields takes either.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, get_args, get_origin

from stargazer.assets.client import IpFile
from stargazer.assets.declaration import hints_of, unknown_key
from stargazer.assets.errors import InvalidAssetError
from stargazer.assets.keyvalues import composed, decode, encode, plain

__all__ = ["RECORD_KEYS", "Filters", "age", "has_value", "knows", "listed", "no_assembling",
           "refuse_forbidden", "same_keys", "value_of"]  # fmt: skip

SAME = {"sample": "samples", "samples": "sample"}
"""Keys with one meaning, for types that have but one of them."""
RECORD_KEYS = frozenset({"cid", "provenance_cid"})  # what every asset can be filtered by
QUERIES = 200  # of the store, for one type; other filters of many values are looked up in what these give

_forbidden: ContextVar[str] = ContextVar("stargazer_no_assembling", default="")


@contextmanager
def no_assembling(reason: str) -> Iterator[None]:
    """Make every search for assets an error that gives this reason, within a `with` block."""
    token = _forbidden.set(reason)
    try:
        yield
    finally:
        _forbidden.reset(token)


def refuse_forbidden() -> None:
    """Raise the InvalidAssetError of `no_assembling`, within its block."""
    if reason := _forbidden.get():
        raise InvalidAssetError(reason)


class Filters:
    """Filters on assets of one type.

    Args:
        cls: the type; of `Asset` itself, all records are searched.
        filters: by key, a value or several.

    Attributes:
        asked: sets of metadata: a store's records that have all of one of these are those that the filters
            select, and perhaps more.

    Raises:
        InvalidAssetError: a filter the type does not know, a value that its field does not take, or
            `no_assembling` holds.
    """

    def __init__(self, cls: Any, filters: Mapping[str, Any]):
        refuse_forbidden()
        self._cls = cls
        self._wanted: list[tuple[str, frozenset[Any]]] = []
        stored: dict[str, list[str]] = {}
        for name, values in filters.items():
            field, typed, is_stored = _typed_filter(cls, name, values)
            self._wanted.append((field, frozenset(typed)))
            if is_stored:
                stored.setdefault(field, [encode(value, _hint(cls, field)) for value in typed])
        kind = {"asset": cls.asset_key} if cls.asset_key else {}
        asked = _asked(stored)
        self.asked = [
            {**kind, **dict(zip(asked, values, strict=True))} for values in itertools.product(*asked.values())
        ]

    def select(self, records: Iterable[IpFile]) -> list[Any]:
        """The assets of this type among a store's records that the filters select, each once, oldest first."""
        key = self._cls.asset_key
        own = {
            record.id or f"{record.cid}{sorted(record.keyvalues.items())}": record
            for record in records
            if not key or record.keyvalues.get("asset") == key
        }
        assets = map(self._cls.from_record, own.values())
        return sorted((a for a in assets if isinstance(a, self._cls) and self._matches(a)), key=age)

    def _matches(self, asset: Any) -> bool:
        return all(
            any(value in values for value in listed(value_of(asset, name))) for name, values in self._wanted
        )


def has_value(pairs: Mapping[str, str], name: str, values: Iterable[Any]) -> bool:
    """Whether metadata has one of these values, or a list with one, under a key or one that means the same."""
    text = composed(pairs.get(name, pairs.get(SAME.get(name, ""))))
    wanted = {composed(str(value).lower() if isinstance(value, bool) else str(value)) for value in values}
    if text is None or text in wanted:
        return text is not None
    if text.startswith("["):
        try:
            return not wanted.isdisjoint(map(str, json.loads(text)))
        except (TypeError, ValueError):
            pass
    return False


def knows(cls: Any, name: str) -> bool:
    """Whether assets of a type can be filtered by a key."""
    return name in RECORD_KEYS or bool(cls.takes(_field(cls, name)))


def same_keys(name: str) -> list[str]:
    """A key of metadata, and the one that means the same."""
    return [name, *([SAME[name]] if name in SAME else [])]


def age(asset: Any) -> str:
    """When an asset's record was made: what assets are sorted by."""
    return asset.record.created_at if asset.record else ""


def listed(value: Any) -> Iterable[Any]:
    """The members of a value that is several, or the one that it is."""
    return value if isinstance(value, list | tuple | set | frozenset) else [value]


def _field(cls: Any, name: str) -> str:
    """The field that a filter is about: of keys that mean the same, the one that the type has."""
    same = SAME.get(name, "")
    return same if same in cls.fields() and name not in cls.fields() else name


def _typed_filter(cls: Any, name: str, values: Any) -> tuple[str, list[Any], bool]:
    """The field that a filter is about, the values it may have, and whether the store itself can select by it.

    It cannot by a member of a list, nor by a default, which a record may leave out.
    """
    if not knows(cls, name):
        raise InvalidAssetError(unknown_key(cls, name))
    field = _field(cls, name)
    kind = plain(_hint(cls, field))
    is_list = get_origin(kind) in (list, tuple)
    if is_list:
        kind = get_args(kind)[0]
    try:
        typed = [_typed(value, kind) for value in listed(values)]
    except InvalidAssetError as error:
        raise InvalidAssetError(f"{cls.asset_key or 'asset'}: {name}: {error}") from None
    default = cls.fields()[field].default if field in cls.fields() else None
    return field, typed, not is_list and (name in RECORD_KEYS or default not in typed)


def _hint(cls: Any, field: str) -> Any:
    """What a field takes; a key of somebody's own takes text."""
    return hints_of(cls).get(field, str)


def value_of(asset: Any, name: str) -> Any:
    """What an asset has under a key that its class takes; None where it has nothing."""
    if type(asset).free_keys and name not in type(asset).fields() and name not in RECORD_KEYS:
        return asset.extra.get(name)
    return getattr(asset, name)


def _typed(value: Any, kind: Any) -> Any:
    if hasattr(value, "asset_key"):  # an asset, for what links to it
        if not value.cid:
            raise InvalidAssetError(f"this {value.asset_key} has no CID: nothing stored can point at it")
        return value.cid
    return decode(value if isinstance(value, str) else encode(value, kind), kind)


def _asked(pairs: dict[str, list[str]]) -> dict[str, list[str]]:
    """The pairs that the store itself selects by: CIDs, and of others as many as give `QUERIES` queries at most."""
    asked: dict[str, list[str]] = {}
    queries = 1
    for name in sorted(pairs, key=lambda name: (name != "cid", len(pairs[name]))):
        values = list(dict.fromkeys(pairs[name]))
        queries *= len(values)
        if name == "cid" or queries <= QUERIES:
            asked[name] = values
    return asked
