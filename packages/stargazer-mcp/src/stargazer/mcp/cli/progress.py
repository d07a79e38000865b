"""What a person sees while tasks run: a live table on a terminal, a line for each finished task elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import attrs
from stargazer.mcp.cli.output import escaped, note

if TYPE_CHECKING:
    from rich.table import Table
    from stargazer.tasks.execution import Event

__all__ = ["progress"]


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[Event], None]]:
    """Show the events that the yielded observer is told, on stderr, until the end of the block."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.live import Live

    shown = _Tasks(title)
    with Live(
        get_renderable=shown.table, console=Console(stderr=True), refresh_per_second=5, transient=False
    ):
        yield shown


class _Lines:
    """A line for each task that finished, was remembered, was stopped, or failed."""

    def __call__(self, event: Event) -> None:
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
    """The calls of one task so far."""

    first: float
    calls: set[int] = attrs.field(factory=set)
    running: dict[int, str] = attrs.field(factory=dict)
    waiting: set[int] = attrs.field(factory=set)
    done: int = 0
    remembered: int = 0
    failed: int = 0
    stopped: int = 0
    last: float = 0.0


class _Tasks:
    """One line for each task: how many of its calls are done, which are running, for how long."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.tasks: dict[str, _Calls] = {}
        self.lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self.lock:
            now = time.monotonic()
            task = self.tasks.setdefault(event.task, _Calls(first=now))
            task.calls.add(event.call)
            if event.kind == "waiting":
                task.waiting.add(event.call)
                return
            task.waiting.discard(event.call)
            if event.kind == "started":
                task.running[event.call] = event.label
                return
            task.running.pop(event.call, None)
            task.done += event.kind == "finished"
            task.remembered += event.kind == "memo hit"
            task.failed += event.kind == "failed" and not _stopped(event)
            task.stopped += _stopped(event)
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
                busy = task.running or task.waiting
                end = time.monotonic() if busy else task.last
                table.add_row(
                    Spinner("dots") if task.running else Text("·") if task.waiting else Text(*_state(task)),
                    Text(name),
                    Text(f"{task.done + task.remembered}/{len(task.calls)}"),
                    Text(_doing(task), style="dim"),
                    Text(f"{end - task.first:.1f} s"),
                )
        return table


def _state(task: _Calls) -> tuple[str, str]:
    """How the calls of a task ended, in a word and its colour."""
    if task.failed:
        return "failed", "red"
    return ("stopped", "yellow") if task.stopped else ("ok", "green")


def _doing(task: _Calls) -> str:
    labels = [escaped(label) for label in task.running.values() if label]
    words = [", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")]
    if task.waiting:
        words.append(f"{len(task.waiting)} waiting")
    if task.remembered:
        words.append(f"{task.remembered} remembered")
    return "; ".join(word for word in words if word)
