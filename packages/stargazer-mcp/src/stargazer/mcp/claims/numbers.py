"""When two values are the same: numbers as exactly as a claim writes them, everything else to the letter."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

import attrs

__all__ = ["Written", "is_coarse", "is_number", "is_percent", "same"]

NUMBER = re.compile(r"([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)\s*(%?)")
PERCENT = re.compile(
    r"%|(?:(?<![A-Za-z])(?:pct|PCT|percent(?:age)?|PERCENT(?:AGE)?)|Pct|Percent(?:age)?)(?![a-z])"
)
SHARES = re.compile(r"PCT_|PERCENT_DUPLICATION|(?<![A-Za-z])pct(?:\.[12]\b|_nz)")
"""Names that say percent, and are shares all the same: of Picard, Seurat and Scanpy."""
LONGEST = 40  # characters of a number
NOISE = Decimal(
    "4e-16"
)  # of a number that was computed from many, as a share of it: two units in the last place


@attrs.frozen
class Written:
    """A number as somebody wrote it.

    Attributes:
        value: of it.
        half: half a unit of its last digit; 0 for a whole number.
        unit: of a whole number.
        percent: it has a percent sign, which its value does not take into account.
    """

    value: Decimal
    half: Decimal
    unit: Decimal = Decimal(1)
    percent: bool = False

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
        return attrs.evolve(cls._of(match[1].replace(",", "")), percent=bool(match[2]))

    @classmethod
    def _of(cls, text: str) -> Written:
        value = Decimal(text)
        is_whole = "." not in text and "e-" not in text.lower()
        last = int(value.as_tuple().exponent)
        return cls(value, Decimal(0) if is_whole else Decimal(5).scaleb(last - 1))

    def of(self, *, percent: bool) -> Written:
        """The number in the unit of a figure.

        Args:
            percent: the figure is in percent itself; else a percentage is a share of it.
        """
        if percent or not self.percent:
            return self
        return Written(self.value / 100, self.half / 100, self.unit / 100)

    def within(self, found: float) -> Decimal:
        """How far a figure may be off: a whole number stands for what is rounded to it, but for whole figures."""
        if self.half or isinstance(found, int) or abs(self.value) < 2 * self.unit:
            return self.half
        return self.unit / 2


def is_percent(name: str) -> bool:
    """Whether a name says that its figures are in percent."""
    return bool(PERCENT.search(name)) and not SHARES.search(name)


def is_coarse(found: Any, claimed: Written) -> bool:
    """Whether a figure may have been rounded to 0 or 1, which says next to nothing of it."""
    if (
        not is_number(found)
        or isinstance(found, int)
        or claimed.half
        or abs(claimed.value) >= 2 * claimed.unit
    ):
        return False
    off = abs(Decimal(repr(found)) - claimed.value)
    return abs(Decimal(repr(found))) * NOISE < off <= claimed.unit / 2


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def same(found: Any, claimed: Any, within: Decimal | None = None, *, percent: bool = False) -> bool:
    """Whether a value of a file is the one that is claimed.

    Args:
        within: how far numbers may be from each other; else by the digits of the claimed one.
        percent: the value of the file is in percent.
    """
    if isinstance(found, tuple | list) and len(found) > 1 and isinstance(claimed, str):
        claimed = [each.strip() for each in re.split("[,;]", claimed)]
    if isinstance(found, tuple | list) and isinstance(claimed, list):
        pairs = list(zip(found, claimed, strict=False))
        if not any(is_number(each) for each in found):
            pairs = list(zip(sorted(found, key=_text), sorted(claimed, key=_text), strict=False))
        return len(found) == len(claimed) and all(same(*pair, within, percent=percent) for pair in pairs)
    if isinstance(found, tuple | list) and len(found) == 1:
        return same(found[0], claimed, within, percent=percent)
    if isinstance(found, bool) or isinstance(claimed, bool):
        return _text(found).lower() == _text(claimed).lower()
    if isinstance(found, str) and found == claimed:
        return True
    number = Written.read(claimed)
    if isinstance(found, str) and (read := Written.read(found)):  # metadata of unknown types is text
        found = int(read.value) if read.value == read.value.to_integral_value() else float(read.value)
        percent = percent or read.percent
    if number is not None and is_number(found):
        number = number.of(percent=percent)
        return _agree(found, number, number.within(found) if within is None else within)
    if found is None and claimed == ".":  # in a list, as a VCF writes it
        return True
    return bool(found == claimed)


def _agree(found: float, claimed: Written, within: Decimal) -> bool:
    exact = isinstance(found, int)
    value = Decimal(found) if exact else Decimal(repr(float(found)))
    slack = Decimal(0) if exact else abs(value) * NOISE
    return abs(value - claimed.value) <= within + slack


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
