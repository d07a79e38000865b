"""Runs that wait in the middle of a task until a test lets them go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stargazer.workflows import Run, events_of, list_runs

DEADLINE = 60.0
"""Seconds for what takes one or two; nothing is decided by them."""

SAMTOOLS = """#!/bin/sh
here=${0%/*}
case "$1" in
  --version) echo samtools 1.99; exit;;
  faidx) echo indexing; until [ -e "$here/go" ]; do sleep 0.02; done; printf 'c\\t4\\t3\\t4\\t5\\n' > "$3";;
  dict) printf '@SQ\\tSN:c\\tLN:4\\n' > "$5";;
esac
"""
"""A tool that waits in the middle of a task until there is a file `go` beside it."""


def until(happened: Callable[[], Any]) -> Any:
    """Wait for something; what it is then."""
    deadline = time.monotonic() + DEADLINE
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def waiting() -> Run:
    """The latest run, once it waits for the gate."""

    def there() -> Run | None:
        for run in list_runs()[:1]:
            assert run.state == "running", run.error
            if any(event["kind"] == "started" and "faidx" in event["task"] and event["attempt"] == run.attempt
                   for event, _ in events_of(run)):  # fmt: skip
                return run
        return None

    found = until(there)
    assert isinstance(found, Run)
    return found
