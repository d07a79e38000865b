"""A child process that calls Python functions, one after the other: asked and heard over pipes, ended with its call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from signal import SIGKILL, SIGTERM

import attrs
from stargazer.assets import ToolError
from stargazer.tasks.tools.disk import room
from stargazer.tasks.tools.pipelines import ended
from stargazer.tasks.tools.processes import GRACE, Group, memory_of
from stargazer.tasks.tools.sources import ENGINES
from stargazer.tasks.tools.transcript import CHUNK, Transcript

__all__ = ["IDLE", "Child"]

IDLE = 300.0
"""Seconds without a call after which a child ends."""

_SIZE = struct.Struct(">Q")  # of a request, as engines/compute.py has it
_HEAD = struct.Struct(">iQQ")  # of an answer: exit status, peak of memory, size
# variables that a child is told with each call; others are its own as long as it lives
_TOLD = {"HOME", "TMPDIR", "STARGAZER_PARENT", "STARGAZER_TASK_MEMORY"}
_LARGEST_PIPE = 16  # chunks


class Child:
    """A started child; all is for the thread of one event loop, which must never end: Linux ends the child with it.

    Attributes:
        ended: done when it has ended, and all that it said was read.

    Raises:
        ToolError: it cannot be started.
    """

    def __init__(self, transcript: Transcript, environment: Mapping[str, str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._environment = _lasting(environment)
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._transcript: Transcript | None = None
        self._heard = bytearray()
        self._unsent = memoryview(b"")
        kept = _private_folder()
        self._temporary = None if kept else tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._caches = _cache_variables(kept or Path(self._temporary.name if self._temporary else ""))
        asked, self._requests = os.pipe()
        self._answers, told = os.pipe()
        self._output, said = os.pipe()
        argv = [*transcript.stage.argv, str(ENGINES / "compute.py"), str(asked), str(told), str(IDLE)]
        try:
            self._group = Group(
                attrs.evolve(transcript.stage, argv=argv),
                transcript.session,
                {**self._caches, **environment},
                stdout=said,
                stderr=said,
                pass_fds=(asked, told),  # no slots: it outlasts the task that holds them
            )
        except ToolError:
            self._close()
            raise
        finally:
            for descriptor in (asked, told, said):
                os.close(descriptor)
        for descriptor in (self._requests, self._answers, self._output):
            os.set_blocking(descriptor, False)
        self._loop.add_reader(self._answers, self._hear)
        self._loop.add_reader(self._output, self._log)
        threading.Thread(target=self._watch, name="end of the child", daemon=True).start()

    @property
    def has_begun(self) -> bool:
        """Whether it has begun with the last call."""
        return bool(self._heard)

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Tell whether it has the variables of a call, but for those that it is told with each."""
        return self._environment == _lasting(environment)

    async def answer(self, transcript: Transcript, environment: Mapping[str, str]) -> bytes | None:
        """Return its answer to a call, None if it died; cancelled, end it."""
        _, name, arguments = transcript.stage.recorded
        request = json.dumps(
            {
                "function": name,
                "arguments": arguments,
                "folder": str(transcript.session.folder),
                "environment": {**self._caches, **environment},
            }
        ).encode()
        self._heard, self._answered = bytearray(), self._loop.create_future()
        self._unsent = memoryview(_SIZE.pack(len(request)) + request)
        self._loop.add_writer(self._requests, self._send)
        with self._writing(transcript):
            try:
                await asyncio.wait([self._answered, self.ended], return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                await self.end()
                raise
        if not self._is_complete():
            return None
        transcript.status, peak, _ = _HEAD.unpack_from(self._heard, 1)
        transcript.peak_memory = peak or transcript.peak_memory
        return bytes(self._heard[1 + _HEAD.size :])

    async def end(self) -> None:
        """End it and what it started; return when it is gone, even if cancelled meanwhile."""
        self._group.signal(SIGTERM)
        killer = self._loop.call_later(GRACE, self._group.signal, SIGKILL)
        try:
            await ended({self.ended})
        finally:
            killer.cancel()

    @contextlib.contextmanager
    def _writing(self, transcript: Transcript) -> Iterator[None]:
        """Write down what it says and takes."""
        self._transcript = transcript
        sampling = self._loop.create_task(self._sample(transcript))
        try:
            yield
        finally:
            sampling.cancel()
            if not self.ended.done():
                self._read_up(self._log)  # it was written before the answer
            self._transcript = None

    async def _sample(self, transcript: Transcript) -> None:
        pause = 0.01
        while True:
            resident = memory_of(self._group.pid, "VmRSS")
            transcript.peak_memory = max(transcript.peak_memory, resident)
            transcript.session.seen_memory = max(transcript.session.seen_memory, resident)
            transcript.least_room = min(transcript.least_room, room(transcript.session.folder))
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    def _send(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._requests, self._unsent) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it ends
            self._unsent = memoryview(b"")
        if not self._unsent:
            self._loop.remove_writer(self._requests)

    def _hear(self) -> bool:
        chunk = self._read(self._answers)
        self._heard += chunk
        if self._is_complete() and not self._answered.done():
            self._answered.set_result(None)
        return bool(chunk)

    def _is_complete(self) -> bool:
        start = 1 + _HEAD.size
        return len(self._heard) >= start and len(self._heard) == start + _HEAD.unpack_from(self._heard, 1)[2]

    def _log(self) -> bool:
        chunk = self._read(self._output)
        if self._transcript is not None:  # else what a call left behind speaks
            self._transcript.take(chunk)
        return bool(chunk)

    def _read(self, descriptor: int) -> bytes:
        """Return what is to be read now."""
        try:
            chunk = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return b""
        if not chunk:  # nobody can write any more
            self._loop.remove_reader(descriptor)
        return chunk

    def _read_up(self, read: Callable[[], bool]) -> None:
        """Read all that is in a pipe now; what is still written may be endless."""
        for _ in range(_LARGEST_PIPE):
            if not read():
                break

    def _watch(self) -> None:
        """Wait for its end, in a thread."""
        status, _ = self._group.reap()
        self._loop.call_soon_threadsafe(self._over, status)

    def _over(self, status: int) -> None:
        self._read_up(self._hear)
        self._read_up(self._log)
        if self._transcript is not None:
            self._transcript.status = status
        self._loop.remove_writer(self._requests)
        self._loop.remove_reader(self._answers)
        self._loop.remove_reader(self._output)
        self._close()
        self.ended.set_result(None)

    def _close(self) -> None:
        for descriptor in (self._requests, self._answers, self._output):
            os.close(descriptor)
        if self._temporary is not None:
            self._temporary.cleanup()


def _lasting(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in _TOLD}


def _private_folder() -> Path | None:
    """Return this user's folder for compiled code in STARGAZER_HOME; None if others could write there."""
    from stargazer.storage import Settings, make_folders

    user = os.getuid()
    folder = Settings.load().home / "caches" / str(user)
    try:
        make_folders(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    private = status.st_uid == user and not status.st_mode & 0o022
    return folder if private and os.access(folder, os.W_OK) else None


def _cache_variables(folder: Path) -> dict[str, str]:
    return {"NUMBA_CACHE_DIR": str(folder / "numba"), "MPLCONFIGDIR": str(folder / "matplotlib")}
