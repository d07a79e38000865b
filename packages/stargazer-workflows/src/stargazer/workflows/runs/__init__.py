"""Runs: what a person or an agent started, with its arguments, events, logs and results in a folder on disk."""

from __future__ import annotations

from stargazer.workflows.runs.execution import execute
from stargazer.workflows.runs.record import Run, find_run, new_run

__all__ = ["Run", "execute", "find_run", "new_run"]
