"""Finding assets by what they are: all of a kind, exactly one, or several kinds at once.

Filters are equalities, all of which hold. A list means any of these; a filter on a list field selects the assets that
have it as a member. Values are typed as the fields are: `duplicates_marked=False`, `n_obs=5` and `n_obs="5"` work.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args, get_origin

from stargazer.assets.asset import REGISTRY, Asset, _hints, _unknown_key, asset_class
from stargazer.assets.client import IpFile, StorageClient, current_client
from stargazer.assets.errors import AmbiguousAssetError, AssetNotFoundError, InvalidAssetError, StargazerError
from stargazer.assets.keyvalues import decode, encode, plain

__all__ = ["assemble", "find", "one"]

A = TypeVar("A", bound=Asset)
SHOWN = 10


async def assemble(
    *, asset: str | Iterable[str] | None = None, client: StorageClient | None = None, **filters: Any
) -> list[Asset]:
    """All assets of one or several types (all types when none is named) that the filters select, oldest first.

    A type that lacks a filtered field has no matching assets; a filter that no named type knows is an error.

    Raises:
        InvalidAssetError: an unknown type, a filter unknown to every type, or a value that its field does not take.
    """
    keys = [asset] if isinstance(asset, str) else list(REGISTRY if asset is None else asset)
    classes = [asset_class(key) for key in keys]
    for name in filters:
        if not any(_knows(cls, name) for cls in classes):
            raise InvalidAssetError(_unknown_key(classes[0], name) if len(classes) == 1 else
                                    f"no asset type has a field {name!r}")  # fmt: skip
    found: list[Asset] = []
    for cls in classes:
        if all(_knows(cls, name) for name in filters):
            found += await find(cls, client=client, **filters)
    return sorted(found, key=_age)


async def find(cls: type[A], *, client: StorageClient | None = None, **filters: Any) -> list[A]:
    """All assets of one type that the filters select, oldest first.

    Raises:
        InvalidAssetError: a filter the type does not know, or a value that its field does not take.
    """
    client = current_client(client)
    equal, members = _split(cls, filters)
    records: dict[str, IpFile] = {}
    for values in itertools.product(*equal.values()):
        pairs = dict(zip(equal, values, strict=True))
        for record in await client.query_files({"asset": cls.asset_key, **pairs}):
            records[record.id or f"{record.cid}{sorted(record.keyvalues.items())}"] = record
    found = [asset for asset in map(Asset.from_record, records.values()) if isinstance(asset, cls)]
    kept = [
        asset
        for asset in found
        if all(any(value in (getattr(asset, name) or ()) for value in wanted) for name, wanted in members.items())
    ]
    return sorted(kept, key=_age)


async def one(cls: type[A], *, client: StorageClient | None = None, latest: bool = False, **filters: Any) -> A:
    """The one asset of a type that the filters select; with `latest`, the newest of several.

    Raises:
        AssetNotFoundError: none; the message says what there is instead.
        AmbiguousAssetError: several; the message lists them with what separates them, and the filter to add.
    """
    found = await find(cls, client=client, **filters)
    if len(found) == 1 or (found and latest):
        return found[-1]
    asked = " ".join([cls.asset_key, *(f"{name}={value}" for name, value in filters.items())])
    if found:
        raise AmbiguousAssetError(await _ambiguous(asked, found, current_client(client)))
    others = await find(cls, client=client)
    if not others:
        raise AssetNotFoundError(f"no {asked}: the store holds no {cls.asset_key} at all; "
                                 f"add one with `stargazer add FILE asset={cls.asset_key} ...`")  # fmt: skip
    listing = "\n".join(f"  {_describe(other)}" for other in others[:SHOWN])
    raise AssetNotFoundError(f"no {asked}; the store holds {len(others)} {cls.asset_key}:\n{listing}")


def _knows(cls: type[Asset], name: str) -> bool:
    return name in cls.fields() or name in ("cid", "provenance_cid")


def _split(cls: type[Asset], filters: Mapping[str, Any]) -> tuple[dict[str, list[str]], dict[str, list[Any]]]:
    """Filters as text values per key for the store, and as typed members for list fields."""
    equal: dict[str, list[str]] = {}
    members: dict[str, list[Any]] = {}
    hints = _hints(cls)
    for name, wanted in filters.items():
        if not _knows(cls, name):
            raise InvalidAssetError(_unknown_key(cls, name))
        values = list(wanted) if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
        kind = plain(hints[name])
        try:
            if get_origin(kind) in (list, tuple):
                member = get_args(kind)[0]
                members[name] = [decode(v, member) if isinstance(v, str) else v for v in values]
            else:
                equal[name] = [_as_text(value, hints[name]) for value in values]
        except InvalidAssetError as error:
            raise InvalidAssetError(f"{cls.asset_key}: {name}: {error}") from None
    return equal, members


def _as_text(value: Any, annotation: Any) -> str:
    if isinstance(value, Asset):
        value = value.cid
    return encode(decode(value, annotation) if isinstance(value, str) else value, annotation)


def _age(asset: Asset) -> tuple[str, str]:
    return (asset.record.created_at, asset.record.id) if asset.record else ("", "")


def _describe(asset: Asset, names: Iterable[str] | None = None) -> str:
    shown = asset.fields() if names is None else names
    pairs = [f"{name}={getattr(asset, name)}" for name in shown if getattr(asset, name) is not None]
    made = asset.record.created_at[:19] if asset.record else ""
    return " ".join([asset.cid or "", made, *pairs])


async def _ambiguous(asked: str, found: list[Any], client: StorageClient) -> str:
    shown = found[:SHOWN]
    differing = [name for name in found[0].fields() if len({str(getattr(asset, name)) for asset in found}) > 1]
    parameters = [await _parameters(asset, client) for asset in shown]
    varying = sorted({
        name for made in parameters for name in made if len({str(other.get(name)) for other in parameters}) > 1
    })  # fmt: skip
    lines = []
    for asset, made in zip(shown, parameters, strict=True):
        how = [f"{name}={made[name]}" for name in varying if name in made]
        lines.append("  " + _describe(asset, differing) + (f"  (made with {', '.join(how)})" if how else ""))
    if len(found) > SHOWN:
        lines.append(f"  ... and {len(found) - SHOWN} more")
    separating = f"{differing[0]}={getattr(found[0], differing[0])}" if differing else f"cid={found[0].cid}"
    return (
        f"{len(found)} assets match {asked}, exactly one is needed:\n" + "\n".join(lines) + "\n"
        f"add a filter, for example {separating}, or ask for the latest"
    )


async def _parameters(asset: Asset, client: StorageClient) -> dict[str, Any]:
    """The parameters of the execution that made an asset, as far as they can be read."""
    from stargazer.assets.provenance import Execution, load

    if not asset.provenance_cid:
        return {}
    try:
        made = load(await client.download_file(IpFile(cid=asset.provenance_cid)))
    except StargazerError:
        return {}
    return dict(made.parameters) if isinstance(made, Execution) else {}
