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
import shlex
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import field, frozen
from stargazer.assets import ToolError
from stargazer.tasks.tools.disk import room
from stargazer.tasks.tools.session import Session

__all__ = ["GRACE", "Process", "Stage", "kill_all", "outcome"]

GRACE = 2.0  # seconds between SIGTERM and SIGKILL
_TAIL = 16_384  # bytes kept of what a process says
_LONGEST_LINE = 65_536  # bytes
_ROUGHLY = 4 << 20  # bytes, by which two counts of the same pages may differ


@frozen
class Stage:
    """One process to start: how, and how it is called in the log, in errors and in provenance."""

    label: str
    argv: Sequence[str]
    recorded: list[str]
    environment: Mapping[str, str]
    useful_line: Callable[[str], str | None]
    pass_fds: tuple[int, ...] = field(default=())

    @property
    def shown(self) -> str:
        """The command as a person would type it, on one line."""
        return shlex.join(self.recorded).replace("\n", "\\n").replace("\r", "\\r")


def outcome(status: int) -> str:
    """Return how a process ended, from its exit status (minus a signal's number)."""
    if status >= 0:
        return f"failed with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    reason = {
        "SIGKILL": " (by hand, or the machine ran out of memory)",
        "SIGPIPE": " (what reads its output ended early)",
    }
    return f"was killed by {name}{reason.get(name, '')}"


class _Failed(Exception):
    """A process ended with a status other than 0; never leaves this module."""


_alive: weakref.WeakSet[Process] = weakref.WeakSet()


class Process:
    """A started stage in a process group of its own.

    `least_room` is the least that was seen to be free on the disk of its workspace while it ran.

    Two threads serve it: one copies its output to the log and keeps the tail, one waits for its end. Neither
    needs the event loop to be responsive, and no state is shared between loops.
    """

    def __init__(self, stage: Stage, session: Session, number: int, stdin: int, stdout: int | None) -> None:
        self.stage = stage
        self.status = 0
        self.peak_memory = 0
        self.least_room = 1 << 62
        self._folder = session.folder
        self._tail = bytearray()
        self._lock = threading.Lock()
        self._reaped = False
        self._prefix = f"[{number} {stage.label}] ".encode("utf-8", "backslashreplace")
        self._log = open(session.log, "ab", buffering=0)  # noqa: SIM115 - closed by _watch
        self._write(f"$ {stage.shown}\n".encode("utf-8", "backslashreplace"))
        self._started = time.monotonic()
        try:
            self._popen = self._open(session, stdin, stdout)
        except ToolError:
            self._log.close()
            raise
        # only now, for what it took of us was less; and Linux counts pages roughly
        self._own_memory = _peak_of(resource.getrusage(resource.RUSAGE_SELF)) + _ROUGHLY
        _alive.add(self)
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        done.set_running_or_notify_cancel()
        self.ended = asyncio.wrap_future(done)
        self._reader = threading.Thread(target=self._read, name=f"output of {stage.label}", daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, args=(done,), name=f"end of {stage.label}", daemon=True).start()

    def _open(self, session: Session, stdin: int, stdout: int | None) -> subprocess.Popen[bytes]:
        self._output, output = os.pipe()
        try:
            return subprocess.Popen(
                list(self.stage.argv),
                cwd=session.folder,
                env=session.process_environment(self.stage.environment),
                stdin=stdin,
                stdout=output if stdout is None else stdout,
                stderr=output,
                pass_fds=(*session.pass_fds, *self.stage.pass_fds),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            os.close(self._output)
            raise ToolError(
                f"{self.stage.label} could not be started: {error}\n  command: {self.stage.shown}"
            ) from error
        finally:
            os.close(output)

    def tail(self) -> str:
        """Return the end of what the process wrote to stderr."""
        return bytes(self._tail).decode("utf-8", "replace")

    def lost_its_reader(self) -> bool:
        """Tell whether it failed because the stage after it had gone."""
        return self.status == -signal.SIGPIPE or "broken pipe" in self.tail().lower()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group."""
        with self._lock:
            if not self._reaped:  # afterwards the number may be another group's
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._popen.pid, number)

    def _watch(self, done: concurrent.futures.Future[None]) -> None:
        sampled = self._wait()
        status, usage = self._reap()
        self.status = self._popen.returncode = os.waitstatus_to_exitcode(status)
        # Linux counts the memory of the process that forked: only what exceeds ours is surely the child's.
        inherited = sys.platform == "linux" and _peak_of(usage) <= self._own_memory
        self.peak_memory = sampled if inherited and sampled else _peak_of(usage)
        self._reader.join(GRACE)
        seconds = time.monotonic() - self._started
        self._write(f"{outcome(self.status) if self.status else 'done'} in {seconds:.1f} s\n".encode())
        self._log.close()
        _alive.discard(self)
        if self.status == 0:
            done.set_result(None)
        else:
            done.set_exception(_Failed(self.status))

    def _reap(self) -> tuple[int, resource.struct_rusage]:
        """Reap the process, and end what it left behind in its group."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13: no way to wait without reaping
            _, status, usage = os.wait4(self._popen.pid, 0)
            self.signal(signal.SIGKILL)
            self._reaped = True
            return status, usage
        os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)
        self.signal(signal.SIGKILL)  # until it is reaped, its number cannot be another group's
        with self._lock:
            _, status, usage = os.wait4(self._popen.pid, 0)
            self._reaped = True
        return status, usage

    def _wait(self) -> int:
        """Wait for the end where memory can be sampled (Linux); return the peak seen, in bytes."""
        pid, sampled, pause = self._popen.pid, 0, 10.0
        try:
            descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):
            return 0
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            while not poll.poll(pause):
                sampled = max(sampled, _sample(pid))
                self.least_room = min(self.least_room, room(self._folder))
                pause = min(pause * 1.5, 1000.0)
        finally:
            os.close(descriptor)
        return sampled

    def _read(self) -> None:
        with open(self._output, "rb", buffering=0) as output:
            line = b""
            while chunk := output.read(_LONGEST_LINE):
                self._tail += chunk
                del self._tail[:-_TAIL]
                complete, newline, line = (line + chunk).rpartition(b"\n")
                if newline:
                    self._write(complete + newline)
                if len(line) > _LONGEST_LINE:
                    self._write(line + b"\n")
                    line = b""
            if line:
                self._write(line + b"\n")

    def _write(self, lines: bytes) -> None:
        # OSError: a full disk fails the tool itself, with a better message. ValueError: closed, see _watch.
        with contextlib.suppress(OSError, ValueError):
            self._log.write(b"".join(self._prefix + line + b"\n" for line in lines.splitlines()))


def _peak_of(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _sample(pid: int) -> int:
    """Return the peak memory of a running process in bytes, 0 if unknown (Linux)."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            match = re.search(rb"VmHWM:\s+(\d+) kB", status.read())
    except OSError:
        return 0
    return int(match.group(1)) * 1024 if match else 0


def kill_all(processes: Iterable[Process]) -> None:
    """End the process groups of all of them."""
    for process in list(processes):
        process.signal(signal.SIGKILL)


atexit.register(kill_all, _alive)
