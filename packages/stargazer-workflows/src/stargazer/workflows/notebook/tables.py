"""Recorded runs in a notebook: the newest with some arguments, and a table of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stargazer.assets import StargazerError
from stargazer.workflows.arguments import convert
from stargazer.workflows.catalogue import Entry, describe, find_entry
from stargazer.workflows.notebook.app import as_html, marimo, plain_table
from stargazer.workflows.report.numbers import duration
from stargazer.workflows.runs.here import as_json
from stargazer.workflows.runs.record import Run, list_runs

__all__ = ["latest_run", "run_notes", "run_table"]

UNUSUAL = "Unusual: "
"""How a note begins that says which figure is unusual."""


def latest_run(workflow: Any, arguments: Mapping[str, Any] | None = None, /, **named: Any) -> Run | None:
    """The newest recorded run of a workflow with these arguments, also one that goes on; None if there is none.

    Args:
        workflow: its name, or the workflow itself.
        arguments, named: values by name, as `run` and `start_run` take them. What is left out has its default.

    Raises:
        InvalidAssetError: no such workflow, or an argument that it does not take.
    """
    entry = find_entry(workflow) if isinstance(workflow, str) else describe("workflow", workflow)
    wanted = _arguments(entry, {**(arguments or {}), **named})
    for run in list_runs():
        if run.kind == "workflow" and run.workflow in (entry.name, f"{entry.module}.{entry.name}"):
            try:
                if _arguments(entry, run.given) == wanted:
                    return run
            except StargazerError:  # of another version of the workflow
                continue
    return None


def _arguments(entry: Entry, given: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a call, as JSON."""
    defaults = {parameter.name: parameter.default for parameter in entry.parameters if not parameter.required}
    return as_json({**defaults, **convert(entry, given)})


def run_table(workflow: str = "") -> Any:
    """A table of recorded runs, the newest first.

    Args:
        workflow: the name of one; of all, by default.

    Returns:
        An element of marimo; its `value` has the rows that are selected.
    """
    rows = [
        {
            "run": run.id,
            "workflow": run.workflow,
            "state": run.state,
            "started": run.started[:19].replace("T", " "),
            "time": duration(run.seconds),
            "computed": run.computed,
            "remembered": run.memo_hits,
            "arguments": ", ".join(f"{name}={value}" for name, value in run.given.items()),
        }
        for run in list_runs()
        if workflow in ("", run.workflow)
    ]
    return plain_table(rows, selection="single", label="Recorded runs, the newest first")


def run_notes(run: Run) -> Any:
    """What the reports of a run tell: as a warning what is unusual, and below it how it was done.

    Args:
        run: which has succeeded.

    Returns:
        An element of marimo.
    """
    mo = marimo()
    unusual = [note for note in run.notes if note.startswith(UNUSUAL)]
    others = [note for note in run.notes if note not in unusual]
    told = _items([note.removeprefix(UNUSUAL) for note in unusual])
    first = mo.callout(
        mo.Html(f"<p><b>Unusual</b></p>{told}" if unusual else "<p>Nothing is unusual.</p>"),
        kind="warn" if unusual else "neutral",
    )
    return mo.vstack([first, mo.Html(f"<p><b>How it was done</b></p>{_items(others)}")]) if others else first


def _items(texts: list[str]) -> str:
    items = "".join(f"<li>{as_html(text)}" for text in texts)
    return f"<ul style='list-style: disc; padding-left: 1.2rem'>{items}</ul>"
