"""The lock of a bundle: the CIDs that entries with published checksums turned out to have, pinned on arrival."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import attrs
from stargazer.assets import FormatError, IntegrityError, StorageError
from stargazer.storage.bundles.manifest import LARGEST, SUMS, BundleFile, Manifest, loads
from stargazer.storage.cid import is_cid
from stargazer.storage.files import locked_folder, sync_paths

__all__ = ["Lock", "Pinned", "write_file"]

SCHEMA = "bundle-lock/1"


@attrs.frozen
class Pinned:
    """What an entry turned out to be."""

    cid: str
    size: int
    sums: Mapping[str, str]


class Lock:
    """The pinned entries of one bundle by name, in a file that several processes may add to.

    Args:
        path: of the file.
        fallback: another, where that one's folder cannot be written (a manifest on a read-only disk).
    """

    def __init__(self, path: Path, fallback: Path | None = None):
        self.path = path
        self.fallback = fallback

    def read(self) -> dict[str, Pinned]:
        """What is pinned so far.

        Raises:
            FormatError: the file is no lock.
            StorageError: it cannot be read.
        """
        pinned = _read(self.fallback) if self.fallback else {}
        return pinned | _read(self.path)

    def apply(self, manifest: Manifest) -> Manifest:
        """The manifest with the CIDs that are pinned.

        Raises:
            FormatError: the lock is malformed.
            IntegrityError: the manifest names other sums or sizes than those that were verified.
        """
        pinned = self.read()
        files = [self._applied(entry, pinned.get(entry.name)) for entry in manifest.files]
        return attrs.evolve(manifest, files=tuple(files))

    def pin(self, name: str, pinned: Pinned) -> None:
        """Write down what an entry turned out to be; what is pinned stays.

        Raises:
            IntegrityError: it is pinned as something else.
            StorageError: the file cannot be written.
        """
        try:
            self._pin(self.path, name, pinned)
        except StorageError:
            raise
        except OSError as error:
            if self.fallback is None:
                raise _unwritable(self.path, error) from error
            try:
                self._pin(self.fallback, name, pinned)
            except StorageError:
                raise
            except OSError as second:
                raise _unwritable(self.fallback, second) from second

    def _applied(self, entry: BundleFile, pinned: Pinned | None) -> BundleFile:
        if pinned is None or entry.cid:
            return entry
        changed = [kind for kind, text in entry.sums.items() if pinned.sums.get(kind, text) != text]
        if changed or pinned.size != entry.size or not entry.sums.keys() & pinned.sums.keys():
            what = changed[0] if changed else "size"
            raise IntegrityError(
                f"entry {entry.name!r}: the manifest gives another {what} than the one that was verified and pinned in "
                f"{str(self.path)!r}: if the file was meant to change, remove its entry there and fetch again"
            )
        return attrs.evolve(entry, cid=pinned.cid)

    def _pin(self, path: Path, name: str, pinned: Pinned) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked_folder(path.parent):  # one writer at a time
            known = _read(path)
            if name in known and known[name].cid != pinned.cid:
                raise IntegrityError(
                    f"entry {name!r} is pinned as {known[name].cid} in {str(path)!r}, and what came now is {pinned.cid}"
                )
            files = {
                key: {"cid": item.cid, "size": item.size, **item.sums}
                for key, item in {**known, name: pinned}.items()
            }
            body = {"stargazer": SCHEMA, "files": files}
            write_file(path, (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode())


def write_file(path: Path, data: bytes) -> None:
    """Replace a small file, whole or not at all, durably.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_paths([path.parent])


def _read(path: Path) -> dict[str, Pinned]:
    title = f"the lock {str(path)!r}"
    try:
        with open(path, "rb") as file:
            body = loads(file.read(LARGEST + 1), title)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{title} cannot be read: {error.strerror}") from error
    files = body.get("files") if isinstance(body, dict) else None
    if not isinstance(files, dict) or body.get("stargazer") != SCHEMA:
        raise FormatError(f'{title} is no lock: expected "stargazer": "{SCHEMA}" and files')
    return {name: _pinned(item, f"{title}: {name!r:.100}") for name, item in files.items()}


def _pinned(item: object, title: str) -> Pinned:
    found = item if isinstance(item, dict) else {}
    sums = {kind: text for kind, text in found.items() if kind in SUMS}
    good = (
        is_cid(found.get("cid")) and type(found.get("size")) is int and found.keys() <= {"cid", "size", *SUMS}
    )
    if not good or not all(
        isinstance(text, str) and re.fullmatch("[0-9a-f]+", text) for text in sums.values()
    ):
        raise FormatError(f"{title}: expected cid, size and sums, got {item!r:.200}")
    return Pinned(found["cid"], found["size"], sums)


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"the lock {str(path)!r} cannot be written: {error.strerror}")
