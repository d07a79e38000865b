"""A table in a text file, CSV or TSV, with the separator, encoding and line ends that some spreadsheet gave it."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path

from stargazer.assets import InvalidAssetError
from stargazer.storage import refused

__all__ = ["MOST_SHOWN", "Problem", "read_table", "refuse"]

SEPARATORS = ",;\t"
ENCODINGS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""By what stands at the beginning of a file."""
LARGEST = 1 << 26  # bytes: of 100,000 rows they are a third of that
MOST_SHOWN = 30
"""Problems of one sheet that are shown."""

Problem = tuple[int, str]
"""The line of a sheet, the first being 1, and what is wrong there."""


def read_table(path: Path) -> tuple[int, list[str], list[tuple[int, list[str]]]]:
    """The line and the cells of the header, and those of each row that has any; blanks around cells are taken off.

    Raises:
        InvalidAssetError: the file cannot be read, is no text, is empty, or has a quote that does not end.
    """
    text = _text(path)
    rows = _rows(path, text)
    number, header = next(rows, (1, []))
    if (
        header and header[0].lower().startswith("sep=") and len("".join(header)) <= len("sep=;")
    ):  # Excel's hint
        number, header = next(rows, (1, []))
    if not header:
        raise InvalidAssetError(
            f"the sample sheet {str(path)!r} is empty: its first line names the columns, as sample,fastq_1,fastq_2"
        )
    return number, header, list(rows)


def refuse(path: Path, problems: list[Problem], *hints: str) -> None:
    """Say all that is wrong with a sheet, if there is anything.

    Raises:
        InvalidAssetError: there is.
    """
    if not problems:
        return
    problems = list(dict.fromkeys(problems))  # mates say the same of each other
    shown = [f"  line {line}: {text}" for line, text in sorted(problems, key=lambda problem: problem[0])]
    if (more := len(shown) - MOST_SHOWN) > 0:
        shown[MOST_SHOWN:] = [f"  ... and {more:,} more problems"]
    count = f"{len(problems):,} problems" if len(problems) > 1 else "a problem"
    raise InvalidAssetError("\n".join([f"the sample sheet {str(path)!r} has {count}:", *shown, *hints]))


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise InvalidAssetError(f"no such sample sheet: {str(path)!r}") from None
    except OSError as error:
        raise InvalidAssetError(f"the sample sheet: {refused(error, path)}") from error
    if data.startswith(b"PK\x03\x04"):
        raise InvalidAssetError(
            f"{str(path)!r} is a workbook, not a text file: save the sheet as CSV (UTF-8)"
        )
    encoding = next((name for mark, name in ENCODINGS.items() if data.startswith(mark)), "utf-8")
    if len(data) > LARGEST or (encoding != "utf-16" and b"\0" in data):
        raise InvalidAssetError(f"{str(path)!r} is no sample sheet: expected a table as text, CSV or TSV")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidAssetError(
            f"{str(path)!r}, line {line}: a character is not in UTF-8: save the sheet as CSV (UTF-8)"
        ) from None


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The line on which each row begins, and its cells."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(
        io.StringIO(text, newline=None), delimiter=separator, skipinitialspace=separator != "\t", strict=True
    )
    line = 1
    try:
        for cells in reader:
            if any(found := [cell.strip() for cell in cells]):
                yield line, found
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidAssetError(
            f"the sample sheet {str(path)!r}, line {line}: {error}; a cell that has a quote in it is written "
            '"so ""quoted"" here"'
        ) from None
