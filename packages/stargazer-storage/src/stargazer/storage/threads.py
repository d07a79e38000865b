"""Work in threads: in one thread that can be interrupted, or on many items in several threads at once."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

__all__ = ["Interrupted", "check_interrupted", "each", "in_thread", "pause"]

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 1.0  # seconds for what is under way to notice that it is to stop

_given_up: ContextVar[threading.Event | None] = ContextVar("stargazer_given_up", default=None)


class Interrupted(BaseException):
    """Whoever wanted this has gone; no error of the work itself, so nothing tries another way."""


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function returns that may wait long for somebody else: as asyncio.to_thread, but it can be interrupted.

    A cancelled caller goes on at once. The thread stops where the function next asks check_interrupted(), and keeps
    no process alive that wants to end (a thread of asyncio.to_thread does, for as long as a silent server makes it).
    """
    import asyncio  # here: the command line works without it, and starts without it
    import concurrent.futures

    done: concurrent.futures.Future[T] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()  # from here on a cancelled caller cannot cancel it
    given_up = threading.Event()
    context = contextvars.copy_context()
    context.run(_given_up.set, given_up)

    def work() -> None:
        try:
            done.set_result(context.run(function, *args, **kwargs))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, name=f"stargazer-{function.__name__}", daemon=True).start()
    try:
        return await asyncio.wrap_future(done)
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


def each(work: Callable[[T], object], items: Iterable[T], at_once: int, name: str) -> None:
    """Do `work` with every item, so many at once; it is interrupted where the caller would be.

    What interrupts the caller (Ctrl-C, SIGTERM) lets nothing new begin and gives what is under way a moment to end at
    a check_interrupted(); else that ends with the process, which it survives as it does any kill.

    Raises:
        Exception: the first that `work` raised; nothing new is begun after it.
    """
    items = list(items)
    waiting = iter(items)  # of a list: the threads may share it
    given_up = _given_up.get() or threading.Event()
    failures: list[BaseException] = []

    def loop() -> None:
        _given_up.set(given_up)
        for item in waiting:
            if failures:
                return
            try:
                work(item)
            except BaseException as error:
                failures.append(error)

    threads = [
        threading.Thread(target=loop, name=f"{name}-{number}", daemon=True)
        for number in range(min(at_once, len(items)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:
        failures.append(error)
        given_up.set()
        until = time.monotonic() + _PATIENCE
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join(max(0.0, until - time.monotonic()))
        raise
    if failures:
        raise failures[0]
