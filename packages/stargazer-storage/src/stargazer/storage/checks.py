"""Checks that installed distributions provide: whether files fit what is said of them and what they belong to.

A distribution registers a check as an entry point of the group `stargazer.checks`, named after the asset type and what
is looked at (`alignment.contigs`). It is called before a byte is copied, reads heads and indices alone, and raises
FormatError with the reason where a file cannot be what it is registered as. Where something is said of a file that the
check cannot compare with anything here, it returns what that is and why.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs
from stargazer.assets import Asset, FormatError, IpFile, LinkKind
from stargazer.storage.additions import Addition

__all__ = ["ENTRY_POINT_GROUP", "Check", "Checked", "Known", "Lookup", "check_companions", "checked_one_by_one",
           "run_checks"]  # fmt: skip

ENTRY_POINT_GROUP = "stargazer.checks"

MOST_WARNINGS = 10


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
        self._by_field: dict[tuple[str, str], dict[object, list[Known]]] = {}
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

    def find(self, kind: str, **fields: str | None) -> list[Known]:
        """The assets of one type whose fields have these values (or None).

        Those registered together come first, then the store's, superseded ones not among them.
        """
        pairs = {name: value for name, value in fields.items() if value is not None}
        lists = [
            self._index(kind, name).get(value, []) for name, value in {"asset_key": kind, **pairs}.items()
        ]
        stored = [_known(record) for record in self._find({"asset": kind, **pairs})]
        return [
            known
            for known in [*min(lists, key=len), *stored]
            if all(getattr(known.asset, name) == value for name, value in fields.items())
        ]

    def companions(self, asset: Asset, kind: str, link: str) -> list[Known]:
        """The assets of one type whose link points at an asset: those registered with it, then the store's."""
        index = self._index(kind, link)
        near = [*index.get(id(asset), ()), *(index.get(asset.cid, ()) if asset.cid else ())]
        together = list({id(known): known for known in near}.values())
        records = self._find({"asset": kind, link: asset.cid}) if asset.cid else []
        return together + [_known(record) for record in records]

    def _index(self, kind: str, name: str) -> dict[object, list[Known]]:
        """Those of one type by the value of a field; by what it points at, if it is a link."""
        if (kind, name) not in self._by_field:
            found = self._by_field[kind, name] = {}
            for known in self._together.values():
                if known.asset.asset_key == kind:
                    value = getattr(known.asset, name)
                    if isinstance(value, list | dict | set):
                        continue  # nobody looks for these
                    for key in (id(value), value.cid) if isinstance(value, Asset) else (value,):
                        found.setdefault(key, []).append(known)
        return self._by_field[kind, name]


Check: TypeAlias = Callable[[Asset, Path, Lookup], bool | str | None]
"""A check of one file: raises FormatError; False says that nothing was said of the file that it could look at, a text
what was said and could not be compared, and why: `n_obs=500: h5py is not installed`."""


@attrs.frozen
class Checked:
    """What came of the checks.

    Attributes:
        ran: the checks that looked at a file: `alignment.contigs (stargazer-tasks 0.1.0)`.
        forced: the reasons of those that refuse one; it is registered all the same only if that is asked for.
        unchecked: what is said of the files and could not be compared with anything, and why.
    """

    ran: list[str] = attrs.field(factory=list)
    forced: list[str] = attrs.field(factory=list)
    unchecked: list[str] = attrs.field(factory=list)

    @classmethod
    def together(cls, parts: Iterable[Checked]) -> Checked:
        """What came of the checks of several files, each check named once."""
        parts = list(parts)
        return cls(
            sorted({name for part in parts for name in part.ran}),
            [reason for part in parts for reason in part.forced],
            [text for part in parts for text in part.unchecked],
        )


def run_checks(
    additions: Sequence[Addition],
    find: Callable[[dict[str, str]], list[IpFile]],
    warn: Callable[[str], object] | None = None,
) -> Checked:
    """Call the checks that are installed for the types of these files, and for what those extend.

    Args:
        find: the records with every one of these pairs.
        warn: told what they could not compare with anything; a Python warning says it where this is not given.

    Raises:
        FormatError: a file does not fit, and it is not forced.
    """
    parts = []
    for item, checked in checked_one_by_one(additions, find):
        if checked.forced and not item.force:
            hint = "`stargazer add --force` registers it all the same, and provenance says so"
            raise FormatError(f"{checked.forced[0]} ({hint})")
        parts.append(checked)
    checked = Checked.together(parts)
    texts = checked.unchecked[:MOST_WARNINGS]
    if (more := len(checked.unchecked) - MOST_WARNINGS) > 0:
        texts.append(f"{more} more like these could not be checked")
    for text in texts:
        if warn is None:
            warnings.warn(text, stacklevel=3)
        else:
            warn(text)
    return checked


def check_companions(
    made: Sequence[Asset], find: Callable[[dict[str, str]], list[IpFile]], maker: str
) -> None:
    """Look at files that a task made to lie beside others, as at such files from elsewhere.

    Args:
        made: all results of the task, with their paths.
        find: the records with every one of these pairs.
        maker: the task.

    Raises:
        FormatError: one does not belong to the file that it is to accompany.
    """
    companions = {
        id(asset)
        for asset in made
        for name, link in asset.links().items()
        if link.kind is LinkKind.COMPANION and getattr(asset, name) is not None
    }
    if not companions:
        return
    additions = [Addition(asset.path, asset) for asset in made if asset.path is not None]
    for item, checked in checked_one_by_one(additions, find):
        if checked.forced and id(item.asset) in companions:
            raise FormatError(f"{maker}: {checked.forced[0]} (nothing was registered)")


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
        bases = type(item.asset).__mro__
        for name, check in _checks_of(frozenset(getattr(base, "asset_key", "") for base in bases)):
            try:
                said = check(item.asset, item.path, lookup)
            except FormatError as error:
                said = None
                checked.forced.append(str(error))
            except Exception as error:  # somebody else's code: it must not keep files out
                said = False
                warnings.warn(f"the check {name} could not look at {item.title!r}: {error!r}", stacklevel=3)
            if isinstance(said, str):
                checked.unchecked.append(f"{item.title!r} is registered without a check of {said}")
            elif said is not False:
                checked.ran.append(name)
        yield item, checked


@functools.cache
def _checks_of(keys: frozenset[str]) -> tuple[tuple[str, Check], ...]:
    """The checks of some asset types, each with its name and where it comes from."""
    from importlib.metadata import entry_points  # here: it takes a while to import

    found = []
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: (entry.name, entry.value)):
        if entry.name.partition(".")[0] in keys:
            try:
                dist = f" ({entry.dist.name} {entry.dist.version})" if entry.dist is not None else ""
                found.append((f"{entry.name}{dist}", entry.load()))
            except Exception as error:
                warnings.warn(f"the check {entry.value} could not be loaded: {error!r}", stacklevel=2)
    return tuple(found)


def _known(record: IpFile) -> Known:
    return Known(Asset.from_record(record), record.path)
