"""Finding assets by what they are: all of a kind, exactly one, or several kinds at once.

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
from typing import Any, TypeVar, get_args, get_origin

from stargazer.assets._asset import REGISTRY, Asset, asset_class, load_asset_types
from stargazer.assets.candidates import describe_ambiguous, describe_candidates
from stargazer.assets.client import IpFile, StorageClient, current_client
from stargazer.assets.declaring import hints_of, unknown_key
from stargazer.assets.errors import AmbiguousAssetError, AssetNotFoundError, InvalidAssetError
from stargazer.assets.keyvalues import composed, decode, encode, plain

__all__ = ["assemble", "find", "has_value", "no_assembling", "one"]

A = TypeVar("A", bound=Asset)
_forbidden: ContextVar[str] = ContextVar("stargazer_no_assembling", default="")
SAME = {"sample": "samples", "samples": "sample"}
"""Keys with one meaning, for types that have but one of them."""
RECORD_KEYS = frozenset({"cid", "provenance_cid"})  # what every asset can be filtered by
QUERIES = 200  # of the store, for one type; other filters of many values are looked up in what these give


@contextmanager
def no_assembling(reason: str) -> Iterator[None]:
    """Make every search for assets an error that gives this reason, within a `with` block."""
    token = _forbidden.set(reason)
    try:
        yield
    finally:
        _forbidden.reset(token)


async def assemble(
    *, asset: str | Iterable[str] | None = None, client: StorageClient | None = None, **filters: Any
) -> list[Asset]:
    """All assets of one or several types (of all when none is named) that the filters select, oldest first.

    A type that lacks a filtered field has no matching assets; a filter that no named type knows is an error.

    Raises:
        InvalidAssetError: an unknown type, a filter that no type knows, or a value that no type's field takes.
    """
    if asset is None:
        load_asset_types()
        if filters.keys() <= RECORD_KEYS:
            return await find(Asset, client=client, **filters)
    keys = list(dict.fromkeys([asset] if isinstance(asset, str) else REGISTRY if asset is None else asset))
    foreign = {key: found for key in keys if (found := await _foreign(key, current_client(client)))}
    classes = [asset_class(key) for key in keys if key not in foreign]
    if foreign:
        found = [each for several in foreign.values() for each in _having(several, filters)]
        found += (
            await assemble(asset=[cls.asset_key for cls in classes], client=client, **filters)
            if classes
            else []
        )
        return sorted(found, key=_age)
    for name in filters:
        if not any(_knows(cls, name) for cls in classes):
            kinds = f"none of {', '.join(keys)}" if asset is not None else "no asset type"
            raise InvalidAssetError(
                unknown_key(classes[0], name) if len(classes) == 1 else f"{kinds} has a field {name!r}"
            )
    found = []
    refusals: list[InvalidAssetError] = []
    asked = [cls for cls in classes if all(_knows(cls, name) for name in filters)]
    for cls in asked:
        try:
            found += await find(cls, client=client, **filters)
        except InvalidAssetError as error:  # of several types, one may take a value that another does not
            refusals.append(error)
    if refusals and len(refusals) == len(asked):
        raise refusals[0]
    return sorted(found, key=_age)


async def _foreign(key: str, client: StorageClient) -> list[Asset]:
    """The assets of a type that no installed distribution declares, such as a script's own: as they are, untyped."""
    load_asset_types()
    if key in REGISTRY or _forbidden.get():
        return []
    return [Asset.untyped(record) for record in await client.query_files({"asset": key}) if key]


def _having(assets: Iterable[Asset], filters: Mapping[str, Any]) -> list[Asset]:
    """Those of some untyped assets that filters select, by the texts that are stored."""
    return [
        asset
        for asset in assets
        if asset.record is not None
        and all(
            has_value(
                {**asset.record.keyvalues, "cid": asset.record.cid},
                name,
                values if isinstance(values, list | tuple | set | frozenset) else [values],
            )
            for name, values in filters.items()
        )
    ]


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


