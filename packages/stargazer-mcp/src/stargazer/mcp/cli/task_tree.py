"""The live display of a run's tasks: a line for each, and below it the calls that run, that failed, and that wait."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
from stargazer.mcp.cli.console import escaped, human_size
from stargazer.workflows import CALL_STATES, call_note, call_state, instant, is_stopped, seconds_running

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text
    from stargazer.tasks.execution import Event

__all__ = ["TaskTree", "clock_time"]

COLOURS = {"failed": "red", "stopped": "yellow", "ok": "green", "running": "green", "waiting": "dim"}
"""Of what is said of a task in front of its line."""
MARK, TIME, MEMORY = 7, 8, 7
"""Columns of the terminal for these parts of a line."""
SHARE = 0.45
"""Of the terminal's width at most for the names of tasks and what they work on."""
SHORT = 10.0
"""Seconds below which tenths of what ended are shown."""
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_FRAMES = "|/-\\"
FRAME = 0.2
"""Seconds that a frame of the mark of what runs is seen."""


@attrs.define
class _Calls:
    """The calls of one task.

    Attributes:
        running, waiting: the last event of each.
        failed: the events of those that failed by themselves.
        counts: how many are done, remembered, and stopped because of something else.
        longest: seconds of the longest that ended.
        memory: bytes, the largest that was told.
        began, last: when the first started, and when something was told last, in seconds; 0 if nothing did.
    """

    running: dict[int, Event] = attrs.field(factory=dict)
    waiting: dict[int, Event] = attrs.field(factory=dict)
    failed: list[Event] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    longest: float = 0.0
    memory: int = 0
    began: float = 0.0
    last: float = 0.0

    @property
    def busy(self) -> bool:
        return bool(self.running or self.waiting)

    def take(self, event: Event) -> None:
        self.running.pop(event.call, None)
        self.waiting.pop(event.call, None)
        self.last = max(self.last, at := instant(event.at))
        self.memory = max(self.memory, event.memory)
        if event.kind == "waiting":
            self.waiting[event.call] = event
            return
        if event.kind != "memo hit":
            self.began = min(self.began or at, at - event.seconds)
        if event.kind in ("started", "progress"):
            self.running[event.call] = event
        elif event.kind == "failed" and not is_stopped(event):
            self.failed.append(event)
        else:
            self.counts[call_state(event)] += 1
            self.longest = max(self.longest, event.seconds if event.kind == "finished" else 0.0)

    def states(self) -> dict[str, int]:
        """How many calls there are of each state, in the order in which people are told."""
        return {"failed": len(self.failed), "stopped": self.counts["stopped"], "done": self.counts["done"],
                "remembered": self.counts["remembered"], "running": len(self.running),
                "waiting": len(self.waiting)}  # fmt: skip

    def elapsed(self, now: float) -> float:
        """Seconds since the first started; until the last ended, if none is left."""
        end = now if self.running else self.last
        longest = max([self.longest, *(seconds_running(event, now) for event in self.running.values())])
        return max(longest, end - self.began) if self.began else 0.0


@attrs.frozen
class _Line:
    """One line of the display; `mark` is a state of COLOURS, or nothing."""

    what: str
    mark: str = ""
    time: str = ""
    memory: str = ""
    more: str = ""
    colour: str = ""


class TaskTree:
    """What is known of a run's tasks, as rich draws it; it is called with each event, from any thread.

    It is as high as it has to be, and never higher than the terminal until `over` is set.

    Args:
        title: what runs.
        clock: seconds since 1970.
    """

    def __init__(self, title: str, clock: Callable[[], float] = time.time) -> None:
        self.title = escaped(title)
        self.over = False
        self._clock = clock
        self._made = clock()
        self._tasks: dict[str, _Calls] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        if event.kind in CALL_STATES:  # else it is of a newer version
            with self._lock:
                self._tasks.setdefault(event.task, _Calls()).take(event)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.cells import cell_len
        from rich.text import Text

        frames = ASCII_FRAMES if options.ascii_only else FRAMES
        with self._lock:
            head, lines = self._head(), self._lines(None if self.over else options.size.height - 2)
        width = options.max_width
        names = min(int(SHARE * width), max((cell_len(line.what) for line in lines), default=0))
        yield Text(_cut(head, width), style="bold", no_wrap=True)
        for line in lines:
            yield _drawn(line, names, width, frames[int(self._clock() / FRAME) % len(frames)])

    def _head(self) -> str:
        now = self._clock()
        began = min((calls.began for calls in self._tasks.values() if calls.began), default=self._made)
        total: Counter[str] = Counter()
        for calls in self._tasks.values():
            total.update(calls.states())
        return f"{self.title}  {clock_time(now - began)}  {_counted(total) or 'starting ...'}"

    def _lines(self, height: int | None) -> list[_Line]:
        """All lines below the first, at most so many: what is finished becomes one line, the oldest first."""
        now = self._clock()
        blocks = {name: _block(name, calls, now) for name, calls in self._tasks.items()}
        if height is None:
            return [line for block in blocks.values() for line in block]
        height, together = max(1, height), list[_Calls]()
        finished = [name for name, calls in self._tasks.items() if not calls.busy and not calls.failed]
        while sum(map(len, blocks.values())) + bool(together) > height and finished:
            name = finished.pop(0)
            together.append(self._tasks[name])
            del blocks[name]
        first = [_together(together)] if together else []
        if (over := sum(map(len, blocks.values())) + len(first) - height) > 0:
            share = max(0, height - len(first) - len(blocks)) // max(1, len(blocks))
            blocks = {name: _shortened(block, 1 + share) for name, block in blocks.items()}
            over = sum(map(len, blocks.values())) + len(first) - height
        lines = [*first, *(line for block in blocks.values() for line in block)]
        return lines if over <= 0 else [*lines[: height - 1], _Line(f"... and {over + 1} more")]


