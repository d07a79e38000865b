"""Calling a workflow in this process: `run` calls it and keeps a record, `why_not` asks what it would compute."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from stargazer import storage
from stargazer.assets import Asset, IpFile, QcReport, StargazerError, StorageError
from stargazer.workflows.arguments import convert, explaining_commas
from stargazer.workflows.catalogue import Entry, Kind, describe, find_entry
from stargazer.workflows.runs.record import Run, events_of, new_run, now
from stargazer.workflows.task_inputs import assets_of

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event, Miss, Refresh

__all__ = ["Asked", "as_json", "carry_out", "records_of", "run", "why_not"]

_Call: TypeAlias = tuple[Entry, dict[str, Any], dict[str, Any]]
"""A workflow, its arguments as they were given, and the same as it takes them."""

MOST_TOLD = 10
"""Unusual figures of a report: all of them are in the report."""


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
    workflow: Any,
    arguments: Mapping[str, Any] | None = None,
    /,
    *,
    refresh: Refresh | None = None,
    **named: Any,
) -> Run:
    """Call a workflow or a task in this process, and record it under STARGAZER_HOME, whatever becomes of it.

        done = await run("germline_short_variant_discovery", samples="NA12878", build="GRCh38")
        done.results["variants"]["path"]
        counted = await run(count_lines, reference=reference)  # a task of this notebook

    Events of its tasks are told to those who `observe`. It ends with this process; `start_run` gives it one of its own.

    Args:
        workflow: the name of one, a workflow or task itself (also one of a notebook cell), or its entry in the
            catalogue.
        arguments, named: values by name: as people type them (a list with commas), or as they are. For a parameter
            that takes assets: assets, their CIDs or ids, or filters.
        refresh: what is to be computed anew, whatever the memo knows.

    Raises:
        InvalidAssetError: no such workflow, or an argument that it does not take; nothing is recorded then.
        StargazerError: what the workflow raises; it is recorded, too.
    """
    entry, given, values = _prepared(workflow, arguments, named)
    asked = None if refresh is None else {"tasks": list(refresh.tasks), "below": refresh.below}
    made = new_run(
        entry.name, as_json(given), arguments=as_json(values), pid=os.getpid(), refresh=asked,
        kind=entry.kind, defined_in=_defined_in(entry),
    )  # fmt: skip
    try:
        return await carry_out(made, (entry, given, values))
    finally:
        made.release()


async def carry_out(made: Run, prepared: _Call | None = None) -> Run:
    """Call the workflow of a run that is recorded, and record what becomes of it.

    Args:
        prepared: what is called; else it follows from the record.

    Raises:
        StargazerError: no such workflow, or an argument that it does not take; what the workflow raises; results cannot
            be copied to the run's folder for them.
    """
    began, before = time.monotonic(), made.seconds
    try:
        from stargazer.tasks.execution import log_to, observe, refreshed, run_named

        entry, given, values = prepared or _prepared(made.workflow, made.given, {}, made.kind)
        made.arguments = as_json(values)
        if entry.kind != "job":
            values = await assets_of(entry, values)
        with (
            observe(lambda event: made.append(attrs.asdict(event))),
            log_to(made.logs),
            run_named(f"run {made.id}"),
            refreshed(_wanted_anew(made)),
            explaining_commas(given),
        ):
            value = await _called(made, entry, values)
            made.results, notes = _described(value), await asyncio.to_thread(_notes, value)
            made.notes = [*made.notes, *notes, *(await _copied(made) if made.outdir else [])]
        made.state = "succeeded"
    except asyncio.CancelledError:
        made.state, made.error = "cancelled", "interrupted"
        raise
    except BaseException as error:
        made.state, made.error = "failed", _explained(error, made.folder)
        raise
    finally:
        made.seconds, made.finished = before + time.monotonic() - began, now()
        try:
            made.save()
        except StorageError as error:  # the results are in the store: a full disk takes nothing from them
            warnings.warn(f"{error}; run {made.id} {made.state} {made.error}".rstrip(), stacklevel=2)
        with contextlib.suppress(OSError):
            (made.folder / "reserve").unlink()
    return made


async def _called(made: Run, entry: Entry, values: Mapping[str, Any]) -> Any:
    """The result of a call where the mode says: in this process, or at the cluster."""
    settings = storage.Settings.load()
    if settings.mode == "local" or entry.kind == "job":
        return await entry.call(**values)
    from stargazer.workflows.runs.cluster import call_at_cluster

    return await call_at_cluster(made, entry, values, settings)


def _wanted_anew(made: Run) -> Refresh | None:
    """What is to be computed anew, but for what earlier attempts have."""
    from stargazer.tasks.execution import Refresh

    if made.refresh is None:
        return None
    refresh = Refresh(tuple(made.refresh["tasks"]), made.refresh["below"])
    refresh.keys.update(event.get("key", "") for event, _ in events_of(made) if event["kind"] == "finished")
    return refresh


async def _copied(made: Run) -> list[str]:
    """Copy every file of the results to the run's folder for them; each then says where its copy is.

    Returns:
        What became of files that were there, in sentences.
    """
    client = storage.get_client()
    records = records_of(client.store, made.results)
    for record in storage.with_companions(client.store, records):
        if client.store.objects.stat(record.cid) is None:  # evicted since it was computed
            await client.download_file(record)
    folder = Path(made.outdir)
    exported, notes = await asyncio.to_thread(
        storage.export_results, client.store, records, folder, run=made.id
    )
    paths = {record.cid: path for path, record in exported}
    for file in _files(made.results):
        if file["cid"] in paths:
            file["path"] = str(paths[file["cid"]])
    return notes


def records_of(store: storage.Store, results: Mapping[str, Any]) -> list[IpFile]:
    """The records of a run's results."""
    return [
        record
        for file in _files(results)
        for record in store.query({"cid": file["cid"]})
        if dict(record.keyvalues) == file["keyvalues"]
    ]


