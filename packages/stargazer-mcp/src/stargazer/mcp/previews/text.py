"""Text of files and users in answers: control characters as escapes, long values cut."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from stargazer.mcp.cli.console import escaped

__all__ = ["as_json", "brief", "first", "lines_of", "shown"]

WIDTH = 240  # characters of a text
MEMBERS = 200  # of a list or an object


def shown(text: str, most: int = WIDTH) -> str:
    """A text on one line, with control characters (tabs aside) as escapes, cut after so many characters."""
    safe = escaped(text[:most], keep="\t")
    if len(text) <= most and len(safe) <= most:
        return safe
    return f"{safe[:most]}... ({len(text):,} characters)"


def brief(value: Any, most: int = WIDTH, members: int = MEMBERS) -> Any:
    """A value of JSON with every text in it as `shown` has it, and of long lists the first members."""
    if isinstance(value, str):
        return shown(value, most)
    if isinstance(value, Mapping):
        return {shown(str(key), most): brief(value[key], most, members) for key in [*value][:MEMBERS]}
    if isinstance(value, list | tuple):
        return [brief(inner, most, members) for inner in value[:members]]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def first(values: Iterable[Any], count: int, most: int, width: int = 100) -> dict[str, Any]:
    """How many values there are, and the first of them."""
    return {
        "count": count,
        "first": [brief(value, width) for value, _ in zip(values, range(most), strict=False)],
    }


def lines_of(data: bytes) -> list[str]:
    """The lines of text; a cut one at the end is one, too."""
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def as_json(value: Any) -> str:
    """JSON text for agents to read: letters of all languages as they are."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
