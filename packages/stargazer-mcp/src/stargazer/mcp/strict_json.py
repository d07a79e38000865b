"""Parses JSON strictly: keys given twice, NaN, half surrogate pairs and too many or too deep values are errors."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["VALUES", "JsonError", "parse", "shortened", "valid_text"]

DEPTH = 32  # of lists and objects in one another
VALUES = 200_000  # in one text, so that what it becomes in memory is bounded too
HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair
SHOWN = 200  # characters of what was given that an error repeats


class JsonError(ValueError):
    """A text that is no JSON, or not with one meaning; `value` is what could be read of it, for its id."""

    def __init__(self, problem: str, value: Any = None):
        super().__init__(problem)
        self.value = value


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        JsonError: no JSON (NaN and Infinity are none), a key twice in an object, half of a surrogate pair, more than
            `DEPTH` lists and objects in one another, or more than `VALUES` values.
    """
    if text.count(",") + text.count("[") + text.count("{") > VALUES:
        raise JsonError(f"more than {VALUES:,} values")
    problems: list[str] = []

    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                problems.append(f"the key {shortened(key)} is there twice in one object")
            found[key] = value
        return found

    try:
        value = json.loads(text, object_pairs_hook=as_object, parse_constant=problems.append)
    except RecursionError:
        raise JsonError(f"more than {DEPTH} lists and objects in one another") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"not JSON: {error.msg} (character {error.pos + 1:,})") from None
    except ValueError:  # of int()
        raise JsonError("a number of thousands of digits") from None
    constants = {"NaN", "Infinity", "-Infinity"}.intersection(problems)
    if constants:
        raise JsonError(f"{min(constants)} is not JSON: give a number, or null", value)
    if problems:
        raise JsonError(problems[0], value)
    if _deeper(value, DEPTH):
        raise JsonError(f"more than {DEPTH} lists and objects in one another", value)
    if not valid_text(text) or ("\\u" in text and not valid_text(json.dumps(value, ensure_ascii=False))):
        raise JsonError("half of a surrogate pair, which is no character", value)
    return value


def shortened(value: Any) -> str:
    """A value as an error repeats it: as JSON, cut."""
    if isinstance(value, str) and len(value) > SHOWN:
        return f"{json.dumps(value[:SHOWN])}... ({len(value):,} characters)"
    text = json.dumps(value, ensure_ascii=isinstance(value, str) and not valid_text(value), default=repr)
    return text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]}... ({type(value).__name__} of {len(value):,})"


def valid_text(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    return HALF.search(text) is None


def _deeper(value: Any, depth: int) -> bool:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return members is not None and (depth == 0 or any(_deeper(member, depth - 1) for member in members))
