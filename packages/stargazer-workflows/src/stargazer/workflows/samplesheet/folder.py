"""Makes the rows of a sample sheet from a folder: of its FASTQ files, or of the counts that Cell Ranger left there."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
from stargazer.assets import FormatError, InvalidAssetError
from stargazer.storage import folder_parts, mates
from stargazer.workflows.samplesheet.sheet import ILLUMINA, SheetRow

__all__ = ["named_reads", "samplesheet_of"]

FASTQ = re.compile(r".+\.f(?:ast)?q(?:\.gz)?", re.IGNORECASE | re.DOTALL)
INDEX_READS = re.compile(r".+_I[12](?:_\d{3})?\.f(?:ast)?q(?:\.gz)?", re.IGNORECASE | re.DOTALL)
BEFORE_MATE = re.compile(
    r"(?P<sample>.*?)(?:[._-](?P<lane>L\d{3}))?(?:(?:^|[._-])R|[._-])?", re.IGNORECASE | re.DOTALL
)
"""What the names of two mates begin with alike, where they are not Illumina's."""
MATRIX = re.compile(r"(?:sample_)?filtered_feature_bc_matrix(?:\.h5)?")
RAW = re.compile(r"(?:sample_)?raw_.*|raw")
UNNAMED = ("outs", "count", "filtered", "Gene", "GeneFull", "Solo.out", "filtered_feature_bc_matrix",
           "sample_filtered_feature_bc_matrix", "per_sample_outs")  # fmt: skip
"""Folders of Cell Ranger and STARsolo that are not named after a sample."""


def samplesheet_of(folder: str | os.PathLike[str]) -> tuple[list[SheetRow], list[str]]:
    """The rows of a sample sheet with what is in a folder and those below it, and notes of what is left out.

    FASTQ files are paired by their names. `anna_S1_L001_R1_001.fastq.gz` and `anna_L001_R1.fq.gz` are lane L001 of
    anna, `anna_1.fq.gz` is of anna; pairs of one sample get lanes of their own. Of counts, the filtered ones of each
    run are taken, named after the run's folder.

    Raises:
        InvalidAssetError: no such folder, nothing in it, or both reads and counts.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidAssetError(f"no such folder: {str(folder)!r}")
    notes: list[str] = []
    fastq: list[Path] = []
    counts: dict[Path, Path] = {}  # by the folder of the run
    for here, names in _walk(folder, notes):
        fastq += [here / name for name in names if FASTQ.fullmatch(name)]
        for path in _counts(here, names):
            counts.setdefault(_run(path), path)  # an .h5 comes before the folder of the same counts
    if fastq and counts:
        raise InvalidAssetError(
            f"{str(folder)!r} has both reads ({str(fastq[0])!r}) and counts ({str(next(iter(counts.values())))!r}): "
            "give the folder of one of them"
        )
    rows = (
        _reads(fastq, notes)
        if fastq
        else [SheetRow(sample=run.name, path=path) for run, path in counts.items()]
    )
    if not rows:
        said = "".join(f"\n  {note}" for note in notes)
        raise InvalidAssetError(
            f"{str(folder)!r} has neither pairs of FASTQ files nor counts of Cell Ranger, nor has a folder in it{said}"
        )
    return rows, notes


def _walk(folder: Path, notes: list[str]) -> Iterator[tuple[Path, list[str]]]:
    """Every folder with the names of what is in it, hidden ones aside, in the order of names."""

    def failed(error: OSError) -> None:
        notes.append(f"not looked into: {error.filename!r}: {error.strerror}")

    for here, folders, files in os.walk(folder, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(here), sorted(name for name in [*files, *folders] if not name.startswith("."))


def _counts(here: Path, names: list[str]) -> Iterator[Path]:
    """The counts that lie in a folder, `.h5` first, and the folder itself where it is Cell Ranger's matrix."""
    yield from (here / name for name in names if MATRIX.fullmatch(name) and name.endswith(".h5"))
    yield from (here / name for name in names if name.endswith(".h5ad"))
    if any("matrix.mtx" in name for name in names) and not RAW.fullmatch(_absolute(here).name):
        with contextlib.suppress(FormatError):
            folder_parts("tenx_mtx", names)
            yield here


def _run(counts: Path) -> Path:
    """What counts are named after: their own file, if that has a name of its own, or the run's folder."""
    path = _absolute(counts)
    if path.suffix == ".h5ad":
        return path.with_suffix("")
    path = path.parent if path.suffix == ".h5" else path
    while path.name in UNNAMED and path.parent != path:
        path = path.parent
    return path


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _reads(paths: list[Path], notes: list[str]) -> list[SheetRow]:
    pairs = {first: second for second, first in mates(paths).items()}
    paired = {*pairs, *pairs.values()}
    notes += [
        f"left out: {str(path)!r}" + ("" if INDEX_READS.fullmatch(path.name) else ", which has no mate here")
        for path in paths
        if path not in paired
    ]
    of_sample: dict[str, list[SheetRow]] = defaultdict(list)
    for first, second in pairs.items():
        both = zip(first.name, second.name, strict=True)
        alike = "".join(one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], both))
        sample, lane = named_reads(first.name, alike)
        sample = sample or _absolute(first).parent.name
        if sample == "Undetermined":
            notes.append(f"left out: {str(first)!r} and its mates, which no sample was found for")
            continue
        row = SheetRow(sample=sample, patient=sample, lane=lane, fastq_1=first, fastq_2=second)
        of_sample[sample].append(row)
    return [row for rows in of_sample.values() for row in _with_lanes(rows, notes)]


def named_reads(name: str, before_mate: str) -> tuple[str, str]:
    """The sample and the lane that the name of a FASTQ file tells; empty where it does not.

    Args:
        before_mate: what the name has before the 1 or 2 by which mates differ.
    """
    match = ILLUMINA.fullmatch(name) or BEFORE_MATE.fullmatch(before_mate)
    return (match["sample"] or "", match["lane"] or "") if match else ("", "")


def _with_lanes(rows: list[SheetRow], notes: list[str]) -> Iterator[SheetRow]:
    """Rows of one sample, each with a lane of its own."""
    if len({row.lane for row in rows}) == len(rows):
        yield from rows
        return
    taken: set[str] = set()
    for row in rows:
        lane = next(name for name in _names(row.lane) if name not in taken)
        taken.add(lane)
        if lane != row.lane:
            notes.append(
                f"{row.sample}: {str(row.fastq_1)!r} is called lane {lane}: see that it is of this sample"
            )
        yield attrs.evolve(row, lane=lane)


def _names(lane: str) -> Iterable[str]:
    """Names for a lane, the first one its own, if it has any."""
    if lane:
        yield lane
    yield from (f"{lane}-{number}" if lane else f"L{number:03}" for number in range(2 if lane else 1, 10**6))
