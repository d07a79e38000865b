"""Python source and plain values as text that comments, formatting, hints and the Python version do not change."""

from __future__ import annotations

import ast
import copy
import functools
import re
import symtable
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

__all__ = [
    "Source",
    "attribute_paths",
    "canonical",
    "essential",
    "global_names",
    "instructions",
    "parse",
    "plain",
]

SKIPPED = {"ctx", "kind", "type_comment", "type_ignores", "type_params"}
FunctionNode = (ast.FunctionDef, ast.AsyncFunctionDef)


def canonical(node: Any) -> str:
    """An AST as text. ast.dump would differ between versions: new fields, empty fields, the parts of f-strings."""
    if isinstance(node, ast.Constant):
        return plain(node.value)
    if isinstance(node, ast.JoinedStr):
        return _canonical_fstring(node)
    if isinstance(node, list):
        return "[" + ",".join(canonical(item) for item in node if not isinstance(item, ast.Pass)) + "]"
    if isinstance(node, ast.AST):
        fields = (
            (name, canonical(value))
            for name, value in ast.iter_fields(node)
            if name not in SKIPPED and value is not None and value != []
        )
        return f"{type(node).__name__}({','.join(f'{name}={text}' for name, text in fields if text)})"
    return ascii(node)


def _canonical_fstring(node: ast.JoinedStr) -> str:
    """Versions cut the literal parts in different places: join neighbours, drop empty ones."""
    parts: list[str] = []
    literal = ""
    for value in [*node.values, None]:
        if isinstance(value, ast.Constant):
            literal += value.value
            continue
        if literal:
            parts.append(plain(literal))
            literal = ""
        if value is not None:
            parts.append(canonical(value))
    return f"JoinedStr[{','.join(parts)}]" if parts else ""


def plain(value: Any) -> str:
    """Plain data as text: numbers, text, bytes, paths, patterns, and lists, tuples, sets and dictionaries of them.

    Raises:
        TypeError: There is something else in it.
    """
    if value is None or value is Ellipsis or isinstance(value, bool):
        return repr(value)
    kind = type(value).__name__
    match value:
        case int() if type(value) is int:
            return hex(value)  # repr refuses more than 4,300 digits
        case float():
            return float.__repr__(value)  # a subclass, as numpy.float64, has a repr of its own
        case complex():
            return complex.__repr__(value)
        case bytes():
            return bytes.__repr__(value)
        case str() if type(value) is str:
            return ascii(value)  # repr depends on the version's Unicode tables
        case tuple() | list():
            return f"{kind}({','.join(map(plain, value))})"
        case set() | frozenset():
            return f"{kind}({','.join(sorted(map(plain, value)))})"
        case dict() | types.MappingProxyType():
            return f"{kind}({','.join(f'{plain(key)}:{plain(item)}' for key, item in value.items())})"
        case range():
            return repr(value)
        case PurePath():
            return f"Path({ascii(str(value))})"
        case re.Pattern():
            return f"Pattern({plain(value.pattern)},{int(value.flags)})"
    raise TypeError(f"{value!r} is not plain data")


def essential(node: ast.AST) -> ast.AST:
    """A copy without what cannot change a result: docstrings, hints, and the arguments of `@environment.task(...)`.

    Annotations of functions and of variables are hints. Those in a class body define its fields, and stay.
    """
    stripped: ast.AST = _Essential().visit(copy.deepcopy(node))
    return ast.fix_missing_locations(stripped)


class _Essential(ast.NodeTransformer):
    in_class = False

    def _scope(self, node: Any, in_class: bool) -> Any:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        node.type_params = []
        outer, self.in_class = self.in_class, in_class
        self.generic_visit(node)
        self.in_class = outer
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        node.decorator_list = [item for item in node.decorator_list if not _is_task(item)]
        scope: ast.AST = self._scope(node, in_class=False)
        return scope

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        scope: ast.AST = self._scope(node, in_class=True)
        return scope

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if self.in_class:
            return node
        return ast.Assign(targets=[node.target], value=node.value) if node.value else ast.Pass()


def _is_task(decorator: ast.AST) -> bool:
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(call, ast.Attribute) and call.attr == "task"


def global_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that the code looks up outside itself."""
    text = "\n".join(ast.unparse(_FreeOfNonlocal().visit(copy.deepcopy(node))) for node in nodes)

    def names(table: symtable.SymbolTable) -> set[str]:
        found = {item.get_name() for item in table.get_symbols() if item.is_global() and item.is_referenced()}
        return found.union(*map(names, table.get_children()))

    return names(symtable.symtable(text, "<digest>", "exec"))


class _FreeOfNonlocal(ast.NodeTransformer):
    """An inner function on its own may not say nonlocal: there is no function around it."""

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        return ast.Global(names=node.names)


def attribute_paths(nodes: Iterable[ast.AST]) -> dict[str, set[tuple[str, ...]]]:
    """What follows each name: `a.b.c(d)` gives {"a": {("b", "c")}, "d": {()}}."""
    paths: dict[str, set[tuple[str, ...]]] = {}
    todo = list(nodes)
    while todo:
        node, path = todo.pop(), list[str]()
        while isinstance(node, ast.Attribute):
            path.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            paths.setdefault(node.id, set()).add(tuple(path))
        todo.extend(ast.iter_child_nodes(node))
    return paths


@dataclass(frozen=True)
class Source:
    """One file or notebook cell, taken apart.

    functions and codes are found by (name, first line), classes by qualified name, bindings (the statements that
    bind a name of the module) by name.
    """

    functions: dict[tuple[str, int], list[ast.AST]] = field(default_factory=dict)
    codes: dict[tuple[str, int], list[tuple[Any, ...]]] = field(default_factory=dict)
    classes: dict[str, list[ast.AST]] = field(default_factory=dict)
    bindings: dict[str, list[ast.AST]] = field(default_factory=dict)


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Source:
    """Take source text apart; the same text is parsed once.

    Raises:
        SyntaxError: It is not Python.
    """
    tree = ast.parse(text)
    source = Source()
    _add_definitions(source, tree, "")
    for statement in _statements(tree):
        for name, node in _bound(statement):
            source.bindings.setdefault(name, []).append(node)
    todo = [compile(text, "<digest>", "exec", dont_inherit=True, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)]
    while todo:
        code = todo.pop()
        source.codes.setdefault((code.co_name, code.co_firstlineno), []).append(instructions(code))
        todo += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return source


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
    return code.co_code, code.co_names, tuple(map(_const, consts))


def _const(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return instructions(value)
    if isinstance(value, (tuple, frozenset)):
        return type(value)(map(_const, value))
    return type(value).__name__, repr(value)
