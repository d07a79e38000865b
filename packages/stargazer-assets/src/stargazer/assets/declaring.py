"""What an asset class declares: its resolved annotations, and the rules that a declaration keeps."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple, get_type_hints

import attrs
from stargazer.assets.errors import InvalidAssetError
from stargazer.assets.keyvalues import optional, storable
from stargazer.assets.links import Link, LinkKind, link_of

__all__ = [
    "MAX_FIELDS",
    "MAX_KEYVALUES",
    "Column",
    "check_declaration",
    "columns_of",
    "hints_of",
    "unknown_key",
]

MAX_KEYVALUES = 10  # Pinata's limit for one file
MAX_FIELDS = MAX_KEYVALUES - 2  # beside `asset` and `provenance_cid`
WORDS_OF_QUERIES = frozenset({"asset", "client", "latest"})

_hints: dict[type, dict[str, Any]] = {}
_columns: dict[type, tuple[Column, ...]] = {}


def hints_of(cls: type, scope: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The resolved annotations of a class by field name; `scope` holds the names where it was declared."""
    if cls not in _hints:
        try:
            _hints[cls] = get_type_hints(cls, include_extras=True)
        except NameError:
            if scope is None:
                raise
            _hints[cls] = get_type_hints(cls, localns=dict(scope), include_extras=True)
    return _hints[cls]


class Column(NamedTuple):
    """What a class declares of one of its fields."""

    name: str
    hint: Any
    link: Link | None
    optional: bool


def columns_of(cls: Any) -> tuple[Column, ...]:
    """The class's own fields, links included."""
    # kept: an asset's metadata as text takes 1 to 2 us, reading its class's annotations again 4 to 6 us more
    if cls not in _columns:
        hints = {name: hints_of(cls)[name] for name in cls.fields()}
        _columns[cls] = tuple(
            Column(name, hint, link_of(hint), optional(hint)) for name, hint in hints.items()
        )
    return _columns[cls]


def check_declaration(key: str, cls: Any, base: type) -> None:
    """Refuse a class whose assets could not be stored, found or fetched.

    Raises:
        InvalidAssetError: a reserved or misnamed field, a type that has no text form, too many fields.
    """
    hints, fields = hints_of(cls), cls.fields()
    if not key or not key.isidentifier():
        raise InvalidAssetError(f"{key!r} cannot name an asset type: use letters, digits and underscores")
    own = {field.name for field in attrs.fields(cls) if not field.inherited}
    for name in sorted(own):
        if (
            name.startswith("_")
            or name in WORDS_OF_QUERIES
            or name in dir(base)
            or name in attrs.fields_dict(base)
        ):
            raise InvalidAssetError(f"{key}: {name!r} is a reserved name: give the field another")
    for name, field in fields.items():
        link = link_of(hints[name])
        if link and name != f"{link.target.asset_key}_cid":
            wanted = f"{link.target.asset_key}_cid"
            raise InvalidAssetError(
                f"{key}: the link {name} points at {link.target.asset_key}: call it {wanted}"
            )
        if link and link.kind is LinkKind.COMPANION and not cls.suffix:
            raise InvalidAssetError(
                f"{key}: a companion of {link.target.asset_key} needs a suffix of its own"
            )
        if not storable(hints[name]):
            raise InvalidAssetError(
                f"{key}: {name}: {hints[name]} cannot be stored as text; "
                "use str, bool, int, float, an Enum, a Literal, a list of one of these, or `| None`"
            )
        if optional(hints[name]) and field.default is not None and field.default is not attrs.NOTHING:
            raise InvalidAssetError(f"{key}: {name}: None is stored as absent, so its default must be None")
    always = [
        name for name in fields if not optional(hints[name])
    ]  # what is None is not stored, and counted then
    if len(always) > MAX_FIELDS:
        raise InvalidAssetError(
            f"{key}: {len(always)} fields, at most {MAX_FIELDS} can be stored beside those that may be None"
        )


def unknown_key(cls: Any, key: str) -> str:
    """Why `key` is no field of `cls`, with the nearest ones."""
    if key.startswith("_"):
        return f"{cls.asset_key}: {key!r} is reserved (keys that begin with an underscore are)"
    near = difflib.get_close_matches(key, cls.fields(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{cls.asset_key}: unknown key {key!r}; {hint}known: {', '.join(cls.fields())}"
