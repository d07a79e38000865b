"""Making bytes that were evicted, or never came here, again: by the execution that provenance names."""

from __future__ import annotations

import asyncio
import importlib.metadata
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from stargazer.assets import Asset, StargazerError, StorageClient, use_client
from stargazer.assets.asset import asset_class
from stargazer.assets.provenance import Entry, Execution
from stargazer.storage.remaking import makers
from stargazer.tasks.execution.declared import TASKS
from stargazer.tasks.execution.restoring import restore
from stargazer.tasks.execution.values import rebuilt

if TYPE_CHECKING:
    from stargazer.storage.store import LocalStore

__all__ = ["recompute"]

_GROUPS = ("stargazer.tasks", "stargazer.workflows")


async def recompute(client: StorageClient, cid: str) -> bool:
    """Compute the bytes of a CID again, if an execution is known that made them.

    Their inputs are brought first, if need be in the same way. Nothing is registered.

    Returns:
        Whether there was such an execution.

    Raises:
        StargazerError: none of them makes the bytes here now; the message says why the first does not.
    """
    store = cast("LocalStore", getattr(client, "store", None))
    executions = await asyncio.to_thread(_makers, store, cid)
    failure: StargazerError | None = None
    for execution in executions:
        try:
            if execution.task not in TASKS:
                await asyncio.to_thread(_load_tasks)
            with use_client(client):
                await restore(execution, _arguments(execution))
            return True
        except StargazerError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return False


def _makers(store: LocalStore, cid: str) -> list[Execution]:
    """The executions that made a file, those that its records alone name among them."""
    named = [record.keyvalues.get("provenance_cid", "") for record in store.query({"cid": cid})]
    return makers(store, cid, filter(None, named))


def _arguments(execution: Execution) -> dict[str, Any]:
    """The arguments of an execution's call."""
    assets = {entry.role: _asset(entry) for entry in execution.inputs}
    shapes = {**execution.parameters, **execution.assets}
    alone = {role: asset for role, asset in assets.items() if role.isidentifier() and role not in shapes}
    code = TASKS.get(execution.task)
    hints = get_type_hints(code.function) if code else {}
    return alone | {name: rebuilt(shape, assets, hints.get(name)) for name, shape in shapes.items()}


def _asset(entry: Entry) -> Asset:
    pairs = {**entry.keyvalues, **({"provenance_cid": entry.provenance_cid} if entry.provenance_cid else {})}
    kind = asset_class(entry.keyvalues.get("asset", ""))
    return kind.from_keyvalues(pairs, cid=entry.cid)


def _load_tasks() -> None:
    """Import the modules in which installed distributions declare tasks."""
    for group in _GROUPS:
        for entry in importlib.metadata.entry_points(group=group):
            entry.load()
