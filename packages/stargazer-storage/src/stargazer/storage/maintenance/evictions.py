"""Which bytes are not here on purpose: a table of the index, and notes beside it from which it can be made again."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.storage.cid import is_cid
from stargazer.storage.files import make_folder, share_file, sync_paths

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Eviction", "evicted", "forget", "note_down", "noted", "remember"]


_FOLDER = "evictions"


@attrs.frozen
class Eviction:
    """Bytes that were dropped: how many, when, and URLs that had them then."""

    cid: str
    size: int
    at: str
    mirrors: list[str]


def remember(connection: sqlite3.Connection, evictions: Iterable[Eviction]) -> None:
    """Bytes that are not here on purpose."""
    connection.executemany(
        "INSERT OR REPLACE INTO evicted VALUES(?, ?, ?)",
        [(found.cid, found.size, found.at) for found in evictions],
    )


def evicted(connection: sqlite3.Connection) -> set[str]:
    """The CIDs whose bytes were dropped on purpose; some may have come back."""
    return {cid for (cid,) in connection.execute("SELECT cid FROM evicted")}


def forget(connection: sqlite3.Connection, cids: Iterable[str]) -> None:
    """Bytes that have come back."""
    connection.executemany("DELETE FROM evicted WHERE cid = ?", [(cid,) for cid in cids])


def note_down(root: Path, at: str, evictions: Iterable[Eviction]) -> Path:
    """Write a durable note: mirrors are known to the index alone, and it may be lost.

    Raises:
        OSError: the store cannot be written.
    """
    folder = root / _FOLDER
    make_folder(folder, root)
    name = "".join(character for character in at if character.isdigit())
    new = folder / f".new-{secrets.token_hex(8)}"
    try:
        new.write_text(json.dumps({"evicted": [attrs.asdict(found) for found in evictions]}, indent=1))
        share_file(new, root)
        sync_paths([new])
        path = new.with_name(f"{name}-{secrets.token_hex(4)}.json")
        new.rename(path)
        sync_paths([folder, root])
        return path
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def noted(root: Path) -> Iterator[Eviction]:
    """What the notes say, oldest first; what cannot be read is left out."""
    for path in sorted((root / _FOLDER).glob("*.json")):
        try:
            body = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        yield from filter(None, map(_parsed, body.get("evicted", []) if isinstance(body, Mapping) else []))


def _parsed(entry: Any) -> Eviction | None:
    match entry:
        case {"cid": str() as cid, "size": int() as size, "at": str() as at, "mirrors": list() as urls} if (
            is_cid(cid)
        ):
            return Eviction(cid, size, at, [url for url in urls if isinstance(url, str)])
    return None
