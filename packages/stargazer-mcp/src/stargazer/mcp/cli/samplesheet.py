"""`stargazer samplesheet`: prints a sample sheet with what is in a folder."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import StorageError
from stargazer.mcp.cli.add import add_rows
from stargazer.mcp.cli.console import Parser, count, note, option, print_json

if TYPE_CHECKING:
    from stargazer.workflows import Entry

__all__ = ["run_arguments", "samplesheet"]


def samplesheet(argv: Sequence[str]) -> None:
    """Make a sample sheet."""
    parser = Parser(
        "samplesheet",
        "FOLDER [--output SHEET [--force]] [--json]",
        "Print a sample sheet, as CSV, with the FASTQ files of a folder and of those in it, or with the counts that\n"
        "Cell Ranger left there. Samples and lanes are read off the names: look through it before it is used, and\n"
        "fill in patient, sex and status.",
        "  stargazer samplesheet fastq > samples.csv\n"
        "  stargazer samplesheet cellranger --output samples.csv\n"
        "  stargazer run germline_short_variant_discovery --samplesheet samples.csv build=GRCh38 --outdir results",
        {
            "--output": option(
                "SHEET", "write it to this file, from whose folder its paths then count", type=Path
            ),
            "--force": "replace the file, if there is one",
            "--json": "print the rows as JSON",
        },
    )
    words = parser.sort(argv)
    output: Path | None = words.options.output
    if len(words.plain) != 1 or words.pairs:
        parser.error("give one folder")
    if words.options.force and output is None:
        parser.error("--force is for --output")
    from stargazer.workflows import samplesheet_of, samplesheet_text

    rows, notes = samplesheet_of(words.plain[0])
    for line in notes:
        note(line)
    text = samplesheet_text(rows, output.parent if output else None)
    if output is not None:
        _write(output, text, replace=words.options.force)
    if words.options.json:
        print_json(list(csv.DictReader(io.StringIO(text))))
    elif output is None:
        sys.stdout.write(text)
    samples = count(len({row.sample for row in rows}), "sample")
    note(f"{samples}, {count(len(rows), 'row')}{f' in {os.fspath(output)}' if output else ''}")


def run_arguments(
    workflow: Entry, path: Path, given: Mapping[str, Any], *, in_place: bool = False
) -> dict[str, Any]:
    """The arguments with which a workflow runs on a sample sheet, whose files are registered for it.

    What was decided, and what else the store has of the samples, is said on stderr.

    Args:
        given: the other arguments, which are looked at before anything is registered.

    Raises:
        InvalidAssetError: what is wrong with the sheet, a file or an argument; nothing is registered then.
    """
    from stargazer import storage
    from stargazer.workflows import beside_samplesheet, convert, read_samplesheet, samplesheet_arguments

    sheet = read_samplesheet(path)
    arguments, notes = samplesheet_arguments(workflow, sheet, given)
    converted = convert(workflow, arguments)
    samples = converted["samples"] if "samples" in converted else [converted["sample"]]
    store = storage.get_client().store
    records = add_rows(store, sheet, in_place=in_place)
    for line in [*notes, *beside_samplesheet(sheet, samples, records, store)]:
        note(f"note: {line}")
    return arguments


def _write(output: Path, text: str, *, replace: bool) -> None:
    try:
        with open(output, "w" if replace else "x", newline="", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise StorageError(
            f"{str(output)!r} is there already: give another name, or --force to replace it"
        ) from None
