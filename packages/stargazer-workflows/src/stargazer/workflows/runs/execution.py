"""Executing a workflow as a run: watched, logged and recorded, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import Asset, current_client
from stargazer.assets.errors import StargazerError, StorageError
from stargazer.workflows.runs.record import Run, new_run, now

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event
    from stargazer.workflows.catalogue import Entry

__all__ = ["execute"]


async def execute(
    workflow: Entry,
    arguments: Mapping[str, Any],
    *,
    refresh: bool = False,
    observer: Callable[[Event], None] | None = None,
    run: Run | None = None,
) -> Run:
    """Call a workflow and record it; what it raises is recorded and raised again.

    Args:
        workflow: from the catalogue.
        arguments: typed, as `arguments.convert` gives them.
        refresh: compute everything anew, whatever the memo knows.
        observer: called, possibly in other threads, with every event of a task.
        run: its record, if that was made before (`new_run`).
    """
    from stargazer.tasks.execution import log_to, observe, refreshing

    run = run or new_run(workflow.name, arguments)
    began = time.monotonic()

    def record(event: Event) -> None:
        run.append(attrs.asdict(event))

    try:
        with contextlib.ExitStack() as watching:
            watching.enter_context(observe(record))
            if observer is not None:
                watching.enter_context(observe(observer))
            with log_to(run.logs), refreshing(refresh):
                value = await workflow.call(**arguments)
            run.results = await _described(value)  # watched, for bytes that are gone are computed again
        run.state = "succeeded"
    except asyncio.CancelledError:
        run.state, run.error = "cancelled", "interrupted"
        raise
    except BaseException as error:
        run.state = "failed"
        run.error = (
            error.explain() if isinstance(error, StargazerError) else f"{type(error).__name__}: {error}"
        )
        raise
    finally:
        run.seconds, run.finished = time.monotonic() - began, now()
        with contextlib.suppress(
            StorageError
        ):  # the results are in the store: a full disk takes nothing from them
            run.save()
        run.release()
    return run


async def _described(value: Any) -> dict[str, Any]:
    """Named results as JSON: of a named tuple by its fields, else `result`."""
    named = value._asdict() if hasattr(value, "_asdict") else {} if value is None else {"result": value}
    client = current_client()

    async def one(member: Any) -> Any:
        if isinstance(member, Asset):
            path = member.path
            if member.record is not None:
                path = (await client.download_file(member.record)).path
            keyvalues = member.keyvalues
            return {
                "asset": member.asset_key,
                "cid": member.cid,
                "path": str(path) if path else None,
                "keyvalues": keyvalues,
            }
        if hasattr(member, "_asdict"):
            return {name: await one(part) for name, part in member._asdict().items()}
        if isinstance(member, list | tuple):
            return [await one(part) for part in member]
        if isinstance(member, Mapping):
            return {str(name): await one(part) for name, part in member.items()}
        return member if member is None or isinstance(member, str | int | float | bool) else str(member)

    return {name: await one(member) for name, member in named.items()}
