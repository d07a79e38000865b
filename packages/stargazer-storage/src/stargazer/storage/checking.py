"""Checks that installed distributions provide: whether files fit what is said of them and what they belong to.

A distribution registers a check as an entry point of the group `stargazer.checks`, named after the asset type and what
is looked at (`alignment.contigs`). It is called before a byte is copied, reads heads and indices alone, and raises
FormatError with the reason where a file cannot be what it is registered as.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs
from stargazer.assets.asset import Asset
from stargazer.assets.errors import FormatError
from stargazer.storage.additions import Addition

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from stargazer.assets.client import IpFile

__all__ = ["ENTRY_POINT_GROUP", "Check", "Checked", "Known", "Lookup", "checked_one_by_one", "run_checks"]

ENTRY_POINT_GROUP = "stargazer.checks"


@attrs.frozen
class Known:
    """An asset and where its bytes are on this machine, if they are."""

    asset: Asset
    path: Path | None


class Lookup:
    """What files that are registered together can be compared with: one another, and what the store has.

    Nothing is downloaded or hashed for it.

    Args:
        find: the records with every one of these pairs.
    """

    def __init__(self, additions: Iterable[Addition], find: Callable[[dict[str, str]], list[IpFile]]):
        self._together = {id(item.asset): Known(item.asset, item.path) for item in additions}
        self._by_cid = {(known.asset.asset_key, known.asset.cid): known for known in self._together.values()}
        self._find = find

    def target(self, asset: Asset, link: str) -> Known | None:
        """What a link of an asset points at; None if it points at nothing that is known here."""
        value = getattr(asset, link)
        wanted = asset.links()[link].target.asset_key
        if isinstance(value, Asset):
            if known := self._together.get(id(value)):
                return known
            value = value.cid
        if value and (known := self._by_cid.get((wanted, value))):
            return known
        records = self._find({"cid": value, "asset": wanted}) if value else []
        return _known(records[0]) if records else None

    def companions(self, asset: Asset, kind: str, link: str) -> list[Known]:
        """The assets of one type whose link points at an asset: those registered with it, then the store's."""
        together = [
            known
            for known in self._together.values()
            if known.asset.asset_key == kind and _points_at(getattr(known.asset, link), asset)
        ]
        records = self._find({"asset": kind, link: asset.cid}) if asset.cid else []
        return together + [_known(record) for record in records]

    def alike(self, kind: str, fields: Mapping[str, str | None]) -> list[Known]:
        """The assets of one type whose fields have these values (or None): those registered now, then the store's."""
        pairs = {name: value for name, value in fields.items() if value is not None}
        stored = [_known(record) for record in self._find({"asset": kind, **pairs})]
        return [
            known
            for known in [*self._together.values(), *stored]
            if known.asset.asset_key == kind
            and all(getattr(known.asset, name) == value for name, value in fields.items())
        ]


Check: TypeAlias = Callable[[Asset, Path, Lookup], bool | None]
"""A check of one file: raises FormatError; False says that there was nothing to compare it with."""


@attrs.frozen
class Checked:
    """What came of the checks.

    Attributes:
        ran: the checks that looked at a file: `alignment.contigs (stargazer-tasks 0.1.0)`.
        forced: the reasons of those that refuse one; it is registered all the same only if that is asked for.
    """

    ran: list[str] = attrs.field(factory=list)
    forced: list[str] = attrs.field(factory=list)

    @classmethod
    def together(cls, parts: Iterable[Checked]) -> Checked:
        """What came of the checks of several files, each check named once."""
        parts = list(parts)
        ran = {name for part in parts for name in part.ran}
        return cls(sorted(ran), [reason for part in parts for reason in part.forced])


def run_checks(additions: Sequence[Addition], find: Callable[[dict[str, str]], list[IpFile]]) -> Checked:
    """Call the checks that are installed for the types of these files, and for what those extend.

    Raises:
        FormatError: a file does not fit, and it is not forced.
    """
    parts = []
    for item, checked in checked_one_by_one(additions, find):
        if checked.forced and not item.force:
            hint = "`stargazer add --force` registers it all the same, and provenance says so"
            raise FormatError(f"{checked.forced[0]} ({hint})")
        parts.append(checked)
    return Checked.together(parts)


def checked_one_by_one(
    additions: Sequence[Addition], find: Callable[[dict[str, str]], list[IpFile]]
) -> Iterator[tuple[Addition, Checked]]:
    """What came of the checks of each of these files, which are compared with one another and with the store.

    Args:
        find: the records with every one of these pairs.
    """
    lookup = Lookup(additions, find)
    for item in additions:
        checked = Checked()
        for name, check in _checks_of(_keys(item.asset)):
            try:
                looked = check(item.asset, item.path, lookup) is not False
            except FormatError as error:
                checked.forced.append(str(error))
                looked = True
            except Exception as error:  # somebody else's code: it must not keep files out
                warnings.warn(f"the check {name} could not look at {item.title!r}: {error!r}", stacklevel=3)
                looked = False
            if looked:
                checked.ran.append(name)
        yield item, checked


@functools.cache
def _checks_of(keys: frozenset[str]) -> tuple[tuple[str, Check], ...]:
    """The checks of asset types, each with its name and where it comes from."""
    found = []
    for entry in _registered():
        if entry.name.partition(".")[0] in keys:
            try:
                found.append((_title(entry), entry.load()))
            except Exception as error:
                warnings.warn(f"the check {entry.value} could not be loaded: {error!r}", stacklevel=2)
    return tuple(found)


@functools.cache
def _registered() -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points  # here: it takes a while to import

    return tuple(sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: (entry.name, entry.value)))


def _keys(asset: Asset) -> frozenset[str]:
    """The types of an asset: its own and those that it extends."""
    return frozenset(key for base in type(asset).__mro__ if (key := getattr(base, "asset_key", "")))


def _title(entry: EntryPoint) -> str:
    dist = entry.dist
    return f"{entry.name} ({dist.name} {dist.version})" if dist is not None else entry.name


def _known(record: IpFile) -> Known:
    return Known(Asset.from_record(record), record.path)


def _points_at(value: object, asset: Asset) -> bool:
    if isinstance(value, Asset):
        return value is asset or (asset.cid is not None and value.cid == asset.cid)
    return value is not None and value == asset.cid
