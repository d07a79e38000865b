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
- In a marimo notebook a value counts that somebody has chosen (`slider.value`); by its statement none does, for what a
  cell computes follows from more than its text. What a class or function of a cell holds beyond its text counts too:
  another cell can have set it.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import inspect
import sys
import types
import typing
from collections import ChainMap, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from stargazer.tasks.execution.digest.canonical import (
    attribute_paths,
    attributes_of,
    essential,
    global_names,
    imports_in,
    nested,
    parts_of,
    plain,
    text_of,
)
from stargazer.tasks.execution.digest.definitions import (
    Scope,
    Undigestable,
    absolute_module,
    around,
    bindings_of,
    class_source,
    closure_of,
    function_source,
    home_of,
    import_module,
    in_notebook,
    member_of,
    written,
)
from stargazer.tasks.execution.digest.held import told_otherwise

__all__ = ["Digest", "Undigestable", "code_digest", "package_of"]

IMPLICIT = {
    f"__{name}__" for name in ["builtins", "cached", "doc", "file", "loader", "name", "package", "spec"]
}
TELLING = {"code", "value", "assigned"}
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
    """The digest of a function, or of the function that a functools.wraps wrapper holds.

        code_digest(markdup, "stargazer.tasks", ("stargazer.tasks.execution", "stargazer.tasks.tools")).hex

    Args:
        package: that is followed. The module of the task itself always is, as of a notebook.
        stop: modules and packages of the runner, never followed and never among the externals.

    Raises:
        Undigestable: It refers to something that has no stable form, or its source is not what runs.
    """
    walk = _Walk(package, stop)
    while not walk.own(home_of(function)) and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    if not isinstance(function, types.FunctionType):
        raise Undigestable(
            f"{function!r} is a {type(function).__name__}: a digest is taken of a Python function"
        )
    walk.home = home_of(function)
    walk.function("task", function)
    about: dict[str, list[str]] = defaultdict(list)
    for line in walk.lines:
        kind, name = line.split("\0")[:2]
        if kind in TELLING:
            about[name].append(line)
    parts = {name: _hash(found)[:8] for name, found in about.items()}
    return Digest(_hash(walk.lines), frozenset(walk.externals), parts)


