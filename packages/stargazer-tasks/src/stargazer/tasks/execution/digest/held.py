"""What a class of a notebook holds beyond its text: a cell can compute it, and another cell can set it anew."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
from typing import Any

from stargazer.tasks.execution.digest.canonical import plain
from stargazer.tasks.execution.digest.definitions import function_of, written

__all__ = ["told_otherwise"]

MADE = (
    "_abc_impl",
    "_asdict",
    "_field_defaults",
    "_fields",
    "_is_protocol",
    "_is_runtime_protocol",
    "_make",
    "_replace",
)
"""What Python makes for every class of a kind."""


def told_otherwise(cls: type, nodes: list[ast.AST]) -> dict[str, Any]:
    """What a class holds now that its text does not tell: what was computed, set by another cell, or put in its place.

    Args:
        nodes: the definitions of the class.
    """
    written_out: dict[str, ast.expr] = {}
    for each in (each for node in nodes for each in getattr(node, "body", [])):
        targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
        if isinstance(each, (ast.Assign, ast.AnnAssign)) and each.value is not None:
            written_out |= {name.id: each.value for name in targets if isinstance(name, ast.Name)}
    return {
        name: value
        for name, value in _held(cls).items()
        if not (name in written_out and _is_literal(written_out[name], value))
    }


def _held(cls: type) -> dict[str, Any]:
    """The values of a class, without its own methods and what Python and attrs make for each class."""
    if issubclass(cls, enum.Enum):
        return {name: member.value for name, member in cls.__members__.items()} | {
            name: value for name, value in _members(cls).items() if name not in cls.__members__
        }
    fields = {name: field.default for name, field in getattr(cls, "__dataclass_fields__", {}).items()}
    fields |= {field.name: field.default for field in getattr(cls, "__attrs_attrs__", ())}
    fields |= getattr(cls, "_field_defaults", {}) if issubclass(cls, tuple) else {}
    told = {name: value for name, value in fields.items() if name in vars(cls).get("__annotations__", {})}
    return {name: value for name, value in told.items() if not _is_none_given(value)} | _members(cls)


def _is_none_given(value: Any) -> bool:
    """Whether a field has no default, or one that is made by what its text names."""
    return value is dataclasses.MISSING or type(value).__module__ in ("attr", "attr._make")


def _members(cls: type) -> dict[str, Any]:
    made_by_enum = re.compile(r"_\w+_$") if issubclass(cls, enum.Enum) else re.compile("$.")
    return {
        name: value
        for name, value in vars(cls).items()
        if not name.startswith("__") and name not in MADE and not made_by_enum.match(name)
        if not _is_own(cls, value)
        if isinstance(value, property) or not inspect.isdatadescriptor(value)  # which stands for a field
    }


def _is_own(cls: type, member: Any) -> bool:
    """Whether a member is a method, or a class, that stands in the class."""
    function = function_of(getattr(member, "func", None) or getattr(member, "__wrapped__", None) or member)
    inner = member if isinstance(member, type) else inspect.unwrap(function) if function else None
    return inner is not None and written(inner.__qualname__).startswith(f"{written(cls.__qualname__)}.")


def _is_literal(expression: ast.expr, value: Any) -> bool:
    """Whether a value is as it is written out."""
    try:
        return plain(ast.literal_eval(expression)) == plain(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
