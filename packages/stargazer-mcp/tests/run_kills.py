"""A run whose worker is killed at seeded moments, and resumed each time, until it ends, for benchmarks/kill_runs.py.

Half of the moments are drawn over the tasks, and over the time of the one drawn; half over the time of the whole run,
so that a long task and what is between tasks have their share.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import StargazerError
from stargazer.storage import maintenance, open_store
from stargazer.workflows import cancel_run, events_of, find_run, list_runs

if __package__:
    from . import homes
else:  # beside a program
    import homes

__all__ = ["Kills", "Undisturbed", "campaign", "figures", "undisturbed_run"]

GLANCE = 0.002  # seconds between looks at a run
LONGEST = 120.0  # seconds in which the next event comes
TOO_BAD = 10  # runs that went wrong end a campaign


@attrs.frozen(kw_only=True)
class Moment:
    """So many seconds after an event of a task; without one, after the worker was started."""

    kind: str = ""
    task: str = ""
    label: str = ""
    seconds: float = 0.0


@attrs.frozen
class Undisturbed:
    """The same run where nobody killed anything: what it gave, and its events with the seconds since it was started."""

    cids: dict[str, Any]
    events: list[tuple[float, dict[str, Any]]]
    seconds: float

    @property
    def tasks(self) -> Counter[str]:
        """How often each task is computed."""
        return Counter(event["task"] for _, event in self.events if event["kind"] == "finished")


@attrs.define
class Kills:
    """What came of a campaign.

    Attributes:
        kills: workers that were killed before they had ended.
        runs: that were made; each was killed and resumed until it ended.
        struck: by task, the kills in the middle of it; "" for those when no task was at work.
        cut: task calls that were begun again as a kill had cut them.
        remembered: task calls that the last attempts of runs found done.
        bad: what was not as it should be, in sentences.
    """

    kills: int = 0
    runs: int = 0
    struck: Counter[str] = attrs.field(factory=Counter)
    cut: int = 0
    remembered: int = 0
    bad: list[str] = attrs.field(factory=list)


def undisturbed_run(home: Path, run: str) -> Undisturbed:
    """What is known of a run of a home that ended well."""
    record = json.loads((home / "runs" / run / "run.json").read_text())
    began = _time(record["started"])
    lines = [json.loads(line) for line in (home / "runs" / run / "events.jsonl").read_text().splitlines()]
    events = [(_time(event["at"]) - began, event) for event in lines]
    return Undisturbed(homes.cids(record["results"]), events, _time(record["finished"]) - began)


def campaign(
    renew: Callable[[], object],
    words: list[str],
    undisturbed: Undisturbed,
    kills: int,
    seed: int,
    most: int = 6,
) -> Kills:
    """Kill workers so many times in STARGAZER_HOME, at most so often in one run.

    Args:
        renew: makes the home what it is before a run.
        words: the run, as `stargazer` takes it.
    """
    found, draw = Kills(), random.Random(seed)
    while found.kills < kills and len(found.bad) < TOO_BAD:
        renew()
        found.runs += 1
        moments = _moments(undisturbed, draw, min(most, kills - found.kills))
        try:
            _kill_and_resume(words, undisturbed, moments, found)
        except AssertionError as error:
            found.bad.append(f"run {found.runs}, kill {found.kills}: {error}")
            _end_all()
    return found


def figures(found: Kills, undisturbed: Undisturbed) -> str:
    """A campaign as a table."""
    rows = {
        "kills": found.kills,
        "of them in the middle of a task": found.kills - found.struck[""],
        "tasks that were struck, of all": f"{len(found.struck.keys() - {''})} of {len(undisturbed.tasks)}",
        "runs, killed and resumed until they ended": found.runs,
        "task calls that the last attempts found done": found.remembered,
        "task calls that were begun again, as they were cut": found.cut,
        "bad": len(found.bad),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _kill_and_resume(words: list[str], undisturbed: Undisturbed, moments: list[Moment], found: Kills) -> None:
    """One run that is killed at each of these moments and resumed; in the end it is what it should be."""
    home = Path(os.environ["STARGAZER_HOME"])
    run = homes.answer(homes.stargazer(*words, "--detach"))["run"]
    kept: Counter[str] = Counter()
    for attempt, moment in enumerate(moments, 1):
        worker = _worker(home / "runs" / run)
        try:
            if not _wait_for(run, attempt, moment):
                break
            with contextlib.suppress(
                ProcessLookupError
            ):  # it has ended; no other process has its number then
                signal.pidfd_send_signal(worker, signal.SIGKILL)
        finally:
            os.close(worker)
        homes.wait_until_gone(home)
        state = _state(run)
        if state == "succeeded":
            break
        assert state == "lost", f"a killed run is {state}"
        found.kills += 1
        found.struck.update(_at_work(run, attempt) or [""])
        _check_starts(run, attempt, undisturbed.tasks - kept)
        kept = _check_store(home)
        homes.answer(homes.stargazer("runs", "resume", run, "--detach", "--json"))
    done = homes.answer(homes.stargazer("runs", "watch", run, "--json"))
    assert homes.cids(done["results"]) == undisturbed.cids, "other results than those of the undisturbed run"
    last = find_run(run).attempt
    _check_starts(run, last, undisturbed.tasks - kept)
    homes.wait_until_gone(home)
    homes.assert_nothing_left(home)
    assert _check_store(home) == undisturbed.tasks, "other executions are kept than in the undisturbed run"
    begun = sum(event["kind"] == "started" for event, _ in events_of(find_run(run)))
    found.cut += begun - undisturbed.tasks.total()
    found.remembered += done["memo_hits"] if last > 1 else 0


def _end_all() -> None:
    """End what goes on after something went wrong, before the home is made anew."""
    for run in list_runs():
        with contextlib.suppress(StargazerError):
            cancel_run(run.id, kill=True)
    homes.wait_until_gone(Path(os.environ["STARGAZER_HOME"]))


def _moments(undisturbed: Undisturbed, draw: random.Random, most: int) -> list[Moment]:
    """Moments of one run, in the order in which they come where nothing is killed."""
    spans: dict[int, list[float]] = {}
    for seconds, event in undisturbed.events:
        if event["kind"] in ("started", "finished"):
            spans.setdefault(event["call"], []).append(seconds)
    calls = sorted(spans)
    at = [
        draw.uniform(*spans[draw.choice(calls)])
        if draw.random() < 0.5
        else draw.uniform(0, undisturbed.seconds)
        for _ in range(most)
    ]
    return [_moment(undisturbed, seconds) for seconds in sorted(at)]


def _moment(undisturbed: Undisturbed, seconds: float) -> Moment:
    """A moment by the last event before it, for another run is faster or slower."""
    before = [
        (at, event)
        for at, event in undisturbed.events
        if at <= seconds and event["kind"] in ("started", "finished")
    ]
    if not before:
        return Moment(seconds=seconds)
    at, event = before[-1]
    return Moment(kind=event["kind"], task=event["task"], label=event["label"], seconds=seconds - at)


def _wait_for(run: str, attempt: int, moment: Moment) -> bool:
    """Wait for a moment of a run that goes on; whether it came before the run ended."""
    deadline = time.monotonic() + LONGEST
    kinds = {moment.kind, "finished", "memo hit"}  # a resumed run may remember what is waited for
    while moment.kind and not any(
        event["kind"] in kinds and (event["task"], event["label"]) == (moment.task, moment.label)
        for event in _events(run, attempt)
    ):
        if find_run(run).state != "running":
            return False
        assert time.monotonic() < deadline, f"{moment} has not come"
        time.sleep(GLANCE)
    time.sleep(moment.seconds)
    return True


def _state(run: str) -> str:
    """How a run is whose process was killed; the kernel drops its lock a moment after its memory."""
    deadline = time.monotonic() + LONGEST
    while (state := find_run(run).state) == "running" and time.monotonic() < deadline:
        time.sleep(GLANCE)
    return state


def _worker(folder: Path) -> int:
    """A descriptor of the process of a run, which may not have recorded its number yet."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                is_it = b"stargazer.workflows.runs" in words and os.fsencode(folder) in words
                if is_it and os.getsid(int(process.name)) == int(process.name):
                    return os.pidfd_open(int(process.name))
    raise AssertionError(f"no process of {folder.name}")


