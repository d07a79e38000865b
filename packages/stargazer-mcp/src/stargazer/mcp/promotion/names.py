"""The names that are taken: tasks, workflows, environments and asset types of the checkout and of what is installed.

The sources are read, not imported: so what was promoted a minute ago counts.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cached_property
from importlib import metadata
from pathlib import Path

import attrs
from stargazer.mcp.promotion.checkout import Checkout

__all__ = ["Taken", "asset_key", "decorated_by", "environment_name", "string_argument"]

ENVIRONMENTS = ("AssetEnvironment", "WorkflowEnvironment")


@attrs.define(slots=False)
class Taken:
    """What is taken in a checkout, each name with the file and line where.

    Attributes:
        checkout: the checkout.
    """

    checkout: Checkout

    @cached_property
    def _trees(self) -> dict[Path, ast.Module]:
        files = {*self.checkout.root.glob("packages/*/src/stargazer/**/*.py"), *_installed()}
        texts = {file: _text(file) for file in sorted(files)}
        wanted = (".task", "@asset(", *ENVIRONMENTS)
        return {
            file: tree
            for file, text in texts.items()
            if any(word in text for word in wanted) and (tree := _parsed(text)) is not None
        }

    @cached_property
    def tasks(self) -> dict[str, str]:
        """By the name of the function: tasks and workflows."""
        return {node.name: self._at(file, node) for file, node in self.functions}

    @cached_property
    def environments(self) -> dict[str, str]:
        """By the name that it gives itself."""
        return {
            name: self._at(file, node)
            for file, tree in self._trees.items()
            for node in ast.walk(tree)
            if (name := environment_name(node))
        }

    @cached_property
    def asset_types(self) -> dict[str, str]:
        """By their key."""
        return {
            key: self._at(file, node)
            for file, tree in self._trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and (key := asset_key(node))
        }

    def environment_of(self, module: str, bound: str) -> str | None:
        """The name of an environment of ours that a module defines, by the name that it is bound to."""
        tree = _parsed(_text((self.checkout.source.parent / module.replace(".", "/")).with_suffix(".py")))
        for node in tree.body if tree else []:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == bound:
                    return environment_name(value)
        return None

    @cached_property
    def functions(self) -> list[tuple[Path, ast.AsyncFunctionDef]]:
        """The functions of the checkout's and others' tasks and workflows, each with its file."""
        return [
            (file, node)
            for file, tree in self._trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.AsyncFunctionDef) and decorated_by(node)
        ]

    @cached_property
    def front_page(self) -> dict[str, str]:
        """The names that `stargazer.tasks` offers, with the modules that define them."""
        tree = ast.parse(self.checkout.front_page.read_text(encoding="utf-8"))
        return {
            alias.asname or alias.name: f"stargazer.tasks.{node.module}" if node.level else str(node.module)
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def _at(self, file: Path, node: ast.AST) -> str:
        shown = file.relative_to(self.checkout.root) if file.is_relative_to(self.checkout.root) else file
        return f"{shown}:{getattr(node, 'lineno', 1)}"


def _installed() -> Iterator[Path]:
    """Modules of other distributions that have tasks or workflows."""
    for group in ("stargazer.tasks", "stargazer.workflows"):
        for entry in metadata.entry_points(group=group):
            if entry.module.startswith("stargazer."):
                continue
            try:
                spec = importlib.util.find_spec(entry.module)
            except (ImportError, ValueError):  # somebody else's package
                continue
            if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
                yield Path(spec.origin)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def decorated_by(function: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.expr | None:
    """What makes a function a task: the environment of `@environment.task` or `@environment.task(...)`."""
    for each in function.decorator_list:
        called = each.func if isinstance(each, ast.Call) else each
        if isinstance(called, ast.Attribute) and called.attr == "task":
            return called.value
    return None


def environment_name(node: ast.AST) -> str | None:
    """The name that a call of AssetEnvironment or WorkflowEnvironment gives, if it is written out."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ENVIRONMENTS:
        return string_argument(node, "name")
    return None


def asset_key(node: ast.ClassDef) -> str | None:
    """The key of a class that is a type of assets."""
    for each in node.decorator_list:
        if isinstance(each, ast.Call) and ast.unparse(each.func).rpartition(".")[2] == "asset":
            return string_argument(each, "key")
    return None


def string_argument(call: ast.Call, name: str) -> str | None:
    """The first argument of a call, or the one of a name, if it is text that is written out."""
    given = [*call.args[:1], *(each.value for each in call.keywords if each.arg == name)]
    match given:
        case [ast.Constant(value=str(text))]:
            return text
    return None
