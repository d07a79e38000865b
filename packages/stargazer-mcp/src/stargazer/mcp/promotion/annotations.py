"""What the annotations of a module mean, as far as it can be told without running it."""

from __future__ import annotations

import ast
import importlib

__all__ = ["Annotations"]


class Annotations:
    """The kinds that annotations of one module take; `assets` are the names of its asset types, by their keys."""

    def __init__(self, tree: ast.Module):
        self.tree = tree
        self.classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self.assets = {
            str(call.args[0].value): node.name
            for node in self.classes.values()
            for call in node.decorator_list
            if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant)
        }
        self.aliases = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self.origins = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and not node.level
            for alias in node.names
        }

    def function(self, name: str) -> ast.AsyncFunctionDef:
        """The function of the task."""
        return next(
            node for node in self.tree.body if isinstance(node, ast.AsyncFunctionDef) and node.name == name
        )

    def members(self, annotation: ast.expr | None, seen: tuple[str, ...] = ()) -> list[ast.expr]:
        """The kinds that an annotation takes: of a union each."""
        match annotation:
            case None:
                return []
            case ast.Constant(value=str(text)):
                parts = [ast.parse(text, mode="eval").body]
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                parts = [left, right]
            case ast.Subscript(value=value, slice=inner) if _last(value) in (
                "Optional",
                "Union",
                "Annotated",
            ):
                several = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                parts = several[:1] if _last(value) == "Annotated" else several
            case ast.Name(id=name) if name in self.aliases and name not in seen:
                parts, seen = [self.aliases[name]], (*seen, name)
            case _:
                return [annotation]
        return [kind for part in parts for kind in self.members(part, seen)]

    def inner(self, annotation: ast.expr | None) -> list[ast.expr | None]:
        """The kinds of the parts of the container that an annotation takes."""
        for kind in self.members(annotation):
            if isinstance(kind, ast.Subscript):
                several = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
                return [
                    each for each in several if not (isinstance(each, ast.Constant) and each.value is ...)
                ]
            if isinstance(kind, ast.Name) and (node := self.classes.get(kind.id)):
                return [each.annotation for each in node.body if isinstance(each, ast.AnnAssign)]
        return []

    def class_of(self, annotation: ast.expr | None, base: type) -> str:
        """The class among the kinds of an annotation that is a named tuple or an enum; `tuple` itself; else empty."""
        for kind in self.members(annotation):
            name = _last(kind.value if isinstance(kind, ast.Subscript) else kind)
            if base is tuple and name in ("tuple", "Tuple"):
                return "tuple"
            if node := self.classes.get(name):
                bases = {_last(each) for each in node.bases}
                if bases & ({"NamedTuple"} if base is tuple else {"Enum", "StrEnum", "IntEnum"}):
                    return name
            elif name in self.origins and _is_a(*self.origins[name], base):
                return name
        return ""


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_a(module: str, name: str, base: type) -> bool:
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, base)
