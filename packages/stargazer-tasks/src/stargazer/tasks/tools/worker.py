"""Calls Python functions in a child process that stays for the next call, so that what it imports is paid for once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from stargazer.assets import ToolError
from stargazer.tasks.tools.child import Child
from stargazer.tasks.tools.pipelines import ended, explain
from stargazer.tasks.tools.python import arithmetic, function_stage, raised
from stargazer.tasks.tools.session import current_session
from stargazer.tasks.tools.transcript import Transcript

__all__ = ["compute"]


async def compute(function: Callable[..., Any], /, **arguments: Any) -> Any:
    """As `call`, in one child process of this process that stays for the next call: what it imports is paid for once.

        quality = await compute(cell_quality, counts=path, min_genes=200)

    The child takes one call at a time, in the order in which they are asked for. No call depends on those before it:
    current folder, environment, umask, streams, `sys.path`, `random` and numpy's random numbers (seeded with 0),
    matplotlib's settings and the code on disk are as in a new process. A function that changes other settings of a
    library restores them, and leaves no process or thread behind.

    The child is replaced when a call has another number of threads or another `sys.path`, or code has changed. It
    ends with a call that is cancelled, after 300 seconds without any, and with this process.

    Raises:
        ConfigurationError: a child process cannot import the function.
        StargazerError: the function raised one: the same class, with the same text.
        ToolError: the function raised anything else, or the child died.
    """
    session = current_session()
    stage = function_stage(function, arguments, session)
    session.commands.append(list(stage.recorded))
    transcript = Transcript(stage, session, len(session.commands))
    try:
        answer = await _keeper().answer(
            transcript, session.process_environment({**arithmetic(), **stage.environment})
        )
    finally:
        session.peak_memory = max(session.peak_memory, transcript.peak_memory)
    if answer is None or transcript.status:
        raise raised(answer or b"") or ToolError(explain(transcript, [transcript], session))
    return json.loads(answer)["result"]


class _Keeper:
    """Starts the child, asks it and sees it end, for the event loops of all threads.

    It has an event loop of its own, in a thread that never ends: Linux ends a child with the thread that started it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._turn = asyncio.Lock()
        self._child: Child | None = None
        threading.Thread(target=self._loop.run_forever, name="keeper of the child", daemon=True).start()

    async def answer(self, transcript: Transcript, environment: Mapping[str, str]) -> bytes | None:
        """Return the child's answer to a call, None if it died; cancelled, wait until it is gone.

        Raises:
            ToolError: no child can be started.
        """
        done: concurrent.futures.Future[asyncio.Task[bytes | None]] = concurrent.futures.Future()
        done.set_running_or_notify_cancel()
        tasks: list[asyncio.Task[bytes | None]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(self._answer(transcript, environment)))
            tasks[0].add_done_callback(done.set_result)

        self._loop.call_soon_threadsafe(begin)
        over = asyncio.wrap_future(done)
        try:
            await asyncio.wait([over])
        except asyncio.CancelledError:
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            await ended({over})
            raise
        return over.result().result()

    async def _answer(self, transcript: Transcript, environment: Mapping[str, str]) -> bytes | None:
        async with self._turn:
            child = await self._fitting(environment)
            transcript.begin()
            try:
                if child is not None:
                    answer = await child.answer(transcript, environment)
                    if child.has_begun:
                        return answer
                # none, or it ended just now: it was idle for long, or killed, or there is other code to run
                self._child = Child(transcript, environment)
                return await self._child.answer(transcript, environment)
            except Exception:  # nothing was started
                transcript.close()
                raise
            finally:
                transcript.end()

    async def _fitting(self, environment: Mapping[str, str]) -> Child | None:
        """Return the child if it lives and fits; one that does not fit is ended."""
        child = self._child
        if child is not None and not child.fits(environment):
            await child.end()
        return None if child is None or child.ended.done() else child


_current: _Keeper | None = None
_making = threading.Lock()
_of_parents: list[_Keeper | None] = []


def _keeper() -> _Keeper:
    """Return the keeper of this process."""
    global _current
    with _making:
        if _current is None:
            _current = _Keeper()
        return _current


def _forget() -> None:
    """In a forked process: the child is the parent's, and so is the loop, which must not even be closed here."""
    global _current, _making
    _of_parents.append(_current)
    _current, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
