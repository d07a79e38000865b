"""Reads a sample sheet and checks it as a whole: every problem of every row is said at once, with its line.

What looks like a name that a spreadsheet took for a date is a note, because there are samples that are named by a date.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stargazer.assets import R1, InvalidAssetError
from stargazer.assets.addresses import is_address
from stargazer.assets.keyvalues import composed
from stargazer.storage import mates
from stargazer.workflows.samplesheet.sheet import (
    COLUMNS,
    FILES,
    ILLUMINA,
    KINDS,
    NAMES,
    SampleSheet,
    Sex,
    SheetRow,
    contradictions,
    mangled,
)
from stargazer.workflows.samplesheet.table import Problem, read_table, refuse

__all__ = ["read_samplesheet"]

INDEXES = ("bai", "crai")
"""Known from nf-core/sarek, and not read: alignments are indexed here."""
SEXES: dict[str, Sex] = {"xx": "F", "f": "F", "female": "F", "xy": "M", "m": "M", "male": "M",
                         "": "", "na": "", "unknown": ""}  # fmt: skip
STATUS = {"": 0, "0": 0, "normal": 0, "1": 1, "tumour": 1, "tumor": 1}
NO_FILE = "no such file"


def read_samplesheet(
    path: str | os.PathLike[str], *, inside: Callable[[Path], object] | None = None
) -> SampleSheet:
    """Read a sample sheet, CSV or TSV, and check it as a whole; that its files are there too, but not what is in them.

        >>> sheet = read_samplesheet("samples.csv")
        >>> sheet.samples
        ['anna', 'ben']

    Args:
        path: of the sheet; relative paths in it count from its folder. A name like `anna_S1_L001_R1_001.fastq.gz` gives
            sample and lane where the sheet does not.
        inside: asked about each file before it is looked at; it raises an error of one that may not be.

    Raises:
        InvalidAssetError: what is wrong with it, with the line of each problem.
    """
    path = Path(path)
    first, header, lines = read_table(path)
    problems: list[Problem] = []
    columns = _columns(header, first, problems)
    if not lines:
        problems.append((first, "there is no row below the names of the columns"))
    for at in [
        at
        for at, title in enumerate(header)
        if not title and any(len(cells) > at and cells[at] for _, cells in lines)
    ]:
        problems.append((first, f"column {at + 1} has no name"))
    reader = _Reader(path.parent, set(columns.values()), problems, inside)
    rows = []
    for line, cells in lines:
        if any(cells[len(header) :]) or len(cells) < len(header):
            problems.append(
                (line, f"{len(cells)} cells, expected {len(header)}: one may have a separator in it")
            )
        elif row := reader.row(line, {name: cells[at] for at, name in columns.items()}):
            rows.append(row)
    problems += contradictions(rows)
    notes = list(mangled(rows))
    hints = (
        [f"Paths count from the folder of the sheet, {str(path.parent)!r}."] if reader.is_missing_file else []
    )
    refuse(path, problems, *hints, *notes)
    return SampleSheet(path, tuple(rows), tuple(notes))


def _columns(header: Sequence[str], line: int, problems: list[Problem]) -> dict[int, str]:
    """The known columns by their place; one whose name is misspelt is a problem, and read as what it may be."""
    found: dict[int, str] = {}
    misspelt: dict[int, str] = {}
    for at, title in enumerate(header):
        name = re.sub(r"[ -]+", "_", title.lower())
        if name in found.values():
            problems.append((line, f"the column {title!r} is there twice"))
        elif name in COLUMNS or name in INDEXES:
            found[at] = name
        elif title:
            near = difflib.get_close_matches(name, COLUMNS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(COLUMNS)}"
            problems.append((line, f"unknown column {title!r}; {hint}"))
            misspelt |= {at: near[0]} if near else {}
    for at, name in misspelt.items():
        if name not in found.values():
            found[at] = name
    there = set(found.values())
    if not there & set(FILES):
        problems.append(
            (line, "no column says where the files are: expected fastq_1 and fastq_2, bam, cram, or path")
        )
    for name, other in (("fastq_1", "fastq_2"), ("fastq_2", "fastq_1")):
        if name in there and other not in there:
            problems.append((line, f"the column {other!r} is missing, which has the mates of {name}"))
    return found


class _Reader:
    """Reads rows one after the other, and notes what is wrong with each.

    Args:
        folder: of the sheet.
        columns: that the sheet has.
        problems: to which those found are added.
        inside: as of `read_samplesheet`.
    """

    def __init__(
        self,
        folder: Path,
        columns: set[str],
        problems: list[Problem],
        inside: Callable[[Path], object] | None,
    ):
        self.folder, self.columns, self.problems, self.inside = folder, columns, problems, inside
        self.is_missing_file = False
        self.seen: dict[tuple[str, ...], int] = {}

    def row(self, line: int, cells: Mapping[str, str]) -> SheetRow | None:
        """A row; None for one that cannot be read any further."""

        def say(text: str) -> None:
            self.problems.append((line, text))

        same = tuple(cells.values())
        if (earlier := self.seen.setdefault(same, line)) != line:
            say(f"the same as line {earlier}")
            return None
        names = {name: composed(cells.get(name, "")) for name in NAMES}
        files = self._files(cells, say)
        if not self.columns & set(FILES):
            return None
        said = [ILLUMINA.fullmatch(files[name].name) for name in ("fastq_1", "fastq_2") if name in files]
        told = [{"sample": match["sample"], "lane": match["lane"] or ""} for match in said if match]
        if len(told) == 2 and told[0] != told[1]:
            say(
                f"fastq_1 and fastq_2 are of {told[0]['sample']} {told[0]['lane']} and {told[1]['sample']} "
                f"{told[1]['lane']}, as their names say: which are mates?"
            )
        for name in ("sample", "lane") if told else ():
            names[name] = names[name] or told[0][name]
        if not names["sample"]:
            say("sample is empty, and no file is named as Illumina's are (NAME_S1_L001_R1_001.fastq.gz)")
        _check_names(names, say)
        _check_files(files, self.columns, say)
        sex, status = cells.get("sex", "").lower(), cells.get("status", "").lower()
        if sex not in SEXES:
            say(f"sex {cells['sex']!r}: expected XX or female, XY or male, or NA where it is not known")
        if status not in STATUS:
            say(f"status {cells['status']!r}: expected 0 or normal, 1 or tumour")
        if not names["sample"]:
            return None
        return SheetRow(
            line=line,
            sex=SEXES.get(sex, ""),
            status=STATUS.get(status, 0),
            **names,
            fastq_1=files.get("fastq_1"),
            fastq_2=files.get("fastq_2"),
            bam=files.get("bam"),
            cram=files.get("cram"),
            path=files.get("path"),
        )

    def _files(self, cells: Mapping[str, str], say: Callable[[str], None]) -> dict[str, Path]:
        found = {}
        for name in FILES:
            cell = cells.get(name, "")
            if not cell:
                continue
            if is_address(cell):
                say(
                    f"{name}: a URL: download it, or `stargazer add URL --sha256 SUM`, and give files of this machine"
                )
                continue
            found[name] = self.folder / cell
            try:
                if self.inside is not None:
                    self.inside(found[name])
            except InvalidAssetError as error:
                say(f"{name}: {error}")
                continue
            if problem := _unreadable(found[name], may_be_folder=name == "path"):
                say(f"{name}: {problem}: {cell!r}")
                self.is_missing_file |= problem == NO_FILE and not os.path.isabs(cell)
        return found


def _unreadable(path: Path, *, may_be_folder: bool) -> str:
    """Why a file cannot be read, if that can be told without reading it."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return NO_FILE
    except OSError as error:
        return str(error.strerror).lower()
    is_folder = stat.S_ISDIR(status.st_mode)
    if is_folder and not may_be_folder:
        return "a folder, not a file"
    if not os.access(path, os.R_OK):
        return "cannot be read, check its permissions"
    return "" if is_folder or status.st_size else "an empty file"


