"""Doing many executions again, in their order, and comparing what they gave: of a lineage or a capsule."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Literal

import attrs
from stargazer.assets import AssetNotFoundError, StargazerError
from stargazer.assets.provenance import Execution
from stargazer.storage import StoreClient, in_thread
from stargazer.storage.bundles import Bundle, differences, environment_here, fetch
from stargazer.storage.lineage import executions_of
from stargazer.tasks.execution.reproduce.repeat import Again, repeat

__all__ = ["Replay", "Replayed", "replay", "replay_bundle"]


@attrs.frozen
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
    making: dict[str, list[asyncio.Task[Replayed]]] = defaultdict(list)

    async def one(
        cid: str, execution: Execution, makers: Mapping[str, list[asyncio.Task[Replayed]]]
    ) -> Replayed:
        for file, before in makers.items():
            done = [await task for task in before]
            if done and not any(item.state == "same" for item in done):
                try:
                    await in_thread(client.store.read, file)
                except StargazerError:
                    why = f"which {done[0].execution.task} did not make, and which is not to be had as it was"
                    return Replayed(cid, execution, "skipped", note=f"it reads {file}, {why}")
        try:
            again = await repeat(client, execution, register=register)
        except Exception as error:  # also whatever the task itself raises
            note = error.explain() if isinstance(error, StargazerError) else repr(error)
            return Replayed(cid, execution, "failed", note=note)
        if again.same:
            return Replayed(cid, execution, "same", again)
        return Replayed(cid, execution, "differs", again, again.explain())

    async with asyncio.TaskGroup() as group:
        for cid, execution in _distinct(executions).items():
            # Only what was done before counts: of two files, each can be made of the other (sorted one way and back).
            makers = {entry.cid: making[entry.cid].copy() for entry in execution.inputs}
            running.append(group.create_task(one(cid, execution, makers)))
            for file in {entry.cid for entry in execution.outputs} - makers.keys():  # others it only hands on
                making[file].append(running[-1])
    return [task.result() for task in running]


@attrs.frozen
class Replay:
    """What came of replaying a bundle.

    Attributes:
        executions: what came of each.
        environment: how what is installed here differs from where the capsule was made, a line each.
    """

    executions: list[Replayed]
    environment: list[str]

    @property
    def same(self) -> bool:
        """Whether all of it came out the same."""
        return all(replayed.state == "same" for replayed in self.executions)


async def replay_bundle(
    client: StoreClient,
    bundle: Bundle,
    *,
    begun: Callable[[int, list[str]], None] = lambda number, environment: None,
) -> Replay:
    """Compute all that a bundle's files were made by again, and compare; its records are known here afterwards.

    Imports are brought from the bundle when they are read. What came out the same is registered as an execution of this
    store's own, so the memo answers with it; nothing that the bundle says is trusted for that.

    Args:
        begun: told how many executions there are, and how the environment differs, before the first is done.

    Raises:
        AssetNotFoundError: nothing in it was computed.
        StorageError: a record or provenance document of it cannot be had.
    """
    store = client.store
    fetched = await asyncio.to_thread(fetch, store, bundle, records_only=True)
    fetched.check(bundle)
    executions = _distinct(await asyncio.to_thread(executions_of, store, fetched.records))
    if not executions:
        raise AssetNotFoundError(
            f"nothing in the bundle {bundle.manifest.name!r} was computed, as far as its provenance tells: a capsule "
            "is made with `stargazer bundle make NAME CID --with-lineage`"
        )
    then = bundle.manifest.environment
    environment = differences(then, environment_here()) if then else []
    begun(len(executions), environment)
    return Replay(await replay(client, executions, register=True), environment)


def _distinct(executions: Mapping[str, Execution]) -> dict[str, Execution]:
    """One of those that say the same, in the order in which they were done."""
    found: dict[object, tuple[str, Execution]] = {}
    for cid, execution in sorted(executions.items(), key=lambda item: (item[1].started, item[0])):
        results = tuple((entry.role, entry.cid) for entry in execution.outputs)
        found.setdefault((execution.run_key or cid, results), (cid, execution))
    return dict(found.values())
