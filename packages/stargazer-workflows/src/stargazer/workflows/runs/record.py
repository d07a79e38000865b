"""The record of a run: a folder that says what was asked for, what happened and what came of it.

It holds `run.json`, `events.jsonl`, `logs/` and `lock`, and can be read while the run goes on.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from stargazer.assets import AssetNotFoundError, InvalidAssetError, StorageError
from stargazer.assets.addresses import hidden
from stargazer.storage import Settings, is_locked, try_lock

__all__ = ["Run", "events_of", "find_run", "list_runs", "new_run", "now", "remove_run"]

State = Literal["running", "succeeded", "failed", "cancelled", "lost"]
ID = re.compile(r"\d{8}T\d{6}-\d{6}-[0-9a-f]{6}")

LOOKS, GLANCE = 20, 0.01
"""How often a lock is tried, and the seconds between."""

RESERVE = 1 << 16
"""Bytes that are kept for the last record: a disk that is full is what many runs end of."""


@attrs.define(kw_only=True)
class Run:
    """One call of a workflow that somebody asked for.

    Attributes:
        id: sorts by the time it was made.
        folder: where it is recorded.
        given: the arguments as they were given: text as people type it, or JSON values.
        arguments: the same as the workflow takes them, as JSON.
        state: `running` until it ended; `lost` if its process did before.
        started, finished: ISO 8601 in UTC.
        seconds: that it worked, all attempts together.
        computed, memo_hits: how many task calls did something, and how many had been done before; of the last attempt.
        error: the text of what made it fail.
        results: name -> a file (asset, cid, path, keyvalues), a list of them, or a plain value.
        notes: what its reports say of it, in sentences: which figures are unusual; what was not done, or otherwise than
            one might think.
        pid: of its process; 0 until that has begun.
        detached: whether it has a worker process of its own, which outlives whoever started it.
        attempt: 1, and one more each time it was resumed.
        outdir: where its results are copied to; "" for nowhere.
        refresh: what was to be computed anew: the arguments of `Refresh`; None for nothing.
    """

    id: str
    folder: Path
    workflow: str
    given: Mapping[str, Any]
    arguments: Mapping[str, Any] = attrs.field(factory=dict)
    state: State = "running"
    started: str = ""
    finished: str = ""
    seconds: float = 0.0
    computed: int = 0
    memo_hits: int = 0
    error: str = ""
    results: Mapping[str, Any] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)
    pid: int = 0
    detached: bool = False
    attempt: int = 1
    outdir: str = ""
    refresh: Mapping[str, Any] | None = None
    _held: int = attrs.field(default=-1, init=False, repr=False, eq=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False, eq=False)

    @property
    def logs(self) -> Path:
        """The folder of what tools printed."""
        return self.folder / "logs"

    def as_dict(self) -> dict[str, Any]:
        """The record for programs."""
        names = [
            field.name for field in attrs.fields(Run) if field.init and field.name not in ("id", "folder")
        ]
        return {
            "run": self.id,
            **{name: getattr(self, name) for name in names},
            "seconds": round(self.seconds, 3),
        }

    def save(self) -> None:
        """Write the record, whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        path = self.folder / "run.json"
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        text = hidden(json.dumps(self.as_dict(), indent=2)) + "\n"
        try:
            try:
                temporary.write_text(text)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                (self.folder / "reserve").unlink(missing_ok=True)
                temporary.write_text(text)
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise StorageError(f"cannot write the run's record {path}: {error.strerror}") from error

    def hold(self) -> bool:
        """Let others see that it goes on: the kernel drops this lock when the process ends, however it does.

        Returns:
            Whether it is ours: nobody else is at it.
        """
        self._held = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        for _ in range(LOOKS):
            if try_lock(self._held):
                return True
            time.sleep(GLANCE)  # who only looks whether it goes on has the lock for a moment
        self.release()
        return False

    def adopt(self, descriptor: int) -> None:
        """Hold it by a descriptor that the process before has held it by."""
        os.set_inheritable(descriptor, False)
        self._held = descriptor

    @property
    def held(self) -> int:
        """The descriptor by which it is held; a process that inherits it holds it, too."""
        return self._held

    def release(self) -> None:
        """Hold it no longer."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def append(self, event: Mapping[str, Any]) -> None:
        """Count an event of a task and add it to the events; from any thread."""
        line = json.dumps({"at": now(), **event, "attempt": self.attempt}) + "\n"
        with self._lock:
            self.computed += event["kind"] == "finished"
            self.memo_hits += event["kind"] == "memo hit"
            with (
                contextlib.suppress(OSError),
                open(self.folder / "events.jsonl", "a", encoding="ascii") as file,
            ):
                file.write(hidden(line))


def new_run(workflow: str, given: Mapping[str, Any], **more: Any) -> Run:
    """Start the record of a run, and hold it.

    Args:
        workflow: its name.
        given: the arguments as they were given.
        more: other attributes of the run.

    Raises:
        StorageError: its folder cannot be made.
    """
    at = datetime.datetime.now(datetime.UTC)
    id = f"{at:%Y%m%dT%H%M%S}-{at:%f}-{secrets.token_hex(3)}"
    folder = _folder() / id
    try:
        (folder / "logs").mkdir(parents=True)
        (folder / "reserve").write_bytes(bytes(RESERVE))
    except OSError as error:
        raise StorageError(
            f"cannot record runs in {folder.parent}: {error.strerror}; set STARGAZER_HOME to a folder of yours"
        ) from error
    run = Run(id=id, folder=folder, workflow=workflow, given=json.loads(hidden(json.dumps(dict(given)))),
              started=now(), **more)  # fmt: skip
    run.hold()
    run.save()
    return run


def find_run(id: str) -> Run:
    """The run of this id, as recorded last.

    Raises:
        AssetNotFoundError: there is none.
    """
    folder = _folder() / id
    try:
        if not ID.fullmatch(id):
            raise FileNotFoundError
        return _read(folder)
    except (OSError, ValueError, TypeError):
        raise AssetNotFoundError(f"no run {id!r} in {folder.parent}; `stargazer runs` lists them") from None


def list_runs() -> list[Run]:
    """All runs that are recorded here, the newest first; what cannot be read is left out."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(_folder()) as entries:
        for name in sorted((entry.name for entry in entries if ID.fullmatch(entry.name)), reverse=True):
            with contextlib.suppress(OSError, ValueError, TypeError):
                found.append(_read(_folder() / name))
    return found


