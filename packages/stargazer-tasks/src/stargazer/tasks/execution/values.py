"""The values that tasks take and return: checked against type hints, searched for assets, written as JSON and back."""

from __future__ import annotations

import contextlib
import functools
import inspect
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
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from stargazer.assets import Asset, InvalidAssetError

__all__ = ["assets_in", "bound_arguments", "described", "leaves", "members", "named_tuple", "rebuilt", "replaced",
           "result_type"]  # fmt: skip

SPOKEN_VOWEL = re.compile(r"[AEIOaeio]|[FHLMNRSX](?![a-z])")  # an Alignment, an R1, a Reference
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
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


def bound_arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> inspect.BoundArguments:
    """The arguments of a call by parameter, defaults included.

    An annotation that says nothing which can be looked at (Any, a name that is not there, a protocol) takes anything.

    Raises:
        InvalidAssetError: one is not of the type that its parameter takes.
        TypeError: one is missing, or there is no such parameter.
    """
    signature, hints = _declared(function)
    bound = signature.bind(*args, **kwargs)
    for name, value in bound.arguments.items():
        if name not in hints or signature.parameters[name].kind in VARIADIC:
            continue
        for role, wanted, given in _wrong(value, hints[name], name):
            raise InvalidAssetError(
                f"{function.__name__}: {role} takes {_words(wanted)}, got {_told(given)}{_remedy(given, wanted, hints)}"
            )
    bound.apply_defaults()
    return bound


@functools.lru_cache(maxsize=1024)
def _declared(function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    try:
        hints = get_type_hints(function)
    except NameError:  # annotated with what only a type checker imports
        hints = {}
    return inspect.signature(function), {name: hint for name, hint in hints.items() if name != "return"}


def _wrong(value: Any, annotation: Any, role: str) -> Iterator[tuple[str, Any, Any]]:
    """Each part of a value that is not what its annotation says: its role, what is taken there, and the part."""
    kinds = members(annotation)
    found = [list(_wrong_kind(value, kind, role)) for kind in kinds]
    if not all(found):
        return
    within = [wrong for wrong in found if wrong[0][0] != role]  # the right container of something wrong
    yield from within[0] if within else [(role, annotation, value)]


def _wrong_kind(value: Any, kind: Any, role: str) -> Iterator[tuple[str, Any, Any]]:
    """The same, of one kind: no union."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if kind is Any or kind is object:
        return
    if origin is Literal:
        good = any(type(value) is type(choice) and value == choice for choice in inner)
    elif kind is None or kind is type(None):
        good = value is None
    elif named_tuple(origin):  # Flyte hands on a bare tuple
        good = isinstance(value, tuple) and len(value) == len(origin._fields)
    elif not isinstance(origin, type):
        return
    else:
        try:
            good = isinstance(value, origin) and not (origin in (int, float) and isinstance(value, bool))
        except TypeError:  # a protocol, a typed dict
            return
    if (
        inner and origin is not Literal and isinstance(value, str | bytes)
    ):  # a sequence of letters is not what is meant
        good = False
    if origin is tuple and inner and Ellipsis not in inner:
        good = good and len(value) == len(inner)
    if not good:
        yield role, kind, value
        return
    for name, annotation, member in _parts(value, origin, inner, role):
        yield from _wrong(member, annotation, name)


def _parts(value: Any, origin: Any, inner: tuple[Any, ...], role: str) -> Iterator[tuple[str, Any, Any]]:
    """The members of a container, each with its role and annotation."""
    if named_tuple(origin):
        hints = get_type_hints(origin)
        for name, member in zip(origin._fields, value, strict=True):
            yield f"{role}.{name}", hints.get(name, Any), member
    elif isinstance(value, Mapping) and len(inner) == 2:
        for key, member in value.items():
            yield f"the key {key!r} of {role}", inner[0], key
            yield f"{role}[{key!r}]", inner[1], member
    elif isinstance(value, Collection) and not isinstance(value, str | bytes) and inner:
        several = inner if origin is tuple and Ellipsis not in inner else (inner[0],) * len(value)
        for number, (annotation, member) in enumerate(zip(several, value, strict=True)):
            yield f"{role}[{number}]", annotation, member


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
    if isinstance(origin, type) and issubclass(origin, Enum):
        return f"{_an(origin.__name__)} ({', '.join(map(str, origin))})"
    name = getattr(origin, "__name__", str(origin))
    content = [re.sub("^an? ", "", _words(member)) for member in inner if member is not Ellipsis]
    return f"{_an(name)} of {', '.join(content)}" if content else _an(name)


def _told(value: Any) -> str:
    """A value that was given, for people: an asset by its file, others as they are written."""
    if value is None:
        return "None"
    if isinstance(value, Asset):
        named = [value.record.name] if value.record is not None and value.record.name else []
        unknown = (
            f", unknown or malformed as {value.extra.get('asset', '')!r}" if type(value) is Asset else ""
        )
        return f"{_an(type(value).__name__)}{unknown} ({', '.join([*named, value.cid or 'not stored'])})"
    text = repr(value)
    return f"{_an(type(value).__name__)} ({text if len(text) <= 60 else text[:60] + '...'})"


def _remedy(given: Any, wanted: Any, hints: Mapping[str, Any]) -> str:
    """What to do about it, where that is plain."""
    if inspect.isawaitable(given):
        return ": await it first"
    if isinstance(given, int) and not isinstance(given, bool) and float in members(wanted):
        return f": give {float(given)!r}"
    if any(
        get_origin(kind) in (list, Sequence) and not _any_wrong([given], kind) for kind in members(wanted)
    ):
        return ": give a list, even of one"
    if any(kind is list or get_origin(kind) is list for kind in members(wanted)) and isinstance(given, tuple):
        return ": give a list"
    if isinstance(given, Asset) and type(given) is not Asset:
        fitting = [name for name, hint in hints.items() if not _any_wrong(given, hint)]
        return f": it is for {' or '.join(fitting)}" if fitting else ""
    return ""


def _any_wrong(value: Any, annotation: Any) -> bool:
    return any(True for _ in _wrong(value, annotation, ""))


def _an(name: str) -> str:
    return f"{'an' if SPOKEN_VOWEL.match(name) else 'a'} {name}"
