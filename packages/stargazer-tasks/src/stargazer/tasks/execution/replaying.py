"""Doing a whole lineage again, from its imports, and comparing every file with what it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import attrs
from stargazer.assets import StargazerError, StorageClient
from stargazer.assets.provenance import Execution
from stargazer.storage.interrupting import in_thread
from stargazer.storage.store import LocalStore
from stargazer.tasks.execution.recomputing import repeat
from stargazer.tasks.execution.restoring import Again

__all__ = ["Replayed", "replay"]


@attrs.frozen(kw_only=True)
class Replayed:
    """One execution of a lineage, and what came of doing it again.

    Attributes:
        provenance_cid: of its document.
        state: `same` bytes, other bytes (`differs`), or `failed`: it could not be done.
        again: its results then and now, unless it failed.
        note: why it failed or what is not as it was then; empty if all is the same.
    """

    provenance_cid: str
    execution: Execution
    state: Literal["same", "differs", "failed"]
    again: Again | None = None
    note: str = ""


async def replay(
    client: StorageClient,
    executions: Mapping[str, Execution],
    observer: Callable[[Replayed], None] = lambda replayed: None,
) -> list[Replayed]:
    """Do executions again, each once those before it are done, as many at once as the machine has slots for.

    Nothing is registered, and nothing that was computed before is looked at: only bytes that nobody here makes are
    brought from a source. What reads a file that does not come out the same is not done.

    Args:
        executions: by the CIDs of their documents; of several with the same run key and results, one is done.
        observer: told of each that has ended.

    Returns:
        What came of them, in the order in which they were done first.
    """
    store: LocalStore = client.store  # type: ignore[attr-defined]
    chosen = _distinct(executions)
    running: dict[str, asyncio.Task[Replayed]] = {}
    making: dict[str, list[asyncio.Task[Replayed]]] = {}

    async def one(
        cid: str, execution: Execution, makers: Mapping[str, list[asyncio.Task[Replayed]]]
    ) -> Replayed:
        missing = ""
        for file, before in makers.items():
            done = [await task for task in before]
            if before and not any(item.state == "same" for item in done) and not await _is_here(store, file):
                missing = missing or f"it reads {file}, which {done[0].execution.task} did not make"
        replayed = (
            await _replayed(client, cid, execution) if not missing else _failed(cid, execution, missing)
        )
        observer(replayed)
        return replayed

    async with asyncio.TaskGroup() as group:
        for cid, execution in chosen.items():
            # Only what was done before counts: of two files, each can be made of the other (sorted one way and back).
            makers = {entry.cid: list(making.get(entry.cid, [])) for entry in execution.inputs}
            running[cid] = group.create_task(one(cid, execution, makers))
            for file in _made(execution):
                making.setdefault(file, []).append(running[cid])
    return [task.result() for task in running.values()]


async def _replayed(client: StorageClient, cid: str, execution: Execution) -> Replayed:
    try:
        again = await repeat(client, execution)
    except Exception as error:  # also whatever the task itself raises
        return _failed(cid, execution, error.explain() if isinstance(error, StargazerError) else repr(error))
    if again.same:
        return Replayed(provenance_cid=cid, execution=execution, state="same", again=again)
    said = "; ".join(result.explain() for result in again.results if not result.same)
    return Replayed(provenance_cid=cid, execution=execution, state="differs", again=again,
                    note=f"{said} ({again.changed})")  # fmt: skip


def _failed(cid: str, execution: Execution, why: str) -> Replayed:
    return Replayed(provenance_cid=cid, execution=execution, state="failed", note=why)


def _distinct(executions: Mapping[str, Execution]) -> dict[str, Execution]:
    """One of those that say the same, in the order in which they were done."""
    found: dict[object, tuple[str, Execution]] = {}
    for cid, execution in sorted(executions.items(), key=lambda item: (item[1].started, item[0])):
        results = tuple((entry.role, entry.cid) for entry in execution.outputs)
        found.setdefault((execution.run_key or cid, results), (cid, execution))
    return dict(found.values())


def _made(execution: Execution) -> Iterable[str]:
    """The files that an execution made, and did not only hand on."""
    return {entry.cid for entry in execution.outputs} - {entry.cid for entry in execution.inputs}


async def _is_here(store: LocalStore, cid: str) -> bool:
    """Whether the bytes of a file are here, or come from a source."""
    try:
        await in_thread(store.bring, cid)
    except StargazerError:
        return False
    return True
