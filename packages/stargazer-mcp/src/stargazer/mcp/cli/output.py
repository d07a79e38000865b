"""What reaches the terminal: messages, tables and JSON, with every control character shown instead of obeyed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stargazer.assets.addresses import hidden

__all__ = ["escaped", "fail", "human_size", "note", "plain_warnings", "print_fitting", "print_json", "print_table",
           "print_text", "settle_streams"]  # fmt: skip

WIDTH = 120
"""Characters of a line where no terminal says how wide it is."""
NARROWEST = 20
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def settle_streams() -> None:
    """Make every file name printable, also one that is no text in this locale; closed streams take everything."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def escaped(text: str, keep: str = "") -> str:
    """Text with control characters and line ends (those in `keep` aside) as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def fail(text: str) -> None:
    """An error, on stderr."""
    note(f"stargazer: error: {text}")


def note(text: str) -> None:
    """Something people should know, on stderr; of a URL in it neither user, password nor query."""
    try:
        sys.stderr.write(escaped(hidden(text), keep="\n\t") + "\n")
    except (
        OSError
    ):  # nobody reads it, or the disk that it goes to is full; else Python tries again when it ends
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings within a `with` block are one line on stderr each, once, without the code that gave them."""
    with warnings.catch_warnings():  # whatever was said in an earlier block is said again
        warnings.showwarning = lambda message, *_, **__: note(f"stargazer: warning: {message}")
        yield


def print_text(text: str) -> None:
    """Lines of an answer, on stdout."""
    sys.stdout.write(escaped(text, keep="\n") + "\n")


def print_json(value: Any) -> None:
    """An answer for programs, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns, on stdout; columns in which no row has anything are left out."""
    shown = [[escaped(cell) for cell in row] for row in rows]
    used = [n for n in range(len(header)) if any(row[n] for row in shown)]
    lines = [[header[n] for n in used], *([row[n] for n in used] for row in shown)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(used))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write(text.rstrip() + "\n")


def print_fitting(rows: Sequence[Mapping[str, str]], *, spared: Sequence[str], cut: str) -> None:
    """A table that fits the terminal (120 characters where there is none), if it can.

    Args:
        rows: cells by column.
        spared: columns that are left out, one after the other, where it does not fit with them.
        cut: the column that is cut where that is not enough.
    """
    width = shutil.get_terminal_size((WIDTH, 0)).columns if sys.stdout.isatty() else WIDTH
    rows = [{name: escaped(cell) for name, cell in row.items()} for row in rows]
    columns = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []

    def over() -> int:
        cells = [max(len(name), *(len(row[name]) for row in rows)) for name in columns]
        return sum(cells) + 2 * (len(columns) - 1) - width

    for name in spared:
        if rows and over() > 0 and name in columns:
            columns.remove(name)
    if cut in columns and (more := over()) > 0:
        longest = max(NARROWEST, max(len(row[cut]) for row in rows) - more)
        rows = [{**row, cut: _shortened(row[cut], longest)} for row in rows]
    print_table(columns, [[row[name] for name in columns] for row in rows])


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def human_size(size: float) -> str:
    """Bytes as people say them: 1.2 GB."""
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
