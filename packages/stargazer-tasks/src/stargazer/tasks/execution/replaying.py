"""Doing executions again in the order in which they were done, and comparing all that they gave."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import attrs
from stargazer.assets import StargazerError
from stargazer.assets.provenance import Execution
from stargazer.storage import in_thread
from stargazer.tasks.execution.again import Again
from stargazer.tasks.execution.recomputing import repeat

if TYPE_CHECKING:
    from stargazer.storage import StoreClient

__all__ = ["Replayed", "distinct", "replay"]


@attrs.frozen(kw_only=True)
class Replayed:
    """One execution, and what came of doing it again.

    Attributes:
        provenance_cid: of its document.
        state: the `same`, or something else (`differs`); `failed`: it could not be done; `skipped`: a file that it
            reads did not come out the same, and is not to be had.
        again: what it gave then and now, if it was done.
        note: what differs and why, or why it was not done; empty if all is the same.
    """

    provenance_cid: str
    execution: Execution
    state: Literal["same", "differs", "failed", "skipped"]
    again: Again | None = None
    note: str = ""


async def replay(
    client: StoreClient, executions: Mapping[str, Execution], *, register: bool = False
) -> list[Replayed]:
    """Do executions again, each once those before it are done, as many at once as the machine has slots for.

    What was computed before is not looked at. What reads a file that does not come out the same is done with the file
    as it was, if that is here or a source has it.

    Args:
        executions: by the CIDs of their documents; of several with the same run key and results, one is done.
        register: what came out the same is registered as an execution of our own.

    Returns:
        What came of them, in the order in which they were done first.
    """
    running: list[asyncio.Task[Replayed]] = []
    making: dict[str, list[asyncio.Task[Replayed]]] = {}

    async def one(
        cid: str, execution: Execution, makers: Mapping[str, list[asyncio.Task[Replayed]]]
    ) -> Replayed:
        for file, before in makers.items():
            done = [await task for task in before]
            if done and not any(item.state == "same" for item in done):
                try:
                    await in_thread(client.store.bring, file)
                except StargazerError:
                    maker = done[0].execution.task
                    note = (
                        f"it reads {file}, which {maker} did not make, and which is not to be had as it was"
                    )
                    return Replayed(provenance_cid=cid, execution=execution, state="skipped", note=note)
        return await _replayed(client, cid, execution, register)

    async with asyncio.TaskGroup() as group:
        for cid, execution in distinct(executions).items():
            # Only what was done before counts: of two files, each can be made of the other (sorted one way and back).
            makers = {entry.cid: list(making.get(entry.cid, [])) for entry in execution.inputs}
            running.append(group.create_task(one(cid, execution, makers)))
            for file in _made(execution):
                making.setdefault(file, []).append(running[-1])
    return [task.result() for task in running]


async def _replayed(client: StoreClient, cid: str, execution: Execution, register: bool) -> Replayed:
    try:
        again = await repeat(client, execution, register=register)
    except Exception as error:  # also whatever the task itself raises
        why = error.explain() if isinstance(error, StargazerError) else repr(error)
        return Replayed(provenance_cid=cid, execution=execution, state="failed", note=why)
    state: Literal["same", "differs"] = "same" if again.same else "differs"
    note = "" if again.same else again.explain()
    return Replayed(provenance_cid=cid, execution=execution, state=state, again=again, note=note)


def distinct(executions: Mapping[str, Execution]) -> dict[str, Execution]:
    """One of those that say the same, in the order in which they were done."""
    found: dict[object, tuple[str, Execution]] = {}
    for cid, execution in sorted(executions.items(), key=lambda item: (item[1].started, item[0])):
        results = tuple((entry.role, entry.cid) for entry in execution.outputs)
        found.setdefault((execution.run_key or cid, results), (cid, execution))
    return dict(found.values())


def _made(execution: Execution) -> Iterable[str]:
    """The files that an execution made, and did not only hand on."""
    return {entry.cid for entry in execution.outputs} - {entry.cid for entry in execution.inputs}
