"""Registers files of this machine, of a URL or of a sample sheet, for the command and the server alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer import storage
from stargazer.assets import FormatError
from stargazer.assets.addresses import without_secrets

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Addition, Reach, Store
    from stargazer.workflows import SampleSheet

__all__ = ["described", "downloaded", "register", "register_rows", "split_reads"]

MOST_NOTES = 10
MOST_LOOKED_AT = 200
"""New files of a sample sheet, of which it is looked up what the store had before."""


@contextlib.contextmanager
def described(
    store: Store,
    paths: Sequence[Path],
    pairs: Mapping[str, Any],
    *,
    in_place: bool = False,
    force: bool = False,
    look: Callable[[list[Addition]], object] = lambda items: None,
) -> Iterator[list[Addition]]:
    """What is to be registered of files and folders, as of `additions_of`; a folder is one file within the block.

    Args:
        look: given what was found, before a folder is packed.
    """
    items = storage.additions_of(paths, pairs, store, in_place=in_place, force=force)
    look(items)
    with storage.packed(items, store) as files:
        yield files


@contextlib.contextmanager
def downloaded(
    store: Store,
    url: str,
    sums: Mapping[str, str],
    pairs: Mapping[str, Any],
    tell: Callable[[str], None],
    *,
    force: bool = False,
    most: int | None = None,
    progress: Callable[[int, int | None], object] | None = None,
    reach: Reach | None = None,
) -> Iterator[list[Addition]]:
    """What is behind a URL, downloaded and verified: see `fetch_file`."""
    # what is wrong with the words, before the download
    storage.additions_of([Path(storage.file_name(url))], pairs, store, there=False)
    with storage.fetch_file(
        url, sums, store.objects.work, tell, most=most, progress=progress, reach=reach
    ) as path:
        (item,) = storage.additions_of([path], pairs, store, force=force)
        yield [attrs.evolve(item, origin=without_secrets(url))]


@contextlib.contextmanager
def split_reads(
    store: Store, paths: Sequence[Path], pairs: Mapping[str, str], *, force: bool
) -> Iterator[list[Addition]]:
    """What the first and second reads of files become, in files of their own."""
    from stargazer.mcp.interleaved import split

    for path in paths:  # what is wrong with the words, before anything is written
        if not path.is_file():
            raise FormatError(f"no such file: {str(path)!r}")
        storage.additions_of(
            [Path(name) for name in storage.names_of_mates(path.name)], pairs, store, there=False
        )
    with storage.private_folder(store.objects.work, "interleaved") as folder:
        items = []
        for number, path in enumerate(paths):
            (own := folder / str(number)).mkdir()
            for item in storage.additions_of(split(path, own), pairs, store, force=force):
                items.append(attrs.evolve(item, origin=path.name))
        yield items


def register(store: Store, items: list[Addition]) -> tuple[list[IpFile], list[str]]:
    """Register files, all or none of them.

    Returns:
        Their records, and notes: what the store had of them before, and what looks wrong.
    """
    from stargazer.workflows import notices

    began = storage.now()
    records = store.add(items)
    return records, _some(notices(store, records, began))


def register_rows(
    store: Store,
    sheet: SampleSheet,
    *,
    in_place: bool = False,
    force: bool = False,
    agreed: Callable[[list[Addition]], list[Addition]] | None = None,
) -> tuple[list[IpFile], list[str]]:
    """Register the files of a sample sheet, as of `register_samplesheet`.

    Returns:
        Their records, and notes as of `register`, the last of which says how many files are new.
    """
    from stargazer.mcp.cli.console import count
    from stargazer.workflows import notices, register_samplesheet

    began = storage.now()
    records = register_samplesheet(sheet, store, in_place=in_place, force=force, agreed=agreed)
    different = {record.id: record for record in records}.values()
    new = [record for record in different if record.created_at >= began]
    notes = _some(notices(store, new[:MOST_LOOKED_AT], began))
    of = f"{count(len(sheet.samples), 'sample')} in {str(sheet.path)!r}"
    old = count(len(different) - len(new), "file")
    if not new:
        return records, [*notes, f"{of}: nothing new, {old} registered before"]
    before = f", {old} registered before" if len(new) < len(different) else ""
    return records, [*notes, f"{of}: {count(len(new), 'file')} registered{before}"]


def _some(notes: Sequence[str]) -> list[str]:
    more = len(notes) - MOST_NOTES
    return [*notes[:MOST_NOTES], *([f"... and {more} more notes like these"] if more > 0 else [])]
