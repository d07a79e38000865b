"""Error texts where filters do not select exactly one asset: what there is, what separates several, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stargazer.assets.client import IpFile, StorageClient
from stargazer.assets.errors import StargazerError
from stargazer.assets.filters import listed, value_of
from stargazer.assets.keyvalues import list_text

__all__ = ["describe_ambiguous", "describe_missing"]

SHOWN = 10


def describe_missing(kind: str, filters: Mapping[str, Any], others: Sequence[Any]) -> str:
    """That no asset of a type answers the filters, and which other ones the store holds, with all their fields."""
    asked = _asked(kind, filters)
    if not others:
        return f"no {asked}: the store holds no {kind} at all; add one with `stargazer add FILE asset={kind} ...`"
    lines = [f"  {_line(asset, asset.fields())}" for asset in others[:SHOWN]] + _rest(others)
    return "\n".join([f"no {asked}; the store holds {len(others)} {kind}:", *lines])


async def describe_ambiguous(
    kind: str, filters: Mapping[str, Any], found: Sequence[Any], client: StorageClient
) -> str:
    """That several assets of a type answer the filters: which, what separates them, and a filter to add."""
    keys = dict.fromkeys([*found[0].fields(), *(key for each in found for key in each.extra)])
    differing = [name for name in keys if len({_text(value_of(each, name)) for each in found}) > 1]
    made_with = [await _parameters(asset, client) for asset in found[:SHOWN]]
    names = sorted({name for parameters in made_with for name in parameters})
    varying = [name for name in names if len({_text(parameters.get(name)) for parameters in made_with}) > 1]
    lines = []
    for asset, parameters in zip(found, made_with, strict=False):
        how = ", ".join(f"{name}={parameters[name]}" for name in varying if name in parameters)
        lines.append(f"  {_line(asset, differing)}" + (f"  (made with {how})" if how else ""))
    listing = "\n".join(lines + _rest(found))
    return (
        f"{len(found)} assets match {_asked(kind, filters)}, exactly one is needed:\n{listing}\n"
        f"add a filter, for example {_separating(found, differing)}, ask for the latest, or take the others back with "
        "`stargazer rm CID`"
    )


def _asked(kind: str, filters: Mapping[str, Any]) -> str:
    values = {name: value.cid if hasattr(value, "asset_key") else value for name, value in filters.items()}
    return " ".join([kind, *(f"{name}={value}" for name, value in values.items())])


def _separating(found: Sequence[Any], differing: Iterable[str]) -> str:
    """The first filter that selects one of these assets alone; by a field if that can be, else by CID."""
    for name in [*differing, "cid", "provenance_cid"]:
        values = [listed(value_of(asset, name)) for asset in found]
        texts = [[_text(member) for member in members if member is not None] for members in values]
        for text in sorted({member for members in texts for member in members}):
            if sum(text in members for members in texts) == 1:
                return f"{name}={text}"
    return (
        " ".join(f"{name}={_text(value_of(found[0], name))}" for name in differing) or f"cid={found[0].cid}"
    )


def _rest(assets: Sequence[Any]) -> list[str]:
    return [f"  ... and {len(assets) - SHOWN} more"] if len(assets) > SHOWN else []


def _line(asset: Any, names: Iterable[str]) -> str:
    pairs = [f"{name}={_text(value_of(asset, name))}" for name in names if value_of(asset, name) is not None]
    made = asset.record.created_at[:19] if asset.record else ""
    name = repr(asset.record.name) if asset.record and asset.record.name else ""
    return " ".join(filter(None, [asset.cid, made, name, *pairs]))


def _text(value: Any) -> str:
    return list_text(value) if isinstance(value, list | tuple) else str(value)


async def _parameters(asset: Any, client: StorageClient) -> dict[str, Any]:
    """The task and the parameters of the execution that made an asset, as far as they can be read."""
    from stargazer.assets.provenance import Execution, load

    if not asset.provenance_cid:
        return {}
    try:
        made = load(await client.download_file(IpFile(cid=asset.provenance_cid)))
    except StargazerError:
        return {}
    return {"task": made.task, **made.parameters} if isinstance(made, Execution) else {}
