"""Recorded runs in a notebook: the newest with some arguments, and a table of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stargazer.assets import StargazerError
from stargazer.workflows.arguments import convert
from stargazer.workflows.catalogue import Entry, describe, find_entry
from stargazer.workflows.notebook.app import marimo
from stargazer.workflows.report.numbers import duration
from stargazer.workflows.runs.here import as_json
from stargazer.workflows.runs.record import Run, list_runs

__all__ = ["latest_run", "run_table"]


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
    return marimo().ui.table(rows, selection="single", label="Recorded runs, the newest first")
