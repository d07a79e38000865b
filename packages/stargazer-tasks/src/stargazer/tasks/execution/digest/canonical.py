"""Python code and plain values as text that comments, formatting, type hints and the Python version do not change."""

from __future__ import annotations

import ast
import enum
import functools
import itertools
import re
import symtable
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

__all__ = [
    "attribute_paths",
    "attributes_of",
    "canonical",
    "essential",
    "global_names",
    "imports_in",
    "nested",
    "parts_of",
    "plain",
    "text_of",
]

remembered = functools.lru_cache(maxsize=4096)
"""What is found out about a part of a module, which most tasks share; a file that was edited has other parts."""

SKIPPED = {"ctx", "kind", "type_comment", "type_ignores", "type_params"}


def canonical(node: Any) -> str:
    """An AST as text. ast.dump differs between versions: new fields, empty fields, parts of f-strings."""
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
    for is_text, values in itertools.groupby(node.values, lambda value: isinstance(value, ast.Constant)):
        if not is_text:
            parts += map(canonical, values)
        elif text := "".join(str(getattr(value, "value", "")) for value in values):
            parts.append(plain(text))
    return f"JoinedStr[{','.join(parts)}]" if parts else ""


@remembered
def text_of(node: ast.AST) -> str:
    """As canonical, of a part of a module."""
    return canonical(node)


def plain(value: Any) -> str:
    """Plain data as text: numbers, text, bytes, paths, patterns; lists, tuples, sets, dictionaries of them.

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
            return f"Path({str(value)!a})"
        case re.Pattern():
            return f"Pattern({plain(value.pattern)},{int(value.flags)})"
    raise TypeError(f"{value!r} is not plain data")


def parts_of(value: Any) -> dict[str, Any] | None:
    """What a value that is not plain is made of, by label; None if it cannot be taken apart."""
    if isinstance(value, functools.partial):
        return {"func": value.func} | _numbered(value.args) | value.keywords
    if isinstance(value, types.MethodType):
        return {"self": value.__self__, "func": value.__func__}
    if isinstance(value, enum.Enum):
        return {"member": str(value.name), "type": type(value)}
    if (origin := typing.get_origin(value)) is not None:
        return {"origin": origin} | _numbered(typing.get_args(value))
    if isinstance(value, (dict, types.MappingProxyType)):
        return _numbered(value.items())
    if isinstance(value, (list, tuple)):
        return _numbered(value)
    if isinstance(value, (set, frozenset)):
        labelled = {_label(item): item for item in value}
        return dict(sorted(labelled.items())) if len(labelled) == len(value) else None
    kind = type(value)
    names = [item.name for item in getattr(kind, "__attrs_attrs__", ())]
    names = names or list(getattr(kind, "__dataclass_fields__", ()))
    if not names:
        return None
    return {"type": kind} | {name: getattr(value, name, None) for name in names} | attributes_of(value)


def attributes_of(value: Any) -> dict[str, Any]:
    """What an object or a function has in its dictionary, but for what is derived or of Python's own making."""
    if isinstance(value, enum.Enum):
        return {}
    kind = type(value)
    return {
        name: held
        for name, held in getattr(value, "__dict__", {}).items()
        if not name.startswith("__") and not isinstance(getattr(kind, name, None), functools.cached_property)
    }


def nested(value: Any) -> Iterator[Any]:
    """A plain value and all that is in it."""
    yield value
    if isinstance(value, (dict, types.MappingProxyType)):
        inner: Iterable[Any] = itertools.chain.from_iterable(value.items())
    else:
        inner = value if isinstance(value, (tuple, list, set, frozenset)) else ()
    for item in inner:
        yield from nested(item)


def _numbered(items: Iterable[Any]) -> dict[str, Any]:
    return {str(number): item for number, item in enumerate(items)}


def _label(item: Any) -> str:
    return f"{type(item).__qualname__} {getattr(item, 'name', getattr(item, '__qualname__', ''))}"


@remembered
def essential(node: ast.AST) -> ast.AST:
    """A copy without what cannot change a result: docstrings, hints, the decorator `@environment.task(...)`.

    Annotations of functions and of variables are hints. Those in a class body define its fields, and stay.
    """
    stripped: ast.AST = _Essential().visit(_copied(node))
    return stripped


def _copied(node: Any) -> Any:
    """What copy.deepcopy gives of an AST, in less time: every run takes the digests of all its tasks."""
    if isinstance(node, list):
        return [_copied(item) for item in node]
    if isinstance(node, ast.AST):
        return type(node)(**{name: _copied(value) for name, value in vars(node).items()})
    return node


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

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Any:
        node.returns = None
        node.decorator_list = [item for item in node.decorator_list if not _is_task(item)]
        return self._scope(node, in_class=False)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        return self._scope(node, in_class=True)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if self.in_class:
            return node
        plain = ast.Assign(targets=[node.target], value=node.value) if node.value else ast.Pass()
        return ast.copy_location(plain, node)  # ast.unparse wants a line number


def _is_task(decorator: ast.AST) -> bool:
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(call, ast.Attribute) and call.attr == "task"


@remembered
def global_names(nodes: tuple[ast.AST, ...]) -> set[str]:
    """The names that the code looks up outside itself."""
    body = [
        _FreeOfNonlocal().visit(_copied(node))
        if any(isinstance(item, ast.Nonlocal) for item in ast.walk(node))
        else node
        for node in nodes
    ]
    # Inside a function: in a module, Python 3.12 counts the variables of a comprehension as names of the module.
    around: Any = ast.parse("async def around(): pass").body[0]
    around.body = [ast.Expr(node) if isinstance(node, ast.expr) else node for node in body]
    text = ast.unparse(around)

    def names(table: symtable.SymbolTable) -> set[str]:
        found = {
            item.get_name()
            for item in table.get_symbols()
            if item.is_global() and (item.is_referenced() or item.is_declared_global())
        }
        return found.union(*map(names, table.get_children()))

    return names(symtable.symtable(text, "<digest>", "exec"))


class _FreeOfNonlocal(ast.NodeTransformer):
    """An inner function on its own may not say nonlocal: there is no function around it."""

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        return ast.Global(names=node.names)


@remembered
def imports_in(nodes: tuple[ast.AST, ...]) -> list[ast.Import | ast.ImportFrom]:
    """The imports inside some code."""
    return [
        item for root in nodes for item in ast.walk(root) if isinstance(item, ast.Import | ast.ImportFrom)
    ]


@remembered
def attribute_paths(nodes: tuple[ast.AST, ...]) -> dict[str, set[tuple[str, ...]]]:
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
