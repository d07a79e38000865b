"""When two values are the same: numbers as exactly as a claim writes them, everything else to the letter."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

import attrs

__all__ = ["NUMBERS", "Written", "agree", "is_number", "same"]

NUMBER = re.compile(r"([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)\s*(%?)")
NUMBERS = re.compile(r"(?<![\w.])" + NUMBER.pattern)
"""Numbers in a sentence."""
LONGEST = 40  # characters of a number
NOISE = Decimal(
    "4e-16"
)  # of a number that was computed from many, as a share of it: two units in the last place


@attrs.frozen
class Written:
    """A number as somebody wrote it.

    Attributes:
        value: of it.
        half: half a unit of its last digit; 0 for a whole number, which is meant exactly.
    """

    value: Decimal
    half: Decimal

    @classmethod
    def read(cls, given: Any) -> Written | None:
        """A number, or a text that is one (`1.980`, `12,345`, `45.2%`); None of anything else."""
        if isinstance(given, bool) or given is None:
            return None
        if isinstance(given, int):
            return cls(Decimal(given), Decimal(0))
        if isinstance(given, float):
            return cls._of(repr(given)) if math.isfinite(given) else None
        if not isinstance(given, str) or len(given) > LONGEST:
            return None
        match = NUMBER.fullmatch(given.strip())
        if match is None or not any(char.isdigit() for char in match[1].lower().partition("e")[0]):
            return None
        read = cls._of(match[1].replace(",", ""))
        return cls(read.value / 100, read.half / 100) if match[2] else read

    @classmethod
    def _of(cls, text: str) -> Written:
        value = Decimal(text)
        is_whole = "." not in text and "e-" not in text.lower()
        last = int(value.as_tuple().exponent)
        return cls(value, Decimal(0) if is_whole else Decimal(5).scaleb(last - 1))


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def agree(found: float, claimed: Written, within: Decimal) -> bool:
    """Whether a number is what was claimed.

    Args:
        within: how far it may be from it.
    """
    exact = isinstance(found, int)
    value = Decimal(found) if exact else Decimal(repr(float(found)))
    slack = Decimal(0) if exact else abs(value) * NOISE
    return abs(value - claimed.value) <= within + slack


def same(found: Any, claimed: Any, within: Decimal | None = None) -> bool:
    """Whether a value of a file is the one that is claimed.

    Args:
        within: how far numbers may be from each other; else by the digits of the claimed one.
    """
    if isinstance(found, tuple | list) and isinstance(claimed, list):
        pairs = zip(sorted(found, key=_text), sorted(claimed, key=_text), strict=False)
        return len(found) == len(claimed) and all(same(*pair, within) for pair in pairs)
    if isinstance(found, tuple | list) and len(found) == 1:
        return same(found[0], claimed, within)
    if isinstance(found, bool) or isinstance(claimed, bool):
        return _text(found).lower() == _text(claimed).lower()
    if isinstance(found, str) and found == claimed:
        return True
    number = Written.read(claimed)
    if isinstance(found, str) and (read := Written.read(found)):  # metadata of unknown types is text
        found = int(read.value) if read.value == read.value.to_integral_value() else float(read.value)
    if number is not None and is_number(found):
        return agree(found, number, number.half if within is None else within)
    return bool(found == claimed)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
