"""The two kinds of links between assets: a companion is fetched with its primary, a source is not.

A link is a field named `{asset_key}_cid` of the asset it points at. It holds a CID, or, until the asset it
points at is stored, that asset itself.

    alignment_cid: Companion[Alignment]              # this file accompanies an alignment (an index)
    reference_cid: Derived[Reference] | None = None  # this file was derived from a reference
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, TypeVar, get_args, get_origin

import attrs

__all__ = ["Companion", "Derived", "Link", "LinkKind", "link_of"]

A = TypeVar("A")


class LinkKind(Enum):
    """What a link means when the asset it points at is fetched."""

    COMPANION = "companion"
    DERIVED = "derived"


Companion = Annotated[A | str, LinkKind.COMPANION]
"""Belongs beside the asset it points at, and is fetched with it."""

Derived = Annotated[A | str, LinkKind.DERIVED]
"""Was made from the asset it points at; provenance only, never fetched along."""


@attrs.frozen
class Link:
    """A declared link: its kind and the asset class it points at."""

    kind: LinkKind
    target: type[Any]


def link_of(annotation: Any) -> Link | None:
    """The link that a resolved annotation (`Companion[X]`, `Derived[X] | None`) declares, or None."""
    for candidate in (annotation, *get_args(annotation)):
        if get_origin(candidate) is Annotated:
            union, *metadata = get_args(candidate)
            kinds = [item for item in metadata if isinstance(item, LinkKind)]
            if kinds:
                target = next(member for member in get_args(union) if member is not str)
                return Link(kinds[0], target)
    return None
