"""Rows of tables: comma- or tab-separated text with the names of columns in its first line."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from stargazer.mcp.claims.conditions import Column, Row, Values
from stargazer.mcp.claims.verdicts import Unverifiable, near
from stargazer.mcp.strict_json import shortened

__all__ = ["Table", "opened_text"]

LONGEST = 1 << 20  # characters of a line
MISSING = ("", "NA", "NaN", "nan", "null", "?")
PICARD = "## htsjdk.samtools.metrics"
METRICS = "## METRICS CLASS"


class Table:
    """An open table."""

    noun = "rows"
    passed_over: Callable[[Row], bool] | None = None

    def __init__(self, file: TextIO):
        self.samples: list[str] = []
        lines = _lines(file)
        first = next((line for line in lines if line.strip()), "")
        if first.startswith(PICARD):
            lines = _metrics(lines)
            first = next(lines, "")
        while first.startswith("##"):
            first = next((line for line in lines if line.strip()), "")
        first = first.removeprefix("#")  # of samtools coverage
        if "\0" in first:
            raise Unverifiable("the file is no table of text")
        self.reader = csv.reader(lines, delimiter="\t" if "\t" in first else ";" if ";" in first else ",")
        self.names = next(csv.reader([first], delimiter=self.reader.dialect.delimiter), [])
        if len(self.names) < 2 or any(name.replace(".", "", 1).isdecimal() for name in self.names):
            raise Unverifiable(
                "the first line of the file does not name columns: it is no table that can be asked"
            )

    def column(self, name: str, query: Mapping[str, Any]) -> Column:
        """A column by its name."""
        if name not in self.names:
            raise Unverifiable(
                f"no column {shortened(name)}", "name a column of the table", near(name, self.names)
            )
        if self.names.count(name) > 1:
            raise Unverifiable(f"several columns are called {shortened(name)}")
        place = self.names.index(name)

        def values(row: Row) -> Values:
            return (row[place],) if place < len(row) and row[place] not in MISSING else ()

        return Column(name, values, form=lambda text: text not in MISSING)

    def rows(self) -> Iterator[Row]:
        """Every row, in order."""
        return (row for row in self.reader if row)


def _lines(file: TextIO) -> Iterator[str]:
    """The lines of a text.

    Raises:
        ValueError: one is too long for a table.
    """
    for line in iter(lambda: file.readline(LONGEST), ""):
        if len(line) == LONGEST:
            raise ValueError(f"a line of more than {LONGEST:,} characters")
        yield line


def _metrics(lines: Iterator[str]) -> Iterator[str]:
    """The table of metrics in a report of Picard or GATK: up to a blank line, after which a histogram may come."""
    for line in itertools.dropwhile(lambda line: not line.startswith(METRICS), lines):
        if not line.startswith(METRICS):
            if not line.strip():
                return
            yield line


@contextlib.contextmanager
def opened_text(path: Path) -> Iterator[TextIO]:
    """A text, decompressed if it is gzip."""
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with io.TextIOWrapper(
            gzip.GzipFile(fileobj=file) if is_gzip else file, "utf-8-sig", newline=""
        ) as text:
            yield text
