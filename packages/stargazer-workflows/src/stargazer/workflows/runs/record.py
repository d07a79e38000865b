"""The record of a run: a folder that says what was asked for, what happened and what came of it.

It holds `run.json`, `events.jsonl`, `logs/` and `lock`, and can be read while the run goes on.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import functools
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
from stargazer.assets import AssetNotFoundError, InvalidAssetError, StorageError
from stargazer.assets.addresses import hidden
from stargazer.storage import Settings, is_locked, try_lock

if TYPE_CHECKING:
    from stargazer.workflows.catalogue import Kind

__all__ = ["Run", "calls_of", "events_of", "find_run", "list_runs", "new_run", "now", "remove_run"]

State = Literal["running", "succeeded", "failed", "cancelled", "lost"]
ID = re.compile(r"\d{8}T\d{6}-\d{6}-[0-9a-f]{6}")

LOOKS, MANY_LOOKS, GLANCE = 20, 3000, 0.01
"""How often a lock is tried, at least and at most, and the seconds between."""

RESERVE = 1 << 16
"""Bytes that are kept for the last record: a disk that is full is what many runs end of."""


@attrs.define(kw_only=True)
class Run:
    """One call of a workflow, or of a single task, that somebody asked for; or a job of a server.

    Attributes:
        id: sorts by the time it was made.
        folder: where it is recorded.
        given: the arguments as they were given: text as people type it, or JSON values.
        arguments: the same as the workflow takes them, as JSON.
        state: `running` until it ended; `lost` if its process did before.
        started, finished: ISO 8601 in UTC.
        seconds: that it worked, all attempts together; of one that goes on, until now.
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
        kind: what `workflow` names.
        defined_in: of one that only its process knows, where that is: `cell count_lines of experiment.py`.
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
    kind: Kind = "workflow"
    defined_in: str = ""
    _held: int = attrs.field(default=-1, init=False, repr=False, eq=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False, eq=False)

    @property
    def logs(self) -> Path:
        """The folder of what tools printed."""
        return self.folder / "logs"

    @property
    def to_go_on(self) -> str:
        """What to do to go on with it after it has ended without success, in a sentence for people."""
        if self.defined_in:
            return f"run it again in {self.defined_in}: what was finished is remembered"
        return f"`stargazer runs resume {self.id}` goes on where it was"

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

        Raises:
            OSError: its folder cannot be written, or its filesystem has no locks.
        """
        self._held = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        is_ours = False
        try:
            for look in range(MANY_LOOKS):
                if (is_ours := try_lock(self._held)) or (look >= LOOKS and self._goes_on()):
                    break
                time.sleep(GLANCE)  # who only looks whether it goes on has the lock for a moment
        finally:
            if not is_ours:
                self.release()
        return is_ours

    def _goes_on(self) -> bool:
        """Whether its record says so now: else its process has come to its end, and needs a moment to go."""
        try:
            return _parsed((self.folder / "run.json").read_bytes(), self.folder).state == "running"
        except (OSError, ValueError, TypeError):
            return True

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

    @contextlib.contextmanager
    def released_on_failure(self) -> Iterator[None]:
        """Hold it no longer if the block fails: else nobody could resume or remove it while this process lives."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    def append(self, event: Mapping[str, Any]) -> None:
        """Count an event of a task and add it to the events; from any thread."""
        line = hidden(json.dumps({"at": now(), **event, "attempt": self.attempt})) + "\n"
        with self._lock:
            self.computed += event["kind"] == "finished"
            self.memo_hits += event["kind"] == "memo hit"
            with (
                contextlib.suppress(OSError),
                open(self.folder / "events.jsonl", "a+b", buffering=0) as file,
            ):
                if end := file.seek(0, os.SEEK_END):
                    file.seek(end - 1)
                    if file.read() != b"\n":  # a crash or a full disk has cut the last line
                        line = "\n" + line
                file.write(line.encode())


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
        run = Run(id=id, folder=folder, workflow=workflow, given=json.loads(hidden(json.dumps(dict(given)))),
                  **{"started": now(), **more})  # fmt: skip
        run.hold()
        with run.released_on_failure():
            run.save()
    except (OSError, StorageError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"cannot record runs in {folder.parent}: {error.strerror}; set STARGAZER_HOME to a folder of yours"
        ) from error
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
    except OSError:
        raise AssetNotFoundError(f"no run {id!r} in {folder.parent}; `stargazer runs` lists them") from None


