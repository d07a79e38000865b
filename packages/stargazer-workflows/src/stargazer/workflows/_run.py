"""Starting a workflow: `run` calls it and keeps a record of it, `why_not` asks what it would have to compute.

The record is `run.json`, `events.jsonl` and `logs/` in a folder of its own, readable while the run goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
from stargazer.assets import Asset, AssetNotFoundError, QcReport, StargazerError, StorageError
from stargazer.assets.addresses import hidden
from stargazer.storage import Settings, is_locked, refused, try_lock
from stargazer.workflows.arguments import convert, explaining_commas
from stargazer.workflows.catalogue import Entry, find_workflow

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event, Miss, Refresh

__all__ = ["Asked", "Run", "find_run", "new_run", "run", "why_not"]

MOST_TOLD = 10
"""Unusual figures of a report: all of them are in the report."""

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
        notes: what its reports say of it, in sentences: which figures are unusual; what was not done, or otherwise than
            one might think.
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
        if not is_locked(folder / "lock"):
            run.state, run.error = (
                "lost",
                "its process ended before it did; run it again to go on where it was",
            )
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


@attrs.frozen
class Asked:
    """What became of the question.

    Attributes:
        misses: the first task calls that are not remembered; what reads their results cannot be known yet.
        remembered: how many calls are.
    """

    misses: list[Miss]
    remembered: int


async def run(
    workflow: str | Entry,
    arguments: Mapping[str, Any] | None = None,
    /,
    *,
    refresh: Refresh | None = None,
    record: Run | None = None,
    **named: Any,
) -> Run:
    """Call a workflow as `stargazer run` does, and record it under STARGAZER_HOME, whatever becomes of it.

        done = await run("germline_short_variant_discovery", samples="NA12878", build="GRCh38")
        done.results["variants"]["path"]

    Events of its tasks are told to those who `observe`.

    Args:
        workflow: its name, or its entry in the catalogue.
        arguments, named: values by name: as people type them (a list with commas), or as they are.
        refresh: what is to be computed anew, whatever the memo knows.
        record: of this run, if it was made before (`new_run`).

    Raises:
        InvalidAssetError: no such workflow, or an argument that it does not take; nothing is recorded then.
        StargazerError: what the workflow raises; it is recorded, too.
    """
    from stargazer.tasks.execution import log_to, observe, refreshed

    workflow, given, values = _prepared(workflow, arguments, named)
    made = record or new_run(workflow.name, values)
    began = time.monotonic()
    try:
        with (
            observe(lambda event: made.append(attrs.asdict(event))),
            log_to(made.logs),
            refreshed(refresh),
            explaining_commas(given),
        ):
            value = await workflow.call(**values)
        made.results, made.notes = _described(value), await asyncio.to_thread(_notes, value)
        made.state = "succeeded"
    except asyncio.CancelledError:
        made.state, made.error = "cancelled", "interrupted"
        raise
    except BaseException as error:
        made.state, made.error = "failed", _explained(error, made.folder)
        raise
    finally:
        made.seconds, made.finished = time.monotonic() - began, now()
        # the results are in the store: a full disk takes nothing from them
        with contextlib.suppress(StorageError):
            made.save()
        made.release()
    return made


async def why_not(
    workflow: str | Entry,
    arguments: Mapping[str, Any] | None = None,
    /,
    *,
    refresh: Refresh | None = None,
    **named: Any,
) -> Asked:
    """The task calls that a workflow would have to compute first, each with what differs from the nearest earlier one.

    Nothing is computed. The arguments are those of `run`.

    Raises:
        StargazerError: what the workflow raises before it has called all that it can call.
    """
    from stargazer.tasks.execution import NotRemembered, asking_why, observe, refreshed

    workflow, given, values = _prepared(workflow, arguments, named)
    events: list[Event] = []
    with explaining_commas(given), observe(events.append), refreshed(refresh), asking_why() as misses:
        try:
            await workflow.call(**values)
        except* NotRemembered:
            pass
    return Asked(misses, sum(event.kind == "memo hit" for event in events))


def _prepared(
    workflow: str | Entry, arguments: Mapping[str, Any] | None, named: Mapping[str, Any]
) -> tuple[Entry, dict[str, Any], dict[str, Any]]:
    """The entry of a workflow, the arguments as they were given, and the same as its parameters take them."""
    entry = find_workflow(workflow) if isinstance(workflow, str) else workflow
    given = {**(arguments or {}), **named}
    return entry, given, convert(entry, given)


def _explained(error: BaseException, place: Path) -> str:
    if isinstance(error, StargazerError):
        return error.explain()
    return str(refused(error, place)) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def _notes(value: Any) -> list[str]:
    """What reports among results tell under `notes` and `unusual`, each sentence once; of one not here, nothing."""
    from stargazer.tasks.execution import assets_in

    found: dict[str, None] = {}
    for _, asset in assets_in(value, ""):
        if isinstance(asset, QcReport) and asset.path is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # a report of another form
                content = json.loads(asset.path.read_bytes())
                found |= dict.fromkeys(map(_unusual, content.get("unusual", [])[:MOST_TOLD]))
                found |= dict.fromkeys(content.get("notes", []))
    return list(found)


def _unusual(item: Mapping[str, Any]) -> str:
    """An unusual figure of a summary, in a sentence."""
    cluster = f"cluster {item['cluster']}" if item.get("cluster") else ""
    of = " ".join(word for word in (item["sample"], item.get("lane", ""), cluster) if word) or "all samples"
    usual = f"{item['usual']['bound']} {item['usual']['value']:g}"
    return (
        f"Unusual: {item['figure']} of {of} is {item['value']:g}, usually {usual}; may mean {item['means']}."
    )


def _described(value: Any) -> dict[str, Any]:
    """Named results as JSON: of a named tuple by its fields, else `result`; what is not here has no path."""
    named = value._asdict() if hasattr(value, "_asdict") else {} if value is None else {"result": value}
    return {name: _one(member) for name, member in named.items()}


def _one(member: Any) -> Any:
    if isinstance(member, Asset):
        return {
            "asset": member.asset_key,
            "cid": member.cid,
            "path": str(member.path) if member.path else None,
            "keyvalues": member.keyvalues,
        }
    if hasattr(member, "_asdict"):
        return _described(member)
    if isinstance(member, list | tuple):
        return [_one(part) for part in member]
    if isinstance(member, Mapping):
        return {str(name): _one(part) for name, part in member.items()}
    return member if member is None or isinstance(member, str | int | float | bool) else str(member)
