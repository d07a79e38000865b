"""Converts the arguments of a workflow, as people type or programs send them, to what its parameters take."""

from __future__ import annotations

import difflib
import json
import math
import shlex
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from stargazer.assets import Asset, AssetNotFoundError, InvalidAssetError
from stargazer.assets.keyvalues import composed, list_text
from stargazer.workflows.catalogue import Entry, Parameter, describe_type

__all__ = [
    "command_line",
    "convert",
    "explaining_commas",
    "members",
    "sample_arguments",
    "surely_taken",
    "usage",
]

NOTHING = ("none", "null", "")
WORDS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def convert(
    entry: Entry, given: Mapping[str, Any], *, example: Callable[[Entry], str] | None = None
) -> dict[str, Any]:
    """The typed arguments of a call.

    Args:
        entry: the workflow.
        given: values by name: text as people type it (a list with commas, `none`, `true`), or JSON values.
        example: how a call is written where this is asked; a command line by default.

    Raises:
        InvalidAssetError: an unknown or missing argument, or a value that its parameter does not take; the message
            shows what is expected, with an example.
    """
    known = {parameter.name: parameter for parameter in entry.parameters}
    problems = []
    for name in [name for name in given if name not in known]:
        near = difflib.get_close_matches(name, known, n=1)
        problems.append(f"unknown argument {name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    values: dict[str, Any] = {}
    for name, parameter in known.items():
        if name not in given:
            if parameter.required:
                problems.append(f"{name} is missing")
            continue
        try:
            values[name] = _value(given[name], parameter.annotation)
        except ValueError:
            problems.append(f"{name}: expected {describe_type(parameter.annotation)}, got {given[name]!r}")
    if problems:
        shown = (example or command_line)(entry)
        raise InvalidAssetError(
            "\n".join(
                [f"{entry.name}: {'; '.join(problems)}", "expected:", *usage(entry), f"for example: {shown}"]
            )
        )
    return values


@contextmanager
def explaining_commas(given: Mapping[str, Any]) -> Iterator[None]:
    """Let an error about a part of a list that was written with commas say how a name with a comma is written.

    Args:
        given: the arguments as they were written.
    """
    try:
        yield
    except (AssetNotFoundError, InvalidAssetError) as error:
        for name, value in given.items():
            for written in value if isinstance(value, list) else [value]:
                parts = _items(written) if isinstance(written, str) and "," in written else []
                if (
                    len(parts) > 1
                    and not written.lstrip().startswith("[")
                    and any(part in str(error) for part in parts)
                ):
                    error.add_note(
                        f"{name}={written} was read as a list of {len(parts)}: {', '.join(map(repr, parts))}; a name "
                        f"that has a comma itself is written as JSON: {name}={shlex.quote(list_text([written]))}"
                    )
        raise


def usage(entry: Entry) -> list[str]:
    """The parameters of a task or workflow, a line each."""
    lines = []
    for parameter in entry.parameters:
        default = "required" if parameter.required else f"default {_shown(parameter.default)}"
        text = f": {parameter.text}" if parameter.text else ""
        lines.append(f"  {parameter.name} ({describe_type(parameter.annotation)}; {default}){text}")
    return lines


def command_line(entry: Entry) -> str:
    """A command line with all that a workflow requires."""
    words = [f"{name}={_shown(value)}" for name, value in sample_arguments(entry).items()]
    return shlex.join(["stargazer", "run", entry.name, *words])


def sample_arguments(entry: Entry) -> dict[str, Any]:
    """Values for what a workflow requires, to be shown as an example."""
    return {parameter.name: _sample_value(parameter) for parameter in entry.parameters if parameter.required}


def surely_taken(annotation: Any) -> list[str] | None:
    """Values that a parameter takes for sure, as people type them: its choices; None stands for any text."""
    kinds = members(annotation)
    if any(kind is str or kind == list[str] for kind in kinds):
        return None
    choices = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    return [*choices, *(WORDS if bool in kinds else ())]


def _sample_value(parameter: Parameter) -> Any:
    kind = members(parameter.annotation)[0]
    if get_origin(kind) in (list, tuple):
        return ["NA12878", "NA12891"] if parameter.name == "samples" else [parameter.name.upper()]
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    known = {"build": "GRCh38", "sample": "NA12878"}
    return {int: 1, float: 0.5, bool: True}.get(kind, known.get(parameter.name, parameter.name.upper()))


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return list_text(value) if isinstance(value, list | tuple) else str(value)


def members(annotation: Any) -> list[Any]:
    """The types that a parameter takes, but for None."""
    if get_origin(annotation) in (typing.Union, UnionType):
        return [member for member in get_args(annotation) if member is not type(None)]
    return [annotation]


def _value(given: Any, annotation: Any) -> Any:
    """A value as its annotation says.

    Raises:
        ValueError: it is no such value.
    """
    kinds = members(annotation)
    alone = given[0] if isinstance(given, list) and len(given) == 1 else given
    unset = alone is None or (isinstance(alone, str) and alone.lower() in NOTHING)
    if unset and kinds != [annotation] and type(None) in get_args(annotation):
        return None
    for kind in kinds:
        with suppress(ValueError, LookupError, OverflowError):
            return _of_kind(given, kind)
    raise ValueError(given)


def _of_kind(given: Any, kind: Any) -> Any:
    origin = get_origin(kind)
    if origin in (list, tuple):
        return origin(_value(item, get_args(kind)[0]) for item in _items(given))
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if origin is dict and isinstance(given, Mapping):
        return {name: _value(item, get_args(kind)[1]) for name, item in given.items()}
    if origin is Literal:
        return _chosen(given, {str(allowed): allowed for allowed in get_args(kind)})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _chosen(given, {str(member.value): member for member in kind})
    if kind is Any or (isinstance(kind, type) and issubclass(kind, Asset) and isinstance(given, str)):
        return given
    return _scalar(given, kind)


def _chosen(given: Any, choices: Mapping[str, Any]) -> Any:
    return choices["none" if given is None else str(given)]


def _scalar(given: Any, kind: Any) -> Any:
    if kind is bool and isinstance(given, str):
        return WORDS[given.lower()]
    if kind is str and isinstance(given, str) and given:
        return composed(given)
    if kind in (int, float) and isinstance(given, str | int | float) and not isinstance(given, bool):
        number = kind(given)
        if math.isfinite(number) and (number == given or not isinstance(given, float)):
            return number
    if kind in (str, int, float) or not isinstance(given, kind):
        raise ValueError(given)
    return given


def _items(given: Any) -> list[Any]:
    """The members of a list: given as one, as JSON, with commas, or by repeating the key."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple):
        raise ValueError(given)
    items: list[Any] = []
    for item in given:
        if isinstance(item, str) and item.lstrip().startswith("["):
            with suppress(ValueError):
                items += json.loads(item)
                continue
        items += filter(None, map(str.strip, item.split(","))) if isinstance(item, str) else [item]
    return items
