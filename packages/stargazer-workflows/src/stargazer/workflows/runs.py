"""The record of a run: `run.json`, `events.jsonl` and `logs/` in a folder of its own, readable while it goes on."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from stargazer.assets import AssetNotFoundError, StorageError
from stargazer.assets.addresses import hidden
from stargazer.storage import Settings, is_locked, try_lock

__all__ = ["Run", "find_run", "new_run"]

State = Literal["running", "succeeded", "failed", "cancelled", "lost"]
ID = re.compile(r"\d{8}T\d{6}-\d{6}-[0-9a-f]{6}")


@attrs.define(kw_only=True)
class Run:
    """One call of a workflow that somebody asked for.

    Attributes:
        id: sorts by the time it was made.
        folder: where it is recorded.
        arguments: as JSON.
        state: `running` until it ended; `lost` if its process did before.
        started, finished: ISO 8601 in UTC.
        computed, memo_hits: how many task calls did something, and how many had been done before.
        error: the text of what made it fail.
        results: name -> a file (asset, cid, path, keyvalues), a list of them, or a plain value.
        notes: what its reports say of it, in sentences: what was not done, or otherwise than one might think.
    """

    id: str
    folder: Path
    workflow: str
    arguments: Mapping[str, Any]
    state: State = "running"
    started: str = ""
    finished: str = ""
    seconds: float = 0.0
    computed: int = 0
    memo_hits: int = 0
    error: str = ""
    results: Mapping[str, Any] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)
    pid: int = attrs.field(factory=os.getpid)
    _held: int = attrs.field(default=-1, init=False, repr=False, eq=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False, eq=False)

    @property
    def logs(self) -> Path:
        """The folder of what tools printed."""
        return self.folder / "logs"

    def as_dict(self) -> dict[str, Any]:
        """The record for programs."""
        return {"run": self.id, "workflow": self.workflow, "arguments": dict(self.arguments), "state": self.state,
                "started": self.started, "finished": self.finished, "seconds": round(self.seconds, 3),
                "computed": self.computed, "memo_hits": self.memo_hits, "error": self.error,
                "results": dict(self.results), "notes": list(self.notes), "pid": self.pid}  # fmt: skip

    def save(self) -> None:
        """Write the record, whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        path = self.folder / "run.json"
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            temporary.write_text(hidden(json.dumps(self.as_dict(), indent=2)) + "\n")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StorageError(f"cannot write the run's record {path}: {error.strerror}") from error

    def hold(self) -> None:
        """Let others see that it goes on: the kernel drops this lock when the process ends, however it does."""
        self._held = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try_lock(self._held)  # nobody else knows of the file yet

    def release(self) -> None:
        """Let others see that it has ended."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def append(self, event: Mapping[str, Any]) -> None:
        """Count an event of a task and add it to the events; from any thread."""
        line = json.dumps({"at": now(), **event}) + "\n"
        with self._lock:
            self.computed += event["kind"] == "finished"
            self.memo_hits += event["kind"] == "memo hit"
            with (
                contextlib.suppress(OSError),
                open(self.folder / "events.jsonl", "a", encoding="ascii") as file,
            ):
                file.write(hidden(line))


def new_run(workflow: str, arguments: Mapping[str, Any]) -> Run:
    """Start the record of a run.

    Raises:
        StorageError: its folder cannot be made.
    """
    at = datetime.datetime.now(datetime.UTC)
    id = f"{at:%Y%m%dT%H%M%S}-{at:%f}-{secrets.token_hex(3)}"
    folder = _folder() / id
    try:
        (folder / "logs").mkdir(parents=True)
    except OSError as error:
        raise StorageError(
            f"cannot record runs in {folder.parent}: {error.strerror}; set STARGAZER_HOME to a folder of yours"
        ) from error
    shown = json.loads(hidden(json.dumps(dict(arguments))))
    run = Run(id=id, folder=folder, workflow=workflow, arguments=shown, started=now())
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
        record = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        raise AssetNotFoundError(f"no run {id!r} in {folder.parent}") from None
    run = Run(id=record.pop("run"), folder=folder, **record)
    if run.state == "running":
        run.computed, run.memo_hits = _counted(folder / "events.jsonl")
    if run.state == "running" and not is_locked(folder / "lock"):
        run.state, run.error = "lost", "its process ended before it did; run it again to go on where it was"
    return run


def _folder() -> Path:
    return Settings.load().home / "runs"


def _counted(events: Path) -> tuple[int, int]:
    """How many task calls did something, and how many had been done before, as the events of a run say."""
    found = {"finished": 0, "memo hit": 0}
    with contextlib.suppress(OSError), open(events, "rb") as lines:
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, LookupError):  # the last one may be cut
                found[json.loads(line)["kind"]] += 1
    return found["finished"], found["memo hit"]


def now() -> str:
    """The time as records hold it: ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
