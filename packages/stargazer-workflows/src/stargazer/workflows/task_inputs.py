"""Finds the assets that a single task takes: by filters, matched to its parameters by type."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from shlex import quote
from typing import Any, get_args, get_origin

import attrs
from stargazer.assets import (
    AmbiguousAssetError,
    Asset,
    AssetNotFoundError,
    InvalidAssetError,
    StargazerError,
    knows,
)
from stargazer.assets.provenance import Execution
from stargazer.storage import get_client
from stargazer.workflows.arguments import convert, members
from stargazer.workflows.catalogue import Entry, Parameter

__all__ = ["asset_types", "assets_of", "task_arguments"]

SHOWN = 10  # candidates in a message
RECORD_KEYS = ("cid", "id")
HIDDEN = ("asset", "provenance_cid")  # in a list of candidates


@attrs.define
class _Wanted:
    """A parameter that takes assets."""

    parameter: Parameter
    classes: tuple[type[Asset], ...]
    takes_list: bool
    candidates: list[Asset] = attrs.field(factory=list)
    is_narrowed: bool = False
    """Whether somebody says which of all assets of the type are meant."""

    @property
    def name(self) -> str:
        return self.parameter.name

    @property
    def title(self) -> str:
        return " or ".join(cls.asset_key for cls in self.classes)


async def task_arguments(
    task: Entry,
    filters: Mapping[str, Any],
    inputs: Mapping[str, Any],
    *,
    example: Callable[[Entry], str] | None = None,
) -> dict[str, Any]:
    """The arguments of a task, as a run records them: the ids of records for assets, and plain values.

    A parameter that takes assets gets those of its type that the filters select; a filter counts for the types that
    have the field. Of several, those are meant that are linked with what another parameter gets: the reference of the
    alignment, the mates of the reads. One that may be left out is given in `inputs` alone.

    Args:
        task: its entry in the catalogue.
        filters: values of fields, as of `assemble`.
        inputs: by parameter: a plain value; or, for assets, a CID or an id, several, or filters of its own.
        example: how a call is written where this is asked, as of `convert`.

    Raises:
        InvalidAssetError: a parameter that the task does not have, a value that it does not take, or a filter that none
            of its types knows.
        AssetNotFoundError, AmbiguousAssetError: no asset for a parameter, or several; the message lists what there is.
    """
    wanted = {each.name: each for each in map(_wanted, task.parameters) if each.classes}
    plain = {name: value for name, value in inputs.items() if name not in wanted}
    standing_in = {name: ["?"] if each.takes_list else "?" for name, each in wanted.items()}
    convert(task, {**plain, **standing_in}, example=example)
    given = {name: value for name, value in inputs.items() if name in wanted and value is not None}
    _refuse_unknown(task, filters, [each for each in wanted.values() if each.name not in given])
    chosen = [each for each in wanted.values() if each.name in given or each.parameter.required]
    for each in chosen:
        asked = given.get(each.name)
        if asked is None:
            asked = {
                name: value
                for name, value in filters.items()
                if any(_knows(cls, name) for cls in each.classes)
            }
        each.candidates, each.is_narrowed = await _given(task, each, asked), bool(asked)
        if not each.candidates:
            await _refuse_missing(task, each, asked)
    _narrow([each for each in chosen if each.name not in given and not each.takes_list], chosen)
    for each in chosen:
        _refuse_ambiguous(
            task, each, [other for other in chosen if other is not each and other.name not in given]
        )
    assets = {
        each.name: [_id(asset) for asset in each.candidates] if each.takes_list else _id(each.candidates[0])
        for each in chosen
    }
    return {**plain, **assets}


def asset_types(task: Entry) -> list[type[Asset]]:
    """The types of assets that a task takes."""
    return list(dict.fromkeys(cls for parameter in task.parameters for cls in _wanted(parameter).classes))


async def assets_of(task: Entry, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a task as it takes them: what `task_arguments` has found, with the assets themselves.

    Raises:
        AssetNotFoundError: a record was taken back meanwhile.
    """
    values = dict(arguments)
    for each in map(_wanted, task.parameters):
        if each.classes and arguments.get(each.name) is not None:
            found = await _given(task, each, arguments[each.name])
            values[each.name] = found if each.takes_list else found[0]
    return values


