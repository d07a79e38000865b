"""Copies stored files and their companions into a folder, under names that people read."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets import Asset, File, IpFile, StorageError, Variants
from stargazer.assets.addresses import is_address
from stargazer.assets.keyvalues import list_text
from stargazer.storage.cid import compute_cid

if TYPE_CHECKING:
    from stargazer.storage.store import Store

__all__ = ["RESULTS", "check_results", "export", "export_results", "human_stem"]

NAMING = ("sample", "samples", "lane", "name", "build")
"""Fields that name a file for people, in this order."""
CALLED_BY_KIND = ("plot", "qc_report", "table")
"""Types of which a run has many files, told apart by their kind alone."""
MAX_STEM = 180  # bytes; a file system takes 255 with suffix
MAX_JOINED = 60  # bytes of the names of several samples
RESULTS = "stargazer-results.json"
"""What lists the files that a run has put into a folder."""
SCHEMA = "results/1"
SHOWN = 5


def export(store: Store, records: Iterable[IpFile], folder: Path) -> list[tuple[Path, IpFile]]:
    """Copy files and their companions into a folder, which is made if it is missing.

    An older copy of the same result is replaced; any other file that is there stays, and the copy has a part of its CID
    in its name. Of several that would be called the same, the newest gets the plain name.

    Returns:
        Every path with the record of what it holds.

    Raises:
        StorageError: bytes are missing, or the folder cannot be written.
    """
    _make_folder(folder)

    def taken(path: Path, record: IpFile) -> bool:
        return os.path.lexists(path) and not _holds(path, record) and not _is_older(store, path, record)

    return _copied(store, _named(store, records, folder, taken))


def export_results(
    store: Store, records: Iterable[IpFile], folder: Path, *, run: str = ""
) -> tuple[list[tuple[Path, IpFile]], list[str]]:
    """Copy the files of one run and their companions into a folder that holds the results of that run alone.

    What was copied is listed in a file of its own (`stargazer-results.json`). Of an earlier run, what that file lists
    and nobody changed is removed. Anything else that is in the way is refused before anything is copied.

    Args:
        run: the id of the run, for the list.

    Returns:
        Every path with the record of what it holds; and what became of the earlier files, in sentences.

    Raises:
        StorageError: a file that is in the way, by its name; bytes are missing, or the folder cannot be written.
    """
    _make_folder(folder)
    earlier = _listed(folder)
    planned = _named(store, records, folder, lambda path, _: path.name == RESULTS)
    wanted = dict(planned)
    old = {
        path: record
        for path, record in earlier.items()
        if path not in wanted or not _holds(path, wanted[path])
    }
    unchanged = [path for path, record in old.items() if _holds(path, record)]
    in_way = [
        path
        for path, record in planned
        if os.path.lexists(path) and not _holds(path, record) and path not in unchanged
    ]
    if in_way:
        more = " ..." if len(in_way) > SHOWN else ""
        names = ", ".join(repr(path.name) for path in in_way[:SHOWN]) + more
        raise StorageError(
            f"in the way in {str(folder)!r}: {names}, which no run has put there, or which was changed since; nothing "
            "was copied: move that away, or name another folder (the results are in the store: run it again, nothing "
            "is computed)"
        )
    notes = _about_earlier(folder, old, unchanged, wanted)
    try:
        # First as what both runs have put there: whatever becomes of this one, the next knows its files.
        _write_list(folder, run, {path: earlier[path] for path in unchanged} | wanted)
        for path in unchanged:
            path.unlink()
        done = _copied(store, planned)
        _write_list(folder, run, wanted)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write to the folder {str(folder)!r}: {error.strerror}") from error
    return done, notes


def check_results(folder: Path) -> None:
    """See, before anything is computed, that a folder can take results.

    Raises:
        StorageError: it cannot be made or written, or its list of results cannot be read.
    """
    _make_folder(folder)
    _listed(folder)


def _named(
    store: Store, records: Iterable[IpFile], folder: Path, taken: Callable[[Path, IpFile], bool]
) -> list[tuple[Path, IpFile]]:
    """Where files and their companions are to be copied to, no two of them to one path.

    Args:
        taken: whether a path is not to be used, for other reasons, for a record.
    """
    found: dict[str, tuple[Path, IpFile]] = {}
    placed: set[str] = set()

    def place(asset: Asset, path: Path) -> Path | None:
        """The place of what has none yet."""
        record = asset.record
        if record is None or record.id in found:
            return None
        if path.name.casefold() in placed or taken(path, record):
            suffix = _suffix(asset) or path.suffix
            path = path.with_name(f"{path.name.removesuffix(suffix)}.{record.cid[-9:-1]}{suffix}")
        placed.add(path.name.casefold())  # there are file systems on which F and f are one
        found[record.id] = (path, record)
        return path

    newest_first = sorted(records, key=lambda record: record.created_at, reverse=True)
    assets = [Asset.from_record(record).copy(path=store.read(record.cid)) for record in newest_first]
    for asset in sorted(assets, key=_accompanies):
        if path := place(asset, folder / _file_name(asset, store)):
            for companion in asyncio.run(asset.companions()):
                own = folder / _own_name(companion)
                place(companion, companion.path_beside(path) if _accompanies(companion) else own)
    return list(found.values())


def _listed(folder: Path) -> dict[Path, IpFile]:
    """The files that a run has put into a folder.

    Raises:
        StorageError: the list is not one of ours, or cannot be read.
    """
    path = folder / RESULTS
    if not os.path.lexists(path):
        return {}
    try:
        body = json.loads(path.read_bytes())
        if body["stargazer"] != SCHEMA:
            raise ValueError
        listed = {
            str(file["file"]): IpFile(cid=str(file["cid"]), size=int(file["size"])) for file in body["files"]
        }
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        why = getattr(error, "strerror", None) or "it is no list of results of this version"
        raise StorageError(
            f"{str(path)!r} cannot be read: {why}; move it away, or name another folder"
        ) from error
    # the list is a file that anybody can have written: nothing outside of the folder is meant
    return {
        folder / name: record
        for name, record in listed.items()
        if Path(name).name == name and name != RESULTS
    }


def _write_list(folder: Path, run: str, records: Mapping[Path, IpFile]) -> None:
    files = [
        {"file": path.name, "cid": record.cid, "size": record.size, "keyvalues": dict(record.keyvalues)}
        for path, record in sorted(records.items())
    ]
    body = {"stargazer": SCHEMA, "run": run, "files": files}
    new = folder / f".{RESULTS}.{os.getpid()}.part"
    try:
        new.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        new.replace(folder / RESULTS)
    finally:
        new.unlink(missing_ok=True)


def _about_earlier(
    folder: Path, old: Iterable[Path], unchanged: Sequence[Path], wanted: Mapping[Path, IpFile]
) -> list[str]:
    """What is said of the files of an earlier run."""
    notes = []
    if gone := sorted(path.name for path in unchanged if path not in wanted):
        notes.append(
            f"removed from {str(folder)!r}, where an earlier run had put them (they are in the store still): "
            + ", ".join(gone)
        )
    if replaced := sorted(path.name for path in unchanged if path in wanted):
        notes.append(
            f"replaced in {str(folder)!r}, where an earlier run had put others: {', '.join(replaced)}"
        )
    if changed := sorted(path.name for path in old if path not in unchanged and os.path.lexists(path)):
        notes.append(f"left in {str(folder)!r}, of an earlier run and changed since: {', '.join(changed)}")
    return notes


def _make_folder(folder: Path) -> None:
    """Make the folder for copies, if it is missing.

    Raises:
        StorageError: it cannot be made or written.
    """
    if is_address(str(folder)):
        raise StorageError(f"{str(folder)!r} is a URL: name a folder of this machine")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make the folder {str(folder)!r}: {error.strerror}; name another one"
        ) from error
    if not os.access(folder, os.W_OK):
        raise StorageError(f"cannot write to the folder {str(folder)!r}: no permission; name another one")


def human_stem(asset: Asset) -> str:
    """What a file is called without its suffix: `NA12878.L001.r1`, `NA12878.g`, `pbmc.umap_leiden`, `GRCh38`."""
    if isinstance(asset, File):
        return _as_name(asset.name.removesuffix(asset.own_suffix()))
    values = [getattr(asset, name, None) for name in NAMING]
    words = [_one_name(value) if isinstance(value, list) else str(value) for value in values if value]
    kind = getattr(asset, "kind", None)
    if asset.asset_key in CALLED_BY_KIND and kind:
        words.append(str(kind))
    elif asset.asset_key == "variants" and kind == "gvcf":
        words.append("g")  # as everybody calls them: NA12878.g.vcf.gz
    elif asset.asset_key != "reference" or not words:
        words += [str(kind)] if asset.asset_key == "variants" and kind not in (None, "calls") else []
        words.append(asset.asset_key or "file")
        # calls on the way to filtered ones: a word that keeps their names apart
        if isinstance(asset, Variants) and kind == "calls" and asset.caller and not asset.filtered:
            words.append("normalised" if asset.normalised else "raw")
    return _as_name(".".join(words))


def _as_name(title: str) -> str:
    """A title as the stem of a file's name: never a path, nor longer than file systems take."""
    stem = re.sub(r"[/\\\x00-\x1f\x7f]", "_", title).lstrip(".-") or "file"
    if len(stem.encode()) <= MAX_STEM:
        return stem
    return stem.encode()[: MAX_STEM - 9].decode(errors="ignore") + f"-{_digest(title)}"


