"""The values that tasks take and return: checked against type hints, searched for assets, written as JSON and back."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import Enum
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from stargazer.assets import Asset, InvalidAssetError

__all__ = ["assets_in", "bound_arguments", "described", "hints_of", "leaves", "named_tuple", "rebuilt", "replaced",
           "result_type"]  # fmt: skip

SPOKEN_VOWEL = re.compile(r"[AEIOaeio]|[FHLMNRSX](?![a-z])")  # an Alignment, an R1, a Reference
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
Assets: TypeAlias = Sequence[Asset] | Mapping[str, Asset]
ASSET, MAPPING = "asset", "mapping"  # the keys that mark what is no plain JSON


def _parts(value: Any, role: str) -> list[tuple[str, Any]] | None:
    """What a list, tuple or mapping holds, each part with its role; None of any other value."""
    if named_tuple(type(value)):
        return [(f"{role}.{name}" if role else name, part) for name, part in value._asdict().items()]
    if isinstance(value, list | tuple):
        return [(f"{role}[{number}]", part) for number, part in enumerate(value)]
    if isinstance(value, Mapping):
        return [(f"{role}[{key!r}]", part) for key, part in value.items()]
    return None


def leaves(value: Any, role: str) -> Iterator[tuple[str, Any]]:
    """What lists, tuples and mappings finally hold, each with its role: `reads`, `reads[0]`, `result.metrics`."""
    if (parts := _parts(value, role)) is None:
        yield role, value
    for name, part in parts or []:
        yield from leaves(part, name)


def assets_in(value: Any, role: str) -> Iterator[tuple[str, Asset]]:
    """Every asset in a value with its role."""
    return ((name, leaf) for name, leaf in leaves(value, role) if isinstance(leaf, Asset))


def replaced(value: Any, assets: Iterator[Asset]) -> Any:
    """The same value with other assets in the places of its own, in their order."""
    if isinstance(value, Asset):
        return next(assets)
    parts = [replaced(part, assets) for _, part in _parts(value, "") or []]
    if isinstance(value, Mapping):
        return dict(zip(value, parts, strict=True))
    if isinstance(value, list | tuple):
        return getattr(type(value), "_make", type(value))(parts)
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
    kind = type(value).__name__
    if wrong := [key for key in value if not isinstance(key, str)] if isinstance(value, Mapping) else []:
        kind = f"{kind} with the key {wrong[0]!r}"
    elif (parts := _parts(value, name)) is not None:
        inner = [described(part, role, asset) for role, part in parts]
        if not isinstance(value, Mapping):
            return inner
        mapping = dict(zip(value, inner, strict=True))
        return {MAPPING: mapping} if {ASSET, MAPPING} & set(mapping) else mapping
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
    return hints_of(function).get("return")


@functools.lru_cache(maxsize=1024)
def hints_of(thing: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function or class; none if one names what only a type checker imports."""
    try:
        return get_type_hints(thing)
    except NameError:
        return {}


def named_tuple(annotation: Any) -> Any:
    """The named tuple class that an annotation is, or None."""
    is_tuple = isinstance(annotation, type) and issubclass(annotation, tuple)
    return annotation if is_tuple and hasattr(annotation, "_fields") else None


def _sequence(shape: list[Any], assets: Assets, annotation: Any) -> Any:
    kinds, make = get_args(annotation) or (None,), get_origin(annotation) or annotation
    if (named := named_tuple(annotation)) is not None:
        kinds, make = tuple(map(hints_of(named).get, named._fields)), named._make
    elif make is not tuple or Ellipsis in kinds or len(kinds) != len(shape):
        kinds, make = (kinds[0],) * len(shape), make or list
    return make(rebuilt(member, assets, kind) for member, kind in zip(shape, kinds, strict=True))


def _meant(annotation: Any, *kinds: type, length: int | None = None) -> Any:
    """The first member of a union that is of one of these kinds; a named tuple only if it has so many fields."""
    for member in members(annotation):
        origin = get_origin(member) or member
        if isinstance(origin, type) and issubclass(origin, kinds):
            named = named_tuple(origin)
            if named is None or len(named._fields) == length:
                return member
    return None


def members(annotation: Any) -> list[Any]:
    """The kinds that an annotation takes: the members of a union, or itself."""
    inner: tuple[Any, ...] = ()
    if isinstance(annotation, NewType):
        inner = (annotation.__supertype__,)
    elif isinstance(annotation, TypeVar):
        inner = annotation.__constraints__ or tuple(filter(None, [annotation.__bound__]))
    elif get_origin(annotation) is Annotated:
        inner = get_args(annotation)[:1]
    elif get_origin(annotation) in (Union, types.UnionType):
        inner = get_args(annotation)
    return [kind for part in inner for kind in members(part)] or [annotation]


def bound_arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> inspect.BoundArguments:
    """The arguments of a call by parameter, defaults included.

    An annotation that says nothing which can be looked at (Any, a name that is not there, a protocol) takes anything.

    Raises:
        InvalidAssetError: one is not of the type that its parameter takes.
        TypeError: one is missing, or there is no such parameter.
    """
    signature, hints = inspect.signature(function), hints_of(function)
    bound = signature.bind(*args, **kwargs)
    for name, value in bound.arguments.items():
        annotation = Any if signature.parameters[name].kind in VARIADIC else hints.get(name, Any)
        if (wrong := _wrong(value, annotation, name)) is not None:
            role, wanted, given = wrong
            raise InvalidAssetError(
                f"{function.__name__}: {role} takes {_words(wanted)}, got {_told(given)}{_remedy(given, wanted, hints)}"
            )
    bound.apply_defaults()
    return bound