def _wanted(parameter: Parameter) -> _Wanted:
    kinds = members(parameter.annotation)
    takes_list = any(get_origin(kind) in (list, tuple) for kind in kinds)
    inner = [
        part
        for kind in kinds
        for part in (members(get_args(kind)[0]) if get_origin(kind) in (list, tuple) else [kind])
    ]
    classes = tuple(kind for kind in inner if isinstance(kind, type) and issubclass(kind, Asset))
    return _Wanted(parameter, classes, takes_list)


def _knows(cls: type[Asset], name: str) -> bool:
    return knows(cls, name) or name in RECORD_KEYS


def _refuse_unknown(task: Entry, filters: Mapping[str, Any], wanted: Sequence[_Wanted]) -> None:
    classes = [cls for each in wanted for cls in each.classes]
    for name in filters:
        if not any(_knows(cls, name) for cls in classes):
            fields = sorted({field for cls in classes for field in cls.fields()} | {*RECORD_KEYS})
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fields)}"
            kinds = ", ".join(dict.fromkeys(cls.asset_key for cls in classes)) or "no assets by filters"
            raise InvalidAssetError(f"{task.name}: unknown filter {name!r}: it takes {kinds}; {hint}")


async def _selected(classes: Iterable[type[Asset]], filters: Mapping[str, Any]) -> list[Asset]:
    """The assets of some types that filters select; a type without one of the fields has none."""
    found: list[Asset] = []
    for cls in classes:
        if all(_knows(cls, name) for name in filters):
            ids = filters.get("id")
            fields = {name: value for name, value in filters.items() if name != "id"}
            wanted = None if ids is None else ids if isinstance(ids, list) else [ids]
            found += [asset for asset in await cls.all(**fields) if wanted is None or _id(asset) in wanted]
    return found


async def _given(task: Entry, wanted: _Wanted, value: Any) -> list[Asset]:
    """The assets that were named for one parameter: by CID, by id, or by filters.

    Raises:
        InvalidAssetError: what is no name, or names something of another type.
        AssetNotFoundError: no such record.
        AmbiguousAssetError: the same bytes are registered as several things.
    """
    if isinstance(value, Mapping):
        _refuse_unknown(task, value, [wanted])
        return await _selected(wanted.classes, value)
    found: list[Asset] = []
    for name in value if isinstance(value, list | tuple) else [value]:
        if isinstance(name, wanted.classes):
            found.append(name)
            continue
        if not isinstance(name, str):
            raise InvalidAssetError(
                f"{task.name}: {wanted.name}: expected a CID, an id or filters, got {name!r}"
            )
        store = get_client().store
        records = (
            [record] if (record := store.get(name)) else store.query({"cid": name, "superseded": "false"})
        )
        if not records and any(mark in name for mark in "./\\"):
            raise AssetNotFoundError(
                f"{task.name}: {wanted.name}: {name!r} is no CID and no id. If it is a file, register it first, "
                f"`stargazer add {quote(name)} ...`, and give its CID"
            )
        if not records:
            raise AssetNotFoundError(f"{task.name}: {wanted.name}: no record {name!r}")
        assets = [asset for asset in map(Asset.from_record, records) if isinstance(asset, wanted.classes)]
        if not assets:
            kinds = " and ".join(sorted({record.keyvalues.get("asset", "?") for record in records}))
            raise InvalidAssetError(f"{task.name}: {wanted.name} takes {wanted.title}; {name!r} is {kinds}")
        said = {json.dumps({**asset.keyvalues, "provenance_cid": ""}, sort_keys=True) for asset in assets}
        if len(said) > 1:
            raise AmbiguousAssetError(
                f"{task.name}: {wanted.name}: {name!r} is registered as several things; give one by its id:\n"
                f"{_listing(assets)}"
            )
        found += assets[:1]
    return found


