"""The code digest of a task: a hash of its function and of all that this uses of its own package.

What counts: the function's code, and the helpers, classes, constants and default values of its package that it
refers to, transitively. What does not: comments, docstrings, formatting, the names of modules (unless an import
inside the body spells them), the decorator `@environment.task(...)`, and annotations of functions and variables.
Those in a class body define its fields, and count. The same in every process and on Python 3.11 to 3.13.

- A name outside the package counts as "top-level package:qualified name"; its version is the business of the
  declared tools. Nothing outside is imported to find out.
- Nothing below `stop`, the runner, is followed: it carries an interface version of its own. An instance of one
  of its classes (a tool, an environment) counts by its type and its name.
- Another task counts by its name: it has a digest of its own.
- Source comes from linecache, so notebook cells work, and is compared with the byte code that runs: a file
  edited under a long-lived process is an error and never a wrong key.
- Module-level values count as they are when the digest is taken. One that is not plain data counts by its parts,
  or by the statement that made it. What has no stable form is an error that names it.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from stargazer.tasks.execution.digest.definitions import Undigestable, home_of
from stargazer.tasks.execution.digest.walk import Reach, Walk, is_flyte_task

__all__ = ["Digest", "Undigestable", "code_digest"]

_TELLING = {"code", "value", "assigned"}
"""Kinds of lines of a walk that hold what may differ under the same name."""


class Digest(NamedTuple):
    """What a result depends on in code.

    Attributes:
        hex: the digest as hexadecimal text.
        externals: the top-level packages used that are neither own nor standard.
        parts: a short digest of each function, class and constant by the name that the code has for it.
    """

    hex: str
    externals: frozenset[str]
    parts: Mapping[str, str]


def code_digest(function: Callable[..., Any], package: str, stop: tuple[str, ...] = ()) -> Digest:
    """The digest of a function, or of the function that a Flyte task or a functools.wraps wrapper holds.

        code_digest(mark_duplicates, "stargazer.tasks", ("stargazer.tasks.execution", "stargazer.tasks.tools")).hex

    Args:
        package: that is followed. The module of the task itself always is, as of a notebook.
        stop: modules and packages of the runner, never followed and never among the externals.

    Raises:
        Undigestable: It refers to something that has no stable form, or its source is not what runs.
    """
    reach = Reach(package, stop)
    if is_flyte_task(function):
        function = getattr(function, "func", function)
    while not reach.follows(home_of(function)) and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    if not isinstance(function, types.FunctionType):
        raise Undigestable(
            f"{function!r} is a {type(function).__name__}: a digest is taken of a Python function"
        )
    walk = Walk(reach, home=home_of(function))
    walk.function("task", function)
    content = "\n".join(walk.lines).encode()
    return Digest(hashlib.sha256(content).hexdigest(), frozenset(walk.externals), _parts(walk.lines))


def _parts(lines: list[str]) -> dict[str, str]:
    """The lines of a digest by the name they are about; what only names something says nothing of itself."""
    about: dict[str, list[str]] = {}
    for line in lines:
        kind, name, *_ = line.split("\0")
        if kind in _TELLING:
            about.setdefault(name, []).append(line)
    return {name: hashlib.sha256("\n".join(found).encode()).hexdigest()[:8] for name, found in about.items()}
