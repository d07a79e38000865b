"""Rules for the names that end up in file headers."""

from __future__ import annotations

import re
from typing import Any

import attrs
from stargazer.assets.errors import InvalidAssetError

__all__ = ["header_text", "not_negative"]


def header_text(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuses what would break a SAM or VCF header: nothing at all, or control characters."""
    if (
        value is not None
        and isinstance(value, str)
        and (not value.strip() or re.search(r"[\x00-\x1f\x7f]", value))
    ):
        raise InvalidAssetError(
            f"{instance.asset_key}: {attribute.name}: expected text without tabs or line ends, got {value!r}"
        )


def not_negative(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuses a negative count."""
    if isinstance(value, int | float) and value < 0:
        raise InvalidAssetError(f"{instance.asset_key}: {attribute.name}: expected 0 or more, got {value!r}")
