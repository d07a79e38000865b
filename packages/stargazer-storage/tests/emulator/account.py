"""What a Pinata account holds, kept in a folder so that it survives `kill -9`: records, bytes, and half-done uploads.

The standard library only. CIDs come from a UnixFS builder of its own, so that a wrong one in stargazer.storage shows.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Account", "Refusal", "check_keyvalues", "order_of", "unixfs"]

LEAF, LINKS = 256 * 1024, 174


class Refusal(Exception):
    """A request that Pinata answers with an error."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


def check_keyvalues(keyvalues: object, allow_null: bool = False) -> dict[str, Any]:
    """Keyvalues as Pinata takes them: a flat object of at most 10 strings."""
    if keyvalues is None:
        return {}
    if not isinstance(keyvalues, dict):
        raise Refusal(400, "keyvalues must be an object")
    if len(keyvalues) > 10:
        raise Refusal(400, "keyvalues must have at most 10 pairs")
    for key, value in keyvalues.items():
        if not (isinstance(value, str) or (value is None and allow_null)):
            raise Refusal(400, f"keyvalues[{key}] must be a string")
    return keyvalues


def order_of(fields: dict[str, str]) -> dict[str, Any]:
    """What an upload asks for, of a form's fields or of TUS metadata."""
    network = fields.get("network", "private")
    if network not in ("public", "private"):
        raise Refusal(400, "network must be public or private")
    if fields.get("cid_version", "v1") != "v1":
        raise Refusal(400, "the emulator knows cid_version v1 only")
    try:
        keyvalues = json.loads(fields.get("keyvalues") or "null")
    except ValueError:
        raise Refusal(400, "keyvalues must be a JSON string") from None
    return {
        "name": fields["name"],
        "network": network,
        "keyvalues": check_keyvalues(keyvalues),
        "group_id": fields.get("group_id"),
    }


def unixfs(path: Path) -> tuple[str, bytes | None, int]:
    """The CID of a file in Pinata's layout, its root block unless that is the file itself, and its DAG's bytes."""
    level: list[tuple[bytes, int, int]] = []
    with path.open("rb") as source:
        while (leaf := source.read(LEAF)) or not level:
            level.append((b"\x01\x55\x12\x20" + hashlib.sha256(leaf).digest(), len(leaf), len(leaf)))
    root = None
    while len(level) > 1:
        parents = []
        for first in range(0, len(level), LINKS):
            children = level[first : first + LINKS]
            root, size = _node(children)
            below = len(root) + sum(child[2] for child in children)
            parents.append((b"\x01\x70\x12\x20" + hashlib.sha256(root).digest(), size, below))
        level = parents
    return "b" + base64.b32encode(level[0][0]).decode().lower().rstrip("="), root, level[0][2]


def _node(children: list[tuple[bytes, int, int]]) -> tuple[bytes, int]:
    size = sum(child[1] for child in children)
    links = b"".join(
        _bytes(2, _bytes(1, cid) + _bytes(2, b"") + b"\x18" + _varint(below)) for cid, _, below in children
    )
    sizes = b"".join(b"\x20" + _varint(length) for _, length, _ in children)
    return links + _bytes(1, b"\x08\x02\x18" + _varint(size) + sizes), size