Wrong: TypeAlias = tuple[str, Any, Any] | None
"""A part of a value that is not what its annotation says: its role, what is taken there, and the part."""


def _wrong(value: Any, annotation: Any, role: str) -> Wrong:
    """The first part of a value that is wrong, if there is one."""
    found = [_wrong_kind(value, kind, role) for kind in members(annotation)]
    if None in found:
        return None
    # rather the right container of something wrong
    return next((wrong for wrong in found if wrong and wrong[0] != role), (role, annotation, value))


def _wrong_kind(value: Any, kind: Any, role: str) -> Wrong:
    """The same, of one kind: no union."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if kind is Any or kind is object:
        return None
    if origin is Literal:
        good = any(type(value) is type(choice) and value == choice for choice in inner)
        inner = ()
    elif kind is None or kind is type(None):
        good = value is None
    elif named_tuple(origin):  # Flyte hands on a bare tuple
        good = isinstance(value, tuple) and len(value) == len(origin._fields)
    elif not isinstance(origin, type):
        return None
    else:
        try:
            good = isinstance(value, origin) and not (origin in (int, float) and isinstance(value, bool))
        except TypeError:  # a protocol, a typed dict
            return None
    if inner and isinstance(value, str | bytes):  # a sequence of letters is not what is meant
        good = False
    if not good or (origin is tuple and inner and Ellipsis not in inner and len(value) != len(inner)):
        return role, kind, value
    return next(filter(None, itertools.starmap(_wrong, _annotated(value, origin, inner, role))), None)


def _annotated(value: Any, origin: Any, inner: tuple[Any, ...], role: str) -> list[tuple[Any, Any, str]]:
    """The parts of a container, each with its annotation and role."""
    if named_tuple(origin):
        hints, named = hints_of(origin), zip(origin._fields, value, strict=True)
        return [(part, hints.get(name, Any), f"{role}.{name}") for name, part in named]
    if isinstance(value, Mapping) and len(inner) == 2:
        keys = [(key, inner[0], f"the key {key!r} of {role}") for key in value]
        return keys + [(part, inner[1], f"{role}[{key!r}]") for key, part in value.items()]
    if isinstance(value, Collection) and not isinstance(value, str | bytes) and inner:
        several = inner if origin is tuple and Ellipsis not in inner else itertools.repeat(inner[0])
        return [
            (part, kind, f"{role}[{number}]")
            for number, (part, kind) in enumerate(zip(value, several, strict=False))
        ]
    return []


def _words(annotation: Any) -> str:
    """What an annotation takes, for people: `an R1`, `a list of Alignment`, `a str or None`."""
    if len(kinds := members(annotation)) > 1:
        return " or ".join(_words(kind) for kind in kinds)
    (kind,) = kinds
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if kind is None or kind is type(None):
        return "None"
    if origin is Literal:
        return " or ".join(map(repr, inner))
    name = _an(getattr(origin, "__name__", str(origin)))
    if isinstance(origin, type) and issubclass(origin, Enum):
        return f"{name} ({', '.join(map(str, origin))})"
    content = [re.sub("^an? ", "", _words(member)) for member in inner if member is not Ellipsis]
    return f"{name} of {', '.join(content)}" if content else name


def _told(value: Any) -> str:
    """A value that was given, for people: an asset by its file, others as they are written."""
    if value is None:
        return "None"
    kind = _an(type(value).__name__)
    if isinstance(value, Asset):
        named = f"{value.record.name}, " if value.record is not None and value.record.name else ""
        unknown = (
            f", unknown or malformed as {value.extra.get('asset', '')!r}" if type(value) is Asset else ""
        )
        return f"{kind}{unknown} ({named}{value.cid or 'not stored'})"
    text = repr(value)
    return f"{kind} ({text if len(text) <= 60 else text[:60] + '...'})"


def _remedy(given: Any, wanted: Any, hints: Mapping[str, Any]) -> str:
    """What to do about it, where that is plain."""
    kinds = members(wanted)
    if inspect.isawaitable(given):
        return ": await it first"
    if isinstance(given, int) and not isinstance(given, bool) and float in kinds:
        return f": give {float(given)!r}"
    if any(get_origin(kind) in (list, Sequence) and not _wrong([given], kind, "") for kind in kinds):
        return ": give a list, even of one"
    if isinstance(given, tuple) and any((get_origin(kind) or kind) is list for kind in kinds):
        return ": give a list"
    if isinstance(given, Asset) and type(given) is not Asset:
        fitting = [name for name, hint in hints.items() if name != "return" and not _wrong(given, hint, "")]
        return f": it is for {' or '.join(fitting)}" if fitting else ""
    return ""


def _an(name: str) -> str:
    return f"{'an' if SPOKEN_VOWEL.match(name) else 'a'} {name}"
