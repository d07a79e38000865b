"""Takes a task out of a notebook: its function, and the imports, constants, helpers and classes that it needs."""

from __future__ import annotations

import attrs

__all__ = ["Promoted"]


@attrs.frozen
class Promoted:
    """A task that is promoted.

    Attributes:
        task: its full name, environment and function: `htslib.count_lines`.
        function: the name of the function.
        module: where it goes: `stargazer.tasks.deepvariant`.
        notebook: file name of the notebook it is from.
        cell: the name of its cell, or "".
        parameters: the names of the function's parameters, in order.
    """

    task: str
    function: str
    module: str
    notebook: str
    cell: str
    parameters: tuple[str, ...]
