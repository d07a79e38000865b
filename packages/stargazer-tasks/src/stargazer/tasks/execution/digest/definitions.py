"""Finds the source of loaded functions, classes and names, and compares it with the byte code that runs."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import importlib.util
import linecache
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stargazer.assets import StargazerError

__all__ = ["CELL", "Scope", "Undigestable", "absolute_module", "around", "bindings_of", "class_source", "closure_of",
           "function_of", "function_source", "home_of", "import_module", "in_notebook", "member_of",
           "written"]  # fmt: skip

FunctionNode = (ast.FunctionDef, ast.AsyncFunctionDef)
RESTART = "it was edited after it was loaded, or its source is not to be had: restart the process"
RUN_AGAIN = "its cell was edited after it ran: run the cell again"
CELL = "__marimo__cell_"
"""In the names that the cells of a running marimo notebook have instead of files."""
LOCAL = re.compile(r"_cell_[A-Za-z0-9]+(?=_)")
"""What marimo puts before the names that begin with an underscore: they are of one cell."""

Scope = Mapping[str, Any]


class Undigestable(StargazerError):
    """Something that a task refers to has no form that is the same in every process: it is not memoised."""


@dataclass(frozen=True)
class Source:
    """One file or notebook cell, taken apart.

    functions and codes are found by (name, first line), classes by qualified name, bindings (the statements
    that bind a name of the module) by name.
    """

    is_notebook: bool = False

    functions: dict[tuple[str, int], list[ast.AST]] = field(default_factory=dict)
    codes: dict[tuple[str, int], list[tuple[Any, ...]]] = field(default_factory=dict)
    classes: dict[str, list[ast.AST]] = field(default_factory=dict)
    bindings: dict[str, list[ast.AST]] = field(default_factory=dict)

    def runs(self, code: types.CodeType) -> bool:
        """Whether this text compiles to that code."""
        return instructions(code) in self.codes.get((written(code.co_name), code.co_firstlineno), [])


@functools.lru_cache(maxsize=256)
def parse(text: str, main: bool = False) -> Source:
    """Take source text apart; the same text is parsed once.

    Args:
        main: it is run as a script: if it is a notebook, marimo runs its cells as if each was a module.

    Raises:
        SyntaxError: It is not Python.
    """
    tree = ast.parse(text)
    run = [_run_by_marimo(node) for node in tree.body] if main else [[node] for node in tree.body]
    source = Source(
        is_notebook=any(statements != [node] for node, statements in zip(tree.body, run, strict=True))
    )
    tree.body = [statement for statements in run for statement in statements]
    _add_definitions(source, tree, "")
    for statement in _statements(tree):
        for name, node in _bound(statement):
            source.bindings.setdefault(name, []).append(node)
    # what a module imports is called by other instructions, and marimo compiles each cell alone
    units = [ast.Module(statements, []) for statements in run] if source.is_notebook else [tree]
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    todo = [compile(unit, "<digest>", "exec", dont_inherit=True, flags=flags) for unit in units]
    while todo:
        code = todo.pop()
        source.codes.setdefault((code.co_name, code.co_firstlineno), []).append(instructions(code))
        todo += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return source


def _run_by_marimo(node: ast.stmt) -> list[ast.stmt]:
    """What marimo runs of a statement of a notebook's file: of a cell what is in it, without the last `return`."""
    if isinstance(node, (*FunctionNode, ast.ClassDef)) and node.decorator_list:
        first = node.decorator_list[0]
        kind = ast.unparse(first.func if isinstance(first, ast.Call) else first)
        if kind == "app.cell":
            return [statement for statement in node.body if not isinstance(statement, ast.Return)]
        if kind in ("app.function", "app.class_definition"):
            rest = {**vars(node), "decorator_list": node.decorator_list[1:]}
            return [type(node)(**rest)]
    return [node]


def written(name: str) -> str:
    """A name as its cell has it: without what marimo puts before one that begins with an underscore."""
    return LOCAL.sub("", name, count=1) if name.startswith("_cell_") else name


