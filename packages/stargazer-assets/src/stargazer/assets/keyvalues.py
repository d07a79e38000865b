"""The fields of assets: conversion to and from the text pairs (key=value) that a store keeps, and validators.

Text stays as it is, booleans are `true` and `false`, numbers their shortest exact form, enums their value,
lists JSON. Unset (None) fields are left out. Text is in Unicode's normal form C: what looks the same is the same.
"""

from __future__ import annotations

import functools
import json
import math
import re
import shlex
import types
import unicodedata
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

import attrs
from stargazer.assets.errors import InvalidAssetError

__all__ = ["MOST_NAME", "base_name", "check_text", "composed", "decode", "describe", "encode", "fields_text",
           "header_text", "list_text", "not_negative", "optional", "plain", "plain_list", "short_text",
           "storable"]  # fmt: skip

SCALARS = (str, bool, int, float)
HIDDEN = ("Cc", "Cf", "Zl", "Zp")
"""Unicode's categories of what is not drawn: control characters, joiners and marks of direction, line separators."""
MOST_TEXT = 2000
"""Characters of notes."""
MOST_NAME = 255
"""Bytes of a file's name, and characters of what somebody says under a key of his own."""
NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")


def composed(value: Any) -> Any:
    """Text, or each text of a list, in Unicode's normal form C; any other value as it is."""
    if type(value) is str:
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    return type(value)(map(composed, value)) if type(value) in (list, tuple) else value


def encode(value: Any, annotation: Any) -> str:
    """A field's value as text.

    Raises:
        InvalidAssetError: the value is not of the annotated type; the message says what is allowed.
    """
    kind = plain(annotation)
    try:
        _check(value, kind)
        return _write(value, kind)
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
        value = composed(_read(text, kind))
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


def list_text(values: Iterable[Any]) -> str:
    """A list as people write it: with commas, or as JSON where these would be read as another list."""
    words = [str(value) for value in values]
    if all(word and word == word.strip() and "," not in word for word in words) and not (
        words and words[0].startswith("[")
    ):
        return ",".join(words)
    return json.dumps(words, ensure_ascii=False)


def fields_text(keyvalues: Mapping[str, str]) -> str:
    """What is said of a file, for people: `sample=NA12878 lane=L001`; links and what is false are left out."""
    pairs = {
        key: value
        for key, value in keyvalues.items()
        if key not in ("asset", "run_key") and not key.endswith("_cid") and value not in ("false", "[]")
    }
    return " ".join(f"{key}={plain_list(value)}" for key, value in pairs.items())


def plain_list(value: str) -> str:
    """A list as people write it, with commas; any other value as it is."""
    if value.startswith('["'):
        try:
            return list_text(json.loads(value))
        except ValueError:
            pass
    return value


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
    if kind is str:  # first: most fields are
        good = isinstance(value, str)
    elif get_origin(kind) is Literal:
        good = any(type(value) is type(allowed) and value == allowed for allowed in get_args(kind))
    elif _is_sequence(kind):
        good = isinstance(value, get_origin(kind))
        for member in value if good else ():
            _check(member, get_args(kind)[0])
    elif kind is int:
        good = isinstance(value, int) and not isinstance(value, bool)
    elif kind is float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    else:
        good = isinstance(value, kind)
    if not good:
        raise InvalidAssetError(f"expected {describe(kind)}, got {value!r}")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidAssetError(f"expected text, got {value!r}, which is not valid Unicode") from None


def _write(value: Any, kind: Any) -> str:
    if kind is str:
        return str.__str__(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        return repr(float(value))
    if _is_enum(kind):
        return str(value.value)
    if _is_sequence(kind):
        return json.dumps([v.value if isinstance(v, Enum) else v for v in value], ensure_ascii=False)
    return str.__str__(value) if isinstance(value, str) else str(value)


def _read(text: str, kind: Any) -> Any:
    """The value of a text; whatever exception it raises, the text has none."""
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if kind in (int, float):
        return kind(NUMBER.fullmatch(text)[0])  # type: ignore[index]
    if _is_enum(kind):
        return next(member for member in kind if str(member.value) == text)
    if get_origin(kind) is Literal:
        return next(value for value in get_args(kind) if str(value) == text)
    if _is_sequence(kind):
        member, items = get_args(kind)[0], json.loads(text)
        if not isinstance(items, list):
            raise ValueError(text)
        return get_origin(kind)(member(item) if _is_enum(member) else item for item in items)
    return text


def header_text(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuses what would break a SAM or VCF header, or cannot be seen in one.

    Nothing at all, blanks at its ends, control characters, and characters without a width (they change how text is
    shown, or let two names look the same). A record that a store has already is read with whatever blanks it has.
    """
    if isinstance(value, str):
        check_text(instance.asset_key, attribute.name, value, is_stored=instance.record is not None)


def check_text(kind: str, name: str, value: str, *, is_stored: bool) -> None:
    """Refuse what `header_text` does, as the value of a key.

    Args:
        kind: the asset type.
        is_stored: a store has it already.
    """
    title = f"{kind}: {name}"
    if not value.strip() or re.search(r"[\x00-\x1f\x7f]", value):
        raise InvalidAssetError(f"{title}: expected text without tabs or line ends, got {value!r}")
    if is_stored:
        return
    hidden = [character for character in value if unicodedata.category(character) in HIDDEN]
    plain = "".join(character for character in value if character not in hidden).strip()
    write = f"write {shlex.quote(f'{name}={plain}')}" if plain else "give a name that can be seen"
    if hidden:
        which = f"U+{ord(hidden[0]):04X} ({unicodedata.name(hidden[0], 'a control character')})"
        raise InvalidAssetError(
            f"{title}: expected text that can be seen, got {value!r} with {which}; {write}"
        )
    if value != value.strip():
        raise InvalidAssetError(f"{title}: expected text without blanks at its ends, got {value!r}; {write}")


def short_text(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuses text that is empty, long, or is not shown as it is written.

    That is text with control characters other than tabs and line ends, or with those that turn its direction.
    """
    if not isinstance(value, str) or instance.record is not None:
        return
    title = f"{instance.asset_key}: {attribute.name}"
    if len(value) > MOST_TEXT:
        raise InvalidAssetError(
            f"{title}: {len(value):,} characters, at most {MOST_TEXT:,}: add a longer text as a file"
        )
    if not value.strip() or re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", value):
        raise InvalidAssetError(f"{title}: expected text that can be seen, got {value!r}")


def base_name(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuses, beside what `header_text` does, a name that is a path or that filesystems do not take."""
    header_text(instance, attribute, value)
    if not isinstance(value, str) or instance.record is not None:
        return
    if "/" in value or value in (".", "..") or len(value.encode(errors="surrogatepass")) > MOST_NAME:
        raise InvalidAssetError(
            f"{instance.asset_key}: {attribute.name}: expected the name of a file, no path, of at most {MOST_NAME} "
            f"bytes, got {value!r}"
        )


def not_negative(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuses a negative count."""
    if isinstance(value, int | float) and value < 0:
        raise InvalidAssetError(f"{instance.asset_key}: {attribute.name}: expected 0 or more, got {value!r}")
