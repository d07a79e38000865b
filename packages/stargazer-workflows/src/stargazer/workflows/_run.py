"""Starting a workflow: `run` calls it and records what becomes of it, `why_not` asks what it would have to compute."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import Asset, QcReport, StargazerError, StorageError
from stargazer.storage import refused
from stargazer.workflows.arguments import convert, explaining_commas
from stargazer.workflows.catalogue import Entry, find_workflow
from stargazer.workflows.runs import Run, new_run, now

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event, Miss, Refresh

__all__ = ["Asked", "run", "why_not"]


@attrs.frozen
class Asked:
    """What became of the question.

    Attributes:
        misses: the first task calls that are not remembered; what reads their results cannot be known yet.
        remembered: how many calls are.
    """

    misses: list[Miss]
    remembered: int


async def run(
    workflow: str | Entry,
    arguments: Mapping[str, Any] | None = None,
    /,
    *,
    refresh: Refresh | None = None,
    record: Run | None = None,
    **named: Any,
) -> Run:
    """Call a workflow as `stargazer run` does, and record it under STARGAZER_HOME, whatever becomes of it.

        done = await run("germline_short_variant_discovery", samples="NA12878", build="GRCh38")
        done.results["variants"]["path"]

    Events of its tasks are told to those who `observe`.

    Args:
        workflow: its name, or its entry in the catalogue.
        arguments, named: values by name: as people type them (a list with commas), or as they are.
        refresh: what is to be computed anew, whatever the memo knows.
        record: of this run, if it was made before (`new_run`).

    Raises:
        InvalidAssetError: no such workflow, or an argument that it does not take; nothing is recorded then.
        StargazerError: what the workflow raises; it is recorded, too.
    """
    from stargazer.tasks.execution import log_to, observe, refreshed

    workflow, given, values = _prepared(workflow, arguments, named)
    made = record or new_run(workflow.name, values)
    began = time.monotonic()

    def keep(event: Event) -> None:
        made.append(attrs.asdict(event))

    try:
        with observe(keep), log_to(made.logs), refreshed(refresh), explaining_commas(given):
            value = await workflow.call(**values)
        made.results, made.notes = _described(value), await asyncio.to_thread(_notes, value)
        made.state = "succeeded"
    except asyncio.CancelledError:
        made.state, made.error = "cancelled", "interrupted"
        raise
    except BaseException as error:
        made.state, made.error = "failed", _explained(error, made.folder)
        raise
    finally:
        made.seconds, made.finished = time.monotonic() - began, now()
        with contextlib.suppress(
            StorageError
        ):  # the results are in the store: a full disk takes nothing from them
            made.save()
        made.release()
    return made


async def why_not(
    workflow: str | Entry,
    arguments: Mapping[str, Any] | None = None,
    /,
    *,
    refresh: Refresh | None = None,
    **named: Any,
) -> Asked:
    """The task calls that a workflow would have to compute first, each with what differs from the nearest earlier one.

    Nothing is computed. The arguments are those of `run`.

    Raises:
        StargazerError: what the workflow raises before it has called all that it can call.
    """
    from stargazer.tasks.execution import NotRemembered, asking_why, observe, refreshed

    workflow, given, values = _prepared(workflow, arguments, named)
    events: list[Event] = []
    with explaining_commas(given), observe(events.append), refreshed(refresh), asking_why() as misses:
        try:
            await workflow.call(**values)
        except* NotRemembered:
            pass
    return Asked(misses, sum(event.kind == "memo hit" for event in events))


def _prepared(
    workflow: str | Entry, arguments: Mapping[str, Any] | None, named: Mapping[str, Any]
) -> tuple[Entry, dict[str, Any], dict[str, Any]]:
    """The entry of a workflow, the arguments as they were given, and the same as its parameters take them."""
    entry = find_workflow(workflow) if isinstance(workflow, str) else workflow
    given = {**(arguments or {}), **named}
    return entry, given, convert(entry, given)


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
        return _described(member)
    if isinstance(member, list | tuple):
        return [_one(part) for part in member]
    if isinstance(member, Mapping):
        return {str(name): _one(part) for name, part in member.items()}
    return member if member is None or isinstance(member, str | int | float | bool) else str(member)
