"""TinyDB's queries translated to SQL, and which values of a document are indexed for them.

The table `terms` holds one row for each scalar value of `id`, `cid` and `keyvalues.*` of a document. A condition is
known by TinyDB's own description of it, the hash of a query: ("==", path, value), ("and", {...}) and so on. That is
private to TinyDB, hence the pinned version and the differential test. What compiles selects every document that
matches, perhaps more: the caller still asks the condition itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

__all__ = [
    "TABLE_ID",
    "Branch",
    "Leaf",
    "Plan",
    "Scalar",
    "compile_condition",
    "select_documents",
    "terms_of",
]

Scalar = str | int | float | bool
Term = tuple[str, Scalar]
Sql = tuple[str, list[Scalar]]  # with its parameters

TABLE_ID = "(SELECT tid FROM tables WHERE name=?)"
"""The number of a table in SQL; NULL, which no table has, where there is none of that name."""

_FIELDS = ("cid", "id")
_NESTED = "keyvalues"
_LONGEST = 512  # characters of an indexed string
_LARGEST = 2**53  # beyond it integers and floats compare differently in Python and SQLite
_MOST_VALUES = 10_000  # bound variables in one statement; SQLite's limit is 32,766
_MOST_BRANCHES = 200  # of 500 in a compound SELECT
_DEEPEST = 50
_COUNTED = 1_000  # rows that are looked at to find which part of an AND is the rarest


@frozen
class Leaf:
    """Documents in which the term's key has one of these values."""

    key: str
    values: tuple[Scalar, ...]


@frozen
class Branch:
    """Documents in all ("and") or any ("or") of the parts."""

    operator: str
    parts: tuple[Plan, ...]


Plan = Leaf | Branch


def terms_of(document: Mapping[str, Any]) -> set[Term]:
    """The (key, value) pairs under which a document is indexed; keys of keyvalues begin with a dot."""
    terms = {
        (field, document[field]) for field in _FIELDS if field in document and _indexable(document[field])
    }
    nested = document.get(_NESTED)
    if isinstance(nested, Mapping):
        terms |= {
            (f".{key}", value) for key, value in nested.items() if _indexable(key) and _indexable(value)
        }
    return terms


def compile_condition(condition: object) -> Plan | None:
    """The plan that finds a condition's matches, or None if only reading every document can."""
    plan = _compile(getattr(condition, "_hash", None), depth=0)
    return plan if plan is not None and _count_values(plan) <= _MOST_VALUES else None


def select_documents(connection: sqlite3.Connection, table: str, plan: Plan) -> Sql:
    """A SELECT of the `seq` of every document in the table of this name that the plan finds."""
    match plan:
        case Leaf():
            where, parameters = _where(table, plan)
            return f"SELECT u.seq AS seq FROM terms u WHERE {where}", parameters
        case Branch("or", parts):
            return _joined(
                " UNION ",
                "SELECT seq FROM ({})",
                [select_documents(connection, table, part) for part in parts],
            )
        case Branch(_, parts):
            counts, parameters = _joined(", ", "{}", [_estimate(table, part) for part in parts])
            visited = connection.execute(f"SELECT {counts}", parameters).fetchone()
            rarest, *others = sorted(range(len(parts)), key=visited.__getitem__)
            sql, parameters = select_documents(connection, table, parts[rarest])
            probes, values = _joined(" AND ", "{}", [_probe(table, parts[other]) for other in others])
            return f"SELECT s.seq AS seq FROM ({sql}) s WHERE {probes or 1}", parameters + values


def _compile(description: object, depth: int) -> Plan | None:
    if depth > _DEEPEST:
        return None
    match description:
        case ("==", tuple() as path, value):
            return _leaf(path, (value,))
        case ("one_of", tuple() as path, tuple() | frozenset() as values):
            return _leaf(path, tuple(values))
        case ("and" | "or" as operator, frozenset() as descriptions):
            return _branch(operator, [_compile(part, depth + 1) for part in descriptions])
    return None


def _leaf(path: tuple[object, ...], values: tuple[Any, ...]) -> Leaf | None:
    match path:
        case (str() as field,) if field in _FIELDS:
            key = field
        case (str() as parent, str() as name) if parent == _NESTED and _indexable(name):
            key = f".{name}"
        case _:
            return None
    return Leaf(key, values) if all(map(_indexable, values)) else None


def _branch(operator: str, parts: list[Plan | None]) -> Plan | None:
    found = [part for part in parts if part is not None]
    if not found or (operator == "or" and len(found) < len(parts)):
        return None  # an AND may leave a part to the condition itself, an OR may not
    flat: list[Plan] = []
    for part in found:  # a & b & c comes as (a & b) & c
        flat.extend(part.parts if isinstance(part, Branch) and part.operator == operator else (part,))
    return Branch(operator, tuple(flat)) if len(flat) <= _MOST_BRANCHES else None


def _indexable(value: object) -> bool:
    """Whether SQLite compares the value exactly as Python does."""
    if type(value) is str:
        return len(value) <= _LONGEST and (
            value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)
        )
    return type(value) in (int, float, bool) and -_LARGEST <= value <= _LARGEST  # type: ignore[operator]


def _count_values(plan: Plan) -> int:
    return len(plan.values) if isinstance(plan, Leaf) else sum(map(_count_values, plan.parts))


def _where(table: str, leaf: Leaf) -> Sql:
    places = ",".join("?" * len(leaf.values))
    return f"u.tid={TABLE_ID} AND u.key=? AND u.value IN ({places})", [table, leaf.key, *leaf.values]


def _probe(table: str, plan: Plan) -> Sql:
    """Whether document s.seq is in the plan."""
    if isinstance(plan, Leaf):
        where, parameters = _where(table, plan)
        return f"EXISTS(SELECT 1 FROM terms u WHERE {where} AND u.seq=s.seq)", parameters
    probes, parameters = _joined(f" {plan.operator} ", "{}", [_probe(table, part) for part in plan.parts])
    return f"({probes})", parameters


def _estimate(table: str, plan: Plan) -> Sql:
    """How many documents a plan visits, counted no further than is needed to find a rare one."""
    if isinstance(plan, Leaf):
        where, parameters = _where(table, plan)
        return f"(SELECT count(*) FROM (SELECT 1 FROM terms u WHERE {where} LIMIT {_COUNTED}))", parameters
    parts = [_estimate(table, part) for part in plan.parts]
    counts, parameters = _joined(" UNION ALL ", "SELECT {} AS n", parts)
    return f"(SELECT {'min' if plan.operator == 'and' else 'sum'}(n) FROM ({counts}))", parameters


def _joined(separator: str, form: str, parts: Sequence[Sql]) -> Sql:
    """SQL made of parts, each put into a form, with the parameters of all."""
    return (
        separator.join(form.format(sql) for sql, _ in parts),
        [value for _, parameters in parts for value in parameters],
    )
