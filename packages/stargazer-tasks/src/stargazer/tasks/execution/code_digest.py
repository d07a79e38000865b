"""The digest of what a task's result depends on in code: the function, and what it uses of its own package.

What counts: the function's code, and the helpers, classes, constants and default values of its package that it refers
to, transitively. What does not: comments, docstrings, formatting, module names, the arguments of
`@environment.task(...)`, and annotations of functions and variables (those in a class body define its fields, and
count). It is the same in every process and on Python 3.11 to 3.13.

- A name outside the package counts as "top-level package:qualified name"; its version is the business of the declared
  tools. Nothing outside is imported to find out.
- Nothing below `stop`, the runner, is followed: it carries an interface version of its own. An instance of one of its
  classes (a tool, an environment) counts by its type and its name.
- Another task counts by its name: it has a digest of its own.
- Source comes from linecache, so notebook cells work, and is compared with the byte code that runs: a file edited under
  a long-lived process is an error and never a wrong key.
- Module-level values count as they are when the digest is taken. One that is not plain data counts by the expression
  that made it. What has no stable form is an error that names it.
"""

from __future__ import annotations

import ast
import builtins
import enum
import functools
import hashlib
import importlib
import importlib.util
import linecache
import os
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from stargazer.assets.errors import StargazerError
from stargazer.tasks.execution.canonical import (
    Source,
    attribute_paths,
    canonical,
    essential,
    global_names,
    instructions,
    parse,
    plain,
)

__all__ = ["CodeDigest", "Digest", "Undigestable"]

IMPLICIT = {
    "__builtins__",
    "__cached__",
    "__doc__",
    "__file__",
    "__loader__",
    "__name__",
    "__package__",
    "__spec__",
}
NAMESPACE = "stargazer"
RESTART = "it was edited after it was loaded, or its source is not to be had: restart the process"

Scope = Mapping[str, Any]


class Undigestable(StargazerError, TypeError):
    """Something that a task refers to has no form that is the same in every process: do not memoise the task."""


class Digest(NamedTuple):
    """The digest as hexadecimal text, and the top-level packages used besides the own one and the standard library."""

    hex: str
    externals: frozenset[str]


class CodeDigest:
    """How far the code of a task is followed.

        rules = CodeDigest("stargazer.tasks", stop=("stargazer.tasks.execution", "stargazer.tasks.tools"))
        rules.digest(mark_duplicates).hex

    Args:
        package: The package that is followed. The module of the task itself always is, so tasks of a notebook work.
        stop: Modules and packages of the runner, never followed and never among the externals.
    """

    def __init__(self, package: str, stop: tuple[str, ...] = ()) -> None:
        self.package = package
        self.stop = stop

    def digest(self, function: Callable[..., Any]) -> Digest:
        """The digest of a function, or of the function that a Flyte task or a functools.wraps wrapper holds.

        Raises:
            Undigestable: It refers to something that has no stable form, or its source is not what runs.
        """
        if _is_flyte_task(function):
            function = getattr(function, "func", function)
        while not self.follows(_home(function)) and hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if not isinstance(function, types.FunctionType):
            raise Undigestable(
                f"{function!r} is a {type(function).__name__}: a digest is taken of a Python function"
            )
        walk = _Walk(self, home=_home(function))
        walk.function("task", function)
        return walk.result()

    def follows(self, module: str) -> bool:
        """Whether the code of a module counts."""
        return _inside(module, self.package) and not self.stops(module)

    def stops(self, module: str) -> bool:
        """Whether a module belongs to the runner."""
        return any(_inside(module, prefix) for prefix in self.stop)


