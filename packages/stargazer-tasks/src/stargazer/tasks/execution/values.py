"""Finds the assets within arguments and results, names them by their role, and writes such values as JSON and back."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import (
    Annotated,
    Any,
    NewType,
    TypeAlias,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from stargazer.assets import Asset, InvalidAssetError

__all__ = ["assets_in", "described", "leaves", "members", "named_tuple", "rebuilt", "replaced", "result_type"]

Assets: TypeAlias = Sequence[Asset] | Mapping[str, Asset]
ASSET, MAPPING = "asset", "mapping"  # the keys that mark what is no plain JSON


def leaves(value: Any, role: str) -> Iterator[tuple[str, Any]]:
    """What lists, tuples and mappings finally hold, each with its role: `reads`, `reads[0]`, `result.metrics`."""
    if _is_named(value):
        for name, member in zip(value._fields, value, strict=True):
            yield from leaves(member, f"{role}.{name}" if role else name)
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value):
            yield from leaves(member, f"{role}[{number}]")
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from leaves(member, f"{role}[{key!r}]")
    else:
        yield role, value


def assets_in(value: Any, role: str) -> Iterator[tuple[str, Asset]]:
    """Every asset in a value with its role."""
    return ((name, leaf) for name, leaf in leaves(value, role) if isinstance(leaf, Asset))


def replaced(value: Any, change: Callable[[Asset], Asset]) -> Any:
    """The same value with every asset changed."""
    if isinstance(value, Asset):
        return change(value)
    if _is_named(value):
        return type(value)(*(replaced(member, change) for member in value))
    if isinstance(value, list | tuple):
        return type(value)(replaced(member, change) for member in value)
    if isinstance(value, Mapping):
        return {key: replaced(member, change) for key, member in value.items()}
    return value


def described(value: Any, name: str, asset: Callable[[Asset], Any]) -> Any:
    """A value as JSON: an asset as `{"asset": asset(it)}`, tuples as lists, an enum's member as its value.

    Raises:
        InvalidAssetError: it holds something that is neither an asset nor plain data.
    """
    if isinstance(value, Asset):
        return {ASSET: asset(value)}
    if isinstance(value, Enum):
        return described(value.value, name, asset)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [described(member, f"{name}[{number}]", asset) for number, member in enumerate(value)]
    kind = type(value).__name__
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is None:
            members = {key: described(member, f"{name}[{key!r}]", asset) for key, member in value.items()}
            return {MAPPING: members} if {ASSET, MAPPING} & set(members) else members
        kind = f"{kind} with the key {wrong!r}"
    raise InvalidAssetError(
        f"{name}: a {kind} is neither an asset nor plain data: "
        "give text, numbers, booleans, None, lists, dicts with text as keys, or assets"
    )


def rebuilt(shape: Any, assets: Assets, annotation: Any) -> Any:
    """A value from its JSON, in which `{"asset": n}` stands for the n-th asset, or the one of that role.

    Tuples, named tuples and enums are made as the annotation says; without one they are lists and plain values.
    """
    if isinstance(shape, dict) and set(shape) == {ASSET}:
        return assets[shape[ASSET]]
    if isinstance(shape, dict):
        members = shape[MAPPING] if set(shape) == {MAPPING} else shape
        inner = (get_args(_meant(annotation, Mapping)) or (None,))[-1]
        return {key: rebuilt(member, assets, inner) for key, member in sorted(members.items())}
    if isinstance(shape, list):
        return _sequence(shape, assets, _meant(annotation, list, tuple, length=len(shape)))
    if shape is not None and (enum := _meant(annotation, Enum)) is not None:
        with contextlib.suppress(ValueError):  # in a union with text, not every text is a member
            return enum(shape)
    return shape


def result_type(function: Callable[..., Any]) -> Any:
    """The annotation of what a function returns, or None."""
    return _hints(function).get("return")


def named_tuple(annotation: Any) -> Any:
    """The named tuple class that an annotation is, or None."""
    is_tuple = isinstance(annotation, type) and issubclass(annotation, tuple)
    return annotation if is_tuple and hasattr(annotation, "_fields") else None


def _sequence(shape: list[Any], assets: Assets, annotation: Any) -> Any:
    if (named := named_tuple(annotation)) is not None:
        hints = _hints(named)
        return named(
            *(
                rebuilt(member, assets, hints.get(name))
                for name, member in zip(named._fields, shape, strict=True)
            )
        )
    kinds = get_args(annotation) or (None,)
    if (get_origin(annotation) or annotation) is not tuple:
        return [rebuilt(member, assets, kinds[0]) for member in shape]
    if Ellipsis in kinds or len(kinds) != len(shape):
        kinds = (kinds[0],) * len(shape)
    return tuple(rebuilt(member, assets, kind) for member, kind in zip(shape, kinds, strict=True))


def _meant(annotation: Any, *kinds: type, length: int | None = None) -> Any:
    """The first member of a union that is of one of these kinds; a named tuple only if it has so many fields."""
    for member in members(annotation):
        origin = get_origin(member) or member
        named = named_tuple(origin)
        if (
            isinstance(origin, type)
            and issubclass(origin, kinds)
            and (not named or len(named._fields) == length)
        ):
            return member
    return None


def members(annotation: Any) -> list[Any]:
    """The kinds that an annotation takes: the members of a union, or itself."""
    if isinstance(annotation, NewType):
        return members(annotation.__supertype__)
    if isinstance(annotation, TypeVar) and (
        bounds := annotation.__constraints__ or (annotation.__bound__,)
    ) != (None,):
        return [inner for bound in bounds for inner in members(bound)]
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for member in get_args(annotation) for inner in members(member)]
    return [annotation]


_hints = functools.lru_cache(maxsize=1024)(get_type_hints)


def _is_named(value: Any) -> TypeGuard[Any]:
    return isinstance(value, tuple) and hasattr(value, "_fields")
