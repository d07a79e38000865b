"""Which cell of which marimo notebook defines a task. Nothing is imported to find out, and nothing asked of marimo."""

from __future__ import annotations

import ast
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stargazer.assets.provenance import Execution
from stargazer.tasks.execution.digest.definitions import CELL, written

__all__ = ["cell_of", "place_of"]


def cell_of(function: Callable[..., Any]) -> tuple[str, str]:
    """The notebook that runs here and defines a function, and its cell.

    Returns:
        The notebook's file name, and the name of the cell: of a setup cell `setup`, of a cell that is a function the
        function's; empty for a cell without a name, or one that is not saved yet. Both empty for what is of a package,
        an imported notebook or a script without cells.
    """
    function = inspect.unwrap(function)
    if "marimo" not in sys.modules or function.__module__ != "__main__":
        return "", ""
    file = str(function.__globals__.get("__file__") or "")
    cells = _cells(file, _changed(file))
    if not cells and CELL not in function.__code__.co_filename:
        return "", ""
    return os.path.basename(file), cells.get(written(function.__qualname__).partition(".")[0], "")


def place_of(function: Callable[..., Any]) -> str:
    """The same for people: `cell count_lines of experiment.py`; empty for what is not of a notebook."""
    notebook, cell = cell_of(function)
    return Execution(task="", notebook=notebook, cell=cell).place


def _changed(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=8)
def _cells(file: str, changed: int) -> dict[str, str]:
    """The name of the cell that defines each function of a notebook, as its file was at a time; of a script nothing."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    return {name: cell for node in tree.body for cell, name in _defined(node)}


def _defined(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """The cell that a statement of a notebook's file is, with each function that it defines."""
    name = ""
    if isinstance(node, ast.With) and _is(node.items[0].context_expr, "app.setup"):
        name = "setup"
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list:
        if _is(node.decorator_list[0], "app.function"):
            yield node.name, node.name
        if not _is(node.decorator_list[0], "app.cell"):
            return
        name = "" if node.name == "_" else node.name
    else:
        return
    yield from ((name, function) for function in _functions(node))


def _functions(parent: ast.AST) -> Iterator[str]:
    """The functions that the statements of a cell define, but for those inside others."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif not isinstance(node, ast.ClassDef):
            yield from _functions(node)


def _is(expression: ast.expr, name: str) -> bool:
    return ast.unparse(expression.func if isinstance(expression, ast.Call) else expression) == name