def _check_names(names: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Names may be what the fields of assets may be, but for slashes, which files named after them cannot have."""
    for name, value in names.items():
        if "/" in value or "\\" in value:
            say(f"{name} {value!r} has a slash: files are named after it, give it another name")
        elif value:
            try:
                R1(sample=value)
            except InvalidAssetError as error:
                say(f"{name}: {str(error).removeprefix('r1: sample: ')}")


def _check_files(files: Mapping[str, Path], columns: set[str], say: Callable[[str], None]) -> None:
    kinds = {KINDS[name] for name in files}
    if not files:
        say(f"no file: {' or '.join(name for name in FILES if name in columns)} is to be given")
    elif len(kinds) > 1 or {"bam", "cram"} <= files.keys():
        say(f"{' and '.join(files)} in one row: give each kind of file a row of its own")
    for name, other in (("fastq_1", "fastq_2"), ("fastq_2", "fastq_1")):
        if name in files and other not in files and other in columns:
            say(f"{other} is empty: the mates of {files[name].name!r} are missing")
    if {"fastq_1", "fastq_2"} <= files.keys():
        first, second = files["fastq_1"], files["fastq_2"]
        if first == second:
            say(f"fastq_1 and fastq_2 are the same file, {first.name!r}")
        elif mates([first, second]).get(first) == second:
            say(f"fastq_1 and fastq_2 are exchanged, as their names say: {first.name!r}, {second.name!r}")
