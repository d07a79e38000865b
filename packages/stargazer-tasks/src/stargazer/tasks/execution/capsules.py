"""Replaying a capsule: its lineage is computed again from its imports, on whatever machine, and compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs
from stargazer.assets import AssetNotFoundError
from stargazer.storage import StoreClient
from stargazer.storage.bundles import Bundle, differences, environment_here, fetch
from stargazer.storage.lineage import executions_of
from stargazer.tasks.execution.replaying import Replayed, distinct, replay

__all__ = ["Replay", "replay_bundle"]


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
    executions = distinct(await asyncio.to_thread(executions_of, store, fetched.records))
    if not executions:
        raise AssetNotFoundError(
            f"nothing in the bundle {bundle.manifest.name!r} was computed, as far as its provenance tells: a capsule "
            "is made with `stargazer bundle make NAME CID --with-lineage`"
        )
    then = bundle.manifest.environment
    environment = differences(then, environment_here()) if then else []
    begun(len(executions), environment)
    return Replay(await replay(client, executions, register=True), environment)