def _events(run: str, attempt: int) -> list[dict[str, Any]]:
    """The events of one attempt."""
    return [event for event, _ in events_of(find_run(run)) if event["attempt"] == attempt]


def _at_work(run: str, attempt: int) -> list[str]:
    """The tasks that had started when an attempt was killed, and had not ended."""
    last = {event["call"]: event for event in _events(run, attempt)}
    return sorted(event["task"] for event in last.values() if event["kind"] in ("started", "progress"))


def _check_starts(run: str, attempt: int, missing: Counter[str]) -> None:
    """See that an attempt computed nothing but what was missing."""
    begun = Counter(event["task"] for event in _events(run, attempt) if event["kind"] == "started")
    assert begun <= missing, f"computed again though kept: {begun - missing}"


def _check_store(home: Path) -> Counter[str]:
    """See that the store is sound; how often it keeps the execution of each task."""
    homes.assert_sound(home)
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # the run goes on with what the kill has left, not with its repair
        repaired = open_store(shutil.copytree(home / "local", Path(folder, "local"), symlinks=True))
        problems = [
            problem
            for attempt in ("repaired", "again")
            for problem in maintenance.fsck(repaired, full=True).problems
            if attempt == "again" or not problem.fixed
        ]
        repaired.index.close()
    assert not problems, f"fsck: {problems}"
    store = open_store(home / "local")
    executions = store.query({"asset": "provenance", "kind": "execution"})
    store.index.close()
    return Counter(record.keyvalues["task"] for record in executions)


def _time(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