async def find(cls: type[A], *, client: StorageClient | None = None, **filters: Any) -> list[A]:
    """All assets of one type that the filters select, oldest first; of `Asset` itself, all records.

    Raises:
        InvalidAssetError: a filter the type does not know, or a value that its field does not take.
    """
    if _forbidden.get():
        raise InvalidAssetError(_forbidden.get())
    client = current_client(client)
    wanted = [(_field(cls, name), _wanted(cls, name, values)) for name, values in filters.items()]
    pairs = {
        name: [encode(v, hints_of(cls)[name]) for v in values]
        for name, values in reversed(wanted)
        if _stored(cls, name, values)
    }
    kind = {"asset": cls.asset_key} if cls.asset_key else {}
    records: dict[str, IpFile] = {}
    asked = _asked(pairs)
    for values in itertools.product(*asked.values()):
        for record in await client.query_files({**kind, **dict(zip(asked, values, strict=True))}):
            records[record.id or f"{record.cid}{sorted(record.keyvalues.items())}"] = record
    assets = [asset for asset in map(cls.from_record, records.values()) if isinstance(asset, cls)]
    members = [(name, frozenset(values)) for name, values in wanted]
    return sorted((asset for asset in assets if _matches(asset, members)), key=_age)


async def one(
    cls: type[A], *, client: StorageClient | None = None, latest: bool = False, **filters: Any
) -> A:
    """The one asset of a type that the filters select; with `latest`, the newest of several.

    Raises:
        AssetNotFoundError: none; the message says what there is instead.
        AmbiguousAssetError: several; the message lists them with what separates them, and the filter to add.
    """
    found = await find(cls, client=client, **filters)
    if len(found) == 1 or (found and latest):
        return found[-1]
    asked = " ".join([cls.asset_key, *(f"{name}={_shown(value)}" for name, value in filters.items())])
    if found:
        raise AmbiguousAssetError(await describe_ambiguous(asked, found, current_client(client)))
    others = await find(cls, client=client)
    if not others:
        raise AssetNotFoundError(
            f"no {asked}: the store holds no {cls.asset_key} at all; "
            f"add one with `stargazer add FILE asset={cls.asset_key} ...`"
        )
    raise AssetNotFoundError(
        f"no {asked}; the store holds {len(others)} {cls.asset_key}:\n{describe_candidates(others)}"
    )


def _knows(cls: type[Asset], name: str) -> bool:
    return _field(cls, name) in cls.fields() or name in RECORD_KEYS


def _field(cls: type[Asset], name: str) -> str:
    """The field that a filter is about: of keys that mean the same, the one that the type has."""
    same = SAME.get(name, "")
    return same if same in cls.fields() and name not in cls.fields() else name


def _is_list(cls: type[Asset], name: str) -> bool:
    return get_origin(plain(hints_of(cls)[name])) in (list, tuple)


def _wanted(cls: type[Asset], name: str, values: Any) -> list[Any]:
    """The typed values of one filter: of a list field, those of its members."""
    if not _knows(cls, name):
        raise InvalidAssetError(unknown_key(cls, name))
    field = _field(cls, name)
    kind = plain(hints_of(cls)[field])
    if _is_list(cls, field):
        kind = get_args(kind)[0]
    several = isinstance(values, list | tuple | set | frozenset)
    try:
        return [_typed(value, kind) for value in (values if several else [values])]
    except InvalidAssetError as error:
        raise InvalidAssetError(f"{cls.asset_key or 'asset'}: {name}: {error}") from None


def _typed(value: Any, kind: Any) -> Any:
    if isinstance(value, Asset):
        if not value.cid:
            raise InvalidAssetError(f"this {value.asset_key} has no CID: nothing stored can point at it")
        return value.cid
    return decode(value if isinstance(value, str) else encode(value, kind), kind)


def _stored(cls: type[Asset], name: str, values: list[Any]) -> bool:
    """Whether the store itself can select by a filter: not by a list's member, nor by a default left out."""
    if _is_list(cls, name):
        return False
    return name in RECORD_KEYS or cls.fields()[name].default not in values


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


def _matches(asset: Asset, wanted: list[tuple[str, frozenset[Any]]]) -> bool:
    for name, values in wanted:
        value = getattr(asset, name)
        if not any(one_of in values for one_of in (value if isinstance(value, list | tuple) else [value])):
            return False
    return True


def _shown(value: Any) -> str:
    return str(value.cid if isinstance(value, Asset) else value)


def _age(asset: Asset) -> str:
    return asset.record.created_at if asset.record else ""