@functools.cache
def package_of(module: str) -> str:
    """The package of a distribution that holds a module: `stargazer.tasks`, or what the module's name begins with."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "stargazer" else parts[0]


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Walk:
    """One digest in the making: follows code to everything of its package, but not into the runner.

    Attributes:
        lines: that the digest is made of; each a kind, the name that the code has for it, and what it is.
        externals: what was found outside.
        home: the module of the task itself.
    """

    def __init__(self, package: str, stop: tuple[str, ...]) -> None:
        self.package, self.stop = package, stop
        self.home: str | None = None
        self.lines: list[str] = []
        self.seen: dict[int, tuple[int, Any]] = {}  # keeps the object, or its id could be used again
        self.externals: set[str] = set()

    def own(self, module: str) -> bool:
        """Whether the code of a module counts."""
        return module == self.home or (_inside(module, self.package) and not self.stops(module))

    def stops(self, module: str) -> bool:
        """Whether a module belongs to the runner."""
        return any(_inside(module, prefix) for prefix in self.stop)

    def emit(self, *words: str) -> None:
        self.lines.append("\0".join(words))

    def visit(self, name: str, value: Any, scope: Scope) -> None:
        """Count a value that the code calls `name`, which `scope` binds."""
        kind = type(value)
        if not isinstance(value, type) and any(self.stops(base.__module__) for base in kind.__mro__):
            self.emit("instance", name, kind.__qualname__, str(getattr(value, "name", "")))
            return
        if _is_flyte_task(value):
            self.emit("task", name, value.name)
            return
        if _is_shown(value):
            raise Undigestable(
                f"{name}: of an element of marimo only its value can count: use {name}.value, or give it as a parameter"
            )
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
            for part in nested(value):
                self.beside(name, part, scope)

    def beside(self, name: str, value: Any, scope: Scope) -> None:
        """What plain data has beside its text: a class of its own, attributes, what a dictionary gives for new keys."""
        kind = type(value)
        if self.own(kind.__module__):
            self.visit(written(kind.__qualname__), kind, scope)
            for attribute, held in sorted(attributes_of(value).items()):
                self.visit(f"{name}.{attribute}", held, {})
        if isinstance(value, defaultdict) and value.default_factory is not None:
            self.visit(f"{name}.default_factory", value.default_factory, {})

    def definition(self, name: str, value: Any) -> bool:
        """A function, class or module, by its own code or by its name."""
        home = home_of(value)
        if isinstance(value, types.ModuleType):
            self.module(name, value, {()})
        elif isinstance(value, types.FunctionType) and self.own(home):
            self.function(name, value)
        elif (inner := getattr(value, "__wrapped__", None)) is not None and self.own(
            home_of(inspect.unwrap(value))
        ):
            self.emit("wrapper", name)
            self.visit(name, inner, {})
            if (registry := getattr(value, "registry", None)) is not None:  # of functools.singledispatch
                self.visit(f"{name}.registry", registry, {})
        elif isinstance(value, type) and self.own(home):
            return self.class_(name, value)
        elif (
            isinstance(value, type) and home == "types" and getattr(types, value.__name__, None) is not value
        ):
            return False  # made by a call, as of dataclasses.make_dataclass
        elif isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type)):
            self.external(name, home, value.__qualname__)
        else:
            return False
        return True

    def function(self, name: str, function: types.FunctionType) -> None:
        nodes = tuple(map(essential, function_source(function)))
        self.emit("code", name, *map(text_of, nodes))
        defaults = dict(enumerate(function.__defaults__ or ())) | (function.__kwdefaults__ or {})
        cells = in_notebook(function.__globals__)
        for argument, value in defaults.items():
            count = functools.partial(self.visit, f"{name}.{argument}", value, {})
            if cells:  # what a cell has computed does not follow from its text
                count()
            else:
                self.optional(count)
        for attribute, held in sorted(attributes_of(function).items()) if cells else ():
            self.visit(f"{name}.{attribute}", held, {})
        scope = around([function], function.__code__.co_filename, function.__globals__)
        self.references(nodes, ChainMap(closure_of(function), scope))

    def class_(self, name: str, cls: type) -> bool:
        if (found := class_source(cls)) is None:
            return False
        nodes = tuple(map(essential, found[0]))
        self.emit("code", name, *map(text_of, nodes))
        self.references(nodes, found[1], local="<locals>" in cls.__qualname__)
        if in_notebook(found[1]):
            for attribute, value in sorted(told_otherwise(cls, found[0]).items()):
                self.visit(f"{name}.{attribute}", value, {})
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
        return self.own(module) or self.package.startswith(module + ".")

    def external(self, name: str, module: str, qualname: str) -> None:
        if self.stops(module):
            self.emit("runner", name, qualname)
            return
        top = package_of(module.lstrip("_"))
        if top and sys.stdlib_module_names.isdisjoint([top, module]):
            self.externals.add(top)
        self.emit("external", name, top, qualname)

    def imported(self, name: str, scope: Scope) -> bool:
        """An object that the module imported from outside: it counts by the name it has there."""
        nodes, scope = self.bindings(name, scope)
        if nodes and isinstance(last := nodes[-1], ast.ImportFrom):
            self.external(name, absolute_module(last, scope), last.names[0].name)
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
        if in_notebook(scope):
            raise Undigestable(
                f"{name}: what a cell has computed, a {type(value).__name__} here, has no stable form for the run key; "
                "make it plain data, build it inside the function, or give it as a parameter"
            )
        nodes, scope = self.bindings(name, scope)
        if not nodes:
            raise Undigestable(
                f"{name}: a {type(value).__name__} has no stable form for the run key; "
                "make it plain data, or build it inside the function"
            )
        statements = tuple(map(essential, nodes))
        self.emit("assigned", name, *map(text_of, statements))
        self.references(statements, scope)

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

    def references(self, nodes: tuple[ast.AST, ...], scope: Scope, local: bool = False) -> None:
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
            elif _is_shown(value) and all(path[:1] == ("value",) for path in paths.get(name, {()})):
                self.visit(f"{label}.value", _chosen(name, value), {})
            else:
                self.visit(label, value, home)

    def imports(self, nodes: tuple[ast.AST, ...], scope: Scope) -> dict[str, tuple[str, Any, Scope]]:
        """What imports inside the code bind, of the own package; the rest counts at once."""
        found: dict[str, tuple[str, Any, Scope]] = {}
        for node in imports_in(nodes):
            for alias in node.names:
                member = alias.name if isinstance(node, ast.ImportFrom) else ""
                module = absolute_module(node, scope) if isinstance(node, ast.ImportFrom) else alias.name
                if not self.enters(module):
                    self.external(alias.name, module, member)
                elif member:
                    found[alias.asname or member] = member, *member_of(module, member)
                else:
                    value, top = import_module(module), module.partition(".")[0]
                    found[alias.asname or top] = module, value if alias.asname else sys.modules[top], {}
        return found

    def optional(self, count: Callable[[], None]) -> bool:
        """Count something if all of it can be counted, else nothing of it."""
        before = self.lines.copy(), self.seen.copy(), self.externals.copy()
        try:
            count()
        except Undigestable:
            self.lines, self.seen, self.externals = before
            return False
        return True


def _inside(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def _is_shown(value: Any) -> bool:
    """Whether a value is one of marimo's: an element that people set, a state. What it holds changes."""
    return any(_inside(base.__module__, "marimo") for base in type(value).__mro__)


def _chosen(name: str, element: Any) -> Any:
    """The value that somebody has chosen.

    Raises:
        Undigestable: It has none, or not yet.
    """
    try:
        return element.value
    except (AttributeError, RuntimeError) as error:
        raise Undigestable(f"{name}.value: {error}") from error


def _is_flyte_task(value: Any) -> bool:
    """Whether a value is a task of Flyte, which is not imported to find out."""
    return any(
        base.__name__ == "TaskTemplate" and _inside(base.__module__, "flyte") for base in type(value).__mro__
    )
