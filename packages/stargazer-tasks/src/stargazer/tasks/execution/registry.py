"""The tasks that are declared in this process, by name, and how one that an installed distribution has is found."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from importlib import metadata
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import InvalidAssetError
from stargazer.tasks.execution.digest.code import package_of

if TYPE_CHECKING:
    from stargazer.tasks.tools import Library, Tool

__all__ = ["TASKS", "TaskCode", "find_task", "full_names", "tasks_called"]


@attrs.frozen
class TaskCode:
    """A task as it was declared.

    Attributes:
        name: environment and function.
        cores, memory: the slots it holds; memory in bytes.
    """

    name: str
    function: Callable[..., Any]
    tools: tuple[Tool | Library, ...]
    cores: int
    memory: int

    @functools.cached_property
    def distribution(self) -> str:
        """Name and version of the distribution that holds the function; empty for a notebook or script."""
        name = package_of(self.function.__module__).replace(".", "-")
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            return ""


TASKS: dict[str, TaskCode] = {}
"""Every task that was declared, by its full name."""


def find_task(name: str) -> TaskCode | None:
    """The task of a full name, declared here or by any installed distribution."""
    if name not in TASKS:
        for group in ("stargazer.tasks", "stargazer.workflows"):
            for entry in metadata.entry_points(group=group):
                entry.load()
    return TASKS.get(name)


def full_names(name: str) -> list[str]:
    """The full names of the tasks that a full name or the name of a function means.

    Raises:
        InvalidAssetError: none is called so; the message says what is near.
    """
    found = [full for full in TASKS if name in (full, full.rpartition(".")[2])]
    if not found:
        short = sorted({full.rpartition(".")[2] for full in TASKS})
        near = difflib.get_close_matches(name, [*short, *TASKS], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(short)}"
        raise InvalidAssetError(f"no task {name!r}; {hint}")
    return found


def tasks_called(workflow: Any) -> set[str]:
    """The full names of the tasks that a workflow may call: by its own code, or by what that calls of its package."""
    own, values = package_of(workflow.func.__module__), [workflow]
    for value in values:  # grows
        function = inspect.unwrap(getattr(value, "func", value))
        if isinstance(function, FunctionType) and package_of(str(function.__module__)) == own:
            codes = [function.__code__]
            for code in codes:  # grows
                codes += [part for part in code.co_consts if isinstance(part, CodeType)]
            used = {name: function.__globals__.get(name) for code in codes for name in code.co_names}
            values += [each for each in used.values() if not any(each is known for known in values)]
    return {str(getattr(value, "name", "")) for value in values} & TASKS.keys()
