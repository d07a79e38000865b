"""A few jobs at once, in threads that do not keep an interrupted process alive."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence

__all__ = ["run_parallel"]

_POLL = 0.2  # seconds: a signal is noticed between two waits
_PATIENCE = 3.0  # seconds for the jobs to notice that they are to stop


def run_parallel(jobs: Sequence[Callable[[], None]], at_once: int, stop: threading.Event) -> None:
    """Run jobs in order, a few at a time; what one raises stops those not yet begun, and is raised here.

    Args:
        stop: set when the caller is interrupted; running jobs should look at it.
    """
    waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    failures: list[BaseException] = []

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while not (failures or stop.is_set()):
                job = waiting.get_nowait()
                try:
                    job()
                except BaseException as error:
                    failures.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(at_once, len(jobs)))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(_POLL)
    except BaseException:
        stop.set()
        for thread in threads:
            thread.join(_PATIENCE)
        raise
    if failures:
        raise failures[0]
