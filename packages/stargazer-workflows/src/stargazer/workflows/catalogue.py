"""What can be run: the tasks and workflows of every installed distribution, with their parameters."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import typing
import warnings
from collections.abc import Callable, Mapping
from enum import Enum
from types import UnionType
from typing import Any, Literal, TypeAlias, get_args, get_origin

import attrs
from stargazer.assets import Asset, InvalidAssetError

__all__ = ["Entry", "Kind", "Parameter", "describe", "describe_type", "entries", "find_entry"]

Kind: TypeAlias = Literal["workflow", "task", "job"]
GROUPS: Mapping[Kind, str] = {
    "workflow": "stargazer.workflows",
    "task": "stargazer.tasks",
    "job": "stargazer.jobs",
}
"""Kind of function to the entry-point group that names the modules holding them.

A job is what a server does in a process of its own, such as registering a large file: nobody runs it by name.
"""


@attrs.frozen
class Parameter:
    """One parameter of a task or workflow.

    Attributes:
        annotation: its type.
        default: inspect.Parameter.empty where it has to be given.
        text: what the docstring says of it.
    """

    name: str
    annotation: Any
    default: Any
    text: str = ""
    required: bool = attrs.field(init=False)
    """Whether it has no default."""

    @required.default
    def _is_required(self) -> bool:
        return self.default is inspect.Parameter.empty


@attrs.frozen
class Entry:
    """A task or workflow.

    Attributes:
        name: of its function.
        module: that holds it.
        summary: first line of its docstring.
        text: the rest of it, up to the first section.
        call: what runs it; awaiting its result is a plain call.
    """

    name: str
    kind: Kind
    module: str
    summary: str
    text: str
    parameters: tuple[Parameter, ...]
    call: Callable[..., Any]


def entries(kind: Kind | None = None, search: str = "") -> list[Entry]:
    """All tasks and workflows, workflows first, by name; those in which every word of `search` occurs."""
    words = search.lower().split()
    return [
        entry
        for each in (("workflow", "task") if kind is None else (kind,))
        for entry in _entries(each)
        if all(word in f"{entry.name} {entry.kind} {entry.summary} {entry.text}".lower() for word in words)
    ]


@functools.cache
def find_entry(name: str, kind: Kind = "workflow") -> Entry:
    """The workflow, or task, of this name, which may be given with its module:
    `stargazer.workflows.germline.preprocess_sample`.

    Raises:
        InvalidAssetError: no such one, and the message names the nearest ones; or several of one name.
    """
    known = {entry.name: entry for entry in _entries(kind)}
    full = {f"{entry.module}.{entry.name}": entry for entry in _entries(kind)}
    found = [full[name]] if name in full else [entry for entry in full.values() if entry.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        choices = " or ".join(each for each, entry in full.items() if entry in found)
        raise InvalidAssetError(f"several {kind}s are called {name!r}; give {choices}")
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or [
        word for word in known if name and name in word
    ]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    raise InvalidAssetError(f"no {kind} {name!r}; {hint}")


def describe_type(annotation: Any) -> str:
    """A parameter's type in words: `text`, `one of auto, reads`, `list of text`, `r1`."""
    if get_origin(annotation) in (typing.Union, UnionType):
        members = get_args(annotation)
        choices = [
            choice for member in members if get_origin(member) is Literal for choice in get_args(member)
        ]
        words = [f"one of {', '.join(map(str, choices))}"] if choices else []
        words += [describe_type(m) for m in members if get_origin(m) is not Literal and m is not type(None)]
        return " or ".join([*words, *(["none"] if type(None) in members else [])])
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (list, tuple):
        return f"list of {describe_type(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return f"dictionary of {describe_type(get_args(annotation)[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(str(member.value) for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, Asset):
        return annotation.asset_key or "asset"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything"}
    return names.get(annotation, str(annotation))


@functools.cache
def _entries(kind: Kind) -> list[Entry]:
    from importlib.metadata import entry_points

    found: dict[tuple[str, str], Entry] = {}
    for point in entry_points(group=GROUPS[kind]):
        try:
            module = point.load()
        except Exception as error:  # somebody else's code: it must not hide what works
            warnings.warn(f"{kind}s of {point.value} could not be loaded: {error!r}", stacklevel=2)
            continue
        if kind == "job":
            found |= {
                (name, module.__name__): describe(kind, getattr(module, name), name)
                for name in module.__all__
            }
            continue
        for name, value in vars(module).items():
            function = getattr(value, "func", None)
            if (
                callable(function)
                and getattr(function, "__module__", "") == module.__name__
                and not name.startswith("_")
            ):
                found.setdefault((name, module.__name__), describe(kind, value, name))
    return [entry for _, entry in sorted(found.items())]


def describe(kind: Kind, call: Any, name: str = "") -> Entry:
    """What there is to say of a task or workflow; its name is that of its function."""
    function = getattr(call, "func", call)
    hints = typing.get_type_hints(inspect.unwrap(function))
    summary, text, said = _docstring(inspect.getdoc(function) or "")
    parameters = tuple(
        Parameter(
            parameter.name, hints.get(parameter.name, Any), parameter.default, said.get(parameter.name, "")
        )
        for parameter in inspect.signature(function).parameters.values()
    )
    return Entry(name or function.__name__, kind, function.__module__, summary, text, parameters, call)


def _docstring(doc: str) -> tuple[str, str, dict[str, str]]:
    """The first line, the text up to the first section, and what the section Args says of each parameter."""
    before, *sections = re.split(r"\n(?=(?:Args|Returns|Raises|Example|Examples|Yields|Note):\n)", doc)
    summary, _, text = before.partition("\n")
    said: dict[str, str] = {}
    arguments = next((section for section in sections if section.startswith("Args:")), "")
    for match in re.finditer(r"^    (\w[\w, ]*): (.*(?:\n     .*)*)", arguments, re.MULTILINE):
        for parameter in match[1].split(","):
            said[parameter.strip()] = " ".join(match[2].split())
    return summary, " ".join(text.split()), said
