"""Shows progress on stderr while a command works: of tasks, of files on their way, and of bytes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from stargazer.mcp.cli.console import count, escaped, human_size, human_time, note, status_line

if TYPE_CHECKING:
    from stargazer.storage.bundles import News
    from stargazer.tasks.execution import Event

__all__ = ["byte_progress", "file_progress", "is_live", "moving", "supervise", "tasks_shown", "working"]

LONG = 2.0
"""Seconds from which on the line of a finished call tells its memory, and silence is explained."""

T = TypeVar("T")


def supervise(title: str, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run what `start` begins and show its tasks; its result.

    SIGINT or SIGTERM cancels the work, which then ends its tools and leaves nothing half done; the command ends with
    128 + the signal's number.
    """
    import asyncio

    from stargazer.tasks.execution import observe

    received: list[int] = []

    async def main() -> T:
        with _signals(received), tasks_shown(title) as show, observe(show):
            return await start()

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if not received:
            raise
        name = signal.Signals(received[0]).name
        note(f"stargazer: stopped by {name}; what was finished is kept, run it again to go on")
        raise SystemExit(128 + received[0]) from None


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


def is_live() -> bool:
    """Whether stderr is a terminal that can be drawn on anew: no file, not that of CI, not a dumb one.

    NO_COLOR asks for no colours alone: rich knows it.
    """
    return (
        sys.stderr.isatty()
        and os.environ.get("CI", "").lower() in ("", "0", "false")
        and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    )


@contextlib.contextmanager
def tasks_shown(title: str) -> Iterator[Callable[[Event], None]]:
    """Show tasks on stderr within a `with` block: a live tree on a terminal, lines elsewhere.

    The function that it gives takes events of one process (their calls are told apart by number), as they happen or
    later: how long things took is told by the events' own times.
    """
    if not is_live():
        lines = _TaskLines()
        try:
            yield lines
        finally:
            lines.end()
        return
    from rich.console import Console
    from rich.live import Live
    from stargazer.mcp.cli.task_tree import TaskTree

    tree = TaskTree(title)
    with Live(tree, console=Console(stderr=True), refresh_per_second=5):
        try:
            yield tree
        finally:
            tree.over = True


class _TaskLines:
    """A line for each call that finished, was remembered, failed, or waits for a reason.

    That one runs is told of the first of each task that takes a while; of those that were stopped because of something
    else, at the end, how many they are: a reason among hundreds of them would be lost.
    """

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._stopped = 0

    def end(self) -> None:
        """Say what is left to be said."""
        if self._stopped:
            note(f"{count(self._stopped, 'task call')} stopped")

    def __call__(self, event: Event) -> None:
        from stargazer.workflows import call_note, is_stopped

        what = escaped(f"{event.task} {event.label}".strip())
        if event.kind == "finished":
            memory = f", {human_size(event.memory)}" if event.memory and event.seconds >= LONG else ""
            note(f"{what}: done in {human_time(event.seconds)}{memory}")
        elif event.kind == "memo hit":
            note(f"{what}: remembered")
        elif is_stopped(event):
            self._stopped += 1
        elif event.kind == "failed":
            note(f"{what}: failed: {call_note(event)}")
        elif event.kind == "waiting" and event.note:
            note(f"{what}: {event.note}")
        elif event.kind == "progress" and event.task not in self._running:
            self._running.add(event.task)
            note(f"{what}: running")


@contextlib.contextmanager
def moving() -> Iterator[Callable[[News], None]]:
    """Show what is fetched, on stderr: bars on a terminal, a line for each finished file elsewhere."""
    if not is_live():
        yield _tell_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        yield _Bars(shown)


def _tell_line(news: News) -> None:
    if news.state == "done":
        note(f"{news.name}: {human_size(news.size)}")
    elif news.state == "failed":
        note(f"{news.name}: failed")


class _Bars:
    """A bar for each file on its way; finished ones go, so that a bundle of thousands has a few lines."""

    def __init__(self, shown: Any):
        self._shown = shown
        self._bars: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, news: News) -> None:
        from rich.text import Text

        with self._lock:
            if news.state == "moving" and news.name not in self._bars:
                label = Text(escaped(news.name)).markup
                self._bars[news.name] = self._shown.add_task(label, total=news.size)
            if news.state == "moving":
                self._shown.update(self._bars[news.name], completed=news.done)
            elif news.state != "here":
                if news.name in self._bars:
                    self._shown.remove_task(self._bars.pop(news.name))
                mark = human_size(news.size) if news.state == "done" else "failed"
                self._shown.console.print(Text(f"{escaped(news.name)}: {mark}"))


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Say on a terminal what is at work and for how long, from two seconds on; the line goes when it ends."""
    with byte_progress(what):
        yield


@contextlib.contextmanager
def byte_progress(what: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """Show on a terminal how far a long run is, on one line that goes when it ends.

    Where no bytes are told for two seconds, it says for how long it has been at work.
    """
    if not is_live():
        yield None
        return
    line = _Line(what)
    with status_line(line.erase):
        ticker = threading.Thread(target=line.tick, name="stargazer-progress", daemon=True)
        ticker.start()
        try:
            yield line.show
        finally:
            line.over.set()
            ticker.join()
            line.erase()


class _Line:
    """The line of stderr that tells how far something is."""

    def __init__(self, what: str):
        self.what, self.over = escaped(what), threading.Event()
        self._began = self._told = time.monotonic()
        self._lock = threading.Lock()

    def show(self, done: int, total: int | None) -> None:
        """Tell so many bytes, at most five times a second."""
        with self._lock:
            now = time.monotonic()
            if now - self._told < 0.2:
                return
            self._told = now
            rate = done / (now - self._began)
            left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
            whole = f" of {human_size(total)}" if total else ""
            self._write(f"{self.what} {human_size(done)}{whole} at {human_size(rate)}/s{left}")

    def tick(self) -> None:
        """Tell the seconds while no bytes are told, until it is over."""
        while not self.over.wait(LONG / 2):
            with self._lock:
                now = time.monotonic()
                if now - self._told >= LONG * 0.9:
                    self._write(f"{self.what} ... {human_time(now - self._began)}")

    def erase(self) -> None:
        """Leave the line empty."""
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    def _write(self, text: str) -> None:
        self.erase()
        sys.stderr.write(text)
        sys.stderr.flush()


@contextlib.contextmanager
def file_progress(what: str) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Show how much of several files that move at once is there; the observer takes name, bytes and bytes in all."""
    with byte_progress(what) as show:
        if show is None:
            yield None
            return
        seen: dict[str, tuple[int, int]] = {}

        def tell(name: str, done: int, total: int | None) -> None:
            seen[name] = done, total or done
            show(sum(done for done, _ in seen.values()), sum(total for _, total in seen.values()))

        yield tell
