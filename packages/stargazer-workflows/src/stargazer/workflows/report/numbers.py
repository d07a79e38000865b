"""How the report writes numbers; what is not known is a dash."""

from __future__ import annotations

from functools import partial

__all__ = [
    "NOTHING",
    "count",
    "decimal",
    "depth",
    "duration",
    "memory",
    "percent",
    "points",
    "score",
    "tenths",
    "whole",
]

NOTHING = "\N{EN DASH}"
MINUTE, HOUR = 60, 3600
MB, GB = 10**6, 10**9


def _shown(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)


count = partial(_shown, form="{:,}")
decimal = partial(_shown, form="{:.2f}")
depth = partial(_shown, form="{:.1f}x")
score = partial(_shown, form="{:.4f}")
tenths = partial(_shown, form="{:.1f}")
whole = partial(_shown, form="{:,.0f}")


def percent(value: float | None) -> str:
    """A fraction of one as percent."""
    return NOTHING if value is None else f"{100 * value:.2f} %"


def points(value: float | None) -> str:
    """Percent that are percent already."""
    return NOTHING if value is None else f"{value:.1f} %"


def duration(seconds: float) -> str:
    """Seconds in the unit that people would say."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds / MINUTE:.1f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


def memory(size: int) -> str:
    """Bytes in the unit that people would say; a dash if it is not known."""
    if not size:
        return NOTHING
    return f"{size / MB:,.0f} MB" if size < GB else f"{size / GB:,.1f} GB"