class _Walk:
    """One digest in the making: lines, what was seen, and what was found outside."""

    def __init__(self, rules: CodeDigest, home: str) -> None:
        self.rules = rules
        self.home = home
        self.lines: list[str] = []
        self.seen: dict[int, tuple[int, Any]] = {}  # keeps the object, or its id could be used again
        self.externals: set[str] = set()

    def result(self) -> Digest:
        return Digest(hashlib.sha256("\n".join(self.lines).encode()).hexdigest(), frozenset(self.externals))

    def own(self, module: str) -> bool:
        return module == self.home or self.rules.follows(module)

    def emit(self, *words: str) -> None:
        self.lines.append("\0".join(words))

    def visit(self, name: str, value: Any, scope: Scope) -> None:
        """Count a value that the code calls `name`, which `scope` binds."""
        kind = type(value)
        if not isinstance(value, type) and any(self.rules.stops(base.__module__) for base in kind.__mro__):
            self.emit("instance", name, kind.__qualname__, str(getattr(value, "name", "")))
            return
        if _is_flyte_task(value):
            self.emit("task", name, value.name)
            return
        try:
            self.emit("value", name, plain(value))
        except TypeError:
            if id(value) in self.seen:
                self.emit("again", name, str(self.seen[id(value)][0]))
                return
            self.seen[id(value)] = len(self.seen), value
            if not (
                self.definition(name, value) or self.imported(name, scope) or self.parts(name, value, scope)
            ):
                self.assigned(name, value, scope)
        else:
            if self.own(kind.__module__):
                self.visit(kind.__qualname__, kind, scope)

    def definition(self, name: str, value: Any) -> bool:
        """A function, class or module, by its own code or by its name."""
        home = _home(value)
        if isinstance(value, types.ModuleType):
            self.module(name, value, {()})
        elif isinstance(value, types.FunctionType) and self.own(home):
            self.function(name, value)
        elif (inner := getattr(value, "__wrapped__", None)) is not None and self.own(_innermost(value)):
            self.emit("wrapper", name)
            self.visit(name, inner, {})
        elif isinstance(value, type) and self.own(home):
            return self.type(name, value)
        elif (
            isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type))
            and typing.get_origin(value) is None
        ):
            self.external(name, home, value.__qualname__)
        else:
            return False
        return True

    def function(self, name: str, function: types.FunctionType) -> None:
        code = function.__code__
        key = code.co_name, code.co_firstlineno
        for _ in range(2):
            source = _source(code.co_filename, function.__globals__)
            if source and key in source.functions and instructions(code) in source.codes.get(key, []):
                break
            linecache.checkcache(code.co_filename)  # the module may have been reloaded
        else:
            raise Undigestable(f"{name}: no source for {code.co_qualname} in {code.co_filename!r}: {RESTART}")
        nodes = [essential(node) for node in source.functions[key]]
        self.emit("code", name, *map(canonical, nodes))
        for number, value in enumerate(function.__defaults__ or ()):
            self.optional(lambda value=value, number=number: self.visit(f"{name}.{number}", value, {}))
        for keyword, value in (function.__kwdefaults__ or {}).items():
            self.optional(lambda value=value, keyword=keyword: self.visit(f"{name}.{keyword}", value, {}))
        self.references(nodes, ChainMap(_closure(function), function.__globals__))

    def type(self, name: str, cls: type) -> bool:
        methods = [item for item in map(_function_of, vars(cls).values()) if item is not None]
        module = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
        for filename in [*dict.fromkeys(item.__code__.co_filename for item in methods), *_files(module)]:
            source = _source(filename, module)
            if source and cls.__qualname__ in source.classes:
                break
        else:
            return False  # made by a call: its assignment counts
        for item in methods:
            code = item.__code__
            if code.co_filename == filename and item.__qualname__ == f"{cls.__qualname__}.{code.co_name}":
                if instructions(code) not in source.codes.get((code.co_name, code.co_firstlineno), []):
                    raise Undigestable(
                        f"{name}: {item.__qualname__} in {filename!r} is not what runs: {RESTART}"
                    )
        nodes = [essential(node) for node in source.classes[cls.__qualname__]]
        self.emit("code", name, *map(canonical, nodes))
        scope = next((item.__globals__ for item in methods if item.__code__.co_filename == filename), module)
        self.references(nodes, scope, local="<locals>" in cls.__qualname__)
        return True

    def module(self, name: str, module: types.ModuleType, paths: Iterable[tuple[str, ...]]) -> None:
        """The attributes that are used of a module, each an attribute path."""
        for path in sorted(paths):
            label, value, scope = name, module, dict[str, Any]()
            for attribute in path:
                if not isinstance(value, types.ModuleType) or not self.enters(value.__name__):
                    break
                label, scope = f"{label}.{attribute}", vars(value)
                value = getattr(value, attribute, None)
            if not isinstance(value, types.ModuleType):
                self.visit(label, value, scope)
            elif self.enters(value.__name__):
                raise Undigestable(
                    f"{label}: the module {value.__name__} is passed on as a value, so what is used of it "
                    "cannot be known: name the function or constant"
                )
            else:
                self.external(label, value.__name__, "")

    def enters(self, module: str) -> bool:
        return self.own(module) or self.rules.package.startswith(module + ".")

    def external(self, name: str, module: str, qualname: str) -> None:
        parts = module.lstrip("_").split(".")
        top = ".".join(parts[: 2 if parts[0] in (NAMESPACE, _namespace(self.rules.package)) else 1])
        if top and top not in sys.stdlib_module_names and module not in sys.stdlib_module_names:
            if not self.rules.stops(module) and not _inside(module, self.rules.package):
                self.externals.add(top)
        self.emit("external", name, top, qualname)

    def imported(self, name: str, scope: Scope) -> bool:
        """An object that the module imported from outside: it counts by the name it has there."""
        for node in self.bindings(name, scope)[0][-1:]:
            if isinstance(node, ast.ImportFrom):
                module = _absolute(node, scope)
                if not self.enters(module):
                    self.external(name, module, node.names[0].name)
                    return True
        return False

    def parts(self, name: str, value: Any, scope: Scope) -> bool:
        """A value by what it is made of."""
        items: dict[str, Any]
        if isinstance(value, functools.partial):
            items = {
                "func": value.func,
                **{str(i): item for i, item in enumerate(value.args)},
                **value.keywords,
            }
        elif isinstance(value, types.MethodType):
            items = {"self": value.__self__, "func": value.__func__}
        elif isinstance(value, enum.Enum):
            self.emit("member", name, value.name)
            items = {"type": type(value)}
        elif (origin := typing.get_origin(value)) is not None:
            items = {"origin": origin, **{str(i): item for i, item in enumerate(typing.get_args(value))}}
        elif type(value).__module__ == "typing":
            self.external(name, "typing", getattr(value, "__name__", None) or str(value))
            return True
        elif isinstance(value, (dict, types.MappingProxyType)):
            items = {str(i): item for i, pair in enumerate(value.items()) for item in (pair,)}
        elif isinstance(value, (list, tuple)):
            items = {str(i): item for i, item in enumerate(value)}
        elif isinstance(value, (set, frozenset)):
            items = {
                f"{type(item).__qualname__} {getattr(item, 'name', _qualname(item))}": item for item in value
            }
            if len(items) != len(value):
                return False
            items = dict(sorted(items.items()))
        elif names := _field_names(type(value)):
            items = {"type": type(value), **{field: getattr(value, field, None) for field in names}}
        else:
            return False

        def visit_all() -> None:
            self.emit("parts", name, type(value).__name__, str(len(items)))
            for part, item in items.items():
                self.visit(f"{name}.{part}", item, {})

        return self.optional(visit_all)

    def assigned(self, name: str, value: Any, scope: Scope) -> None:
        """A value that is neither plain nor code, by the statements that bind its name."""
        nodes, scope = self.bindings(name, scope)
        if not nodes:
            raise Undigestable(
                f"{name}: a {type(value).__name__} has no stable form for the run key; "
                "make it plain data, or build it inside the function"
            )
        nodes = [essential(node) for node in nodes]
        self.emit("assigned", name, *map(canonical, nodes))
        self.references(nodes, scope)

    def bindings(self, name: str, scope: Scope) -> tuple[list[ast.AST], Scope]:
        """The statements that bind a name, and the scope they stand in: across imports within the package."""
        name = name.rpartition(".")[2]
        for filename in _files(scope):
            source = _source(filename, scope)
            if source and (nodes := source.bindings.get(name)):
                last = nodes[-1]
                if isinstance(last, ast.ImportFrom) and self.enters(module := _absolute(last, scope)):
                    return self.bindings(last.names[0].name, vars(importlib.import_module(module)))
                return nodes, scope
        return [], scope

    def references(self, nodes: list[ast.AST], scope: Scope, local: bool = False) -> None:
        """Count everything that some code refers to. Of a local class the names around it cannot be had."""
        imports = self.imports(nodes, scope)
        paths = attribute_paths(nodes)
        for name in sorted((global_names(nodes) | set(imports)) - IMPLICIT):
            label, value, home = imports.get(name) or (name, scope.get(name), scope)
            if name not in imports and name not in scope:
                if not hasattr(builtins, name):
                    if local:
                        raise Undigestable(
                            f"{name}: used by a class inside a function; define the class outside"
                        )
                    self.emit("unbound", name)
            elif isinstance(value, types.ModuleType):
                self.module(name, value, paths.get(name, {()}))
            else:
                self.visit(label, value, home)

    def imports(self, nodes: list[ast.AST], scope: Scope) -> dict[str, tuple[str, Any, Scope]]:
        """What imports inside the code bind, of the own package; the rest counts at once."""
        found: dict[str, tuple[str, Any, Scope]] = {}
        for node in (item for root in nodes for item in ast.walk(root)):
            if isinstance(node, ast.ImportFrom):
                module = _absolute(node, scope)
                for alias in node.names:
                    if self.enters(module):
                        found[alias.asname or alias.name] = alias.name, *_member(module, alias.name)
                    else:
                        self.external(alias.name, module, alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if self.enters(alias.name):
                        value = _import(alias.name)
                        top = alias.name.partition(".")[0]
                        found[alias.asname or top] = (
                            alias.name,
                            value if alias.asname else sys.modules[top],
                            {},
                        )
                    else:
                        self.external(alias.name, alias.name, "")
        return found

    def optional(self, count: Callable[[], None]) -> bool:
        """Count something if all of it can be counted, else nothing of it."""
        lines, seen, externals = len(self.lines), len(self.seen), set(self.externals)
        try:
            count()
        except Undigestable:
            del self.lines[lines:]
            for key in list(self.seen)[seen:]:
                del self.seen[key]
            self.externals = externals
            return False
        return True


def _inside(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def _namespace(package: str) -> str:
    return package.partition(".")[0] if "." in package else NAMESPACE


def _home(value: Any) -> str:
    """The module whose code a function runs (functools.wraps changes __module__), or that defines a class."""
    if isinstance(value, types.FunctionType):
        return str(value.__globals__.get("__name__", ""))
    return str(getattr(value, "__module__", None) or "")


def _innermost(value: Any) -> str:
    while (inner := getattr(value, "__wrapped__", None)) is not None:
        value = inner
    return _home(value)


def _qualname(value: Any) -> str:
    return str(getattr(value, "__qualname__", ""))


def _is_flyte_task(value: Any) -> bool:
    return any(
        base.__name__ == "TaskTemplate" and _inside(base.__module__, "flyte") for base in type(value).__mro__
    )


def _closure(function: types.FunctionType) -> dict[str, Any]:
    values = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            values[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return values


def _function_of(member: Any) -> types.FunctionType | None:
    member = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
    return member if isinstance(member, types.FunctionType) else None


def _field_names(cls: type) -> list[str]:
    """The fields of an attrs class or a dataclass."""
    attributes = getattr(cls, "__attrs_attrs__", None)
    return (
        [item.name for item in attributes] if attributes else list(getattr(cls, "__dataclass_fields__", ()))
    )


def _source(filename: str, scope: Scope) -> Source | None:
    text = "".join(linecache.getlines(filename, dict(scope)))
    try:
        return parse(text) if text else None
    except SyntaxError:
        return None


def _files(scope: Scope) -> Iterator[str]:
    """The file of a module; of a notebook the cells, the one run last first."""
    if filename := scope.get("__file__"):
        yield filename
    if not filename or scope.get("__name__") == "__main__":
        yield from (name for name in reversed(linecache.cache) if not os.path.exists(name))


def _absolute(node: ast.ImportFrom, scope: Scope) -> str:
    try:
        return importlib.util.resolve_name(
            "." * node.level + (node.module or ""), scope.get("__package__") or ""
        )
    except ImportError:
        return node.module or ""


def _import(module: str) -> types.ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Undigestable(f"{module}: the task imports it, but {error}") from error


def _member(module: str, name: str) -> tuple[Any, Scope]:
    home = _import(module)
    return (getattr(home, name) if hasattr(home, name) else _import(f"{module}.{name}")), vars(home)
