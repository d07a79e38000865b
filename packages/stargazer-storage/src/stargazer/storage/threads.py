"""Work in threads: in one thread that can be interrupted, or on many items in several threads at once."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    import asyncio

__all__ = ["Interrupted", "check_interrupted", "each", "in_thread", "pause"]

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 3.0  # seconds for what is under way to notice that it is to stop

_given_up: ContextVar[threading.Event | None] = ContextVar("stargazer_given_up", default=None)


class Interrupted(BaseException):
    """Whoever wanted this has gone; no error of the work itself, so nothing tries another way."""


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function returns that may wait long for somebody else: as asyncio.to_thread, but it can be interrupted.

    A cancelled caller goes on at once. The thread stops where the function next asks check_interrupted(), and keeps
    no process alive that wants to end (a thread of asyncio.to_thread does, for as long as a silent server makes it).
    """
    import asyncio  # here: the command line works without it, and starts without it

    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    given_up = threading.Event()
    context = contextvars.copy_context()
    context.run(_given_up.set, given_up)

    def work() -> None:
        found, failure = None, None
        try:
            found = context.run(function, *args, **kwargs)
        except BaseException as error:
            failure = error
        if not given_up.is_set():
            try:
                loop.call_soon_threadsafe(_settle, future, found, failure)
            except RuntimeError:  # the loop was closed, and nobody waits
                return

    threading.Thread(target=work, name=f"stargazer-{function.__name__}", daemon=True).start()
    try:
        return await future
    except asyncio.CancelledError:
        given_up.set()
        raise


def check_interrupted() -> None:
    """Raise Interrupted if nobody waits for the work of this thread any more."""
    given_up = _given_up.get()
    if given_up is not None and given_up.is_set():
        raise Interrupted


def pause(seconds: float) -> None:
    """Sleep, no longer than somebody waits.

    Raises:
        Interrupted: nobody does.
    """
    (_given_up.get() or threading.Event()).wait(seconds)
    check_interrupted()


def each(
    work: Callable[[T], object],
    items: Iterable[T],
    at_once: int,
    name: str,
    stop: threading.Event | None = None,
) -> None:
    """Do `work` with every item, so many at once.

    Whatever interrupts the caller (Ctrl-C, SIGTERM) goes on at once: nothing new is begun, and what is under way ends
    with the process, which it survives as it does any kill.

    Args:
        stop: set when the caller is interrupted; work that looks at it is given a moment to end by itself.

    Raises:
        Exception: the first that `work` raised; nothing new is begun after it.
    """
    waiting = deque(items)
    failures: list[BaseException] = []

    def loop() -> None:
        while True:
            try:
                item = waiting.popleft()
            except IndexError:
                return
            try:
                work(item)
            except BaseException as error:
                failures.append(error)
                waiting.clear()

    threads = [
        threading.Thread(target=loop, name=f"{name}-{number}", daemon=True)
        for number in range(min(at_once, len(waiting)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        waiting.clear()
        if stop is not None:
            stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(_PATIENCE)
        raise
    if failures:
        raise failures[0]


def _settle(future: asyncio.Future[T], found: T | None, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(found)  # type: ignore[arg-type]  # None is what the function returned then
