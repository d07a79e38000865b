"""The queries of claims: what is counted, added up or looked up while the rows of a file go by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from stargazer.mcp.claims.conditions import (
    Column,
    Condition,
    Row,
    Rows,
    conditions_of,
    number,
    refuse_unsuitable,
)
from stargazer.mcp.claims.verdicts import Unverifiable, near
from stargazer.mcp.strict_json import shortened

__all__ = ["KEYS", "KINDS", "Tally", "in_words", "kind_of", "tally_of"]

KINDS: Mapping[str, str] = {
    "count": '{"what": "count", "where": [...]}',
    "share": '{"what": "share", "where": [...], "of": [...]}',
    "sum": '{"what": "sum", "column": "POS", "where": [...]}',
    "mean": '{"what": "mean", "column": "QUAL", "where": [...]}',
    "value": '{"what": "value", "column": "QUAL", "where": [...]}',
    "genotype": '{"what": "genotype", "chrom": "chr20", "pos": 10000117, "ref": "C", "alt": "T"}',
}
"""What can be asked of rows, each with an example."""

KEYS: Mapping[str, set[str]] = {
    "count": {"where"},
    "share": {"where", "of"},
    "sum": {"column", "where"},
    "mean": {"column", "where"},
    "value": {"column", "where"},
    "genotype": {"chrom", "pos", "ref", "alt"},
}
EVERYWHERE = {"what", "sample", "axis", "layer"}
PART = 1 << 16  # numbers that are added up together


def kind_of(query: Mapping[str, Any]) -> str:
    """What a query asks for.

    Raises:
        Unverifiable: nothing that is known, or with words that it does not take.
    """
    kind = query.get("what")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Unverifiable(
            f"no query {shortened(kind)}", f"ask for one of {', '.join(KINDS)}: {KINDS['count']}"
        )
    taken = KEYS[kind] | EVERYWHERE
    if unknown := sorted(query.keys() - taken):
        raise Unverifiable(
            f"the query {kind} takes no {shortened(unknown[0])}",
            f"for example {KINDS[kind]}",
            near(unknown[0], sorted(taken)),
        )
    if "column" in taken and not query.get("column"):
        raise Unverifiable(f"the query {kind} needs a column", f"for example {KINDS[kind]}")
    return kind


def in_words(query: Mapping[str, Any], rows: str) -> str:
    """What a query asks for, in words.

    Args:
        rows: the word for the rows of the file.
    """
    kind = query.get("what")
    if kind == "genotype":
        alleles = [f"{key} {shortened(query[key])}" for key in ("ref", "alt") if query.get(key) is not None]
        return " ".join(
            [f"genotype at {shortened(query.get('chrom'))}, {shortened(query.get('pos'))}", *alleles]
        )
    where = _selected(query.get("where"), rows)
    if kind == "share":
        return f"share of {where} among {_selected(query.get('of'), rows)}"
    return (
        f"count of {where}" if kind == "count" else f"{kind} of {shortened(query.get('column'))} of {where}"
    )


def _selected(given: Any, rows: str) -> str:
    """Conditions in words."""
    conditions = given if isinstance(given, list) else [] if given is None else [given]
    told = [
        f"{shortened(each.get('column'))} {each.get('op', '=')} {shortened(each.get('value'))}"
        if isinstance(each, Mapping)
        else shortened(each)
        for each in conditions
    ]
    return f"{rows} where {' and '.join(told)}" if told else f"all {rows}"


@attrs.define
class Tally:
    """What one query has found so far.

    Attributes:
        kind: what is asked for.
        rows: that were looked at.
        matched: rows among them for which `where` holds.
        missing: rows of those that have nothing in the column.
        passed_over: what says that a row does not count.
    """

    kind: str
    column: Column | None
    where: list[Condition]
    of: list[Condition]
    passed_over: Callable[[Row], bool] | None = None
    rows: int = 0
    matched: int = 0
    missing: int = 0
    numbers: list[float] = attrs.field(factory=list, repr=False)
    counted: int = 0
    found: list[tuple[Any, ...]] = attrs.field(factory=list, repr=False)
    problem: str = ""

    def add(self, row: Row) -> None:
        """Take one row into account."""
        if self.passed_over and self.passed_over(row):
            return
        among, holds = (
            [each.holds(row) for each in group] for group in (self.of, self.where)
        )  # all see every row
        self.rows += all(among)
        if not all(among + holds):
            return
        self.matched += 1
        if self.column is None:
            return
        values = self.column.values(row)
        if self.kind == "value":
            if values not in self.found and len(self.found) < 2:
                self.found.append(values)
        elif not values:
            self.missing += 1
        elif len(values) > 1:
            self.problem = "has several values in one row"
        elif (read := number(values[0])) is None:
            self.problem = "has values that are no numbers"
        else:
            self.counted += 1
            self.numbers.append(read)
            if len(self.numbers) > PART:
                self.numbers = [_sum(self.numbers)]

    def result(self, claimed: Any) -> Any:
        """What was asked for, when all rows have gone by.

        Args:
            claimed: the value that it is said to be.

        Raises:
            Unverifiable: there is no such thing.
        """
        refuse_unsuitable([*self.of, *self.where], nothing=self.kind == "count" and claimed in (0, "0"))
        name = shortened(self.column.name) if self.column else ""
        if self.problem:
            raise Unverifiable(f"the column {name} {self.problem}", "narrow where, or ask for another column")
        if self.kind == "count":
            return self.matched
        if self.kind == "share":
            if not self.rows:
                raise Unverifiable("no row satisfies of: there is nothing to have a share of", "change of")
            return self.matched / self.rows
        if self.kind == "value":
            return self._value(name)
        if not self.counted:
            raise Unverifiable(f"no row that satisfies where has a value in {name}", "change where or column")
        total = _sum(self.numbers)
        return total if self.kind == "sum" else total / self.counted

    def _value(self, name: str) -> Any:
        if not self.found:
            raise Unverifiable("no row satisfies where", "change where")
        if len(self.found) > 1:
            raise Unverifiable(
                f"{self.matched:,} rows satisfy where, with different values in {name}", "narrow where"
            )
        values = [value if isinstance(value, bool) else _typed(value) for value in self.found[0]]
        return None if not values else values[0] if len(values) == 1 else values

    def as_dict(self) -> dict[str, int]:
        """How many rows the result rests on."""
        return {
            "rows": self.rows,
            "matched": self.matched,
            **({"missing": self.missing} if self.missing else {}),
        }


def tally_of(query: Mapping[str, Any], rows: Rows) -> Tally:
    """The tally of a query on a file.

    Raises:
        Unverifiable: a wrong query.
    """
    kind = kind_of(query)
    column = rows.column(str(query["column"]), query) if query.get("column") else None
    return Tally(
        kind,
        column,
        conditions_of(query.get("where"), rows, query),
        conditions_of(query.get("of"), rows, query),
        rows.passed_over,
    )


def _sum(numbers: list[float]) -> float:
    return sum(numbers) if all(isinstance(each, int) for each in numbers) else math.fsum(numbers)


def _typed(value: Any) -> Any:
    read = number(value)
    return value if read is None else read
