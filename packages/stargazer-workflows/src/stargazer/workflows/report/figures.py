"""Tables of the figures that a summary has of samples and lanes, with what is unusual marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, TypeAlias

import attrs
from stargazer.workflows.report import page, plots

__all__ = ["Column", "Figures", "Form", "by_sample", "each_line", "row"]

Figures: TypeAlias = Mapping[str, Any]
Form: TypeAlias = Callable[[float | None], str]

ALWAYS = frozenset({"reads", "calls_that_pass"})
"""Figures that mean something of a sample without reads."""


@attrs.frozen
class Column:
    """A column of figures.

    Attributes:
        figure: where it is in what the summary has of a sample, with dots.
        shown: how it is written.
        judged: what `unusual` of the summary calls it, if it is judged by another one.
    """

    head: str
    figure: str
    shown: Form
    judged: str = ""

    def text(self, found: Figures, marked: Set[str]) -> str:
        """The cell of a sample or a lane, of which these figures are unusual."""
        names = self.figure.split(".")
        value: Any = found
        for name in names:
            value = value[name]
        shown = self.shown(value if found["reads"] or names[0] in ALWAYS else None)
        return page.Unusual(shown) if (self.judged or self.figure) in marked else shown


def by_sample(columns: Sequence[Column], summary: Figures, samples: Mapping[str, Figures]) -> str:
    """A table with a row for each of these samples of a summary."""
    rows = [(name, *row(columns, found, summary, name)) for name, found in samples.items()]
    return page.table(("sample", *(column.head for column in columns)), rows, range(1, 1 + len(columns)))


def row(
    columns: Iterable[Column], found: Figures, summary: Figures, sample: str, lane: str = ""
) -> list[str]:
    """The cells of a sample or, with a lane, of that."""
    marked = {
        item["figure"]
        for item in summary["unusual"]
        if (item["sample"], item.get("lane", "")) == (sample, lane)
    }
    return [column.text(found, marked) for column in columns]


def each_line(samples: Mapping[str, Any]) -> str:
    """What to say of a plot with too many lines for a legend."""
    return "" if plots.colours(list(samples)) else f" Each of the {len(samples)} lines is a sample."
