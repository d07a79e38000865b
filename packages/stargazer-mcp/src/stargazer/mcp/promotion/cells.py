"""Reads a marimo notebook: its cells, their statements, and what marimo itself finds wrong with it.

It is only read, never run. The one private function of marimo that is used is in `dedented`.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeGuard

import attrs
from stargazer.assets import StargazerError

__all__ = [
    "Cell",
    "Notebook",
    "PromotionError",
    "check_notebook",
    "parse_notebook",
    "read_notebook",
    "refused",
]

CHECK_SECONDS = 120
UNNAMED = "_"


class PromotionError(StargazerError, ValueError):
    """What a notebook holds cannot be promoted; each line of the text has file and line, and what to do."""


@attrs.frozen
class Cell:
    """A cell.

    Attributes:
        name: its name, or "" where it has none.
        line: of its first line in the file.
        statements: at its top level, as they stand in the file.
    """

    name: str
    line: int
    statements: tuple[ast.stmt, ...] = attrs.field(repr=False)


@attrs.frozen
class Notebook:
    """A notebook as it stands in its file.

    Attributes:
        path: of the file.
        lines: of its text, without their ends.
        cells: in the order of the file, the setup cell as one of them.
    """

    path: Path
    lines: tuple[str, ...] = attrs.field(repr=False)
    cells: tuple[Cell, ...]

    def at(self, line: int) -> str:
        """What a message calls a line."""
        return f"{self.path.name}:{line}"

    def text_of(self, cell: Cell, statement: ast.stmt) -> str:
        """A statement as it is written, with its comments, without the indentation of the cell."""
        first, last = first_line(statement), statement.end_lineno or statement.lineno
        note = self._note_of(cell, statement)
        last = note.end_lineno or last if note is not None else self._with_comments_below(statement, last)
        neighbours = [each for each in cell.statements if each not in (statement, note)]
        if any(first_line(each) <= last and (each.end_lineno or 0) >= first for each in neighbours):
            return ast.get_source_segment("\n".join(self.lines), statement) or ast.unparse(statement)
        while first > cell.line + 1 and self._is_comment_of(first - 1, statement):
            first -= 1
        return dedented("\n".join(self.lines[first - 1 : last]))

    def _with_comments_below(self, statement: ast.stmt, last: int) -> int:
        """The line up to which a function or class goes, with the comments at its end, which no syntax tree has."""
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for number, line in enumerate(self.lines[last:], last + 1):
                text = line.lstrip()
                if text and not (text.startswith("#") and len(line) - len(text) > statement.col_offset):
                    break
                last = number if text else last
        return last

    def _note_of(self, cell: Cell, statement: ast.stmt) -> ast.stmt | None:
        """The text that explains a constant: what stands on the line below it."""
        after = cell.statements[cell.statements.index(statement) + 1 :][:1]
        match statement, after:
            case ast.Assign() | ast.AnnAssign(), [ast.Expr(value=ast.Constant(value=str())) as note] if (
                note.lineno == (statement.end_lineno or 0) + 1
            ):
                return note
        return None

    def _is_comment_of(self, line: int, statement: ast.stmt) -> bool:
        text = self.lines[line - 1]
        return text.lstrip().startswith("#") and len(text) - len(text.lstrip()) == statement.col_offset


def first_line(statement: ast.stmt) -> int:
    """The line of a statement, or of its first decorator but that of the app."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return min([statement.lineno, *(each.lineno for each in statement.decorator_list)])
    return statement.lineno


def dedented(block: str) -> str:
    """A block without its indentation; strings over several lines keep what marimo gives them when it runs the cell."""
    from marimo._ast.dedent import smart_dedent

    return smart_dedent(block)


def refused(problems: Iterable[str]) -> PromotionError:
    """The error that tells of problems, each once."""
    return PromotionError("\n".join(dict.fromkeys(problems)))


