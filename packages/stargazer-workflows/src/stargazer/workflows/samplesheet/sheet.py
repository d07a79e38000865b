"""What a sample sheet says: rows with the columns of nf-core/sarek or of single cells, and how they are written."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import attrs
from stargazer.workflows.samplesheet.table import Problem

__all__ = [
    "COLUMNS",
    "FILES",
    "ILLUMINA",
    "KINDS",
    "NAMES",
    "SampleSheet",
    "Sex",
    "SheetRow",
    "contradictions",
    "mangled",
    "samplesheet_text",
]  # fmt: skip

Sex = Literal["M", "F", ""]

NAMES = ("patient", "sample", "library", "lane", "batch", "condition")
FILES = ("fastq_1", "fastq_2", "bam", "cram", "path")
COLUMNS = ("patient", "sex", "status", "sample", "library", "lane", *FILES, "batch", "condition")
"""In the order in which they are written."""
KINDS = {
    "fastq_1": "reads",
    "fastq_2": "reads",
    "bam": "an alignment",
    "cram": "an alignment",
    "path": "counts",
}
SEX_WRITTEN = {"F": "XX", "M": "XY", "": "NA"}
ILLUMINA = re.compile(
    r"(?P<sample>.+)_S\d+(?:_(?P<lane>L\d{3}))?_(?P<mate>R[12])_\d{3}\.f(?:ast)?q(?:\.gz)?",
    re.IGNORECASE | re.DOTALL,
)
"""A file as bcl2fastq and BCL Convert name it."""
MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec|mrz|mär|mai|okt|dez)"
MANGLED = re.compile(
    rf"\d{{1,2}}[-. ]{{1,2}}{MONTH}|{MONTH}[- ]\d{{2,4}}|\d{{4}}-\d\d-\d\d|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}"
    r"|\d+(?:[.,]\d+)?E\+\d+",
    re.IGNORECASE,
)
"""What a spreadsheet makes of names like MAR1, 1-3 or 1E5."""


@attrs.frozen(kw_only=True)
class SheetRow:
    """Files of one sample: a pair of FASTQ files, an alignment, or counts of single cells; fields are the columns.

    Attributes:
        line: of the sheet, the first being 1.
        sex: M, F, or nothing where it is not known.
        status: 1 for a tumour, else 0.
    """

    line: int = attrs.field(default=0, eq=False)
    sample: str
    patient: str = ""
    sex: Sex = ""
    status: int = 0
    library: str = ""
    lane: str = ""
    fastq_1: Path | None = None
    fastq_2: Path | None = None
    bam: Path | None = None
    cram: Path | None = None
    path: Path | None = None
    batch: str = ""
    condition: str = ""

    @property
    def files(self) -> dict[str, Path]:
        """The files by column."""
        return {name: path for name in FILES if (path := getattr(self, name)) is not None}

    @property
    def kind(self) -> str:
        """What its files are, in words: reads, an alignment or counts."""
        return next((KINDS[name] for name in self.files), "")


@attrs.frozen
class SampleSheet:
    """The rows of a sample sheet, which fit each other.

    Attributes:
        path: of the sheet.
        notes: what may be wrong, in sentences.
    """

    path: Path
    rows: tuple[SheetRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> list[str]:
        """Their names, in the order of the sheet."""
        return list(dict.fromkeys(row.sample for row in self.rows))

    @property
    def sexes(self) -> dict[str, Sex]:
        """M or F for each sample of which it is known, also from another row of its patient."""
        of: dict[str, Sex] = {row.patient or row.sample: row.sex for row in self.rows if row.sex}
        persons = {row.sample: row.patient or row.sample for row in self.rows}
        return {sample: of[person] for sample, person in persons.items() if person in of}

    @property
    def tumours(self) -> list[str]:
        """The samples whose status is 1."""
        return list(dict.fromkeys(row.sample for row in self.rows if row.status))

    def kinds(self, samples: Iterable[str]) -> set[str]:
        """What the files of some samples are, in words: reads, an alignment, counts."""
        wanted = set(samples)
        return {row.kind for row in self.rows if row.sample in wanted}


def samplesheet_text(rows: Sequence[SheetRow], folder: Path | None = None) -> str:
    """A sheet as CSV, which is read back as the same rows.

    Args:
        folder: of the sheet, from which relative paths are to count; as they are by default.
    """
    has_reads = any(row.fastq_1 for row in rows)
    always = {"sample", *(("patient", "sex", "status", "lane") if has_reads else ())}
    columns = [name for name in COLUMNS if name in always or any(getattr(row, name) for row in rows)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_written(row, name, folder) for name in columns])
    return file.getvalue()


def _written(row: SheetRow, name: str, folder: Path | None) -> str:
    value = getattr(row, name)
    if name == "sex":
        return SEX_WRITTEN[value]
    if isinstance(value, Path) and folder is not None and not value.is_absolute():
        return os.path.relpath(value, folder)
    return "" if value is None else str(value)


def contradictions(rows: Sequence[SheetRow]) -> Iterator[Problem]:
    """What two rows say that cannot both be so."""
    files: dict[str, tuple[int, str]] = {}
    lanes: dict[tuple[str, str, str], int] = {}
    said: dict[tuple[str, str], tuple[str, int]] = {}
    for row in rows:
        for column, path in row.files.items():
            earlier, other = files.setdefault(os.path.abspath(path), (row.line, column))
            if earlier != row.line:
                yield row.line, f"{column} {path.name!r} is also the {other} of line {earlier}"
        sample = f"sample {row.sample!r}"
        if row.fastq_1:
            lane = row.sample, row.library, row.lane
            title = f"lane {row.lane!r} of {sample}" if row.lane else f"{sample}, without a lane,"
            if (earlier := lanes.setdefault(lane, row.line)) != row.line:
                yield (
                    row.line,
                    f"{title} is also on line {earlier}: give each pair of files a lane of its own",
                )
        statements = {
            (sample, "patient"): row.patient,
            (f"patient {row.patient!r}" if row.patient else sample, "sex"): row.sex and SEX_WRITTEN[row.sex],
            (sample, "status"): str(row.status),
            (sample, "files"): row.kind,
        }
        for (of, what), value in statements.items():
            before, earlier = said.setdefault((of, what), (value, row.line)) if value else (value, row.line)
            if before != value:
                yield row.line, f"the {what} of {of}: {value}, and {before} on line {earlier}"
            elif earlier != row.line and what == "files" and row.kind != "reads":
                yield (
                    row.line,
                    f"{sample} has {row.kind} on line {earlier} already: a sample has one such file",
                )


def mangled(rows: Sequence[SheetRow]) -> Iterator[str]:
    """What may have been another name before a spreadsheet changed it, where no file is named so."""
    for row in rows:
        for column in NAMES:
            value = getattr(row, column)
            if MANGLED.fullmatch(value) and not any(value in str(path) for path in row.files.values()):
                yield (
                    f"line {row.line}: {column} {value!r} looks like a date or a number that a spreadsheet made of "
                    "another name: if so, correct it, and format the column as text"
                )
