"""What one run of a program or function says: its lines in the log, the end of them for errors, how it ended."""

from __future__ import annotations

import contextlib
import shlex
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from attrs import field, frozen
from stargazer.tasks.tools.session import Session

__all__ = ["CHUNK", "Stage", "Transcript", "outcome"]

CHUNK = 65_536
"""Bytes that are read at once of what a process says: what a pipe holds, and the longest line of the log."""

_TAIL = 16_384  # bytes kept of what a process says


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


class Transcript:
    """One run of a stage, as the log of its session has it and as errors and provenance tell of it.

    Attributes:
        status: exit status, minus a signal's number; 0 until it ended.
        peak_memory: its largest resident set in bytes.
        least_room: the least that was seen to be free on the disk of its workspace while it ran, in bytes.
    """

    def __init__(self, stage: Stage, session: Session, number: int) -> None:
        self.stage = stage
        self.session = session
        self.status = 0
        self.peak_memory = 0
        self.least_room = 1 << 62
        self._tail = bytearray()
        self._line = b""
        self._prefix = f"[{number} {stage.label}] ".encode("utf-8", "backslashreplace")

    def begin(self) -> None:
        """Open the log, and say there what begins."""
        self._log = open(self.session.log, "ab", buffering=0)  # noqa: SIM115 - closed by close
        self._write(f"$ {self.stage.shown}\n".encode("utf-8", "backslashreplace"))
        self._started = time.monotonic()

    def take(self, chunk: bytes) -> None:
        """Log what the process said: its complete lines now, the last one with what follows."""
        self._tail += chunk
        del self._tail[:-_TAIL]
        complete, newline, self._line = (self._line + chunk).rpartition(b"\n")
        if newline:
            self._write(complete + newline)
        if len(self._line) > CHUNK:
            self._flush()

    def end(self) -> None:
        """Say in the log how it ended, by its status, and close it."""
        self._flush()
        seconds = time.monotonic() - self._started
        self._write(f"{outcome(self.status) if self.status else 'done'} in {seconds:.1f} s\n".encode())
        self.close()

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def tail(self) -> str:
        """Return the end of what the process wrote to stderr."""
        return bytes(self._tail).decode("utf-8", "replace")

    def lost_its_reader(self) -> bool:
        """Tell whether it failed because the stage after it had gone."""
        return self.status == -signal.SIGPIPE or "broken pipe" in self.tail().lower()

    def _flush(self) -> None:
        if self._line:
            self._write(self._line + b"\n")
            self._line = b""

    def _write(self, lines: bytes) -> None:
        # OSError: a full disk fails the tool itself, with a better message. ValueError: closed, see end.
        with contextlib.suppress(OSError, ValueError):
            self._log.write(b"".join(self._prefix + line + b"\n" for line in lines.splitlines()))
