"""Executing a workflow as a run: watched, logged and recorded, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import Asset, QcReport, StargazerError, StorageError
from stargazer.storage import refused
from stargazer.workflows.arguments import explaining_commas
from stargazer.workflows.runs.record import Run, new_run, now

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event, Refresh
    from stargazer.workflows.catalogue import Entry

__all__ = ["execute"]


async def execute(
    workflow: Entry,
    arguments: Mapping[str, Any],
    *,
    refresh: Refresh | None = None,
    observer: Callable[[Event], None] | None = None,
    run: Run | None = None,
    written: Mapping[str, Any] | None = None,
) -> Run:
    """Call a workflow and record it; what it raises is recorded and raised again.

    Args:
        workflow: from the catalogue.
        arguments: typed, as `arguments.convert` gives them.
        refresh: what is to be computed anew, whatever the memo knows.
        observer: called, possibly in other threads, with every event of a task.
        run: its record, if that was made before (`new_run`).
        written: the arguments as somebody wrote them, if errors are to speak of that.
    """
    from stargazer.tasks.execution import log_to, observe, refreshed

    run = run or new_run(workflow.name, arguments)
    began = time.monotonic()

    def record(event: Event) -> None:
        run.append(attrs.asdict(event))

    try:
        with contextlib.ExitStack() as watching:
            watching.enter_context(observe(record))
            if observer is not None:
                watching.enter_context(observe(observer))
            with log_to(run.logs), refreshed(refresh), explaining_commas(written or {}):
                value = await workflow.call(**arguments)
            run.results, run.notes = _described(value), await asyncio.to_thread(_notes, value)
        run.state = "succeeded"
    except asyncio.CancelledError:
        run.state, run.error = "cancelled", "interrupted"
        raise
    except BaseException as error:
        run.state = "failed"
        run.error = _explained(error, run.folder)
        raise
    finally:
        run.seconds, run.finished = time.monotonic() - began, now()
        with contextlib.suppress(
            StorageError
        ):  # the results are in the store: a full disk takes nothing from them
            run.save()
        run.release()
    return run


def _explained(error: BaseException, place: Path) -> str:
    if isinstance(error, StargazerError):
        return error.explain()
    return str(refused(error, place)) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def _notes(value: Any) -> list[str]:
    """What the reports among results tell under `notes`, each sentence once; of a report that is not here, nothing."""
    from stargazer.tasks.execution import assets_in

    found: dict[str, None] = {}
    for _, asset in assets_in(value, ""):
        if isinstance(asset, QcReport) and asset.path is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # a report of another form
                found |= dict.fromkeys(json.loads(asset.path.read_bytes()).get("notes", []))
    return list(found)


def _described(value: Any) -> dict[str, Any]:
    """Named results as JSON: of a named tuple by its fields, else `result`; what is not here has no path."""
    named = value._asdict() if hasattr(value, "_asdict") else {} if value is None else {"result": value}
    return {name: _one(member) for name, member in named.items()}


def _one(member: Any) -> Any:
    if isinstance(member, Asset):
        return {
            "asset": member.asset_key,
            "cid": member.cid,
            "path": str(member.path) if member.path else None,
            "keyvalues": member.keyvalues,
        }
    if hasattr(member, "_asdict"):
        return {name: _one(part) for name, part in member._asdict().items()}
    if isinstance(member, list | tuple):
        return [_one(part) for part in member]
    if isinstance(member, Mapping):
        return {str(name): _one(part) for name, part in member.items()}
    return member if member is None or isinstance(member, str | int | float | bool) else str(member)
