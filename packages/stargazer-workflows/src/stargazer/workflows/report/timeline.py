"""The report's timeline: when each task ran, on an axis from which the pauses are cut."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import attrs
from stargazer.workflows.report.numbers import count, duration

__all__ = ["timeline"]

WIDTH, NAMES, RIGHT = 1000, 200, 12
"""Of the drawing, of the tasks' names at the left, and what is free at the right."""
ROW, BAR, LANES = 22, 14, 24
"""Height of a task with one bar at a time, of its bars, and of all bars beside each other, where there are more."""
TOP = 40
PAUSE, SHARE = 10.0, 0.05
"""Seconds, and part of the time in which something ran, from which on nothing running is a pause that is cut."""
FEW = 12
"""Parts between pauses up to which these are conspicuous."""
CUT = 26
"""Width of a pause."""
LETTERS = 30
"""Letters of a name."""
LABEL = 104
"""Width that a date takes."""
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
STEPS = [step * unit for unit, _ in reversed(UNITS) for step in (1, 2, 5, 10, 15, 20, 30)]
"""Seconds between two marks of the axis."""


@attrs.frozen
class Stretch:
    """A part of the axis without pauses.

    Attributes:
        start, end: in seconds since 1970.
        left, right: the same in the drawing.
    """

    start: float
    end: float
    left: float
    right: float

    def place(self, at: float) -> float:
        return self.left + (at - self.start) * (self.right - self.left) / max(self.end - self.start, 1e-3)


def timeline(steps: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The drawing as SVG, and what is to be said of it; both empty where no times are known."""
    spans = sorted(
        (span["start"], span["start"] + span["seconds"]) for step in steps for span in step["spans"]
    )
    if not spans:
        return "", ""
    stretches = _stretches(spans)
    rows, height = [], float(TOP)
    for step in steps:
        if step["spans"]:
            drawn, height = _row(step, stretches, height)
            rows.append(drawn)
    axis = _axis(stretches, height)
    svg = (
        f'<svg role="img" aria-label="When each task ran" class=drawn viewBox="0 0 {WIDTH} {height + 8:.0f}">'
        f"{axis}{''.join(rows)}</svg>"
    )
    together = any(span["calls"] > 1 for step in steps for span in step["spans"])
    return svg, _caption(stretches, together=together)


def _stretches(spans: Iterable[tuple[float, float]]) -> list[Stretch]:
    """The axis for times in which something ran, in the order of their starts."""
    busy: list[list[float]] = []
    for start, end in spans:
        if busy and start <= busy[-1][1]:
            busy[-1][1] = max(busy[-1][1], end)
        else:
            busy.append([start, end])
    pause = max(PAUSE, SHARE * sum(end - start for start, end in busy))
    parts = [busy[0]]
    for start, end in busy[1:]:
        if start - parts[-1][1] < pause:
            parts[-1][1] = end
        else:
            parts.append([start, end])
    room = WIDTH - NAMES - RIGHT - CUT * (len(parts) - 1)
    cut = CUT if room > WIDTH / 3 else 0  # of hundreds of pauses only a line is left
    room = room if cut else WIDTH - NAMES - RIGHT
    total = max(1e-3, sum(end - start for start, end in parts))
    found, left = [], float(NAMES)
    for start, end in parts:
        right = left + room * (end - start) / total
        found.append(Stretch(start, end, left, right))
        left = right + cut
    return found


def _row(step: Mapping[str, Any], stretches: Sequence[Stretch], top: float) -> tuple[str, float]:
    """The name and the bars of a task, and where the next one begins."""
    lanes: list[float] = []
    bars = []
    for span in sorted(step["spans"], key=lambda span: span["start"]):
        start, end = span["start"], span["start"] + span["seconds"]
        lane = next((number for number, busy in enumerate(lanes) if busy <= start), len(lanes))
        lanes[lane : lane + 1] = [end]
        bars.append((lane, start, end, span))
    height = BAR if len(lanes) == 1 else min(LANES, BAR * len(lanes)) / len(lanes)
    whole = max(ROW, height * len(lanes) + ROW - BAR)
    name = step["task"].rpartition(".")[2]
    drawn = []
    for lane, start, end, span in bars:
        stretch = next(each for each in reversed(stretches) if each.start <= start)
        left, right = stretch.place(start), stretch.place(min(end, stretch.end))
        of = " ".join(span["on"]) or (f"{count(span['calls'])} times" if span["calls"] > 1 else "")
        words = f"{name} {of}".strip() + f": {duration(span['seconds'])}, from {_clock(start)}"
        drawn.append(
            f'<rect x="{left:.1f}" y="{top + (ROW - BAR) / 2 + lane * height:.1f}" '
            f'width="{max(1.5, right - left):.1f}" height="{max(0.5, height - 1):.1f}">'
            f"<title>{escape(words)}</title></rect>"
        )
    label = name if len(name) <= LETTERS else f"{name[: LETTERS - 3]}..."
    line = f'<path class=grid d="M0 {top + whole:.1f}H{WIDTH}"/>'
    text = (
        f'<text x=0 y="{top + whole / 2 + 4:.1f}">{escape(label)}<title>{escape(step["task"])}</title></text>'
    )
    return f"<g>{line}{text}{''.join(drawn)}</g>", top + whole


def _axis(stretches: Sequence[Stretch], bottom: float) -> str:
    """Marks of time since each stretch began, its date where there are several, and the pauses."""
    seconds = sum(stretch.end - stretch.start for stretch in stretches)
    step = next((step for step in STEPS if step * 8 >= seconds), 86_400 * round(seconds / 8 / 86_400 + 1))
    unit, name = next(found for found in UNITS if step % found[0] == 0)
    parts, free, last = [], 0.0, float(-LABEL)
    for stretch in stretches:
        if len(stretches) > 1 and free <= stretch.left <= WIDTH - LABEL:
            parts.append(f'<text class=soft x="{stretch.left:.1f}" y=12>{_date(stretch.start)}</text>')
            free = stretch.left + LABEL
        for mark in range(0, int(stretch.end - stretch.start) + 1, step):
            at = stretch.place(stretch.start + mark)
            parts.append(f'<path class=grid d="M{at:.1f} {TOP - 6}V{bottom:.1f}"/>')
            if at - last > LABEL / 2:
                words = f"{mark // unit} {name}"
                parts.append(f'<text class=soft x="{at:.1f}" y={TOP - 12}>{words}</text>')
                last = at
    style = "pause" if len(stretches) <= FEW else "grid"
    for before, after in itertools.pairwise(stretches):
        at = (before.right + after.left) / 2
        words = f"nothing ran for {duration(after.start - before.end)}"
        parts.append(
            f'<path class={style} d="M{at:.1f} {TOP - 6}V{bottom:.1f}"><title>{words}</title></path>'
        )
    return "".join(parts)


def _caption(stretches: Sequence[Stretch], *, together: bool) -> str:
    several = ", or several of a task that was executed very often" if together else ""
    first = f"Each bar is one execution{several}. The first began on {_date(stretches[0].start)} UTC"
    if len(stretches) == 1:
        return f"{first}."
    return (
        f"{first}. Where nothing ran, the axis is cut; the time begins anew after it. What a run remembered "
        "from earlier ones stands where it was computed."
    )


def _date(at: float) -> str:
    return f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%Y-%m-%d %H:%M}"


def _clock(at: float) -> str:
    return f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
