"""Validators of fields: text that can stand in the header of a SAM or VCF file, and counts."""

from __future__ import annotations

import re
import shlex
import unicodedata
from typing import Any

import attrs
from stargazer.assets.errors import InvalidAssetError

__all__ = ["header_text", "not_negative"]

HIDDEN = ("Cc", "Cf", "Zl", "Zp")
"""Unicode's categories of what is not drawn: control characters, joiners and marks of direction, line separators."""


def header_text(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuses what would break a SAM or VCF header, or cannot be seen in one.

    Nothing at all, blanks at its ends, control characters, and characters without a width (they change how text is
    shown, or let two names look the same). A record that a store has already is read with whatever blanks it has.
    """
    if not isinstance(value, str):
        return
    title = f"{instance.asset_key}: {attribute.name}"
    if not value.strip() or re.search(r"[\x00-\x1f\x7f]", value):
        raise InvalidAssetError(f"{title}: expected text without tabs or line ends, got {value!r}")
    if instance.record is not None:
        return
    hidden = [character for character in value if unicodedata.category(character) in HIDDEN]
    plain = "".join(character for character in value if character not in hidden).strip()
    write = f"write {shlex.quote(f'{attribute.name}={plain}')}" if plain else "give a name that can be seen"
    if hidden:
        raise InvalidAssetError(
            f"{title}: expected text that can be seen, got {value!r} with {_named(hidden[0])}; {write}"
        )
    if value != value.strip():
        raise InvalidAssetError(f"{title}: expected text without blanks at its ends, got {value!r}; {write}")


def _named(character: str) -> str:
    return f"U+{ord(character):04X} ({unicodedata.name(character, 'a control character')})"


def not_negative(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuses a negative count."""
    if isinstance(value, int | float) and value < 0:
        raise InvalidAssetError(f"{instance.asset_key}: {attribute.name}: expected 0 or more, got {value!r}")
