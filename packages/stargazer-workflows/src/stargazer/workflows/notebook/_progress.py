"""What the tasks of a run do, live in the cell that waits for it; in a script a line on stderr for each."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from stargazer.assets import StargazerError
from stargazer.workflows.notebook.app import QUIET, as_html, explained, is_shown, marimo, plain, stop, tell
from stargazer.workflows.notebook.choices import begin_run, run_choices
from stargazer.workflows.report.numbers import count, duration, memory
from stargazer.workflows.runs.calls import (
    CALL_STATES,
    call_note,
    call_state,
    event_of,
    is_stopped,
    seconds_running,
)
from stargazer.workflows.runs.record import Run, calls_of, find_run
from stargazer.workflows.runs.worker import cancel_run, resume_run, watch_run

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event

__all__ = ["progress", "run_controls", "watched"]

PAUSE = 0.5
"""Seconds between two drawings."""

MOST = 200
"""Calls that are shown."""

ORDER = ("failed", "running", "waiting", "stopped", "done", "remembered")
"""States as people look for them."""

STYLE = """
.stargazer-run table { border-collapse: collapse; font-size: .875rem; }
.stargazer-run .calls { max-height: 24rem; overflow: auto; }
.stargazer-run th, .stargazer-run td { padding: .2rem 1.2rem .2rem 0; text-align: left; vertical-align: top; }
.stargazer-run th { font-weight: 500; opacity: .7; }
.stargazer-run .n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.stargazer-run .failed td { color: light-dark(#b3331f, #ea7560); }
.stargazer-run .running td { font-weight: 600; }
.stargazer-run .soft { opacity: .75; }
.stargazer-run .why { border-left: 4px solid light-dark(#c4452f, #ea7560); padding-left: .8rem; }
"""


async def progress(run: Run | str) -> Run:
    """Show what the tasks of a run do, until it ends.

        run = latest_run("demo_trio") or start_run("demo_trio")
        done = await progress(run)

    Where the cell is interrupted, or the kernel ends, the run goes on: running the cell again shows it on. It stops by
    `stargazer runs cancel`, or `cancel_run`.

    Args:
        run: or its id.

    Returns:
        The run, which has succeeded.

    Raises:
        AssetNotFoundError: there is no such run.
        StargazerError: it failed, was cancelled or lost; the text says why, and what to do. Where nothing catches it, a
            cell shows that text, and the cells below it do not run.
    """
    began = find_run(run if isinstance(run, str) else run.id)
    calls = _Calls(began)
    drawing = asyncio.create_task(_draw(calls)) if is_shown() else None
    try:
        done = await watch_run(began.id, calls.take if drawing is not None else calls.take_and_tell)
    finally:
        if drawing is not None:
            drawing.cancel()
    if drawing is not None:
        marimo().output.replace(calls.shown(done))
    else:
        tell(f"{done.workflow}: {_totals(done)}")
        for note in done.notes:
            tell(note)
    if done.state != "succeeded":
        raise _failure(_text(done), calls.shown(done) if drawing is not None else None)
    return done


def run_controls(*workflows: str, asked: Mapping[str, Any], nothing: str) -> tuple[Any, Any, Any, Any]:
    """Start what was asked for, and offer the recorded runs of these workflows, that one first.

    Args:
        workflows: their names; the first is what is started.
        asked: its arguments; where there are none, nothing is started.
        nothing: what the cell says, and stops, where there is no run.

    Returns:
        Elements of marimo, each to be a variable of the cell: a dropdown of runs, whose value is an id, a button that
        cancels, one that resumes, and what looks again while a run goes on. `watched` takes and shows the last three.
    """
    mo, begun = marimo(), None
    if asked:
        with explained():
            begun = begin_run(workflows[0], asked)
    choices = run_choices(*workflows, first=begun)
    if not choices:
        stop(nothing, kind="info")
    return (
        mo.ui.dropdown(choices, value=next(iter(choices)), label="Run", full_width=True),
        mo.ui.run_button(label="Cancel the run", kind="danger"),
        mo.ui.run_button(label="Resume the run"),
        mo.ui.refresh(default_interval="1s", label="Looks again"),
    )


async def watched(run: Run | str, cancel: Any, resume: Any, tick: Any) -> Run:
    """Show what the tasks of a run do, with a button that cancels it; the cell runs again until the run has ended.

    One that has ended without success has a button that resumes it: only what is missing is computed.

    Where `progress` waits in its cell, this stops it and the cells below, so that a click is heard. In a script it is
    `progress`.

    Args:
        run: or its id.
        cancel, resume, tick: of `run_controls`, made in another cell.

    Returns, raises:
        As `progress`.
    """
    if not is_shown():
        return await progress(run)
    mo, trouble = marimo(), ""
    found = find_run(run if isinstance(run, str) else run.id)
    goes_on = found.state == "running"
    if (cancel.value and goes_on) or (resume.value and not goes_on and found.state != "succeeded"):
        try:
            await asyncio.to_thread(cancel_run if goes_on else resume_run, found.id)
        except StargazerError as error:
            trouble = error.explain()
        found = find_run(found.id)
    calls = _Calls(found)
    for told in calls_of(found):
        calls.take(told)
    drawn = calls.shown(found)
    said = [mo.callout(plain(trouble), kind="warn")] if trouble else []
    if found.state == "running":
        buttons = mo.hstack([cancel, tick], justify="start")
        mo.stop(True, mo.vstack([mo.Html(QUIET), drawn, *said, buttons]))
    if found.state != "succeeded":
        can_go_on = bool(found.workflow) and not found.defined_in
        raise _failure(_text(found), mo.vstack([drawn, *said, *([resume] if can_go_on else [])]))
    return found


async def _draw(calls: _Calls) -> None:
    """Show the calls in the cell, until this is cancelled."""
    while True:
        with contextlib.suppress(StargazerError):  # the record is gone, say: who waits for the run says so
            marimo().output.replace(calls.shown(find_run(calls.run.id)))
        await asyncio.sleep(PAUSE)


class _Calls:
    """The last event of each task call of a run's attempt."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.warnings: list[str] = []
        self._last: dict[int, Event] = {}

    def take(self, told: dict[str, Any]) -> Event | None:
        """Take what the run tells."""
        if told.get("attempt", 1) != self.run.attempt:
            return None
        if told["kind"] == "warning":
            self.warnings.append(told.get("note", ""))
            return None
        event = event_of(told) if told["kind"] in CALL_STATES else None
        if event is not None:
            self._last[event.call] = event
        return event

    def take_and_tell(self, told: dict[str, Any]) -> None:
        """The same, with a line for each call that ended, and for each that waits for a reason."""
        event = self.take(told)
        if told["kind"] == "warning":
            tell(f"warning: {told.get('note', '')}")
        if event is None:
            return
        state, note = call_state(event), call_note(event)
        what = f"{event.task} {event.label}".strip()
        if state == "done":
            tell(f"{what}: done in {duration(event.seconds)}")
        elif state == "remembered":
            tell(f"{what}: remembered")
        elif state == "failed" or (state == "waiting" and note):
            tell(f"{what}: {state}: {note}")

    def shown(self, run: Run) -> Any:
        """All of it, as marimo shows it."""
        calls = sorted(self._last.values(), key=lambda event: ORDER.index(call_state(event)))
        parts = [
            f"<style>{STYLE}</style><p><b>{escape(run.workflow)}</b> <code>{run.id}</code>: {_totals(run)}"
        ]
        if run.state == "running":
            states = Counter(map(call_state, calls))
            parts.append(
                "<br>"
                + (", ".join(f"{states[state]} {state}" for state in ORDER if states[state]) or "starting")
            )
        if calls:
            parts.append(_table(calls[:MOST], goes_on=run.state == "running"))
        if len(calls) > MOST:
            parts.append(f"<p>and {count(len(calls) - MOST)} more calls")
        parts += [f"<p>{as_html(text)}" for text in (*self.warnings, *run.notes)]
        if run.state == "running":
            parts.append(f"<p class=soft>{as_html(_while_running(run))}")
        elif run.state != "succeeded":
            parts.append(f"<p class=why>{as_html(_text(run))}")
        return marimo().Html(f"<div class=stargazer-run>{''.join(parts)}</div>")


def _table(calls: list[Event], *, goes_on: bool) -> str:
    """Task calls as a table; those that did not end before the run did are `not finished`."""
    now, rows = time.time(), []
    for event in calls:
        state = call_state(event)
        seconds = seconds_running(event, now) if goes_on and state == "running" else event.seconds
        took = duration(seconds) if state != "waiting" else ""
        if state in ("running", "waiting") and not goes_on:
            state = "not finished"
        note = "" if is_stopped(event) else call_note(event)
        size = memory(event.memory) if event.memory else ""
        texts = (event.task, event.label, f"{state}: {note}" if note else state)
        cells = "".join(f"<td>{escape(text)}" for text in texts)
        rows.append(f"<tr class={state.split()[0]}>{cells}<td class=n>{took}<td class=n>{size}")
    head = "<tr><th>task<th>of<th>state<th class=n>time<th class=n>memory"
    return f"<div class=calls><table>{head}{''.join(rows)}</table></div>"


def _totals(run: Run) -> str:
    """The state of a run, what it did, and how long it took."""
    return f"{run.state}, {run.computed} computed, {run.memo_hits} remembered, {duration(run.seconds)}"


def _while_running(run: Run) -> str:
    """How a run that goes on is stopped."""
    if not run.detached:
        return f"It works within process {run.pid}, and ends with it."
    return (
        "It goes on when this cell is interrupted, and when the notebook is closed. "
        f"In a terminal, `stargazer runs cancel {run.id}` stops it."
    )


def _text(run: Run) -> str:
    """Why a run has not succeeded, and what to do."""
    if run.state == "lost":  # its error says it
        return f"run {run.id} is lost: {run.error}"
    how = "was cancelled" if run.state == "cancelled" else "failed"
    return f"run {run.id} {how}: {run.error}\n{run.to_go_on}"


def _failure(text: str, shown: Any) -> StargazerError:
    """An error with a text; one that a cell shows as `shown`, as it does what `mo.stop` is given."""
    if shown is None:
        return StargazerError(text)

    kinds = (StargazerError, marimo().MarimoStopError)
    error: StargazerError = type("RunNotSucceededError", kinds, {"output": shown})(text)
    return error