def remove_run(id: str) -> None:
    """Remove the record of a run that has ended, with its logs; results stay in the store.

    Raises:
        AssetNotFoundError: there is no such run.
        InvalidAssetError: it goes on.
        StorageError: it cannot be removed.
    """
    run = find_run(id)
    try:
        if not run.hold():
            raise InvalidAssetError(f"run {id} goes on: `stargazer runs cancel {id}` ends it")
        try:
            (run.folder / "run.json").unlink(missing_ok=True)  # from here on there is no such run
            shutil.rmtree(run.folder)
        finally:
            run.release()
    except OSError as error:
        raise StorageError(f"cannot remove {run.folder}: {error.strerror}") from error


def events_of(run: Run, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """The events of a run from a place in their file on, each with the place after it.

    The last line may still be on its way; a line that a crash has cut is left out.
    """
    try:
        with open(run.folder / "events.jsonl", "rb") as lines:
            lines.seek(start)
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                start += len(line)
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict) and "kind" in event:
                        yield event, start
    except OSError:
        return


def now() -> str:
    """The time as records hold it: ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _folder() -> Path:
    return Settings.load().home / "runs"


def _read(folder: Path) -> Run:
    """The run that a folder holds, also one of another version, which knows other attributes.

    Raises:
        OSError, ValueError, TypeError: it holds none.
    """
    record = json.loads((folder / "run.json").read_bytes())
    known = {field.name for field in attrs.fields(Run) if field.init} & record.keys()
    fields = {"given": record.get("arguments", {}), **{name: record[name] for name in known}}
    run = Run(id=folder.name, folder=folder, **fields)
    if run.state == "running":
        if not is_locked(folder / "lock"):
            again = json.loads((folder / "run.json").read_bytes())  # it may have ended just now
            if again["state"] != "running":
                return _read(folder)
            run.state = "lost"
            run.error = (
                f"its process ended before it did; `stargazer runs resume {run.id}` goes on where it was"
            )
        kinds = [event["kind"] for event, _ in events_of(run) if event.get("attempt", 1) == run.attempt]
        run.computed, run.memo_hits = kinds.count("finished"), kinds.count("memo hit")
    return run