def read_notebook(path: Path) -> Notebook:
    """The notebook of a file.

    Raises:
        PromotionError: it cannot be read, is no notebook of marimo, or has a syntax error.
    """
    if path.suffix != ".py":
        raise PromotionError(
            f"{path.name}: expected a notebook of marimo in its Python format, a file ending in .py"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PromotionError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PromotionError(f"{path.name} is not text in UTF-8; expected a notebook of marimo") from None
    return parse_notebook(path, text)


def parse_notebook(path: Path, text: str) -> Notebook:
    """The notebook that a text is.

    Args:
        path: of the file that holds it.

    Raises:
        PromotionError: it is no notebook of marimo, or has a syntax error.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        tree = ast.parse(text)
        if stars := [node.lineno for node in ast.walk(tree) if _is_star(node)]:
            raise refused(
                f"{path.name}:{line}: `import *`; import what is used by its name" for line in stars
            )
        with warnings.catch_warnings(action="ignore"):
            compile(text, str(path), "exec", dont_inherit=True)  # finds more, and runs nothing
    except (SyntaxError, ValueError) as error:
        if isinstance(error, PromotionError):
            raise
        line = getattr(error, "lineno", None) or 1
        said = getattr(error, "msg", None) or str(error)
        raise PromotionError(
            f"{path.name}:{line}: {said}; mend the syntax error, and see that `marimo check {path.name}` finds none"
        ) from None
    app = _app_of(tree)
    if app is None:
        raise PromotionError(
            f"{path.name} is no notebook of marimo: it has no `app = marimo.App()`; "
            "make one with `stargazer notebook` or `marimo edit`"
        )
    notebook = Notebook(path, tuple(text.split("\n")), tuple(_cells(tree, app)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    broken = [call.lineno for call in calls if _is_of_app(call, app, "_unparsable_cell")]
    if broken:
        raise refused(
            f"{notebook.at(line)}: this cell has a syntax error; open the notebook, mend the cell, save it"
            for line in broken
        )
    return notebook


def _is_star(node: ast.AST) -> TypeGuard[ast.ImportFrom]:
    return isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)


def _app_of(tree: ast.Module) -> str | None:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=func)) if (
                ast.unparse(func).rpartition(".")[2] == "App"
            ):
                return name
    return None


def _is_of_app(node: ast.AST, app: str, *names: str) -> bool:
    """Whether a node is `app.NAME` or a call of it."""
    if isinstance(node, ast.Call):
        node = node.func
    return (
        isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == app
    )


def _cells(tree: ast.Module, app: str) -> Iterator[Cell]:
    for node in tree.body:
        if isinstance(node, ast.With) and _is_of_app(node.items[0].context_expr, app, "setup"):
            yield Cell("setup", node.lineno, tuple(node.body))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own = [each for each in node.decorator_list if _is_of_app(each, app, "cell")]
            lifted = [
                each for each in node.decorator_list if _is_of_app(each, app, "function", "class_definition")
            ]
            if own and not isinstance(node, ast.ClassDef):
                statements = node.body[:-1] if isinstance(node.body[-1], ast.Return) else node.body
                yield Cell("" if node.name == UNNAMED else node.name, node.lineno, tuple(statements))
            elif lifted:
                node.decorator_list = [each for each in node.decorator_list if each not in lifted]
                yield Cell(node.name, lifted[-1].lineno, (node,))


def check_notebook(path: Path) -> None:
    """Have marimo say what keeps a notebook from being run as one: cycles, names of two cells, star imports.

    With `-P`, for a file of the current folder that is called like a module (`json.py`) would be run.

    Raises:
        PromotionError: what it finds, with the lines.
    """
    command = [sys.executable, "-P", "-m", "marimo", "-q", "check", "--format", "json", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise PromotionError(
            f"`marimo check {path.name}` was not over after {CHECK_SECONDS} s; promote again"
        ) from None
    try:
        issues = json.loads(done.stdout)["issues"]
    except (ValueError, LookupError):
        raise PromotionError(f"{path.name}: `marimo check` failed: {done.stderr.strip()[-500:]}") from None
    problems = []
    for issue in issues:
        told = issue.get("lines") or [issue.get("line", 1)]
        lines = [line for line in told if line > 0] or [1]  # of some cells marimo does not know it
        if issue.get("type") == "error":
            problems.append(f"{path.name}: {issue.get('error')}")
        elif issue.get("severity") == "breaking":
            places = ", ".join(f"{path.name}:{line}" for line in lines)
            problems.append(f"{places}: {issue['message']}; {_advice(issue)}")
    if problems:
        raise refused(problems)


def _advice(issue: dict[str, str]) -> str:
    known = {
        "MB002": "give one of the two another name",
        "MB003": "each of these cells needs what the other makes: join them, or take out one use",
    }
    return known.get(issue.get("code", ""), "mend the cell (`marimo check` says more)")
