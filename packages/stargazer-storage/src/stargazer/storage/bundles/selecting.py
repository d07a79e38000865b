"""Which entries of a bundle are wanted, what they need, and whether what is said of them can be registered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stargazer.assets import AssetNotFoundError, InvalidAssetError, asset_class, has_value
from stargazer.storage.bundles.manifest import BundleFile, Manifest

__all__ = ["as_stored", "check_entries", "select", "settled"]

_PENDING = "pending"  # stands for a CID that is not known yet


def select(manifest: Manifest, only: Mapping[str, Sequence[str]]) -> list[BundleFile]:
    """The entries whose metadata has one of the values of every key, and the entries that their links need.

    Raises:
        AssetNotFoundError: there is none.
    """
    found = {
        entry.name: entry
        for entry in manifest.files
        if all(has_value(entry.keyvalues, key, values) for key, values in only.items())
    }
    if not found:
        asked = " ".join(f"{key}={value}" for key, values in only.items() for value in values)
        have = sorted(
            {entry.keyvalues[key] for key in only for entry in manifest.files if key in entry.keyvalues}
        )
        known = ", ".join(map(repr, have[:20])) or "no such key"
        raise AssetNotFoundError(f"the bundle {manifest.name!r} has nothing with {asked}; it has {known}")
    by_name = {entry.name: entry for entry in manifest.files}
    waiting = list(found.values())
    while waiting:
        for target in waiting.pop().links.values():
            if target not in found:
                found[target] = by_name[target]
                waiting.append(by_name[target])
    return [entry for entry in manifest.files if entry.name in found]


def check_entries(entries: Iterable[BundleFile]) -> None:
    """Look at the types and metadata of entries, before a byte is brought.

    Raises:
        InvalidAssetError: a type that is not installed, or metadata that it does not take; it names the entry.
    """
    for entry in entries:
        try:
            as_stored({**entry.keyvalues, **dict.fromkeys(entry.links, _PENDING)})
        except InvalidAssetError as error:
            raise InvalidAssetError(f"entry {entry.name!r}: {error}") from None


def as_stored(pairs: Mapping[str, str]) -> dict[str, str]:
    """Metadata as its type writes it: with the defaults of fields that somebody left out.

    Raises:
        InvalidAssetError: a type that is not installed, or metadata that it does not take.
    """
    return asset_class(pairs["asset"]).from_keyvalues(pairs).keyvalues


def settled(entry: BundleFile, cids: Mapping[str, str]) -> dict[str, str] | None:
    """The metadata of an entry with the CIDs of what it links to; None while one of them is not known."""
    if any(target not in cids for target in entry.links.values()):
        return None
    return {**entry.keyvalues, **{key: cids[target] for key, target in entry.links.items()}}
