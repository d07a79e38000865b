"""What separates several assets of a type, in words: fields, parameters, and when they were made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stargazer.assets._asset import Asset
from stargazer.assets.client import IpFile, StorageClient
from stargazer.assets.errors import StargazerError
from stargazer.assets.keyvalues import list_text

__all__ = ["describe_ambiguous", "describe_candidates"]

SHOWN = 10


def describe_candidates(assets: Sequence[Asset]) -> str:
    """The first few of these assets, a line each, with all their fields."""
    lines = [f"  {_line(asset, asset.fields())}" for asset in assets[:SHOWN]]
    return "\n".join([*lines, *_rest(assets)])


async def describe_ambiguous(asked: str, found: Sequence[Asset], client: StorageClient) -> str:
    """Why `asked` does not name one asset: the candidates, what separates them, and a filter to add."""
    differing = [name for name in found[0].fields() if len({_text(getattr(a, name)) for a in found}) > 1]
    made_with = [await _parameters(asset, client) for asset in found[:SHOWN]]
    names = sorted({name for parameters in made_with for name in parameters})
    varying = [name for name in names if len({_text(parameters.get(name)) for parameters in made_with}) > 1]
    lines = []
    for asset, parameters in zip(found, made_with, strict=False):
        how = ", ".join(f"{name}={parameters[name]}" for name in varying if name in parameters)
        lines.append(f"  {_line(asset, differing)}" + (f"  (made with {how})" if how else ""))
    listing = "\n".join([*lines, *_rest(found)])
    return (
        f"{len(found)} assets match {asked}, exactly one is needed:\n{listing}\n"
        f"add a filter, for example {_separating(found, differing)}, ask for the latest, or take the others back with "
        "`stargazer rm CID`"
    )


def _separating(found: Sequence[Asset], differing: Iterable[str]) -> str:
    """The first filter that selects one of these assets alone; by a field if that can be, else by CID."""
    for name in [*differing, "cid", "provenance_cid"]:
        texts = [_members(getattr(asset, name)) for asset in found]
        for text in sorted({member for members in texts for member in members}):
            if sum(text in members for members in texts) == 1:
                return f"{name}={text}"
    return " ".join(f"{name}={_text(getattr(found[0], name))}" for name in differing) or f"cid={found[0].cid}"


def _rest(assets: Sequence[Asset]) -> list[str]:
    return [f"  ... and {len(assets) - SHOWN} more"] if len(assets) > SHOWN else []


def _line(asset: Asset, names: Iterable[str]) -> str:
    pairs = [f"{name}={_text(getattr(asset, name))}" for name in names if getattr(asset, name) is not None]
    made = asset.record.created_at[:19] if asset.record else ""
    name = repr(asset.record.name) if asset.record and asset.record.name else ""
    return " ".join(filter(None, [asset.cid, made, name, *pairs]))


def _members(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [_text(member) for member in values if member is not None]


def _text(value: Any) -> str:
    return list_text(value) if isinstance(value, list | tuple) else str(value)


async def _parameters(asset: Asset, client: StorageClient) -> dict[str, Any]:
    """The task and the parameters of the execution that made an asset, as far as they can be read."""
    from stargazer.assets.provenance import Execution, load

    if not asset.provenance_cid:
        return {}
    try:
        made = load(await client.download_file(IpFile(cid=asset.provenance_cid)))
    except StargazerError:
        return {}
    return {"task": made.task, **made.parameters} if isinstance(made, Execution) else {}
