"""A run in a process of its own: started, watched, cancelled and resumed from any other process.

The worker leads a session of its own, so that it outlives the terminal and whoever started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import AssetNotFoundError, InvalidAssetError, StargazerError, StorageError
from stargazer.storage import is_locked
from stargazer.workflows.runs.record import Run, events_of, find_run, new_run, now

if TYPE_CHECKING:
    from stargazer.workflows.catalogue import Kind

__all__ = ["cancel_run", "resume_run", "start_run", "watch_run"]

MODULE = "stargazer.workflows.runs"
"""What a worker runs."""

PAUSE = 0.05  # seconds between looks at a run
_ends: dict[str, threading.Thread] = {}
"""What waits for the end of each worker that this process has started, lest it stays as a zombie."""

BEGINNING, PATIENCE = 30.0, 1.0
"""Seconds after which a worker is given up: that has not begun; that is none, though the run says so."""


def start_run(
    workflow: str,
    arguments: Mapping[str, Any] | None = None,
    /,
    *,
    kind: Kind = "workflow",
    refresh: Mapping[str, Any] | None = None,
    outdir: str | os.PathLike[str] = "",
    **named: Any,
) -> Run:
    """Start a workflow in a process of its own, and return at once; `watch_run` waits for its end.

        started = start_run("germline_short_variant_discovery", samples="NA12878", build="GRCh38")
        done = await watch_run(started.id)

    Nothing is checked here: what is wrong with the arguments is in the run's record (`convert` refuses it before).

    Args:
        workflow: its name, by which an installed distribution registers it.
        arguments, named: values by name: as people type them (a list with commas), or as JSON has them.
        kind: what is named: for a task, the arguments are those of `task_arguments`.
        refresh: what is to be computed anew, as `Run` has it.
        outdir: a folder that the results are copied to, under names that people read.

    Raises:
        InvalidAssetError: the workflow is not given by its name.
        StorageError: the run cannot be recorded, or its process cannot be started.
    """
    if not isinstance(workflow, str):
        raise InvalidAssetError(
            f"{workflow!r} is a workflow of this process, which no other one knows: `await run(...)` runs it here; "
            "an installed one is given by its name"
        )
    given = {**(arguments or {}), **named}
    place = os.path.abspath(outdir) if outdir else ""
    run = new_run(workflow, given, detached=True, kind=kind, refresh=refresh, outdir=place)
    _start_worker(run)
    return run


def resume_run(id: str) -> Run:
    """Let a run that has not succeeded go on in a process of its own: only what is missing is computed.

    Raises:
        AssetNotFoundError: there is no such run.
        InvalidAssetError: it goes on, or has succeeded, or is of a notebook or script.
        StorageError: it cannot be recorded, or its process cannot be started.
    """
    run = find_run(id)
    if not run.workflow:
        raise InvalidAssetError(f"run {id} cannot go on: {run.error}")
    if run.defined_in and run.state != "running":
        raise InvalidAssetError(
            f"run {id} is of {run.defined_in}, which no other process knows: run it again there; what was finished is "
            "remembered"
        )
    try:
        if not run.hold():
            raise InvalidAssetError(f"run {id} goes on: `stargazer runs watch {id}` shows it")
    except OSError as error:
        raise StorageError(f"run {id} cannot go on: {run.folder}: {error.strerror}") from error
    with run.released_on_failure():
        last = find_run(id)  # another resume may have ended it meanwhile
        if last.state == "succeeded":
            raise InvalidAssetError(f"run {id} has succeeded: there is nothing left to do")
        run.seconds = run.seconds if last.state == "running" else last.seconds
        run.attempt, run.detached, run.pid = last.attempt + 1, True, 0
        run.state, run.error, run.finished = "running", "", ""
        run.computed = run.memo_hits = 0
        run.results, run.notes = {}, []
        run.save()
    _start_worker(run)
    return run


def cancel_run(id: str, *, kill: bool = False) -> None:
    """Have a run stopped: its tools are ended, and what was finished is kept; `watch_run` waits until it is done.

    Args:
        kill: end its process without asking it.

    Raises:
        AssetNotFoundError: there is no such run.
        InvalidAssetError: it has ended, or works within another program: a notebook, a script.
        StorageError: its process cannot be reached.
    """
    began = time.monotonic()
    while True:
        run = find_run(id)
        if run.state != "running":
            raise InvalidAssetError(f"run {id} has ended: it {_was(run)}")
        if not run.detached:
            raise InvalidAssetError(
                f"run {id} works within process {run.pid}, a notebook or a script: interrupt it there"
            )
        if run.pid and _is_worker(run):
            break
        if time.monotonic() > began + (PATIENCE if run.pid else BEGINNING):
            raise StorageError(
                f"process {run.pid} is not that of run {id}, which goes on on another machine: cancel it there"
                if run.pid
                else f"the process of run {id} has not begun for {BEGINNING:.0f} s"
            )
        time.sleep(PAUSE)
    _signal(run, signal.SIGKILL if kill else signal.SIGTERM)
    if kill:
        _note_killed(run)


async def watch_run(
    id: str, tell: Callable[[dict[str, Any]], object] | None = None, *, seconds: float | None = None
) -> Run:
    """Wait until a run ends, however it does, or for some seconds; the run as it is then.

    Args:
        tell: is given each event of its tasks, from the first on, as JSON has it.

    Raises:
        AssetNotFoundError: there is no such run, or its record was removed meanwhile.
    """
    import asyncio  # here: what only starts a run has no use for it

    run, place = find_run(id), 0
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        goes_on = run.state == "running" and is_locked(
            run.folder / "lock"
        )  # asked before the events are read
        for event, after in events_of(run, place):
            place = after
            if tell is not None:
                tell(event)
        if not goes_on:
            if not run.folder.exists():
                whose = f"process {run.pid}" if run.pid else "process"
                raise AssetNotFoundError(
                    f"the record of run {id} was removed; its {whose} goes on if it was at work, and what that "
                    "finishes is kept"
                )
            if ending := _ends.pop(id, None):
                await asyncio.to_thread(ending.join)
            return find_run(id)
        if deadline is not None and time.monotonic() > deadline:
            return find_run(id)
        await asyncio.sleep(PAUSE)


def _start_worker(run: Run) -> None:
    """Start the process of a run, which takes over the lock that is held on it."""
    # -P: modules of the folder that it is started in are none of ours
    command = [sys.executable, "-P", "-m", MODULE, str(run.folder), str(run.held)]
    try:
        with open(run.folder / "worker.log", "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       pass_fds=(run.held,), start_new_session=True)  # fmt: skip
        _ends[run.id] = threading.Thread(target=process.wait, name=f"end of run {run.id}", daemon=True)
        _ends[run.id].start()
    except OSError as error:
        run.state, run.error = "failed", f"its process could not be started: {error.strerror}"
        run.save()
        raise StorageError(f"run {run.id}: {run.error}") from error
    finally:
        run.release()


def _is_worker(run: Run) -> bool:
    """Whether the process of this number is that of the run, and none that has got the number since, or elsewhere."""
    try:
        words = Path(f"/proc/{run.pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:  # it has ended, or this is no Linux
        shown = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(run.pid)], capture_output=True, text=True
        )
        words = shown.stdout.split()
    return MODULE in words and run.id in (Path(word).name for word in words)


def _signal(run: Run, number: signal.Signals) -> None:
    """Send a signal to the process of a run, and never to another one that has got its number since."""
    try:
        if hasattr(os, "pidfd_open"):
            process = os.pidfd_open(run.pid)
            try:
                if is_locked(run.folder / "lock"):  # so the number was still its own when it was opened
                    signal.pidfd_send_signal(process, number)
            finally:
                os.close(process)
        elif is_locked(run.folder / "lock"):
            os.kill(run.pid, number)
    except ProcessLookupError:  # it has ended
        pass
    except OSError as error:
        raise StorageError(
            f"the process {run.pid} of run {run.id} cannot be stopped: {error.strerror}"
        ) from error


def _note_killed(run: Run) -> None:
    """Record that a run was killed, as soon as it is gone."""
    deadline = time.monotonic() + BEGINNING
    while not run.hold():
        if time.monotonic() > deadline:
            return
        time.sleep(PAUSE)
    try:
        left = find_run(run.id)
        if left.state == "running":
            left.state, left.error, left.finished = "cancelled", "killed", now()
            left.save()
    finally:
        run.release()


def _was(run: Run) -> str:
    return {"lost": "was lost", "cancelled": "was cancelled"}.get(run.state, run.state)


def work(folder: Path, held: int) -> int:
    """The worker's own part: carry a run out, and return an exit status.

    Args:
        folder: of the run.
        held: the descriptor by which it is held.
    """
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: received.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run = find_run(folder.name)
    run.adopt(held)
    run.pid = os.getpid()
    with contextlib.suppress(StorageError):  # a full disk, which may have room again at the end
        run.save()
    warnings.showwarning = lambda message, *_, **__: _warn(run, str(message))
    import asyncio

    return asyncio.run(_carried_out(run, received))


def _warn(run: Run, text: str) -> None:
    """Tell those who watch a run, and those who look later."""
    run.append({"kind": "warning", "note": text})
    with contextlib.suppress(OSError):  # a full disk
        sys.stderr.write(f"warning: {text}\n")
        sys.stderr.flush()


async def _carried_out(run: Run, received: list[int]) -> int:
    import asyncio

    from stargazer.workflows.runs.here import carry_out

    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(carry_out(run))
    is_cancelled = False

    def cancel() -> None:
        """Cancel it once: a second time would end its clean-up."""
        nonlocal is_cancelled
        if not is_cancelled:  # a limit of time within it counts as cancelling, too
            is_cancelled = task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, cancel)
    await asyncio.sleep(0)  # it has begun, and records its own end
    if received:
        cancel()
    try:
        await task
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except StargazerError:
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0
