"""Limits on the size of tool calls and of their answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from stargazer.assets import InvalidAssetError
from stargazer.mcp.cli.console import escaped
from stargazer.mcp.strict_json import shortened
from stargazer.mcp.tools.calls import for_clients

__all__ = ["brief", "error_text", "fitting", "refuse_large"]

TEXT = 10_000  # characters of a text
KEY = 200  # characters of a key
KEYS = 100  # of an object
VALUES = 10_000  # of a list
ANSWER = 60_000  # characters of what an answer lists
VALUE = 2_000  # characters of a text in it
ECHO, LINE, LINES = 200, 600, 60  # characters of a value that an error repeats, and of its lines; lines
REPEATED = 20  # values that are looked for in an error, the longest


def refuse_large(value: Any, where: str = "") -> None:
    """Refuse arguments that no call needs; how deep they are has been judged when they were parsed.

    Args:
        where: the keys that lead to it.

    Raises:
        InvalidAssetError: a text, an object or a list is too large; the message says which.
    """
    named = where or "the call"
    if isinstance(value, str) and len(value) > TEXT:
        raise InvalidAssetError(
            f"{named}: a text of {len(value):,} characters ({shortened(value[:40])}...); at most {TEXT:,} are taken"
        )
    if isinstance(value, list | tuple):
        if len(value) > VALUES:
            raise InvalidAssetError(
                f"{named}: a list of {len(value):,} values; at most {VALUES:,} are taken: ask in several calls"
            )
        for inner in value:
            refuse_large(inner, where)
    if isinstance(value, Mapping):
        if len(value) > KEYS:
            raise InvalidAssetError(f"{named}: an object of {len(value):,} keys; at most {KEYS} are taken")
        for key, inner in value.items():
            if len(str(key)) > KEY:
                raise InvalidAssetError(
                    f"{named}: a key of {len(str(key)):,} characters ({shortened(str(key)[:40])}...); "
                    f"at most {KEY} are taken"
                )
            refuse_large(inner, f"{where}.{key}" if where else str(key))


def error_text(text: str, arguments: Any = None) -> str:
    """The text of an error as clients get it: with calls of tools for the commands that it names, and no page long.

    Args:
        arguments: of the call: what is long in them is not repeated in full.
    """
    text = for_clients(text)
    for given in sorted(_texts(arguments), key=len, reverse=True)[:REPEATED]:
        for form in {given, repr(given)[1:-1]}:
            text = text.replace(form, f"{form[:ECHO]}... ({len(given):,} characters)")
    lines = [_cut(escaped(line, keep="\t")) for line in text.splitlines()]
    if len(lines) > LINES:
        lines[LINES // 2 : -LINES // 2] = [f"... ({len(lines) - LINES:,} lines left out)"]
    return "\n".join(lines)


def _texts(value: Any) -> set[str]:
    """The texts that are too long to be repeated, of arguments that were not refused."""
    if isinstance(value, str):
        return {value} if len(value) > ECHO else set()
    if isinstance(value, Mapping):
        return set().union(*(_texts(inner) for inner in value.values()))
    return set().union(*map(_texts, value)) if isinstance(value, list | tuple) else set()


def _cut(line: str) -> str:
    if len(line) <= LINE:
        return line
    half = LINE // 2 - 20
    return f"{line[:half]} ... ({len(line):,} characters) ... {line[-half:]}"


def brief(value: Any) -> Any:
    """A value of an answer, with texts in it cut that are no values any more but contents.

    Control characters, those that turn the direction of text among them, are escaped: whoever reads it sees them.
    """
    if isinstance(value, str):
        text = value if len(value) <= VALUE else f"{value[:VALUE]}... ({len(value):,} characters)"
        return escaped(text, keep="\n\t")
    if isinstance(value, Mapping):
        return {brief(key): brief(inner) for key, inner in value.items()}
    return [brief(inner) for inner in value] if isinstance(value, list | tuple) else value


def fitting(items: Iterable[Any]) -> list[Any]:
    """The first items, in brief, as many as one answer takes; one at least."""
    kept: list[Any] = []
    room = ANSWER
    for item in map(brief, items):
        room -= len(json.dumps(item, default=str))
        if room < 0 and kept:
            break
        kept.append(item)
    return kept
