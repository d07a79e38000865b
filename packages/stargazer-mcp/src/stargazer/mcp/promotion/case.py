"""The last run of a cell as a case for a test: its files, its arguments, and what came of them, from provenance."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
from stargazer.assets import (
    Asset,
    AssetNotFoundError,
    InvalidAssetError,
    IpFile,
    StargazerError,
    StorageError,
    asset_class,
    companions_of,
    record_id,
)
from stargazer.assets.provenance import Entry, Execution
from stargazer.mcp.promotion.extraction import Promoted
from stargazer.storage import Store, StoreClient
from stargazer.storage.lineage import executions_of_task

__all__ = ["LARGEST", "Case", "CaseFile", "find_cases"]

LARGEST = 5_000_000
MOST_CODES = 5
"""Of a cell that was edited again and again, the last of its codes that are looked at."""
"""Bytes of all files of a case together: more does not belong into a repository."""


@attrs.frozen
class CaseFile:
    """A file that a case reads.

    Attributes:
        role: the parameter that it was given as; of a companion, that of the file which it accompanies.
        name: under which it is kept beside the test: of its role, for its own may name a person.
        original: its own name.
        cid: of its bytes.
        keyvalues: what it is.
        size: bytes.
        path: its verified bytes.
        is_companion: it came along with an input, as an index does.
    """

    role: str
    name: str
    cid: str
    keyvalues: dict[str, str]
    size: int
    path: Path
    original: str = ""
    is_companion: bool = False

    @property
    def title(self) -> str:
        """Which file it is, for people: its own name, what it is, and of whom."""
        words = [self.original or self.name, self.keyvalues.get("asset", "file")]
        words += [f"{key} {self.keyvalues[key]}" for key in ("sample", "samples") if key in self.keyvalues]
        return ", ".join(words)


@attrs.frozen
class Case:
    """One execution of a task in a notebook.

    Attributes:
        provenance_cid: of the document that tells of it.
        files: what it read, with the companions; each once, after those that it links to.
    """

    provenance_cid: str
    execution: Execution
    files: tuple[CaseFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def find_cases(client: StoreClient, promoted: Promoted, fixtures: Collection[str] = ()) -> Iterator[Case]:
    """The cases of a promoted task, the newest first: of each code that its cell had, the last run.

    A call that was remembered leaves nothing newer, so which of them is that of the code as it is now, a test shows.

    Args:
        client: of the store that the notebook uses.
        fixtures: CIDs of all files that the run read; without any, whatever it read.

    Raises:
        AssetNotFoundError: the cell was not run yet, or not on these files.
        InvalidAssetError: the files are too large.
        StorageError: the bytes of a file are not to be had.
    """
    for cid, execution in _last_runs(client.store, promoted, frozenset(fixtures)):
        wanted = _with_companions(client.store, execution.inputs)
        _check_size(promoted, [(entry.role, entry.cid, entry.size) for entry, _ in wanted])
        files = tuple(asyncio.run(_fetched(client, promoted, wanted)))
        _check_size(promoted, [(file.role, file.cid, file.size) for file in files])  # what had no record, too
        yield Case(cid, execution, files)


def _check_size(promoted: Promoted, files: Sequence[tuple[str, str, int]]) -> None:
    """Refuse files, by role, CID and size, that are too large together."""
    if (total := sum(size for _, _, size in files)) > LARGEST:
        told = ", ".join(f"{role} {size / 1e6:,.1f} MB ({cid})" for role, cid, size in files if size)
        raise InvalidAssetError(
            f"the last run of {promoted.task} read {total / 1e6:,.1f} MB, and files of a test have at most "
            f"{LARGEST / 1e6:g} MB: {told}. Run the cell on small files, and name these: --fixture CID ..."
        )


def _last_runs(store: Store, promoted: Promoted, fixtures: frozenset[str]) -> list[tuple[str, Execution]]:
    """The newest execution of each code that the notebook made; with fixtures, of those that read nothing else."""
    where = f"the cell {promoted.cell!r}" if promoted.cell else "the cell"
    here = [pair for pair in executions_of_task(store, promoted.task) if not pair[1].distribution]
    found = [pair for pair in here if pair[1].notebook == promoted.notebook]
    found = found or [pair for pair in here if not pair[1].notebook]  # of a script that imports the notebook
    if not found:
        others = ", ".join(sorted({execution.notebook for _, execution in here}))
        anew = (
            " within `with refreshing():` (of stargazer.tasks.execution), for its result is remembered"
            if others
            else ""
        )
        raise AssetNotFoundError(
            f"{promoted.task} was never run in {promoted.notebook}, as far as the store {str(store.root)!r} knows"
            f"{f' (but in {others})' if others else ''}: run {where} first{anew}; the test is made of "
            "its last run"
        )
    if fixtures:
        found = [pair for pair in found if _read_only(store, pair[1], fixtures)]
    if not found:
        raise AssetNotFoundError(
            f"{promoted.task} was never run in {promoted.notebook} on {', '.join(sorted(fixtures))}: run {where} on "
            "these files first; --fixture names every file that the run read"
        )
    newest: dict[str, tuple[str, Execution]] = {}
    for pair in found:
        newest.setdefault(pair[1].code_digest, pair)
    return [*newest.values()][:MOST_CODES]


def _read_only(store: Store, execution: Execution, fixtures: frozenset[str]) -> bool:
    """Whether an execution read these files and no others, companions aside."""
    read = {entry.cid for entry in execution.inputs}
    return bool(read) and read <= fixtures <= read | _companion_cids(store, execution.inputs)


def _companion_cids(store: Store, inputs: Collection[Entry]) -> set[str]:
    return {record.cid for entry in inputs for record in _companion_records(store, entry)}


def _companion_records(store: Store, entry: Entry) -> Iterator[Entry]:
    """What accompanies a file, as entries of its role."""
    for cls, link in companions_of(_class_of(entry)):
        for record in store.query({"asset": cls.asset_key, link: entry.cid}):
            pairs = {key: value for key, value in record.keyvalues.items() if key != "provenance_cid"}
            yield Entry(role=entry.role, cid=record.cid, keyvalues=pairs, name=record.name, size=record.size)


def _class_of(entry: Entry) -> type[Asset]:
    """The type of a file; a bare Asset where it is not known here, as of a type that a notebook declares."""
    try:
        return asset_class(entry.keyvalues.get("asset", ""))
    except InvalidAssetError:
        return Asset


def _with_companions(store: Store, inputs: Collection[Entry]) -> list[tuple[Entry, bool]]:
    """Every file of a run once, and whether it is a companion, after those that it links to."""
    found: dict[str, tuple[Entry, bool]] = {}
    for entry in inputs:
        record = store.here(record_id(entry.cid, entry.keyvalues))
        known = record or next(iter(store.query({"cid": entry.cid})), None)
        sized = attrs.evolve(entry, name=known.name, size=known.size) if known else entry
        found.setdefault(record_id(entry.cid, entry.keyvalues), (sized, False))
    for entry, _ in [*found.values()]:
        kinds: set[str] = set()
        for companion in _companion_records(store, entry):
            kind = companion.keyvalues.get("asset", "")
            if kind not in kinds:  # the oldest of each type is laid beside it
                found.setdefault(record_id(companion.cid, companion.keyvalues), (companion, True))
            kinds.add(kind)
    ordered: list[tuple[Entry, bool]] = []
    waiting = [*found.values()]
    while waiting:
        missing = {entry.cid for entry, _ in waiting}
        ready = [item for item in waiting if not missing & ({*item[0].keyvalues.values()} - {item[0].cid})]
        ordered += ready or waiting  # no two link to one another: a file is there before a link to it is
        waiting = [item for item in waiting if item not in ordered]
    return ordered


async def _fetched(
    client: StoreClient, promoted: Promoted, wanted: Collection[tuple[Entry, bool]]
) -> list[CaseFile]:
    """The files with their verified bytes, brought here or computed again if they are not."""
    files: list[CaseFile] = []
    names: set[str] = set()
    by_cid: dict[str, str] = {}
    for entry, is_companion in wanted:
        try:
            stored = await client.download_file(IpFile(cid=entry.cid, name=entry.name, size=entry.size))
        except StargazerError as error:
            raise StorageError(
                f"{promoted.task}: the bytes of {entry.role} are not to be had, so the last run is no case for a test: "
                f"{error.explain()}"
            ) from error
        assert stored.path is not None
        name = _file_name(entry, stored.path, is_companion, by_cid)
        stem, number = name, 2
        while name.lower() in names:
            name, number = f"{number}-{stem}", number + 1
        names.add(name.lower())
        by_cid.setdefault(entry.cid, name)
        size = stored.path.stat().st_size
        file = CaseFile(
            entry.role, name, entry.cid, dict(entry.keyvalues), size, stored.path, entry.name, is_companion
        )
        files.append(file)
    return files


def _file_name(entry: Entry, path: Path, is_companion: bool, names: Mapping[str, str]) -> str:
    """`reference.fa`, `reads-0.fq`, `reference.fa.fai`: by role and type; `names` are those of files so far, by CID."""
    stem, kind = re.sub(r"[^A-Za-z0-9_]+", "-", entry.role).strip("-"), _class_of(entry)
    if kind is Asset:
        return stem + "".join(each for each in Path(entry.name).suffixes[-2:] if each[1:].isalnum())
    found = kind.from_keyvalues(entry.keyvalues, path=path)
    if is_companion:
        return found.path_beside(
            Path(next(names[cid] for cid in entry.keyvalues.values() if cid in names))
        ).name
    suffix = found.own_suffix()
    return stem + suffix[max(suffix.find("."), 0) :]
