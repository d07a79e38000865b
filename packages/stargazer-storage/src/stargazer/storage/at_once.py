"""Several transfers at once, in threads that do not keep an interrupted command from ending."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["each"]

T = TypeVar("T")
_PATIENCE = 3.0  # seconds for what is under way to notice that it is to stop


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