def list_runs(most: int | None = None) -> list[Run]:
    """All runs that are recorded here, or so many, the newest first; of a record that is damaged, what is known."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(_folder()) as entries:
        for name in sorted((entry.name for entry in entries if ID.fullmatch(entry.name)), reverse=True)[
            :most
        ]:
            with contextlib.suppress(OSError):  # it is being made, or removed
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


def calls_of(run: Run) -> list[dict[str, Any]]:
    """The last event of each task call of a run's last attempt, in the order in which they were called."""
    last: dict[int, dict[str, Any]] = {}
    for event, _ in events_of(run):
        if event.get("attempt", 1) == run.attempt and "call" in event:
            last[event["call"]] = event
    return list(last.values())


def now() -> str:
    """The time as records hold it: ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _folder() -> Path:
    return Settings.load().home / "runs"


def _read(folder: Path) -> Run:
    """The run that a folder holds: also one of another version, which knows other attributes; a damaged one is lost.

    Raises:
        OSError: it holds none.
    """
    content = (folder / "run.json").read_bytes()
    try:
        run = _parsed(content, folder)
    except (ValueError, TypeError):
        return Run(id=folder.name, folder=folder, workflow="", given={}, state="lost", started=_made(folder.name),
                   error=f"its record is damaged; `stargazer runs rm {folder.name}` removes it, and what it has "
                         "finished is remembered by the next run of its workflow")  # fmt: skip
    if run.state != "running":
        return run
    if not is_locked(folder / "lock"):
        if (folder / "run.json").read_bytes() != content:  # it has ended just now
            return _read(folder)
        run.state, run.error = "lost", _why_lost(run)
    events = [event for event, _ in events_of(run) if event.get("attempt", 1) == run.attempt]
    kinds = [event["kind"] for event in events]
    run.computed, run.memo_hits = kinds.count("finished"), kinds.count("memo hit")
    if events:
        run.seconds += _between(events[0].get("at"), events[-1].get("at") if run.state == "lost" else now())
    return run


def _parsed(content: bytes, folder: Path) -> Run:
    """The run of a record.

    Raises:
        ValueError, TypeError: it is none.
    """
    record = json.loads(content)
    if not isinstance(record, dict):
        raise TypeError(record)
    known = {field.name for field in attrs.fields(Run) if field.init} & record.keys()
    fields = {"given": record.get("arguments", {}), **{name: record[name] for name in known}}
    run, plain = (
        Run(id=folder.name, folder=folder, **fields),
        _plain(),
    )
    for name in fields:
        value, usual = getattr(run, name), getattr(plain, name)
        if usual is not None and not isinstance(value, int | float if usual == 0 else type(usual)):
            raise TypeError(name)
    return run


@functools.cache
def _plain() -> Run:
    """A run of which nothing is known: the types of its attributes are those of any other."""
    return Run(id="", folder=Path(), workflow="", given={})


def _why_lost(run: Run) -> str:
    ending = "its process ended before it did (killed, or the machine went down, or its disk was full)"
    if run.defined_in:
        return f"{ending}; {run.to_go_on}"
    if not run.detached:
        return (
            f"{ending}; run it again where it was, or `stargazer runs resume {run.id}`: what was finished is "
            "remembered"
        )
    said = run.folder / "worker.log"
    more = (
        f"; `stargazer runs logs {run.id}` shows what it said"
        if said.exists() and said.stat().st_size
        else ""
    )
    return f"{ending}; {run.to_go_on}{more}"


def _between(begin: Any, end: Any) -> float:
    """Seconds from one time to another, none if a clock went backwards."""
    try:
        first, last = (datetime.datetime.fromisoformat(at) for at in (begin, end))
        return max(0.0, (last - first).total_seconds())
    except (TypeError, ValueError):  # of another version
        return 0.0


def _made(id: str) -> str:
    """When a run was made, by its id."""
    return f"{id[:4]}-{id[4:6]}-{id[6:11]}:{id[11:13]}:{id[13:15]}Z"
