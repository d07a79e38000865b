"""Writes the edits of a promotion, all of them or none, and takes them back.

A journal in `promotions` of STARGAZER_HOME holds what was there. It is complete before the first file is touched, so
what a process leaves half written that is killed in between is taken back by the next promotion, or by `--undo`.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stargazer.assets import StorageError
from stargazer.mcp.promotion.cells import PromotionError
from stargazer.storage import make_folders, open_shared, try_lock

__all__ = ["difference", "recover", "undo", "write"]

JOURNAL = "journal.json"
WRITING, WRITTEN = "writing", "written"


def difference(edits: Mapping[Path, bytes], root: Path) -> str:
    """What edits would change, as a diff that `git apply` takes; of files that are no text, their size."""
    parts = []
    for path, data in sorted(edits.items()):
        name, old = path.relative_to(root).as_posix(), _content(path)
        try:
            before, after = (old or b"").decode(), data.decode()
        except UnicodeDecodeError:
            parts.append(f"Binary file b/{name}: {len(data):,} bytes\n")
            continue
        source = f"a/{name}" if old is not None else "/dev/null"
        lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), source, f"b/{name}")
        parts += [
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
        ]
    return "".join(parts)


def write(
    edits: Mapping[Path, bytes], seen: Mapping[Path, bytes | None], root: Path, home: Path, task: str
) -> Path:
    """Write files of a checkout, all or none.

    Args:
        edits: what is to be in each file.
        seen: what was in each when the edits were made, None where there was none.
        root: of the checkout.
        home: STARGAZER_HOME.
        task: what is promoted, for the journal.

    Returns:
        The journal, by which it can be undone.

    Raises:
        PromotionError: a file was changed meanwhile, or cannot be written; nothing is changed.
        StorageError: the journal cannot be written, or another promotion is at work.
    """
    with _turn(home) as folder:
        _recover(folder)
        files = {path.resolve(): data for path, data in edits.items()}
        known = {path.resolve(): data for path, data in seen.items()}
        for path in files:
            if _content(path) != known.get(path):
                raise PromotionError(f"{path} was changed meanwhile; nothing was written, promote again")
        journal = _new_journal(folder, files, root.resolve(), task)
        try:
            for path, data in files.items():
                _replace(path, data)
        except OSError as error:
            _take_back(journal)
            name = error.filename or "a file"
            raise PromotionError(
                f"{name} cannot be written ({error.strerror}); nothing was changed. See that the checkout at {root} "
                "can be written"
            ) from None
        except BaseException:
            _take_back(journal)
            raise
        _save(journal, {**_load(journal), "state": WRITTEN})
        return journal


def undo(root: Path, home: Path, journal: Path | None = None) -> tuple[str, list[Path]]:
    """Take back the last promotion into a checkout, or that of a journal: its task, and the files that are as before.

    Raises:
        PromotionError: there is none, or a file was changed since.
        StorageError: the journals cannot be read or written, or another promotion is at work.
    """
    with _turn(home) as folder:
        if interrupted := _recover(folder):
            return interrupted
        journals = [each for each in _journals(folder) if _load(each)["root"] == str(root.resolve())]
        journals = [each for each in journals if journal in (None, each)]
        if not journals:
            raise PromotionError(f"nothing was promoted into {root}, so there is nothing to undo")
        journal = journals[-1]
        said = _load(journal)
        if all(_digest(_content(Path(each["path"]))) == each["before"] for each in said["files"]):
            shutil.rmtree(journal)
            raise PromotionError(
                f"the files of the last promotion, {said['task']}, are as they were before it: another branch is "
                "checked out, or it was taken back by hand. It is forgotten now; undo again for the one before it"
            )
        changed = [
            each["path"] for each in said["files"] if _digest(_content(Path(each["path"]))) != each["after"]
        ]
        if changed:
            names = ", ".join(sorted(os.path.relpath(path, root) for path in changed))
            raise PromotionError(
                f"{names} changed since {said['task']} was promoted; put that aside (git stash), and undo again, or "
                "edit it by hand"
            )
        _save(journal, {**said, "state": WRITING})
        return _take_back(journal)


def recover(home: Path) -> tuple[str, list[Path]] | None:
    """Take back a promotion that was interrupted: its task and files; None where there is none.

    Raises:
        StorageError: the journals cannot be read or written, or another promotion is at work.
    """
    if not (home / "promotions").is_dir():
        return None
    with _turn(home) as folder:
        return _recover(folder)


@contextlib.contextmanager
def _turn(home: Path) -> Iterator[Path]:
    """The folder of the journals, which one process at a time has."""
    folder = home / "promotions"
    try:
        make_folders(folder)
        lock = open_shared(folder / "lock", folder)
    except OSError as error:
        raise StorageError(
            f"the journal of promotions cannot be kept in {folder} ({error.strerror}); set STARGAZER_HOME to a folder "
            "that you can write"
        ) from None
    try:
        try:
            free = try_lock(lock)
        except OSError:  # no locks on this filesystem
            free = True
        if not free:
            raise StorageError("another promote-task is writing; wait until it is done, and promote again")
        yield folder
    finally:
        os.close(lock)


def _journals(folder: Path) -> list[Path]:
    """Those that are complete, in the order of time; what is left of others is removed."""
    found = sorted(each for each in folder.iterdir() if each.is_dir())
    for each in found:
        if not (each / JOURNAL).is_file():  # killed before anything was written
            shutil.rmtree(each, ignore_errors=True)
    return [each for each in found if (each / JOURNAL).is_file()]


def _recover(folder: Path) -> tuple[str, list[Path]] | None:
    for journal in _journals(folder):
        if _load(journal)["state"] == WRITING:
            return _take_back(journal)
    return None


def _new_journal(folder: Path, files: Mapping[Path, bytes], root: Path, task: str) -> Path:
    journal = folder / f"{time.time_ns():020d}-{secrets.token_hex(3)}"
    make_folders(journal)
    entries = []
    for number, (path, data) in enumerate(files.items()):
        before = _content(path)
        if before is not None:
            _write_synced(journal / str(number), before)
        entries.append({"path": str(path), "before": _digest(before), "after": _digest(data), "kept": number})
    folders = {parent for path in files for parent in path.parents if not parent.exists()}
    said = {
        "task": task,
        "root": str(root),
        "state": WRITING,
        "files": entries,
        "folders": sorted(map(str, folders), reverse=True),
    }
    _save(journal, said)
    return journal


def _save(journal: Path, said: Mapping[str, Any]) -> None:
    new = journal / f"{JOURNAL}.new"
    _write_synced(new, json.dumps(said, indent=1).encode())
    new.replace(journal / JOURNAL)
    _sync_folder(journal)


def _load(journal: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads((journal / JOURNAL).read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"{journal / JOURNAL} cannot be read ({error}); move {journal} away") from None
    return said


def _take_back(journal: Path) -> tuple[str, list[Path]]:
    """Put everything back that is as the promotion wrote it, and forget the promotion; what others changed stays.

    Raises:
        StorageError: something cannot be put back; the journal stays.
    """
    said, back = _load(journal), []
    try:
        for each in reversed(said["files"]):
            path = Path(each["path"])
            _discard(_new_name(path))
            if _digest(_content(path)) != each["after"] or each["before"] == each["after"]:
                continue
            if each["before"] is None:
                path.unlink()
            else:
                _replace(path, (journal / str(each["kept"])).read_bytes())
            back.append(path)
        for folder in map(Path, said["folders"]):
            shutil.rmtree(folder / "__pycache__", ignore_errors=True)
            with contextlib.suppress(OSError):  # somebody has put something there, or it was never made
                folder.rmdir()
    except OSError as error:
        raise StorageError(
            f"{error.filename} cannot be put back ({error.strerror}); make it writable, and run "
            f"`stargazer promote-task --undo`. What was there is kept in {journal}"
        ) from None
    shutil.rmtree(journal)
    return str(said["task"]), sorted(back)


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, with the permissions of the one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = _new_name(path)
    try:
        _write_synced(new, data)
        if path.exists():
            shutil.copymode(path, new)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            _discard(new)
        raise
    _sync_folder(path.parent)


def _new_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.promoted")


def _discard(path: Path) -> None:
    if os.path.lexists(path):  # a read-only filesystem refuses to remove even what is not there
        path.unlink()


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some filesystems sync no folders
            os.fsync(fd)
    finally:
        os.close(fd)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _digest(data: bytes | None) -> str | None:
    return hashlib.sha256(data).hexdigest() if data is not None else None
