"""Finding assets of one or several types: which records to ask a store for, and which assets come out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stargazer.assets.client import IpFile, StorageClient, current_client
from stargazer.assets.declaration import unknown_key
from stargazer.assets.errors import InvalidAssetError
from stargazer.assets.filters import RECORD_KEYS, Filters, age, has_value, knows, listed, refuse_forbidden
from stargazer.assets.model import REGISTRY, Asset, asset_class, load_asset_types

__all__ = ["Query", "assemble"]


class Query:
    """What to ask a store for, and which assets its answers are; it asks none itself.

        query = Query("r1", {"sample": "NA12878"})
        reads = query.select(record for pairs in query.asked for record in store.query(pairs))

    Args:
        asset: one or several types, all when none is named. A type that lacks a filtered field has no matching assets.
        filters: by field, a value or several: see `stargazer.assets.filters`.

    Attributes:
        asked: sets of metadata; the store is asked for the records that have all of one of these.

    Raises:
        InvalidAssetError: a filter that no named type knows, or a value that no type's field takes.
    """

    def __init__(self, asset: str | Iterable[str] | None, filters: Mapping[str, Any]):
        refuse_forbidden()
        if (
            asset is not None or filters
        ):  # else no type's fields are asked for, and to find all types takes a while
            load_asset_types()
        named = [asset] if isinstance(asset, str) else REGISTRY if asset is None else asset
        keys = list(dict.fromkeys(named))
        classes = [REGISTRY[key] for key in keys if key in REGISTRY]
        self._named = filters
        self._undeclared = [key for key in keys if key not in REGISTRY]
        if asset is None and filters.keys() <= RECORD_KEYS:
            classes = [Asset]
        elif classes or not self._undeclared:
            _refuse_unknown(classes, filters, "" if asset is None else ", ".join(keys))
        self._filters: list[Filters] = []
        refusals: list[InvalidAssetError] = []
        for cls in classes:
            if all(knows(cls, name) for name in filters):
                try:
                    self._filters.append(Filters(cls, filters))
                except InvalidAssetError as error:  # one type may take a value that another does not
                    refusals.append(error)
        if refusals and not self._filters:
            raise refusals[0]
        self.asked = [{"asset": key} for key in self._undeclared if key]
        self.asked += [pairs for each in self._filters for pairs in each.asked]

    def select(self, records: Iterable[IpFile]) -> list[Asset]:
        """The assets that the filters select among a store's records, oldest first.

        Those of a type that no installed distribution declares, such as a script's own, are as they are: untyped,
        and selected by the texts that are stored.

        Raises:
            InvalidAssetError: there is none of a type that is not declared either.
        """
        records, found = list(records), []
        for key in self._undeclared:
            own = [record for record in records if key and record.keyvalues.get("asset") == key]
            if not own:
                asset_class(key)
            found += [Asset.untyped(record) for record in own if self._has_values(record)]
        return sorted([*found, *(asset for each in self._filters for asset in each.select(records))], key=age)

    def _has_values(self, record: IpFile) -> bool:
        pairs = {**record.keyvalues, "cid": record.cid}
        return all(has_value(pairs, name, listed(values)) for name, values in self._named.items())


async def assemble(
    *, asset: str | Iterable[str] | None = None, client: StorageClient | None = None, **filters: Any
) -> list[Asset]:
    """All assets of one or several types (of all when none is named) that the filters select, oldest first.

    A type that lacks a filtered field has no matching assets; a filter that no named type knows is an error.

    Raises:
        InvalidAssetError: an unknown type, a filter that no type knows, or a value that no type's field takes.
    """
    client, query = current_client(client), Query(asset, filters)
    return query.select([record for pairs in query.asked for record in await client.query_files(pairs)])


def _refuse_unknown(classes: list[type[Asset]], filters: Iterable[str], named: str) -> None:
    if not named:  # of no type: what anybody may call a key is no field of a type
        classes = [cls for cls in classes if not cls.free_keys]
    for name in filters:
        if not any(knows(cls, name) for cls in classes):
            kinds = f"none of {named}" if named else "no asset type"
            several = f"{kinds} has a field {name!r}"
            raise InvalidAssetError(unknown_key(classes[0], name) if len(classes) == 1 else several)
