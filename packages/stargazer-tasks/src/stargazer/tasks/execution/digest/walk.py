"""Follows a function to everything of its package that it refers to, and writes the lines its digest is made of."""

from __future__ import annotations

import ast
import builtins
import functools
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from stargazer.tasks.execution.digest.canonical import (
    attribute_paths,
    canonical,
    essential,
    global_names,
    parts_of,
    plain,
)
from stargazer.tasks.execution.digest.definitions import (
    Scope,
    Undigestable,
    absolute_module,
    bindings_of,
    class_source,
    closure_of,
    function_source,
    home_of,
    import_module,
    innermost_home,
    member_of,
)

__all__ = ["Reach", "Walk", "is_flyte_task"]

IMPLICIT = {
    f"__{name}__" for name in ["builtins", "cached", "doc", "file", "loader", "name", "package", "spec"]
}
NAMESPACE = "stargazer"


class Reach(NamedTuple):
    """How far code is followed: within a package, but not into the runner."""

    package: str
    stop: tuple[str, ...]

    def follows(self, module: str) -> bool:
        """Whether the code of a module counts."""
        return _inside(module, self.package) and not self.stops(module)

    def stops(self, module: str) -> bool:
        """Whether a module belongs to the runner."""
        return any(_inside(module, prefix) for prefix in self.stop)


class Walk:
    """One digest in the making: lines, what was seen, and what was found outside."""

    def __init__(self, reach: Reach, home: str) -> None:
        self.reach = reach
        self.home = home
        self.lines: list[str] = []
        self.seen: dict[int, tuple[int, Any]] = {}  # keeps the object, or its id could be used again
        self.externals: set[str] = set()

    def own(self, module: str) -> bool:
        return module == self.home or self.reach.follows(module)

    def emit(self, *words: str) -> None:
        self.lines.append("\0".join(words))

    def visit(self, name: str, value: Any, scope: Scope) -> None:
        """Count a value that the code calls `name`, which `scope` binds."""
        kind = type(value)
        if not isinstance(value, type) and any(self.reach.stops(base.__module__) for base in kind.__mro__):
            self.emit("instance", name, kind.__qualname__, str(getattr(value, "name", "")))
            return
        if is_flyte_task(value):
            self.emit("task", name, value.name)
            return
        try:
            self.emit("value", name, plain(value))
        except TypeError:
            if id(value) in self.seen:
                self.emit("again", name, str(self.seen[id(value)][0]))
                return
            self.seen[id(value)] = len(self.seen), value
            if not (self.definition(name, value) or self.imported(name, scope) or self.parts(name, value)):
                self.assigned(name, value, scope)
        else:
            if self.own(kind.__module__):
                self.visit(kind.__qualname__, kind, scope)

    def definition(self, name: str, value: Any) -> bool:
        """A function, class or module, by its own code or by its name."""
        home = home_of(value)
        if isinstance(value, types.ModuleType):
            self.module(name, value, {()})
        elif isinstance(value, types.FunctionType) and self.own(home):
            self.function(name, value)
        elif (inner := getattr(value, "__wrapped__", None)) is not None and self.own(innermost_home(value)):
            self.emit("wrapper", name)
            self.visit(name, inner, {})
        elif isinstance(value, type) and self.own(home):
            return self.class_(name, value)
        elif isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type)):
            self.external(name, home, value.__qualname__)
        else:
            return False
        return True

    def function(self, name: str, function: types.FunctionType) -> None:
        nodes = [essential(node) for node in function_source(function)]
        self.emit("code", name, *map(canonical, nodes))
        defaults = dict(enumerate(function.__defaults__ or ())) | (function.__kwdefaults__ or {})
        for argument, value in defaults.items():
            self.optional(functools.partial(self.visit, f"{name}.{argument}", value, {}))
        self.references(nodes, ChainMap(closure_of(function), function.__globals__))

    def class_(self, name: str, cls: type) -> bool:
        if (found := class_source(cls)) is None:
            return False
        nodes = [essential(node) for node in found[0]]
        self.emit("code", name, *map(canonical, nodes))
        self.references(nodes, found[1], local="<locals>" in cls.__qualname__)
        return True

    def module(self, name: str, module: types.ModuleType, paths: Iterable[tuple[str, ...]]) -> None:
        """The attributes that are used of a module, each an attribute path."""
        for path in sorted(paths):
            label, scope = name, dict[str, Any]()
            value: Any = module
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
        return self.own(module) or self.reach.package.startswith(module + ".")

    def external(self, name: str, module: str, qualname: str) -> None:
        if self.reach.stops(module):
            self.emit("runner", name, qualname)
            return
        parts = module.lstrip("_").split(".")
        top = ".".join(parts[: 2 if parts[0] in (NAMESPACE, _namespace(self.reach.package)) else 1])
        if top and top not in sys.stdlib_module_names and module not in sys.stdlib_module_names:
            self.externals.add(top)
        self.emit("external", name, top, qualname)

    def imported(self, name: str, scope: Scope) -> bool:
        """An object that the module imported from outside: it counts by the name it has there."""
        nodes, scope = self.bindings(name, scope)
        for node in nodes[-1:]:
            if isinstance(node, ast.ImportFrom):
                module = absolute_module(node, scope)
                if not self.enters(module):
                    self.external(name, module, node.names[0].name)
                    return True
        return False

    def parts(self, name: str, value: Any) -> bool:
        """A value by what it is made of, if all of that can be counted."""
        if type(value).__module__ == "typing" and typing.get_origin(value) is None:
            self.external(name, "typing", getattr(value, "__name__", None) or str(value))
            return True
        if (items := parts_of(value)) is None:
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
        nodes = bindings_of(name.rpartition(".")[2], scope)
        if (
            nodes
            and isinstance(last := nodes[-1], ast.ImportFrom)
            and self.enters(module := absolute_module(last, scope))
        ):
            return self.bindings(last.names[0].name, vars(import_module(module)))
        return nodes, scope

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
                module = absolute_module(node, scope)
                for alias in node.names:
                    if self.enters(module):
                        found[alias.asname or alias.name] = alias.name, *member_of(module, alias.name)
                    else:
                        self.external(alias.name, module, alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if self.enters(alias.name):
                        value = import_module(alias.name)
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


def is_flyte_task(value: Any) -> bool:
    """Whether a value is a task of Flyte, which is not imported to find out."""
    return any(
        base.__name__ == "TaskTemplate" and _inside(base.__module__, "flyte") for base in type(value).__mro__
    )
