"""Corrects the metadata of registered files, for the command, the server and notebooks alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer import assets
from stargazer.assets import FormatError, InvalidAssetError
from stargazer.storage._add import check_pairs, field_text
from stargazer.storage.additions import Addition
from stargazer.storage.changes import amend
from stargazer.storage.checks import checked_one_by_one
from stargazer.storage.search import computed_pairs

if TYPE_CHECKING:
    from stargazer.assets import Asset, IpFile
    from stargazer.storage.store import Store

__all__ = ["amend_records"]


def amend_records(store: Store, records: Sequence[IpFile], pairs: Mapping[str, Any]) -> list[IpFile]:
    """Change the metadata of records; none is changed before all changes are found right.

    Args:
        pairs: what is true of them, each for the records whose type knows the key; "" and None take a value away.

    Returns:
        The records as they are now.

    Raises:
        InvalidAssetError: a key that no record's type knows, a value that it does not take, or one in the place of what
            the task said that computed the file.
        FormatError: a value contradicts a file, where the old one did not.
    """
    changes = _changes(store, records, pairs)
    _refuse_computed(store, records, changes)
    _check(store, records, changes)
    amended = [amend(store, record, change) for record, change in zip(records, changes, strict=True)]
    store.hand_over([])  # what waits to be sent elsewhere
    return amended


def _changes(
    store: Store, records: Sequence[IpFile], pairs: Mapping[str, Any]
) -> list[dict[str, str | None]]:
    """What changes of each record; None takes a value away.

    Raises:
        InvalidAssetError: a key that no record's type knows.
    """
    kinds = [assets.asset_class(record.keyvalues.get("asset", "")) for record in records]
    if "asset" in pairs:
        raise InvalidAssetError(
            "what a file is cannot be amended: take the record back (`stargazer rm ID`), and add the file as what it is"
        )
    changes = {key: None if value == "" else value for key, value in pairs.items()}
    check_pairs(list(dict.fromkeys(kinds)), changes, store)
    return [
        {
            key: None if value is None else field_text(kind, key, value)
            for key, value in changes.items()
            if kind.takes(key)
        }
        for kind in kinds
    ]


def _refuse_computed(
    store: Store, records: Sequence[IpFile], changes: Sequence[Mapping[str, str | None]]
) -> None:
    """See that what tasks said of files that they made stays: what they did not say may be added.

    Raises:
        InvalidAssetError: it would not.
    """
    for record, change in zip(records, changes, strict=True):
        said = computed_pairs(store, record)
        if keys := [key for key, value in change.items() if said.get(key, value) != value]:
            raise InvalidAssetError(
                f"{record.name!r}: a task computed this file and said {keys[0]}={said[keys[0]]}, which cannot be "
                "amended: correct what it was computed from, and run the task again"
            )


def _check(store: Store, records: Sequence[IpFile], changes: Sequence[Mapping[str, str | None]]) -> None:
    """Refuse values that a type does not take, and those that contradict the files where the old ones did not.

    Raises:
        InvalidAssetError: the first.
        FormatError: the second.
    """
    before = [_asset(record, {}) for record in records]
    after = [_asset(record, change) for record, change in zip(records, changes, strict=True)]
    known = set(_complaints(store, records, before))
    if new := [said for said in _complaints(store, records, after) if said not in known]:
        raise FormatError("\n".join(new))


def _asset(record: IpFile, change: Mapping[str, str | None]) -> Asset:
    pairs = {key: value for key, value in {**record.keyvalues, **change}.items() if value is not None}
    kind = assets.asset_class(pairs.get("asset", ""))
    try:
        return kind.from_keyvalues(pairs, cid=record.cid)
    except InvalidAssetError as error:
        raise InvalidAssetError(f"{record.name!r}: {error}") from None


def _complaints(store: Store, records: Sequence[IpFile], described: Sequence[Asset]) -> list[str]:
    """What the checks of registration say of files that are here."""
    items = [
        Addition(path=record.path, asset=asset, name=record.name)
        for record, asset in zip(records, described, strict=True)
        if record.path is not None and record.path.exists()
    ]
    found = [said for _, checked in checked_one_by_one(items, store.query) for said in checked.forced]
    for item in items:  # the store's name of a file is its CID
        found = [said.replace(item.path.name, item.title) for said in found]
    return list(dict.fromkeys(found))
