"""One external process in a process group of its own: its output logged, its memory watched, its end waited for."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable, Mapping

from stargazer.assets import ToolError
from stargazer.tasks.tools.disk import room
from stargazer.tasks.tools.session import Session
from stargazer.tasks.tools.transcript import CHUNK, Stage, Transcript

__all__ = ["GRACE", "Group", "Process", "kill_all", "memory_of"]

GRACE = 2.0  # seconds between SIGTERM and SIGKILL
_ROUGHLY = 4 << 20  # bytes, by which two counts of the same pages may differ

_alive: weakref.WeakSet[Group] = weakref.WeakSet()


class _Failed(Exception):
    """A process ended with a status other than 0; never leaves this module."""


class Group:
    """A started process, and what it starts, in a process group of its own.

    Raises:
        ToolError: it could not be started.
    """

    def __init__(
        self,
        stage: Stage,
        session: Session,
        environment: Mapping[str, str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int,
        stderr: int,
        pass_fds: tuple[int, ...],
    ) -> None:
        self._lock = threading.Lock()
        self._reaped = False
        try:
            self._popen = subprocess.Popen(
                list(stage.argv),
                cwd=session.folder,
                env=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ToolError(
                f"{stage.label} could not be started: {error}\n  command: {stage.shown}"
            ) from error
        self.pid = self._popen.pid
        _alive.add(self)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group."""
        with self._lock:
            if not self._reaped:  # afterwards the number may be another group's
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, number)

    def reap(self) -> tuple[int, resource.struct_rusage]:
        """Wait for the end of the process, and end what it left behind; return its exit status and what it took."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13: no way to wait without reaping
            _, status, usage = os.wait4(self.pid, 0)
            self.signal(signal.SIGKILL)
            self._reaped = True
        else:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self.signal(signal.SIGKILL)  # until it is reaped, its number cannot be another group's
            with self._lock:
                _, status, usage = os.wait4(self.pid, 0)
                self._reaped = True
        _alive.discard(self)
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        return self._popen.returncode, usage


class Process:
    """A started stage in a process group of its own.

    Two threads serve it: one copies its output to the log and keeps the tail, one waits for its end. Neither
    needs the event loop to be responsive, and no state is shared between loops.
    """

    def __init__(self, stage: Stage, session: Session, number: int, stdin: int, stdout: int | None) -> None:
        self.transcript = Transcript(stage, session, number)
        self.transcript.begin()
        self._output, output = os.pipe()
        try:
            self.group = Group(
                stage,
                session,
                session.process_environment(stage.environment),
                stdin=stdin,
                stdout=output if stdout is None else stdout,
                stderr=output,
                pass_fds=(*session.pass_fds, *stage.pass_fds),
            )
        except ToolError:
            os.close(self._output)
            self.transcript.close()
            raise
        finally:
            os.close(output)
        # only now, for what it took of us was less; and Linux counts pages roughly
        self._own_memory = _peak_of(resource.getrusage(resource.RUSAGE_SELF)) + _ROUGHLY
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        done.set_running_or_notify_cancel()
        self.ended = asyncio.wrap_future(done)
        self._reader = threading.Thread(target=self._read, name=f"output of {stage.label}", daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, args=(done,), name=f"end of {stage.label}", daemon=True).start()

    def _watch(self, done: concurrent.futures.Future[None]) -> None:
        sampled = self._wait()
        status, usage = self.group.reap()
        # Linux counts the memory of the process that forked: only what exceeds ours is surely the child's.
        inherited = sys.platform == "linux" and _peak_of(usage) <= self._own_memory
        self.transcript.peak_memory = sampled if inherited and sampled else _peak_of(usage)
        self._reader.join(GRACE)
        self.transcript.status = status
        self.transcript.end()
        if status == 0:
            done.set_result(None)
        else:
            done.set_exception(_Failed(status))

    def _wait(self) -> int:
        """Wait for the end where memory can be sampled (Linux); return the peak seen, in bytes."""
        sampled, pause, transcript = 0, 10.0, self.transcript
        try:
            descriptor = os.pidfd_open(self.group.pid)
        except (AttributeError, OSError):
            return 0
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            while not poll.poll(pause):
                sampled = max(sampled, memory_of(self.group.pid, "VmHWM"))
                transcript.session.seen_memory = max(transcript.session.seen_memory, sampled)
                transcript.least_room = min(transcript.least_room, room(transcript.session.folder))
                pause = min(pause * 1.5, 1000.0)
        finally:
            os.close(descriptor)
        return sampled

    def _read(self) -> None:
        with open(self._output, "rb", buffering=0) as output:
            while chunk := output.read(CHUNK):
                self.transcript.take(chunk)


def _peak_of(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory_of(pid: int, which: str) -> int:
    """Return VmRSS, the memory of a running process, or VmHWM, its peak, in bytes; 0 if unknown (Linux)."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            match = re.search(rb"%s:\s+(\d+) kB" % which.encode(), status.read())
    except OSError:
        return 0
    return int(match.group(1)) * 1024 if match else 0


def kill_all(groups: Iterable[Group]) -> None:
    """End all of them."""
    for group in list(groups):
        group.signal(signal.SIGKILL)


atexit.register(kill_all, _alive)
os.register_at_fork(after_in_child=_alive.clear)  # they are the parent's