def _files(results: Any) -> Iterator[dict[str, Any]]:
    """Every file in results."""
    if isinstance(results, dict) and {"asset", "cid", "keyvalues"} <= set(results):
        yield results
    elif isinstance(results, dict | list):
        for value in results.values() if isinstance(results, dict) else results:
            yield from _files(value)


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them; of what has no form in it, its text."""
    made: dict[str, Any] = json.loads(json.dumps(dict(values), default=_text))
    return made


def _text(value: Any) -> str:
    """What stands for a value in a record: for an asset what it can be found by again."""
    if isinstance(value, Asset) and value.cid:
        return value.record.id if value.record else value.cid
    return str(value)


async def why_not(
    workflow: Any,
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
    workflow: Any, arguments: Mapping[str, Any] | None, named: Mapping[str, Any], kind: Kind = "workflow"
) -> _Call:
    """The entry of a workflow, the arguments as they were given, and the same as its parameters take them."""
    if isinstance(workflow, str):
        entry = find_entry(workflow, kind)
    else:
        entry = workflow if isinstance(workflow, Entry) else describe(_kind(workflow), workflow)
    given = {**(arguments or {}), **named}
    return entry, given, dict(given) if entry.kind == "job" else convert(entry, given)


def _kind(call: Any) -> Kind:
    from stargazer.tasks.execution import TASKS

    return "task" if getattr(call, "name", "") in TASKS else "workflow"


def _defined_in(entry: Entry) -> str:
    """Where a task or workflow is that only this process knows: `cell count_lines of experiment.py`."""
    from stargazer.tasks.execution import place_of

    return (
        place_of(getattr(entry.call, "func", entry.call)) or "a script" if entry.module == "__main__" else ""
    )


def _explained(error: BaseException, place: Path) -> str:
    if isinstance(error, StargazerError):
        return error.explain()
    return (
        str(storage.refused(error, place))
        if isinstance(error, OSError)
        else f"{type(error).__name__}: {error}"
    )


def _notes(value: Any) -> list[str]:
    """What reports among results tell under `notes` and `unusual`, each sentence once; of one not here, nothing."""
    from stargazer.tasks.execution import assets_in

    found: dict[str, None] = {}
    for _, asset in assets_in(value, ""):
        if isinstance(asset, QcReport) and asset.path is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # a report of another form
                content = json.loads(asset.path.read_bytes())
                found |= dict.fromkeys(map(_unusual, content.get("unusual", [])[:MOST_TOLD]))
                found |= dict.fromkeys(content.get("notes", []))
    return list(found)


def _unusual(item: Mapping[str, Any]) -> str:
    """An unusual figure of a summary, in a sentence."""
    cluster = f"cluster {item['cluster']}" if item.get("cluster") else ""
    of = " ".join(word for word in (item["sample"], item.get("lane", ""), cluster) if word) or "all samples"
    usual = f"{item['usual']['bound']} {item['usual']['value']:g}"
    return (
        f"Unusual: {item['figure']} of {of} is {item['value']:g}, usually {usual}; may mean {item['means']}."
    )


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
