"""Copies of stored files for people: named by what they are, each with its companions beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from stargazer.assets.addresses import is_address
from stargazer.assets.asset import Asset
from stargazer.assets.catalogue import Variants
from stargazer.assets.client import IpFile
from stargazer.assets.errors import StorageError
from stargazer.assets.fetching import companion_path, companions
from stargazer.mcp.records import DirectClient, run_now
from stargazer.storage.cid import compute_cid
from stargazer.storage.store import LocalStore

__all__ = ["export", "human_stem", "make_folder"]

NAMING = ("sample", "samples", "lane", "name", "build")
"""Fields that name a file for people, in this order."""
MAX_STEM = 180  # bytes; a file system takes 255 with suffix


def export(store: LocalStore, records: Iterable[IpFile], folder: Path) -> list[tuple[Path, IpFile]]:
    """Copy files and their companions into a folder, which is made if it is missing.

    An older copy of a stored file is replaced; a file that is there and not in the store stays, and the copy has a part
    of its CID in its name. Of several that would be called the same, the newest gets the plain name.

    Returns:
        Every path with the record of what it holds.

    Raises:
        StorageError: bytes are missing, or the folder cannot be written.
    """
    make_folder(folder)
    client = DirectClient(store)
    done: dict[str, tuple[Path, IpFile]] = {}
    placed: set[Path] = set()
    assets = [Asset.from_record(record).copy(path=store.read(record.cid)) for record in records]
    newest_first = sorted(
        assets, key=lambda asset: asset.record.created_at if asset.record else "", reverse=True
    )
    for asset in sorted(newest_first, key=_accompanies):
        if asset.record is None or asset.record.id in done:
            continue
        path = _place(store, asset, folder / _file_name(asset, client), placed)
        done[asset.record.id] = (path, asset.record)
        for companion in run_now(companions(asset, client=client)):
            if companion.record is not None and companion.record.id not in done:
                wanted = (
                    companion_path(path, companion)
                    if _accompanies(companion)
                    else path.with_name(_own_name(companion))
                )
                done[companion.record.id] = (_place(store, companion, wanted, placed), companion.record)
    return list(done.values())


def make_folder(folder: Path) -> None:
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
    """What a file is called without its suffix: `NA12878.L001.r1`, `NA12878.variants.raw`, `GRCh38`."""
    words: list[str] = []
    for name in NAMING:
        value = getattr(asset, name, None)
        if isinstance(value, list):
            value = value[0] if len(value) == 1 else f"{len(value)}_samples" if value else None
        if value:
            words.append(str(value))
    kind = getattr(asset, "kind", None)
    if asset.asset_key == "qc_report" and kind:
        words.append(str(kind))
    elif asset.asset_key != "reference" or not words:
        words += [str(kind)] if asset.asset_key == "variants" and kind not in (None, "calls") else []
        words.append(asset.asset_key or "file")
        words += _unfinished(asset)
    stem = re.sub(r"[/\\\x00-\x1f\x7f]", "_", ".".join(words)).lstrip(".-") or "file"
    return stem.encode()[:MAX_STEM].decode(errors="ignore")


def _unfinished(asset: Asset) -> list[str]:
    """What calls are that were made on the way to filtered ones: a word that keeps their names apart."""
    if not isinstance(asset, Variants) or asset.kind != "calls" or asset.filtered or not asset.caller:
        return []
    return ["normalised" if asset.normalised else "raw"]


def _accompanies(asset: Asset) -> bool:
    """Whether a file has no name of its own, only that of the one it accompanies."""
    return bool(asset.links()) and set(asset.fields()) == set(asset.links())


def _file_name(asset: Asset, client: DirectClient) -> str:
    """The name of a file; of an index or a dictionary beside what it accompanies."""
    if not _accompanies(asset):
        return _own_name(asset)
    target = getattr(asset, next(iter(asset.links())))
    records = client.store.query({"cid": target})
    if not records:
        return f"{asset.asset_key}-{target[-9:-1]}{_suffix(asset)}"
    primary = Asset.from_record(records[0])
    return companion_path(Path(_own_name(primary.copy(path=client.store.read(target)))), asset).name


def _own_name(asset: Asset) -> str:
    return human_stem(asset) + _suffix(asset)


def _suffix(asset: Asset) -> str:
    """The suffix that the file has on its own: of a mate, that of reads."""
    suffix = asset.own_suffix()
    return "." + suffix.split(".", 1)[1] if suffix.startswith("^") and "." in suffix else suffix


def _place(store: LocalStore, asset: Asset, path: Path, placed: set[Path]) -> Path:
    """Copy to this path, or beside it where it holds what only is there or was placed just now."""
    cid = str(asset.cid)
    if path.exists() and not _holds(path, asset) and (path in placed or not _stored(store, path)):
        suffix = _suffix(asset) or path.suffix
        path = path.with_name(f"{path.name.removesuffix(suffix)}.{cid[-9:-1]}{suffix}")
    placed.add(path)
    if path.exists() and _holds(path, asset):
        return path
    return store.export(cid, path)


def _stored(store: LocalStore, path: Path) -> bool:
    return path.is_file() and bool(store.query({"cid": compute_cid(path)}))


def _holds(path: Path, asset: Asset) -> bool:
    size = asset.record.size if asset.record else -1
    return path.is_file() and path.stat().st_size == size and compute_cid(path) == asset.cid
