"""Values in JSON documents, by dotted paths or JSON pointers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stargazer.mcp.claims.conditions import SAMPLE
from stargazer.mcp.claims.tables import opened_text
from stargazer.mcp.claims.verdicts import Unverifiable, near
from stargazer.mcp.strict_json import shortened

__all__ = ["load", "resolve"]

LARGEST = 64 << 20  # characters of a document
LONGEST = 500  # of a path
STEP = re.compile(r"\[(?:(?P<key>\w+)=(?P<value>[^\]]*)|(?P<number>\d+))\]")


def load(path: Path) -> Any:
    """The document of a file.

    Raises:
        Unverifiable: it is none.
    """
    try:
        with opened_text(path) as file:
            text = file.read(LARGEST + 1)
        if text.lstrip()[:1] in ("{", "[") and len(text) <= LARGEST:
            return json.loads(text)
    except (ValueError, OSError, EOFError, RecursionError):
        pass
    raise Unverifiable("the file is no JSON, and its metadata has no such field")


def resolve(document: Any, path: str) -> tuple[Any, list[str]]:
    """The value that a path leads to, and the names of samples on the way: keys, and `sample` of what is passed.

    Args:
        path: `samples.NA12878.mean`, `lanes[0].reads`, `lanes[sample=NA12878].reads`, or `/samples/NA12878/mean`.

    Raises:
        Unverifiable: it leads nowhere, or to more than a value.
    """
    if len(path) > LONGEST:
        raise Unverifiable(f"a path of {len(path):,} characters", "give a shorter one")
    furthest: list[tuple[int, Any]] = [(0, document)]
    steps = _pointed(document, path) if path.startswith("/") else _dotted(document, path, 0, furthest)
    found = next(steps, None)
    if found is None:
        at, reached = (0, document) if path.startswith("/") else max(furthest, key=lambda each: each[0])
        names = list(reached) if isinstance(reached, dict) else []
        raise Unverifiable(
            f"the report has nothing at {shortened(path)}, but up to {shortened(path[:at])}"
            if at
            else f"the report has nothing at {shortened(path)}",
            "go on with one of the names that are near",
            near(path[at:].lstrip(".").partition(".")[0], names),
        )
    value, passed = found
    if isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(e, dict | list) for e in value)
    ):
        raise Unverifiable(
            f"{shortened(path)} is no value, but holds several",
            "go on with one of the names that are near",
            [str(key) for key in value][:20] if isinstance(value, dict) else [f"[0] to [{len(value) - 1}]"],
        )
    return value, passed


def _dotted(
    value: Any, path: str, at: int, furthest: list[tuple[int, Any]]
) -> Iterator[tuple[Any, list[str]]]:
    """Every way to read what is left of a path: keys may have dots in them."""
    furthest.append((at, value))
    here = [str(value[SAMPLE])] if isinstance(value, dict) and isinstance(value.get(SAMPLE), str) else []
    rest = path[at:]
    if not rest:
        yield value, here
        return
    begin = at + 1 if at and rest.startswith(".") else at
    rest = path[begin:]
    if isinstance(value, dict) and rest and (begin > at or not at):
        for key in sorted(value, key=len, reverse=True):
            if rest == key or (rest.startswith(key) and rest[len(key)] in ".["):
                for found, passed in _dotted(value[key], path, begin + len(key), furthest):
                    yield found, [*here, key, *passed]
    elif isinstance(value, list) and (match := STEP.match(rest)):
        if match["number"]:
            members = value[int(match["number"]) : int(match["number"]) + 1]
        else:
            members = [m for m in value if isinstance(m, dict) and str(m.get(match["key"])) == match["value"]]
        if len(members) == 1:
            for found, passed in _dotted(members[0], path, begin + match.end(), furthest):
                yield found, [*here, *passed]


def _pointed(document: Any, path: str) -> Iterator[tuple[Any, list[str]]]:
    value, passed = document, []
    for word in path[1:].split("/"):
        key = word.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            passed.append(key)
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return
        if isinstance(value, dict) and isinstance(value.get(SAMPLE), str):
            passed.append(value[SAMPLE])
    yield value, passed
