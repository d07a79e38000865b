"""Runs a pipeline: its processes start together and end together, and an error names the one that is to blame."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import TypeVar

from stargazer.assets import ToolError
from stargazer.tasks.tools.disk import full_disk
from stargazer.tasks.tools.processes import GRACE, Process, kill_all
from stargazer.tasks.tools.session import Session
from stargazer.tasks.tools.transcript import Stage, Transcript, outcome

__all__ = ["ended", "explain", "run_stages", "useful_line"]

T = TypeVar("T")

_SETTLE = 0.25  # seconds that the neighbours of a failed stage get to end on their own and tell why


_TROUBLE = re.compile(
    r"\[E::|error|fail|fatal|exception|abort|can ?not|can't|could ?n[o']t|"
    r"invalid|unrecogni|unknown|no such|missing",
    re.IGNORECASE,
)


def useful_line(said: str) -> str | None:
    """Return the first line that speaks of trouble (indented ones are help texts), else the last line."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    trouble = (line for line in lines if not line[0].isspace() and _TROUBLE.search(line))
    return next(trouble, lines[-1].strip() if lines else None)


async def ended(running: set[asyncio.Future[T]]) -> None:
    """Wait until all have ended; a cancellation meanwhile is raised only then."""
    cancelled: asyncio.CancelledError | None = None
    while running:
        try:
            _, running = await asyncio.wait(running)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def run_stages(
    stages: Sequence[Stage], session: Session, *, stdin: int = subprocess.DEVNULL, stdout: int | None = None
) -> str:
    """Run stages joined by pipes; return the end of what they wrote to stderr when all have ended.

    `stdin` and `stdout` are descriptors for the first and the last stage; the log gets stdout otherwise.

    Raises:
        ToolError: a stage could not start, failed or died. The others are ended first.
    """
    processes: list[Process] = []
    try:
        with contextlib.ExitStack() as ours:
            source = stdin
            for position, stage in enumerate(stages):
                read_end, sink = -1, stdout
                if position < len(stages) - 1:
                    read_end, sink = os.pipe()
                    ours.callback(os.close, read_end)
                    ours.callback(os.close, sink)
                session.commands.append(list(stage.recorded))
                processes.append(Process(stage, session, len(session.commands), source, sink))
                source = read_end
        _, running = await asyncio.wait(
            [process.ended for process in processes], return_when=asyncio.FIRST_EXCEPTION
        )
        if running:
            await asyncio.wait(running, timeout=_SETTLE)
        culprit = _culprit([process for process in processes if process.ended.done()])
    finally:
        await _end(processes)
        transcripts = [process.transcript for process in processes]
        session.peak_memory = max([session.peak_memory, *(each.peak_memory for each in transcripts)])
    if culprit is not None:
        raise ToolError(explain(culprit, transcripts, session))
    return "".join(each.tail() for each in transcripts)


async def _end(processes: Sequence[Process]) -> None:
    """End the processes that still run and wait until all are reaped, even if cancelled meanwhile."""
    if running := {process.ended for process in processes if not process.ended.done()}:
        groups = [process.group for process in processes]
        for group in groups:
            group.signal(signal.SIGTERM)
        killer = threading.Timer(GRACE, kill_all, [groups])
        killer.start()
        try:
            await ended(running)
        finally:
            killer.cancel()
    for process in processes:
        process.ended.exception()  # retrieved: asyncio would report it as forgotten


def _culprit(ended: Sequence[Process]) -> Transcript | None:
    """Return the stage to blame: not one whose reader went away, rather a killed one, else the first."""
    failed = [process.transcript for process in ended if process.ended.exception() is not None]
    killed = [each for each in failed if each.status < 0 and each.status != -signal.SIGPIPE]
    others = [each for each in failed if not each.lost_its_reader()]
    return next(iter(killed or others or failed), None)


def explain(culprit: Transcript, transcripts: Sequence[Transcript], session: Session) -> str:
    """Return what to tell of a pipeline that failed, and of the stage to blame."""
    said = culprit.tail()
    useful = culprit.stage.useful_line(said)
    message = [f"{culprit.stage.label} {outcome(culprit.status)}" + (f": {useful}" if useful else "")]
    everything = "\n".join(each.tail() for each in transcripts)
    if full := full_disk(session.folder, everything, min(each.least_room for each in transcripts)):
        message.append(f"  {full}")
    message.append(f"  command: {' | '.join(each.stage.shown for each in transcripts)}")
    last = [line for line in said.splitlines() if line.strip() and not line.startswith("\tat ")][-5:]
    if last and last != [useful]:
        message += ["  it said last:", *(f"    {line}" for line in last)]
    return "\n".join([*message, f"  log: {session.log}"])
