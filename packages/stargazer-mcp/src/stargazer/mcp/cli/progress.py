"""Shows progress on stderr while a command works: of tasks, of files on their way, and of bytes."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from stargazer.mcp.cli.console import escaped, human_size, note

if TYPE_CHECKING:
    from rich.table import Table
    from stargazer.storage.bundles import News
    from stargazer.tasks.execution import Event

__all__ = ["byte_progress", "file_progress", "moving", "supervise", "tasks_shown"]

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


@contextlib.contextmanager
def tasks_shown(title: str) -> Iterator[Callable[[Event], None]]:
    """Show tasks on stderr within a `with` block, as the events say with which the function it gives is called."""
    if not sys.stderr.isatty():
        yield _tell_event
        return
    from rich.console import Console
    from rich.live import Live

    shown = _Tasks(title)
    console = Console(stderr=True)
    with Live(get_renderable=shown.table, console=console, refresh_per_second=5):
        yield shown


def _tell_event(event: Event) -> None:
    """A line for a task that finished, was remembered, was stopped, or failed."""
    what = f"{event.task} {event.label}".strip()
    if event.kind == "finished":
        note(f"{what}: done in {event.seconds:.1f} s")
    elif event.kind == "memo hit":
        note(f"{what}: remembered")
    elif event.kind == "failed":
        note(f"{what}: {'stopped' if _stopped(event) else 'failed'}")
    elif event.note:
        note(f"{what}: {event.note}")


def _stopped(event: Event) -> bool:
    """Whether a task failed because it was cancelled: by a signal, or since another one failed."""
    return event.kind == "failed" and event.note == "CancelledError"


@attrs.define
class _Calls:
    """The calls of one task: the last event of each, and when the first began and the last ended, in seconds."""

    first: float
    last: float = 0.0
    events: dict[int, Event] = attrs.field(factory=dict)


class _Tasks:
    """One line for each task: how many of its calls are done, which are running, for how long."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.tasks: dict[str, _Calls] = {}
        self.lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self.lock:
            now = time.monotonic()
            task = self.tasks.setdefault(event.task, _Calls(now))
            task.events[event.call] = event
            task.last = now

    def table(self) -> Table:
        """The state of things, to be drawn."""
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title, style="bold"), title_justify="left", box=None, pad_edge=False)
        for header in ("", "task", "done", "", "time"):
            table.add_column(header, justify="right" if header in ("done", "time") else "left")
        with self.lock:
            for name, task in self.tasks.items():
                events = task.events.values()
                states = Counter("stopped" if _stopped(event) else event.kind for event in events)
                busy = states["started"] or states["waiting"]
                end = time.monotonic() if busy else task.last
                table.add_row(
                    Spinner("dots") if states["started"] else Text(*_state(states)),
                    Text(name),
                    Text(f"{states['finished'] + states['memo hit']}/{len(events)}"),
                    Text(_doing(events, states), style="dim"),
                    Text(f"{end - task.first:.1f} s"),
                )
        return table


def _state(states: Counter[str]) -> tuple[str, str]:
    """How the calls of a task are, none of which is running, in a word and its colour."""
    colours = {"waiting": ("·", ""), "failed": ("failed", "red"), "stopped": ("stopped", "yellow")}
    return next((colours[state] for state in colours if states[state]), ("ok", "green"))


def _doing(events: Iterable[Event], states: Counter[str]) -> str:
    labels = [escaped(event.label) for event in events if event.kind == "started" and event.label]
    words = [", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")]
    words += [f"{states['waiting']} waiting"] if states["waiting"] else []
    words += [escaped(event.note) for event in events if event.kind == "waiting" and event.note][:1]
    words += [f"{states['memo hit']} remembered"] if states["memo hit"] else []
    return "; ".join(filter(None, words))


@contextlib.contextmanager
def moving() -> Iterator[Callable[[News], None]]:
    """Show what is fetched, on stderr: bars on a terminal, a line for each finished file elsewhere."""
    if not sys.stderr.isatty():
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
def byte_progress(what: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """Show on a terminal how far a long run is, on one line that goes when it ends."""
    if not sys.stderr.isatty():
        yield None
        return
    began = last = time.monotonic()

    def show(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 0.2:
            return
        last = now
        rate = done / (now - began)
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        whole = f" of {human_size(total)}" if total else ""
        sys.stderr.write(f"\r\x1b[K{what} {human_size(done)}{whole} at {human_size(rate)}/s{left}")
        sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
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
