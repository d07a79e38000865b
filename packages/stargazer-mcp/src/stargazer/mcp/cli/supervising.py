"""Running asynchronous work for a person: progress while it goes on, and signals that stop it cleanly."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from stargazer.mcp.cli.output import note

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event

__all__ = ["supervise"]

T = TypeVar("T")


def supervise(title: str, start: Callable[[Callable[[Event], None]], Coroutine[Any, Any, T]]) -> T | int:
    """Run what `start` makes of an observer of task events; its result, or the exit status after SIGINT or SIGTERM.

    A signal cancels the work, which then ends its tools and leaves nothing half done.
    """
    import asyncio

    from stargazer.mcp.cli.progress import progress

    received: list[int] = []

    async def main() -> T:
        with _signals(received), progress(title) as observer:
            return await start(observer)

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if not received:
            raise
        name = signal.Signals(received[0]).name
        note(f"stargazer: stopped by {name}; what was finished is kept, run it again to go on")
        return 128 + received[0]


@contextlib.contextmanager
def _signals(received: list[int]) -> Iterator[None]:
    """SIGINT and SIGTERM cancel the current asyncio task, once; `received` tells which came."""
    import asyncio

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop(number: int) -> None:
        if not received:
            received.append(number)
            note("stargazer: stopping ...")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