def _one_name(samples: Sequence[str]) -> str:
    """A name for several samples: all of theirs, or how many they are with a digest of the names."""
    joined = "+".join(samples)
    if len(joined.encode()) <= MAX_JOINED:
        return joined
    return f"{len(samples)}_samples-{_digest(list_text(samples))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _accompanies(asset: Asset) -> bool:
    """Whether a file has no name of its own, only that of the one it accompanies."""
    return bool(asset.links()) and set(asset.fields()) == set(asset.links())


def _file_name(asset: Asset, store: Store) -> str:
    """The name of a file; of an index or a dictionary beside what it accompanies."""
    if not _accompanies(asset):
        return _own_name(asset)
    target = getattr(asset, next(iter(asset.links())))
    records = store.query({"cid": target})
    if not records:
        return f"{asset.asset_key}-{target[-9:-1]}{_suffix(asset)}"
    primary = Asset.from_record(records[0])
    return asset.path_beside(Path(_own_name(primary.copy(path=store.read(target))))).name


def _own_name(asset: Asset) -> str:
    return human_stem(asset) + _suffix(asset)


def _suffix(asset: Asset) -> str:
    """The suffix that the file has on its own: of a mate, that of reads."""
    suffix = asset.own_suffix()
    return "." + suffix.split(".", 1)[1] if suffix.startswith("^") and "." in suffix else suffix


def _copied(store: Store, planned: list[tuple[Path, IpFile]]) -> list[tuple[Path, IpFile]]:
    """Copy each file to its path, unless that holds it already."""
    for path, record in planned:
        if not _holds(path, record):
            store.export(record.cid, path)
    return planned


def _is_older(store: Store, path: Path, record: IpFile) -> bool:
    """Whether a path has a copy of what a record was before: a stored file of which the same is said."""
    if not path.is_file() or path.is_symlink():
        return False
    known = store.query({"cid": compute_cid(path)})
    return any(_said(other) == _said(record) for other in known)


def _said(record: IpFile) -> dict[str, str]:
    """What is said of a file, whatever it was made from."""
    return {key: value for key, value in record.keyvalues.items() if not key.endswith("_cid")}


def _holds(path: Path, record: IpFile) -> bool:
    """Whether a path is a file, and no link to one, that holds these bytes."""
    if not path.is_file() or path.is_symlink():
        return False
    return path.stat().st_size == record.size and compute_cid(path) == record.cid
