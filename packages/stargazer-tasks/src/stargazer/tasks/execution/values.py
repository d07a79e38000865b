"""Assets within arguments and results: found, named by their role, and put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

from stargazer.assets import Asset, InvalidAssetError

__all__ = ["assets_in", "described", "rebuilt", "replaced"]


def assets_in(value: Any, role: str) -> Iterator[tuple[str, Asset]]:
    """Every asset in a value with its role: `reads`, `reads[0]`, `result.metrics`."""
    if isinstance(value, Asset):
        yield role, value
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for name, member in zip(value._fields, value, strict=True):
            yield from assets_in(member, f"{role}.{name}" if role else name)
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value):
            yield from assets_in(member, f"{role}[{number}]")
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from assets_in(member, f"{role}[{key!r}]")


def replaced(value: Any, change: Callable[[Asset], Asset]) -> Any:
    """The same value with every asset changed."""
    if isinstance(value, Asset):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(replaced(member, change) for member in value))
    if isinstance(value, list | tuple):
        return type(value)(replaced(member, change) for member in value)
    if isinstance(value, Mapping):
        return {key: replaced(member, change) for key, member in value.items()}
    return value


def described(value: Any, name: str, asset: Callable[[Asset], Any]) -> Any:
    """A value as JSON, each asset as `asset` describes it.

    Raises:
        InvalidAssetError: it holds something that is neither an asset nor plain data.
    """
    if isinstance(value, Asset):
        return asset(value)
    if isinstance(value, Enum):
        return described(value.value, name, asset)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [described(member, f"{name}[{number}]", asset) for number, member in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: described(member, f"{name}[{key!r}]", asset) for key, member in value.items()}
    raise InvalidAssetError(
        f"{name}: a {type(value).__name__} is neither an asset nor plain data: give text, numbers, lists, dicts or assets"
    )


def rebuilt(shape: Any, assets: list[Asset], annotation: Any) -> Any:
    """A result from its JSON, in which `{"asset": n}` stands for the n-th asset; named tuples by the annotation."""
    if isinstance(shape, dict) and set(shape) == {"asset"}:
        return assets[shape["asset"]]
    if isinstance(shape, dict):
        inner = (get_args(annotation) or (None, None))[-1]
        return {key: rebuilt(member, assets, inner) for key, member in shape.items()}
    if not isinstance(shape, list):
        return shape
    if isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        hints = get_type_hints(annotation)
        fields = annotation._fields
        return annotation(*(rebuilt(member, assets, hints.get(name)) for name, member in zip(fields, shape, strict=True)))
    members = get_args(annotation) or (None,)
    if get_origin(annotation) is tuple:
        kinds = members if len(members) == len(shape) and Ellipsis not in members else [members[0]] * len(shape)
        return tuple(rebuilt(member, assets, kind) for member, kind in zip(shape, kinds, strict=True))
    return [rebuilt(member, assets, members[0]) for member in shape]
