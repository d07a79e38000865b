"""Text of files and users in answers: control characters as escapes, long values cut."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stargazer.mcp.cli.console import escaped

__all__ = ["Few", "as_json", "brief", "lines_of", "shown", "visible"]

WIDTH = 240  # characters of a text
UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""What controls a terminal, turns the direction of text, or is not drawn; line ends and tabs aside."""
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


class Few:
    """How many values there were, and the first of them.

    Args:
        most: values that are kept.
        width: characters of a text in one.
    """

    def __init__(self, most: int, width: int):
        self._most, self._width = most, width
        self.count = 0
        self._first: list[Any] = []

    def add(self, value: Any) -> None:
        """Count a value, and keep it if it is one of the first."""
        self.count += 1
        if self.count <= self._most:
            self._first.append(brief(value, self._width))

    def as_dict(self, count: int | None = None) -> dict[str, Any]:
        """As JSON has it; with another count, if it is known otherwise."""
        return {"count": self.count if count is None else count, "first": self._first}


def visible(text: str) -> str:
    """A text of many lines, with what is not seen as escapes that JSON has, too."""
    return UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], text)


def lines_of(data: bytes) -> Iterator[str]:
    """The lines of text, one after the other; a cut one at the end is one, too."""
    return (line.rstrip(b"\r\n").decode("utf-8", "replace") for line in io.BytesIO(data))


def as_json(value: Any) -> str:
    """JSON text for agents to read: letters of all languages as they are."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