def clock_time(seconds: float) -> str:
    """Seconds as a clock shows them: 0:07, 12:30, 1:02:30."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _block(name: str, calls: _Calls, now: float) -> list[_Line]:
    """The line of a task, and below it those of calls: that failed, that run, and that wait for a reason."""
    states = calls.states()
    marks = {
        "failed": calls.failed,
        "running": calls.running,
        "waiting": calls.waiting,
        "stopped": states["stopped"],
    }
    longest = f", longest {_took(calls.longest)}" if states["done"] > 1 and not calls.busy else ""
    head = _Line(
        escaped(name),
        next((mark for mark, found in marks.items() if found), "ok"),
        _elapsed(calls, now) if calls.began else "",
        _memory(calls.memory),
        _counted(states) + longest,
    )
    failed = [_call(event, _took(event.seconds), call_note(event)) for event in calls.failed]
    running = [_call(event, clock_time(seconds_running(event, now))) for event in calls.running.values()]
    notes = Counter(note for event in calls.waiting.values() if (note := call_note(event)))
    waiting = [_Line(f"  {number} waiting", more=escaped(note)) for note, number in notes.items()]
    return [head, *failed, *running, *waiting]


def _elapsed(calls: _Calls, now: float) -> str:
    """How long the calls of a task took, or take, from the first to the last."""
    seconds = calls.elapsed(now)
    return clock_time(seconds) if calls.busy else _took(seconds)


def _took(seconds: float) -> str:
    """Seconds of what ended."""
    return f"{seconds:.1f} s" if seconds < SHORT else clock_time(seconds)


def _call(event: Event, elapsed: str, why: str = "") -> _Line:
    """The line of one call."""
    label = escaped(event.label) or f"call {event.call}"
    return _Line(f"  {label}", "", elapsed, _memory(event.memory), escaped(why), "red")


def _together(tasks: Sequence[_Calls]) -> _Line:
    """One line for finished tasks."""
    states: Counter[str] = Counter()
    for calls in tasks:
        states.update(calls.states())
    longest = max(calls.longest for calls in tasks)
    return _Line(
        f"{len(tasks)} task{'s' if len(tasks) > 1 else ''} before",
        "stopped" if states["stopped"] else "ok",
        "",
        _memory(max(calls.memory for calls in tasks)),
        _counted(states) + (f", longest {_took(longest)}" if longest else ""),
    )


def _shortened(block: list[_Line], most: int) -> list[_Line]:
    """A task's lines, at most so many."""
    if len(block) <= most:
        return block
    more = _Line(f"  and {len(block) - most + 1} more")
    return block[:1] if most < 2 else [*block[: most - 1], more]


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {state}" for state, number in states.items() if number)


def _memory(size: int) -> str:
    return human_size(size) if size else ""


def _drawn(line: _Line, names: int, width: int, frame: str) -> Text:
    """A line with its columns, in a terminal so wide."""
    from rich.cells import cell_len
    from rich.text import Text

    mark = f"{frame if line.mark == 'running' else line.mark:<{MARK}} "
    middle = f"{_cut(line.what, names, pad=True)} {line.time:>{TIME}} {line.memory:>{MEMORY}}  "
    more = _cut(line.more, width - cell_len(mark + middle))
    text = Text.assemble((mark, COLOURS.get(line.mark, "")), middle, (more, line.colour), no_wrap=True)
    text.rstrip()  # what ends before the edge survives a narrower terminal
    text.truncate(width, overflow="crop")
    return text


def _cut(text: str, width: int, *, pad: bool = False) -> str:
    """A text in so many columns of a terminal, at most; where it is cut there are dots."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) > width:
        text = set_cell_size(text, width - 3) + "..." if width > MARK else set_cell_size(text, max(0, width))
    return set_cell_size(text, width) if pad else text
