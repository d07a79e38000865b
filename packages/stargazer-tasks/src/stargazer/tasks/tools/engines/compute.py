"""Stand-alone script that calls Python functions, one after the other, until nobody asks any more.

python compute.py REQUESTS ANSWERS SECONDS

A request, from the descriptor REQUESTS, is a length (SIZE) and that many bytes of JSON: `function`, `arguments`
(JSON again), `folder` and `environment`. The descriptor ANSWERS gets a byte when the call begins, and when it is over
a head (HEAD: exit status, peak of memory in bytes or 0, length) and an answer as of call.py. Without a request for
SECONDS, without whoever asks, or if the code that a request is about may have changed, it ends.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import gc
import importlib
import json
import os
import random
import resource
import select
import signal
import struct
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable
from typing import Any, TextIO

from stargazer.tasks.tools.engines.call import made
from stargazer.tasks.tools.engines.launch import die_with_parent

SIZE = struct.Struct(">Q")
HEAD = struct.Struct(">iQQ")
LITTLE = 32 << 20
"""Bytes that a function may leave without being looked through."""


def main(requests: int, answers: int, idle: float) -> None:
    """Answer requests."""
    for descriptor in (requests, answers):
        os.set_inheritable(descriptor, False)
    start, sources, memory, first = Start(), Sources(), Memory(), True
    with open(requests, "rb") as source, open(answers, "wb", buffering=0) as sink:
        while (request := _asked(source, None if first else idle)) is not None:
            if not first and (sources.changed() or not start.can_speak()):
                break  # a new process is to answer it
            sink.write(b"\0")
            first, began = False, time.time_ns()
            start.restore(request["folder"], request["environment"])
            memory.forget_peak()
            answer, status = contextvars.copy_context().run(made, request["function"], request["arguments"])
            _flush((*start.streams, sys.stdout, sys.stderr))
            _write(sink, HEAD.pack(status, memory.peak(), len(answer)) + answer)
            del request, answer
            start.leave()
            memory.give_back()
            sources.note(began)


class Start:
    """What a function finds when it is called: always the same, whatever the one before it has done."""

    def __init__(self) -> None:
        self.path = list(sys.path)
        self.mask = os.umask(0o77)
        self.streams = (sys.stdout, sys.stderr)
        self.outputs = (os.dup(1), os.dup(2))

    def can_speak(self) -> bool:
        """Tell whether no function has closed what all print to."""
        return not any(stream.closed for stream in self.streams)

    def restore(self, folder: str, environment: dict[str, str]) -> None:
        """Have everything as at the start, in this folder and with these variables."""
        os.umask(self.mask)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os.environ.pop("STARGAZER_PARENT", None)
        sys.path[:] = self.path
        sys.stdout, sys.stderr = self.streams
        for descriptor, output in enumerate(self.outputs, 1):
            os.dup2(output, descriptor)
        tempfile.tempdir = None
        importlib.invalidate_caches()
        random.seed(0)
        import numpy  # not only if it is loaded: who loads it first would get random numbers of another kind

        numpy.random.seed(0)
        if matplotlib := sys.modules.get("matplotlib"):
            matplotlib.rc_file_defaults()

    def leave(self) -> None:
        """Leave the folder, which goes, and close figures."""
        os.chdir("/")
        if pyplot := sys.modules.get("matplotlib.pyplot"):
            pyplot.close("all")


class Memory:
    """What we take of the machine's memory."""

    def __init__(self) -> None:
        self._least = self._now()
        self._forgotten = False

    def give_back(self) -> None:
        """Give back what a function left, if that is much: to look through all takes .2 s with scanpy."""
        if sys.platform == "linux" and self._now() < self._least + LITTLE:
            return
        gc.collect()
        with contextlib.suppress(AttributeError):  # not in every C library
            ctypes.CDLL(None).malloc_trim(0)
        self._least = self._now()

    def forget_peak(self) -> None:
        """Have Linux forget the peak; not every Linux does."""
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
            self._forgotten = True

    def peak(self) -> int:
        """The peak in bytes since it was forgotten; on macOS that of our life; 0 if unknown."""
        if sys.platform == "darwin":
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return self._status("VmHWM:") if self._forgotten else 0

    def _now(self) -> int:
        return self._status("VmRSS:")

    def _status(self, name: str) -> int:
        with contextlib.suppress(OSError), open("/proc/self/status") as status:
            for line in status:
                if line.startswith(name):
                    return int(line.split()[1]) * 1024
        return 0


class Sources:
    """The files that modules were loaded from, those of installed packages apart, as they were then."""

    def __init__(self) -> None:
        names = ("stdlib", "platstdlib", "purelib", "platlib")
        self._installed = tuple(os.path.join(sysconfig.get_path(name), "") for name in names)
        self._known: dict[str, tuple[int, int] | None] = {}
        self.note(time.time_ns())

    def note(self, began: int) -> None:
        """Remember the files of modules that were loaded since a time, in ns."""
        for module in list(sys.modules.values()):
            path = getattr(module, "__dict__", {}).get("__file__")
            if isinstance(path, str) and path not in self._known and not path.startswith(self._installed):
                state = _state(path)
                # if written since, perhaps after it was loaded
                self._known[path] = state if state is not None and state[1] < began else None

    def changed(self) -> bool:
        """Tell whether one of them is another file now."""
        return any(state is None or _state(path) != state for path, state in self._known.items())


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _asked(source: Any, idle: float | None) -> dict[str, Any] | None:
    """Wait for a request; None if there will be none."""
    if not select.select([source], [], [], idle)[0]:
        return None
    head = source.read(SIZE.size)
    text = source.read(*SIZE.unpack(head)) if len(head) == SIZE.size else b""
    return json.loads(text) if text else None


def _write(sink: Any, message: bytes) -> None:
    rest = memoryview(message)
    while rest:
        rest = rest[sink.write(rest) :]


def _flush(streams: Iterable[TextIO]) -> None:
    """Bring all that was printed on its way, also what C has printed."""
    for stream in streams:
        with contextlib.suppress(ValueError, OSError, AttributeError):  # the function has done away with it
            stream.flush()
    ctypes.CDLL(None).fflush(None)


if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
