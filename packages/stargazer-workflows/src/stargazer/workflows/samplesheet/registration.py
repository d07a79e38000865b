"""Registers the files of a sample sheet: all of them or none, each once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stargazer.assets import R1, R2, Asset, FormatError, InvalidAssetError, IpFile, StargazerError
from stargazer.storage import Addition, Store, additions_of, check_files, checked_one_by_one, packed
from stargazer.workflows.lanes import fullest, identity, title
from stargazer.workflows.samplesheet.sheet import SampleSheet, SheetRow
from stargazer.workflows.samplesheet.table import Problem, refuse

__all__ = ["beside_samplesheet", "register_samplesheet"]

FORCED = "`stargazer add --samplesheet SHEET --force` registers what a check refuses, and provenance says so"


def register_samplesheet(
    sheet: SampleSheet,
    store: Store,
    *,
    in_place: bool = False,
    force: bool = False,
    agreed: Callable[[list[Addition]], list[Addition]] | None = None,
) -> list[IpFile]:
    """Register every file of a sample sheet with its sample, lane and mates, in one step: all of them or none.

    What is registered already, as the same, is not registered again.

    Args:
        store: that takes them.
        in_place, force: of each file, as of `stargazer.storage.add`.
        agreed: asked about the files before the store takes them; it answers with what is to be registered.

    Returns:
        The records of the files, those of a row together, in the order of the sheet.

    Raises:
        InvalidAssetError: a file is not what the sheet says, with the line of each.
        StorageError: the store cannot take them.
    """
    items: list[Addition] = []
    lines: list[int] = []
    problems: list[Problem] = []
    for row in sheet.rows:
        try:
            found = _additions(row, store, in_place=in_place, force=force)
        except (FormatError, InvalidAssetError) as error:
            problems.append((row.line, str(error)))
            continue
        items += found
        lines += [row.line] * len(found)
    if problems:
        refuse(sheet.path, problems + _problems(items, lines, store))
    with packed(items, store) as files:
        try:
            return store.add(agreed(files) if agreed else files, command="add --samplesheet")
        except (FormatError, InvalidAssetError):  # of the first file: here is what is wrong with any
            refuse(sheet.path, _problems(files, lines, store), FORCED)
            raise


def beside_samplesheet(
    sheet: SampleSheet, samples: Sequence[str], records: Sequence[IpFile], store: Store
) -> list[str]:
    """Sentences about reads that a workflow finds in the store for some samples of a sheet, and the sheet has not.

    Args:
        samples: with which it runs.
        records: of the files of the sheet.

    Raises:
        InvalidAssetError: such reads of a sample that is an alignment in the sheet, where others are reads: the
            workflow would take them in its place.
    """
    known = {record.cid for record in records}
    kinds = {row.sample: row.kind for row in sheet.rows}
    has_both = {"reads", "an alignment"} <= sheet.kinds(samples)
    notes = []
    for sample in samples:
        if kinds[sample] != "reads" and not (has_both and kinds[sample] == "an alignment"):
            continue
        found = [Asset.from_record(record) for record in store.query({"asset": "r1", "sample": sample})]
        for r1 in fullest([each for each in found if isinstance(each, R1)]):
            if r1.cid in known:
                continue
            if kinds[sample] != "reads":
                raise InvalidAssetError(
                    f"sample {sample!r} is an alignment in {str(sheet.path)!r}, and the store has reads of it, which "
                    f"would be taken: give it a run of its own (samples={sample}), or take the reads back: "
                    f"`stargazer rm {identity(r1)}`, and its mates"
                )
            notes.append(
                f"sample {sample!r}: {title(r1)}, lane {r1.lane!r}, is registered and not in the sheet; it goes into "
                f"the run, unless `stargazer rm {identity(r1)}`, with its mates, takes it back"
            )
    return notes


def _additions(row: SheetRow, store: Store, *, in_place: bool, force: bool) -> list[Addition]:
    """What is to be registered of a row."""
    if row.fastq_1 and row.fastq_2:
        library, lane = row.library or None, row.lane or None
        first = R1(sample=row.sample, library=library, lane=lane)
        second = R2(sample=row.sample, library=library, lane=lane, r1_cid=first)
        pair: list[tuple[Path, Asset]] = [(row.fastq_1, first), (row.fastq_2, second)]
        return [Addition(path, asset, in_place=in_place, force=force) for path, asset in pair]
    (path,) = row.files.values()
    pairs = {"sample": row.sample}
    if row.path:
        pairs |= {name: value for name in ("batch", "condition") if (value := getattr(row, name))}
    if row.bam or row.cram:
        pairs |= {"asset": "alignment"} | ({"library": row.library} if row.library else {})
    return additions_of([path], pairs, store, in_place=in_place, force=force)


def _problems(items: Sequence[Addition], lines: Sequence[int], store: Store) -> list[Problem]:
    """What is wrong with files, of all of them."""
    problems: list[Problem] = []
    sound: dict[int, int] = {}  # the lines of assets, by id()
    for item, line in zip(items, lines, strict=True):
        try:
            check_files([item])
            sound[id(item.asset)] = line
        except StargazerError as error:
            problems.append((line, str(error)))
    looked_at = [item for item in items if id(item.asset) in sound and not item.force]
    for item, checked in checked_one_by_one(looked_at, store.query_here):
        problems += [(sound[id(item.asset)], reason) for reason in checked.forced]
    return problems
