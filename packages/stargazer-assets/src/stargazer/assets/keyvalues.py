"""The one conversion between an asset's typed fields and the flat text pairs of the storage boundary.

Text stays as it is, booleans are `true` and `false`, numbers their shortest exact form, enums their value,
lists JSON. Unset (None) fields are left out.
"""

from __future__ import annotations

import functools
import json
import math
import re
import types
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from stargazer.assets.errors import InvalidAssetError

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["decode", "describe", "encode", "optional", "plain", "storable"]

SCALARS = (str, bool, int, float)


def encode(value: Any, annotation: Any) -> str:
    """A field's value as text.

    Raises:
        InvalidAssetError: the value is not of the annotated type; the message says what is allowed.
    """
    kind = plain(annotation)
    try:
        _check(value, kind)
        return str(_converter().unstructure(value, unstructure_as=kind))
    except InvalidAssetError:
        raise
    except (ValueError, OverflowError) as error:
        raise InvalidAssetError(f"expected {describe(kind)}, got one too large to store: {error}") from error


def decode(text: str, annotation: Any) -> Any:
    """The typed value of a field's text.

    Raises:
        InvalidAssetError: the text is not a value of the annotated type; the message says what is allowed.
    """
    kind = plain(annotation)
    if not isinstance(text, str):
        raise InvalidAssetError(f"expected text, got {text!r}")
    try:
        value = _converter().structure(text, kind)
    except Exception as error:
        raise InvalidAssetError(f"expected {describe(kind)}, got {text!r}") from error
    _check(value, kind)
    return value


def describe(kind: Any) -> str:
    """What values a plain type takes, in words."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if _is_enum(kind):
        return "one of " + ", ".join(str(member.value) for member in kind)
    if _is_sequence(kind):
        return f"a JSON list of {describe(get_args(kind)[0])}"
    names = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
    return names.get(kind, str(kind))


@functools.cache
def plain(annotation: Any) -> Any:
    """The type below `X | None` and `Annotated[X, ...]`; a link's is text."""
    if get_origin(annotation) is Annotated:
        inner = get_args(annotation)[0]
        return str if str in get_args(inner) else plain(inner)
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return plain(members[0]) if len(members) == 1 else annotation
    return annotation


def optional(annotation: Any) -> bool:
    """Whether a field may be unset: `X | None`."""
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def storable(annotation: Any) -> bool:
    """Whether values of this type have a text form: scalars, enums, Literals, lists and tuples of one kind."""
    kind = plain(annotation)
    if _is_sequence(kind):
        members = get_args(kind)
        homogeneous = len(members) == 1 if get_origin(kind) is list else members[1:] == (...,)
        return homogeneous and not _is_sequence(members[0]) and storable(members[0])
    return kind in SCALARS or get_origin(kind) is Literal or _is_enum(kind)


def _is_sequence(kind: Any) -> bool:
    return get_origin(kind) in (list, tuple)


def _is_enum(kind: Any) -> TypeGuard[type[Enum]]:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _check(value: Any, kind: Any) -> None:
    """Refuse a value that is not exactly of a plain type."""
    if get_origin(kind) is Literal:
        good = any(type(value) is type(allowed) and value == allowed for allowed in get_args(kind))
    elif _is_sequence(kind):
        good = isinstance(value, get_origin(kind))
        for member in value if good else ():
            _check(member, get_args(kind)[0])
    elif kind in (int, float):
        good = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        good = good and math.isfinite(value)
    else:
        good = isinstance(value, kind)
    if not good:
        raise InvalidAssetError(f"expected {describe(kind)}, got {value!r}")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidAssetError(f"expected text, got {value!r}, which is not valid Unicode") from None


def _parse_number(text: str, kind: Any) -> Any:
    if not re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", text):
        raise ValueError(text)
    return kind(text)


def _parse_enum(text: str, kind: type[Enum]) -> Enum:
    return next(member for member in kind if str(member.value) == text)


def _parse_literal(text: str, kind: Any) -> Any:
    return next(value for value in get_args(kind) if str(value) == text)


def _parse_sequence(text: str, kind: Any) -> Any:
    member, items = get_args(kind)[0], json.loads(text)
    if not isinstance(items, list):
        raise ValueError(text)
    if _is_enum(member):
        items = [member(item) for item in items]
    return tuple(items) if get_origin(kind) is tuple else items


def _sequence_text(values: Any) -> str:
    return json.dumps([v.value if isinstance(v, Enum) else v for v in values], ensure_ascii=False)


@functools.cache
def _converter() -> Converter:
    from cattrs import Converter

    def is_literal(kind: Any) -> bool:
        return get_origin(kind) is Literal

    converter = Converter()
    read, write = converter.register_structure_hook_func, converter.register_unstructure_hook_func
    converter.register_structure_hook(str, lambda text, _: text)
    converter.register_structure_hook(bool, lambda text, _: {"true": True, "false": False}[text.lower()])
    converter.register_structure_hook(int, _parse_number)
    converter.register_structure_hook(float, _parse_number)
    read(is_literal, _parse_literal)
    read(_is_enum, _parse_enum)
    read(_is_sequence, _parse_sequence)
    converter.register_unstructure_hook(str, str.__str__)
    converter.register_unstructure_hook(bool, lambda value: "true" if value else "false")
    converter.register_unstructure_hook(int, int.__repr__)
    converter.register_unstructure_hook(float, lambda value: repr(float(value)))
    write(is_literal, str)
    write(_is_enum, lambda value: str(value.value))
    write(_is_sequence, _sequence_text)
    return converter
