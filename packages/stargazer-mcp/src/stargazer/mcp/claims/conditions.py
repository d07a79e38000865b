"""Rows of a file and the conditions that select some of them, whatever the file's format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

import attrs
from stargazer.mcp.claims.numbers import Written, is_number, is_percent
from stargazer.mcp.claims.verdicts import NEAR, Unverifiable, alike, near
from stargazer.mcp.strict_json import shortened

__all__ = ["SAMPLE", "Column", "Condition", "Row", "Rows", "Values", "conditions_of", "number",
           "refuse_unsuitable"]  # fmt: skip

SAMPLE = "sample"
"""The column that says of which sample a row of a table, or a cell, is."""

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in")
ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
EXAMPLE = 'for example {"column": "QUAL", "op": ">=", "value": 30}'
WORDS = 20  # of a closed vocabulary, in an answer
MOST = 1_000  # different values of a column that are kept, to name those that are near

Row: TypeAlias = Any
Values: TypeAlias = tuple[Any, ...]
"""What a column has in a row: none if it is missing, several where the format takes lists."""


@attrs.frozen
class Column:
    """A column of a file.

    Attributes:
        name: as the file has it.
        values: what it has in a row.
        known: values that it may have although no row has them.
        closed: it can have no others.
        numeric: it can have numbers alone.
        form: whether a text is written as values of it are.
        unset: what it means if no row has a value.
        of_sample: it is a column of one sample, of those that the file has.
    """

    name: str
    values: Callable[[Row], Values]
    known: tuple[Any, ...] = ()
    closed: bool = False
    numeric: bool = False
    form: Callable[[str], Any] | None = None
    unset: str = ""
    of_sample: bool = False

    def suited(self, value: Any) -> Any:
        """The value of a condition as rows have such.

        Raises:
            Unverifiable: no row can have it.
        """
        if value is None:
            return None
        name, given = shortened(self.name), shortened(value)
        written = Written.read(value)
        if written and written.percent:
            if not is_percent(self.name):
                raise Unverifiable(
                    f"a condition compares with what the column {name} has, and {given} is a percentage",
                    "write the number as the column has it: 0.2 is 20% of a share",
                )
            value = _plain(written)
        if self.numeric and isinstance(value, str) and written:
            value = _plain(written)
        if self.numeric and not is_number(value):
            raise Unverifiable(f"the column {name} has numbers, and {given} is none", f"give one: {EXAMPLE}")
        if self.closed and not any(_equal(each, value) for each in self.known):
            words = [*alike(str(value), self.known), *map(str, self.known)]
            raise Unverifiable(
                f"no row has {name} {given}, and none can have it: the file knows no such",
                "name one of those that there are",
                list(dict.fromkeys(words))[:WORDS],
            )
        if self.form and not self.form(str(value)):
            raise Unverifiable(
                f"no row has {name} {given}, and none can have it: it is not written so",
                "name a value as the file has it; a missing one is null",
                list(map(str, self.known[:NEAR])),
            )
        return value


class Rows(Protocol):
    """An open file that has rows.

    Attributes:
        samples: those that the file itself names.
        noun: what rows are called.
        passed_over: what says that a row is none that is counted.
    """

    samples: list[str]
    noun: str
    passed_over: Callable[[Row], bool] | None

    def column(self, name: str, query: Mapping[str, Any]) -> Column:
        """A column by its name.

        Args:
            query: that asks for it.

        Raises:
            Unverifiable: there is none.
        """

    def rows(self) -> Iterator[Row]:
        """Every row, in order."""


@attrs.define
class Condition:
    """A condition on one column, and what is seen of that while rows go by.

    Attributes:
        unseen: texts that it names and no row has had yet.
        seen: those that rows had.
        has_numbers, has_texts: rows had numbers, or something else, where numbers are compared.
        is_unset: there were rows, and none had a value.
    """

    column: Column
    op: str
    value: Any
    unseen: set[str] = attrs.field(factory=set)
    seen: dict[str, None] = attrs.field(factory=dict)
    has_numbers: bool = False
    has_texts: bool = False
    is_unset: bool | None = None

    def __attrs_post_init__(self) -> None:
        if self.op in ("=", "!=", "in"):
            named = self.value if isinstance(self.value, list) else [self.value]
            self.unseen = {each for each in named if isinstance(each, str)} - {*self.column.known}

    def holds(self, row: Row) -> bool:
        """Whether it holds in a row."""
        values = tuple(value for value in self.column.values(row) if value is not None)
        if self.column.unset and self.is_unset is not False:
            self.is_unset = not values
        if self.unseen:
            texts = [str(value) for value in values]
            self.unseen.difference_update(texts)
            if len(self.seen) < MOST:
                self.seen.update(dict.fromkeys(texts))
        if self.value is None:
            return bool(values) is (self.op == "!=")
        if self.op in ORDER:
            numbers = [each for value in values if (each := number(value)) is not None]
            self.has_numbers |= bool(numbers)
            self.has_texts |= len(numbers) < len(values)
            return any(ORDER[self.op](each, self.value) for each in numbers)
        named = self.value if self.op == "in" else [self.value]
        found = any(_equal(value, each) for value in values for each in named)
        return not found if self.op == "!=" else found


def conditions_of(given: Any, rows: Rows, query: Mapping[str, Any]) -> list[Condition]:
    """The conditions that a query gives.

    Raises:
        Unverifiable: one that is none, or on a column that is not there.
    """
    found = []
    for each in given if isinstance(given, list) else [] if given is None else [given]:
        if not isinstance(each, Mapping) or not {"column", "value"} <= each.keys() <= {
            "column",
            "op",
            "value",
        }:
            raise Unverifiable(
                f"a condition has column, op and value, got {shortened(each)}", f"give them: {EXAMPLE}"
            )
        op, value = each.get("op", "="), each["value"]
        if op not in OPERATORS:
            raise Unverifiable(f"no operator {shortened(op)}", f"use one of {' '.join(OPERATORS)}: {EXAMPLE}")
        if (op == "in") is not isinstance(value, list):
            raise Unverifiable(
                "the operator in takes a list, the others one value", f"change op or value: {EXAMPLE}"
            )
        if op in ORDER:
            if (read := Written.read(value)) is None:
                raise Unverifiable(
                    f"the operator {op} takes a number, got {shortened(value)}", f"give one: {EXAMPLE}"
                )
            value = value if read.percent else float(read.value)
        if isinstance(value, dict) or (isinstance(value, list) and any(map(_is_nested, value))):
            raise Unverifiable(
                f"a condition compares with one value, got {shortened(value)}", f"give one: {EXAMPLE}"
            )
        column = rows.column(str(each["column"]), query)
        if op in ORDER and not isinstance(value, str):
            suited = value
        elif isinstance(value, list):
            suited = [column.suited(member) for member in value]
        else:
            suited = column.suited(value)
        found.append(Condition(column, op, suited))
    return found


def refuse_unsuitable(conditions: list[Condition], *, nothing: bool) -> None:
    """See that what conditions selected means anything, when all rows were looked at.

    Args:
        nothing: the claim is that there is nothing of the kind.

    Raises:
        Unverifiable: a value that no row has is like one that some have, or is taken for one; or an order of texts.
    """
    for condition in conditions:
        name = condition.column.name
        if condition.is_unset and condition.value is not None:
            raise Unverifiable(condition.column.unset, "ask without a condition on it")
        for value in sorted(condition.unseen):
            known = [*condition.column.known, *condition.seen]
            if not nothing or alike(value, known):
                raise Unverifiable(
                    f"no row has {shortened(name)} {shortened(value)}: the condition says nothing",
                    "name a value that the column has",
                    near(value, known),
                )
        if condition.has_texts and not condition.has_numbers:
            raise Unverifiable(f"no value of the column {shortened(name)} is a number", "compare it with =")


def number(value: Any) -> float | None:
    """The number that a value of a column is; None if it is none."""
    if is_number(value):
        return value if isinstance(value, int) else float(value)
    if isinstance(value, str) and "_" not in value:
        try:
            read = float(value)
        except ValueError:
            return None
        if is_number(read):
            return int(value) if value.lstrip("+-").isdecimal() else read
    return None


def _plain(written: Written) -> float:
    is_whole = written.value == written.value.to_integral_value()
    return int(written.value) if is_whole else float(written.value)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _equal(value: Any, claimed: Any) -> bool:
    if isinstance(value, bool) or isinstance(claimed, bool):
        return str(value).lower() == str(claimed).lower()
    if isinstance(claimed, str):
        return str(value) == claimed
    return bool(number(value) == claimed)