def _bytes(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


@dataclass
class Account:
    """Records by id, bytes by CID, and TUS uploads by id, each a file of its own below `folder`."""

    folder: Path
    duplicates: str = "new"
    """Uploading bytes that are there makes a "new" id, or answers with the "existing" record, untouched."""
    stale_new: int = 0
    """A new file is missing from so many listings."""
    stale_deleted: int = 0
    """A deleted file stays in so many listings."""
    pending: int = 0
    """The CID of a new file reads "pending" in the answer to its upload and so many reads after that."""
    upload_ids_differ: bool = False
    """The id in a TUS upload's URL is not that of the file that comes of it."""
    keeps_partial: bool = True
    """A PATCH that is cut counts as far as it came; otherwise it is as if it had not begun."""
    dag_sizes: bool = False
    """Report the size of the DAG, not of the file."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        for name in ("files", "blobs", "uploads", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._hidden: dict[str, int] = {}
        self._ghosts: list[tuple[dict[str, Any], list[int]]] = []
        self._pending: dict[str, int] = {}
        for path in (self.folder / "files").glob("*.json"):
            record = json.loads(path.read_text())
            self.files[record["id"]] = record

    def scratch(self) -> Path:
        """A new name for bytes that arrive."""
        return self.folder / "tmp" / str(uuid.uuid4())

    def blob(self, cid: str) -> Path:
        return self.folder / "blobs" / cid

    def holds(self, cid: str, network: str) -> bool:
        with self.lock:
            return any(f["cid"] == cid and f["network"] == network for f in self.files.values())

    def keep(
        self, content: Path, id: str, *, name: str, network: str, keyvalues: Any, **more: Any
    ) -> dict[str, Any]:
        """File the bytes at `content` (moved away) and return what Pinata answers to the upload."""
        cid, root, dag_size = unixfs(content)
        size = content.stat().st_size
        if root is not None:
            self.blob(f"{cid}.root").write_bytes(root)
        os.replace(content, self.blob(cid))
        with self.lock:
            same = [f for f in self.files.values() if f["cid"] == cid and f["network"] == network]
            if same and self.duplicates == "existing":
                return {**self.seen(same[0]), "is_duplicate": True}
            record = {
                "id": id,
                "name": name,
                "cid": cid,
                "size": dag_size if self.dag_sizes else size,
                "created_at": datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z"),
                "number_of_files": 1,
                "mime_type": more.get("mime_type") or "application/octet-stream",
                "group_id": more.get("group_id") or None,
                "keyvalues": keyvalues or None,
                "vectorized": False,
                "network": network,
            }
            self._save(record)
            if self.stale_new:
                self._hidden[id] = self.stale_new
            if self.pending:
                self._pending[id] = self.pending + 1
            return {**self.seen(record), "is_duplicate": bool(same)}

    def seen(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record as a reader gets it now."""
        left = self._pending.get(record["id"], 0)
        if left:
            self._pending[record["id"]] = left - 1
            return {**record, "cid": "pending"}
        return dict(record)

    def get(self, id: str, network: str) -> dict[str, Any]:
        record = self.files.get(id)
        if record is None or record["network"] != network:
            raise Refusal(404, "file not found")
        return record

    def update(self, id: str, network: str, change: dict[str, Any]) -> dict[str, Any]:
        """Rename, and merge keyvalues; a null deletes one."""
        with self.lock:
            record = dict(self.get(id, network))
            change_of_values = check_keyvalues(change.get("keyvalues"), allow_null=True)
            merged = {**(record["keyvalues"] or {}), **change_of_values}
            record["keyvalues"] = check_keyvalues({k: v for k, v in merged.items() if v is not None}) or None
            record["name"] = change.get("name") or record["name"]
            self._save(record)
            return record

    def delete(self, id: str, network: str) -> None:
        with self.lock:
            record = self.get(id, network)
            (self.folder / "files" / f"{id}.json").unlink(missing_ok=True)
            del self.files[id]
            if self.stale_deleted:
                self._ghosts.append((record, [self.stale_deleted]))

    def listed(self, network: str) -> list[dict[str, Any]]:
        """What a listing of a network shows now, oldest first."""
        with self.lock:
            shown = []
            for record in self.files.values():
                if record["network"] == network:
                    if self._hidden.get(record["id"], 0):
                        self._hidden[record["id"]] -= 1
                    else:
                        shown.append(self.seen(record))
            for record, left in self._ghosts:
                if record["network"] == network and left[0]:
                    left[0] -= 1
                    shown.append(dict(record))
            return sorted(shown, key=lambda f: (f["created_at"], f["id"]))

    def _save(self, record: dict[str, Any]) -> None:
        scratch = self.scratch()
        scratch.write_text(json.dumps(record))
        os.replace(scratch, self.folder / "files" / f"{record['id']}.json")
        self.files[record["id"]] = record
