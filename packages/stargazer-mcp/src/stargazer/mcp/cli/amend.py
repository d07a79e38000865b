"""`stargazer amend`: corrects the metadata of registered files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stargazer import assets, storage
from stargazer.assets import FormatError, InvalidAssetError
from stargazer.mcp.cli.console import Parser, note, print_json, print_records
from stargazer.mcp.cli.selection import existing, one_record
from stargazer.mcp.records import as_dict

if TYPE_CHECKING:
    from stargazer.assets import Asset, IpFile
    from stargazer.storage import Store

__all__ = ["amend"]


def amend(argv: Sequence[str]) -> None:
    """Change the metadata of records, once all changes were found right."""
    parser = Parser(
        "amend",
        "CID|ID|FILE ... key=value ... [--json]",
        "Correct what is said of registered files: a sample, a lane, a build. Each pair goes to the files whose type\n"
        "knows the key; key= (nothing after it) takes a value away. None is changed before all are checked. What was\n"
        "computed from them stays, and names them by their CIDs. The old record is gone; who changed it, and when,\n"
        "is written down.",
        "  stargazer amend lane2_R1.fq.gz lane2_R2.fq.gz lane=L002\n  stargazer amend bafkrei... lane=",
        {"--json": "print the records as they are now as JSON"},
    )
    words = parser.sort(argv)
    pairs = parser.single(words)
    if not words.plain or not pairs:
        parser.error("name records by CID, id or file, and say what is true of them: key=value")

    store = existing()
    found = [one_record(store, word) for word in words.plain]
    records = list({record.id: record for record in found}.values())
    changes = _changes(store, records, pairs)
    _check(store, records, changes)
    amended = [storage.amend(store, record, change) for record, change in zip(records, changes, strict=True)]
    store.hand_over([])  # what waits to be sent elsewhere
    if words.options.json:
        print_json([as_dict(record) for record in amended])
        return
    from stargazer.mcp.notices import amended_notices

    print_records(amended)
    for line in amended_notices(store, amended):
        note(line)
    changed = sum(new.id != old.id for new, old in zip(amended, records, strict=True))
    note(f"amended {changed} of {len(records)} records")


def _changes(
    store: Store, records: Sequence[IpFile], pairs: Mapping[str, str]
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
    changes = {key: value or None for key, value in pairs.items()}
    storage.check_pairs(list(dict.fromkeys(kinds)), changes, store)
    return [
        {
            key: None if value is None else storage.field_text(kind, key, value)
            for key, value in changes.items()
            if key in kind.fields()
        }
        for kind in kinds
    ]


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
        storage.Addition(path=record.path, asset=asset, name=record.name)
        for record, asset in zip(records, described, strict=True)
        if record.path is not None and record.path.exists()
    ]
    found = [said for _, checked in storage.checked_one_by_one(items, store.query) for said in checked.forced]
    for item in items:  # the store's name of a file is its CID
        found = [said.replace(item.path.name, item.title) for said in found]
    return list(dict.fromkeys(found))