def _narrow(open_ones: Sequence[_Wanted], chosen: Sequence[_Wanted]) -> None:
    """Of several candidates leave those that are linked with what other parameters get, as far as that is certain.

    Args:
        open_ones: parameters that take one asset, and of which the caller has named none: a list would lose members.
        chosen: all parameters.
    """
    left = -1
    while left != (left := sum(len(each.candidates) for each in open_ones)):
        for each in open_ones:
            for other in chosen:
                if other is not each and len(each.candidates) > 1 and len(other.candidates) == 1:
                    settled = other.candidates[0]
                    linked = [asset for asset in each.candidates if _are_linked(asset, settled)]
                    if linked:
                        each.candidates = linked


def _are_linked(one: Asset, other: Asset) -> bool:
    return any(
        getattr(a, name) == b.cid
        for a, b in ((one, other), (other, one))
        for name, link in a.links().items()
        if isinstance(b, link.target)
    )


async def _refuse_missing(task: Entry, wanted: _Wanted, filters: Any) -> None:
    others = await _selected(wanted.classes, {})
    asked = f" with {_text(filters)}" if filters else ""
    there = f"; there are\n{_listing(others)}" if others else f": no {wanted.title} is registered at all"
    raise AssetNotFoundError(f"{task.name}: {wanted.name}: no {wanted.title}{asked}{there}")


def _refuse_ambiguous(task: Entry, wanted: _Wanted, others: Sequence[_Wanted]) -> None:
    """Refuse several candidates where one is taken, all there is of a type, and one asset for two parameters."""
    found = wanted.candidates
    if len(found) > 1 and (not wanted.takes_list or not wanted.is_narrowed):
        one = "" if wanted.takes_list else ", and takes one"
        raise AmbiguousAssetError(
            f"{task.name}: {len(found)} {wanted.title} fit {wanted.name}{one}:\n{_listing(found)}\n"
            f"add a filter that separates them, or give inputs {json.dumps({wanted.name: 'ID'})}"
        )
    for other in others:
        if other.classes == wanted.classes and other.candidates == found and not wanted.takes_list:
            raise AmbiguousAssetError(
                f"{task.name}: {wanted.name} and {other.name} both take {wanted.title}: give each by its id in inputs"
            )


def _listing(assets: Sequence[Asset]) -> str:
    """A line for each asset: its id, and the metadata in which it differs from the others."""
    shown = [asset.keyvalues for asset in assets]
    names = [name for name in dict.fromkeys(name for each in shown for name in each) if name not in HIDDEN]
    differing = [name for name in names if len({each.get(name) for each in shown}) > 1] or names
    texts = [_text({name: each[name] for name in differing if name in each}) for each in shown]
    lines = [
        f"  {_id(asset)} {text}" + (f" ({made})" if texts.count(text) > 1 and (made := _made(asset)) else "")
        for asset, text in zip(assets[:SHOWN], texts, strict=False)
    ]
    return "\n".join([*lines, *([f"  ... and {len(assets) - SHOWN} more"] if len(assets) > SHOWN else [])])


def _made(asset: Asset) -> str:
    """Where a record comes from, and when, for those that say the same of themselves."""
    try:
        document = get_client().store.document(asset.provenance_cid or "") if asset.provenance_cid else None
    except StargazerError:
        document = None
    parts = [f"made by {document.task}" if isinstance(document, Execution) else ""]
    if asset.record:
        parts += [asset.record.name, f"created {asset.record.created_at[:19]}"]
    return ", ".join(filter(None, parts))


def _text(values: Any) -> str:
    return (
        " ".join(f"{name}={value}" for name, value in values.items())
        if isinstance(values, Mapping)
        else str(values)
    )


def _id(asset: Asset) -> str:
    return asset.record.id if asset.record else str(asset.cid)
