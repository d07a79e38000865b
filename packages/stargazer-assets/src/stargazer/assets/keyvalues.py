"""The one conversion between an asset's typed fields and the flat text pairs of the storage boundary.

Text stays as it is, booleans are `true` and `false`, numbers their shortest exact form, enums their value, lists JSON.
Unset (None) fields are left out.
"""

from __future__ import annotations

import functools
import json
import math
import types
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from stargazer.assets.errors import InvalidAssetError

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["decode", "describe", "encode", "plain"]


def encode(value: Any, annotation: Any) -> str:
    """A field's value as text.

    Raises:
        InvalidAssetError: the value is not of the annotated type; the message says what is allowed.
    """
    kind = plain(annotation)
    _check(value, kind)
    return str(_converter().unstructure(value, unstructure_as=kind))


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
    except InvalidAssetError:
        raise
    except Exception as error:
        raise InvalidAssetError(f"expected {describe(kind)}, got {text!r}") from error
    _check(value, kind)
    return value


def describe(kind: Any) -> str:
    """What values a plain type takes, in words."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(str(member.value) for member in kind)
    if get_origin(kind) in (list, tuple):
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
        return plain(members[0]) if len(members) == 1 else str
    return annotation


def _check(value: Any, kind: Any) -> None:
    origin = get_origin(kind)
    if origin is Literal:
        good = value in get_args(kind)
    elif origin in (list, tuple):
        good = isinstance(value, origin)
        for member in value if good else ():
            _check(member, get_args(kind)[0])
    elif kind is float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    elif kind is int:
        good = isinstance(value, int) and not isinstance(value, bool)
    else:
        good = isinstance(value, kind)
    if good and isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidAssetError(f"{value!r} is not valid Unicode text") from None
    if not good:
        raise InvalidAssetError(f"expected {describe(kind)}, got {value!r}")


@functools.cache
def _converter() -> Converter:
    from cattrs import Converter

    def boolean(text: str, _: Any) -> bool:
        return {"true": True, "false": False}[text.lower()]

    def sequence(kind: Any) -> Any:
        member, build = get_args(kind)[0], get_origin(kind)
        jsonable = member if member in (str, int, float, bool) else str

        def structure(text: str, _: Any) -> Any:
            items = json.loads(text)
            if not isinstance(items, list):
                raise InvalidAssetError(f"expected {describe(kind)}, got {text!r}")
            for item in items:
                _check(item, jsonable)
            return build(item if jsonable is member else converter.structure(item, member) for item in items)

        return structure

    def is_sequence(kind: Any) -> bool:
        return get_origin(kind) in (list, tuple)

    def as_json(values: Any) -> str:
        return json.dumps([v.value if isinstance(v, Enum) else v for v in values], ensure_ascii=False)

    def literal(text: str, kind: Any) -> Any:
        return next(value for value in get_args(kind) if str(value) == text)

    converter = Converter()
    converter.register_structure_hook(bool, boolean)
    converter.register_structure_hook(int, lambda text, _: int(text))
    converter.register_structure_hook(float, lambda text, _: float(text))
    converter.register_structure_hook_func(lambda kind: get_origin(kind) is Literal, literal)
    converter.register_structure_hook_factory(is_sequence, sequence)
    converter.register_unstructure_hook(bool, lambda value: "true" if value else "false")
    converter.register_unstructure_hook(int, str)
    converter.register_unstructure_hook(float, lambda value: repr(float(value)))
    converter.register_unstructure_hook_func(lambda kind: get_origin(kind) is Literal, str)
    converter.register_unstructure_hook_func(is_sequence, as_json)
    return converter
