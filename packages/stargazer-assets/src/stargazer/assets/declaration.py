"""What an asset class declares: its typed fields, its links to other assets, and the rules that both keep.

A link is a field named `{asset_key}_cid` of the asset it points at. It holds a CID, or, until the asset it
points at is stored, that asset itself. A companion is fetched with its primary, a source is not.

    alignment_cid: Companion[Alignment]              # this file accompanies an alignment (an index)
    reference_cid: Derived[Reference] | None = None  # this file was derived from a reference
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import (
    Annotated,
    Any,
    NamedTuple,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs
from attrs.converters import pipe
from stargazer.assets.errors import InvalidAssetError
from stargazer.assets.keyvalues import composed, optional, storable

__all__ = ["BASE_FIELDS", "MAX_FIELDS", "MAX_KEYVALUES", "AssetLink", "Column", "Companion", "Derived", "LinkKind",
           "check_declaration", "columns_of", "define", "hints_of", "is_free_key", "link_of",
           "resolve_annotations", "unknown_key"]  # fmt: skip

MAX_KEYVALUES = 10  # Pinata's limit for one file
MAX_FIELDS = MAX_KEYVALUES - 2  # beside `asset` and `provenance_cid`
WORDS_OF_QUERIES = frozenset({"asset", "client", "latest"})
FREE_KEY = re.compile(r"[a-z][a-z0-9_]{0,31}")
NOT_FREE = frozenset(
    {"force", "id", "in_place", "limit", "offset", "origin", "provenance", "public", "run_key", "samples", "size",
     "source", "superseded"}
)  # fmt: skip
"""What means something else where files are added or searched for."""

BASE_FIELDS = frozenset({"cid", "path", "provenance_cid", "record", "extra"})

A = TypeVar("A")
C = TypeVar("C", bound=type)


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def define(cls: C) -> C:
    """Make a class one of attrs, as all asset classes are."""
    return attrs.define(kw_only=True, slots=False, field_transformer=_with_composed_text)(cls)


def _with_composed_text(cls: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """The fields of a class; its own take text in one normal form of Unicode, however it was typed."""
    return [
        field
        if field.name in BASE_FIELDS or field.inherited  # type: ignore[attr-defined]
        else field.evolve(converter=pipe(field.converter, composed) if field.converter else composed)
        for field in fields
    ]


class LinkKind(Enum):
    """What a link means when the asset it points at is fetched."""

    COMPANION = "companion"
    DERIVED = "derived"


Companion = Annotated[A | str, LinkKind.COMPANION]
"""Belongs beside the asset it points at, and is fetched with it."""

Derived = Annotated[A | str, LinkKind.DERIVED]
"""Was made from the asset it points at; provenance only, never fetched along."""


class AssetLink(NamedTuple):
    """A declared link: its kind and the asset class it points at."""

    kind: LinkKind
    target: type[Any]


class Column(NamedTuple):
    """What a class declares of one of its fields."""

    name: str
    hint: Any
    link: AssetLink | None
    optional: bool


def link_of(annotation: Any) -> AssetLink | None:
    """The link that a resolved annotation (`Companion[X]`, `Derived[X] | None`) declares, or None."""
    for candidate in (annotation, *get_args(annotation)):
        if get_origin(candidate) is Annotated:
            union, *metadata = get_args(candidate)
            for kind in metadata:
                if isinstance(kind, LinkKind):
                    return AssetLink(kind, next(member for member in get_args(union) if member is not str))
    return None


def resolve_annotations(cls: type, scope: Mapping[str, Any]) -> None:
    """Replace annotations of a class that name what only `scope` holds, where it was declared, by what they mean."""
    try:
        get_type_hints(cls, include_extras=True)
    except NameError:
        hints = get_type_hints(cls, localns=dict(scope), include_extras=True)
        cls.__annotations__ = {name: hints[name] for name in cls.__annotations__}


hints_of: Callable[[Any], dict[str, Any]] = functools.cache(
    functools.partial(get_type_hints, include_extras=True)
)
"""The resolved annotations of a class by field name."""


def _columns(cls: Any) -> tuple[Column, ...]:
    hints = hints_of(cls)
    return tuple(
        Column(name, hints[name], link_of(hints[name]), optional(hints[name])) for name in cls.fields()
    )


# kept: an asset's metadata as text takes 1 to 2 us, reading its class's annotations again 4 to 6 us more
columns_of: Callable[[Any], tuple[Column, ...]] = functools.cache(_columns)
"""The class's own fields, links included."""


def check_declaration(key: str, cls: Any, base: type) -> None:
    """Refuse a class whose assets could not be stored, found or fetched.

    Raises:
        InvalidAssetError: a reserved or misnamed field, a type that has no text form, too many fields.
    """
    if not key or not key.isidentifier():
        raise InvalidAssetError(f"{key!r} cannot name an asset type: use letters, digits and underscores")
    reserved = {*WORDS_OF_QUERIES, *dir(base), *attrs.fields_dict(base)}
    for name in sorted(field.name for field in attrs.fields(cls) if not field.inherited):
        if name.startswith("_") or name in reserved:
            raise InvalidAssetError(f"{key}: {name!r} is a reserved name: give the field another")
    columns = columns_of(cls)
    for name, hint, link, may_be_none in columns:
        if link and name != (wanted := f"{link.target.asset_key}_cid"):
            raise InvalidAssetError(
                f"{key}: the link {name} points at {link.target.asset_key}: call it {wanted}"
            )
        if link and link.kind is LinkKind.COMPANION and not cls.suffix:
            raise InvalidAssetError(
                f"{key}: a companion of {link.target.asset_key} needs a suffix of its own"
            )
        if not storable(hint):
            raise InvalidAssetError(
                f"{key}: {name}: {hint} cannot be stored as text; "
                "use str, bool, int, float, an Enum, a Literal, a list of one of these, or `| None`"
            )
        if may_be_none and cls.fields()[name].default not in (None, attrs.NOTHING):
            raise InvalidAssetError(f"{key}: {name}: None is stored as absent, so its default must be None")
    always = sum(not column.optional for column in columns)  # what is None is not stored, and counted then
    if always > MAX_FIELDS:
        raise InvalidAssetError(
            f"{key}: {always} fields, at most {MAX_FIELDS} can be stored beside those that may be None"
        )


def unknown_key(cls: Any, key: str) -> str:
    """Why `key` is no field of `cls`, with the nearest ones."""
    if key.startswith("_"):
        return f"{cls.asset_key}: {key!r} is reserved (keys that begin with an underscore are)"
    if cls.free_keys:
        return (
            f"{cls.asset_key}: {key!r} cannot be a key of your own: write small letters, digits and underscores, a "
            "letter first, at most 32; asset, id, what ends in cid and what queries take have a meaning already"
        )
    near = difflib.get_close_matches(key, cls.fields(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{cls.asset_key}: unknown key {key!r}; {hint}known: {', '.join(cls.fields())}"


def is_free_key(cls: Any, key: str) -> bool:
    """Whether a key may be one of somebody's own in a type that takes such keys: it means nothing else."""
    taken = WORDS_OF_QUERIES | BASE_FIELDS | NOT_FREE | cls.fields().keys()
    return bool(FREE_KEY.fullmatch(key)) and key not in taken and not key.endswith("cid")