def _add_definitions(source: Source, parent: ast.AST, prefix: str) -> None:
    for node in ast.iter_child_nodes(parent):
        inner = prefix
        if isinstance(node, ast.ClassDef):
            source.classes.setdefault(prefix + node.name, []).append(node)
            inner = f"{prefix}{node.name}."
        elif isinstance(node, FunctionNode):
            line = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            source.functions.setdefault((node.name, line), []).append(node)
            inner = f"{prefix}{node.name}.<locals>."
        elif isinstance(node, ast.Lambda):
            source.functions.setdefault(("<lambda>", node.lineno), []).append(node)
        _add_definitions(source, node, inner)


def _statements(parent: ast.AST) -> Iterator[ast.AST]:
    """The statements of a module, those under if, try, with and for included."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield node
            if not isinstance(node, (*FunctionNode, ast.ClassDef)):
                yield from _statements(node)


def _bound(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, (*FunctionNode, ast.ClassDef)):
        yield node.name, node
    elif isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0], ast.Import(names=[alias])
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, ast.ImportFrom(node.module, [alias], node.level)
    elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    yield name.id, node


def instructions(code: types.CodeType) -> tuple[Any, ...]:
    """What the interpreter runs, without line numbers and docstring."""
    consts = code.co_consts
    if not code.co_name.startswith("<") and consts and isinstance(consts[0], (str, types.NoneType)):
        consts = consts[1:]
    return code.co_code, tuple(map(written, code.co_names)), tuple(map(_const, consts))


def _const(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return instructions(value)
    if isinstance(value, (tuple, frozenset)):
        return type(value)(map(_const, value))
    return type(value).__name__, repr(value)


def home_of(value: Any) -> str:
    """The module whose code a function runs (functools.wraps changes __module__), or that defines a class."""
    if isinstance(value, types.FunctionType):
        return str(value.__globals__.get("__name__", ""))
    return str(getattr(value, "__module__", None) or "")


def function_source(function: types.FunctionType) -> list[ast.AST]:
    """The definition of a function; of lambdas on one line all that may be it.

    Raises:
        Undigestable: There is no source, or it is not what runs.
    """
    code = function.__code__
    for _ in range(2):
        source = _load(code.co_filename, function.__globals__)
        nodes = source.functions.get((written(code.co_name), code.co_firstlineno))
        if nodes and source.runs(code):
            return _the_lambda(code, nodes) if len(nodes) > 1 else nodes
        linecache.checkcache(code.co_filename)  # the module may have been reloaded
    if CELL in code.co_filename:
        raise Undigestable(f"no source for {written(code.co_qualname)}: {RUN_AGAIN}")
    raise Undigestable(f"no source for {code.co_qualname} in {code.co_filename!r}: {RESTART}")


def _the_lambda(code: types.CodeType, nodes: list[ast.AST]) -> list[ast.AST]:
    """Of the lambdas of a line those that compile to some code; all if that cannot be told, as of closures."""
    found: list[ast.AST] = []
    for node in nodes:
        if isinstance(node, ast.Lambda):
            made = compile(ast.Expression(node), "<digest>", "eval", dont_inherit=True)
            inner = [const for const in made.co_consts if isinstance(const, types.CodeType)]
            found += [node for each in inner if instructions(each) == instructions(code)]
    return found or nodes


def class_source(cls: type) -> tuple[list[ast.AST], Scope] | None:
    """The definition of a class and the names around it; None for a class that a call made.

    Raises:
        Undigestable: The source is not what runs.
    """
    module = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    name = written(cls.__qualname__)
    methods = [
        item for item in map(function_of, vars(cls).values()) if item and home_of(item) == cls.__module__
    ]
    scopes = {item.__code__.co_filename: item.__globals__ for item in methods}
    found: list[tuple[list[ast.AST], Scope]] = []
    for filename in [*scopes, *_files(module)]:
        scope = scopes.get(filename, module)
        source = _load(filename, scope)
        if name in source.classes:
            for code in (item.__code__ for item in methods):
                own = filename, f"{name}.{code.co_name}"
                if (code.co_filename, written(code.co_qualname)) == own and not source.runs(code):
                    place = f"of {own[1]}" if CELL in filename else f"of {own[1]} in {filename!r}"
                    raise Undigestable(
                        f"the source {place} is not what runs: {RUN_AGAIN if CELL in filename else RESTART}"
                    )
            found.append((source.classes[name], around(methods, filename, scope)))
            if filename in scopes:
                break
    return _the_only(name, found)


def bindings_of(name: str, scope: Scope) -> list[ast.AST]:
    """The statements of a module, or of a notebook's latest cell that has any, that bind a name.

    Raises:
        Undigestable: Several cells of a notebook have had one; which counts cannot be known.
    """
    own = str(scope.get("__file__", ""))
    if CELL in own and (nodes := _load(own, scope).bindings.get(name)):
        return nodes
    files = _files(scope)
    found = [(nodes, scope) for file in files if (nodes := _load(file, scope).bindings.get(name))]
    return chosen[0] if (chosen := _the_only(name, found)) else []


def _the_only(name: str, found: list[tuple[list[ast.AST], Scope]]) -> tuple[list[ast.AST], Scope] | None:
    """The first that was found; of the cells of a marimo notebook, which may be gone, only if all say the same."""
    if len(found) > 1 and _cells():
        texts = {"\n".join(map(ast.unparse, nodes)) for nodes, _ in found}
        if len(texts) > 1:
            raise Undigestable(
                f"{name}: {len(texts)} cells have defined it in turn: restart the kernel, or make it plain data"
            )
    return found[0] if found else None


def _load(filename: str, scope: Scope) -> Source:
    main = scope.get("__name__") == "__main__" and filename == scope.get("__file__")
    try:
        return parse("".join(linecache.getlines(filename, dict(scope))), main)
    except SyntaxError:  # a cell with the notebook's own commands
        return Source()


def _files(scope: Scope) -> Iterator[str]:
    """The file of a module; of a notebook the cells, the one run last first."""
    main, filename = scope.get("__name__") == "__main__", scope.get("__file__")
    if main and (cells := _cells()):  # what the file holds may be older, or newer
        yield from cells
        return
    if filename:
        yield filename
    if main or (scope and not filename):
        yield from [name for name in reversed([*linecache.cache]) if not os.path.exists(name)]


def _cells() -> list[str]:
    """The cells that this process has run of marimo notebooks, other than as a script; some may be gone."""
    return [name for name in [*linecache.cache] if CELL in name] if "marimo" in sys.modules else []


def in_notebook(scope: Scope) -> bool:
    """Whether names are those of a marimo notebook that runs here: what they hold comes and goes with its cells."""
    if "marimo" not in sys.modules or scope.get("__name__") != "__main__":
        return False
    return bool(_cells()) or _load(str(scope.get("__file__")), scope).is_notebook


def around(functions: Iterable[types.FunctionType], filename: str, scope: dict[str, Any]) -> dict[str, Any]:
    """The names around functions of a module; in a marimo notebook those of their cell too, as they are written."""
    if scope.get("__name__") != "__main__" or "marimo" not in sys.modules:
        return scope
    names: dict[str, list[str]] = {}
    cell = re.search(f"{CELL}([A-Za-z0-9]+)_", filename)
    for name in scope:
        if (local := LOCAL.match(name)) and (cell is None or local[0] == f"_cell_{cell[1]}"):
            names.setdefault(written(name), []).append(name)
    own: dict[str, Any] = {"__file__": filename} if cell else {}
    own |= {name: scope[found[0]] if len(found) == 1 else object() for name, found in names.items()}
    codes = [function.__code__ for function in functions]
    for code in codes:  # grows
        own |= {written(name): scope[name] for name in code.co_names if LOCAL.match(name) and name in scope}
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return scope | own


def function_of(member: Any) -> types.FunctionType | None:
    """The function of a method or property."""
    member = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
    return member if isinstance(member, types.FunctionType) else None


def closure_of(function: types.FunctionType) -> dict[str, Any]:
    """The variables of enclosing functions, as they are now."""
    values = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # not bound yet
            values[name] = cell.cell_contents
    return values


def absolute_module(node: ast.ImportFrom, scope: Scope) -> str:
    """The module that `from ... import` names in a scope."""
    module = node.module or ""
    try:
        return importlib.util.resolve_name("." * node.level + module, scope.get("__package__") or "")
    except ImportError:
        return module


def import_module(module: str) -> types.ModuleType:
    """A module of the own package.

    Raises:
        Undigestable: It cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Undigestable(f"{module}: the task imports it, but {error}") from error


def member_of(module: str, name: str) -> tuple[Any, Scope]:
    """What `from module import name` binds, and the scope it was made in."""
    home = import_module(module)
    return (getattr(home, name) if hasattr(home, name) else import_module(f"{module}.{name}")), vars(home)
