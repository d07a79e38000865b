"""Making files again by what provenance says of them: bytes that are gone, and results that are to be compared."""

from __future__ import annotations

import asyncio
import importlib.metadata
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from stargazer.assets import Asset, AssetNotFoundError, StargazerError, StorageClient, use_client
from stargazer.assets.asset import asset_class
from stargazer.assets.provenance import Entry, Execution
from stargazer.storage.remaking import makers
from stargazer.tasks.execution import restoring
from stargazer.tasks.execution.declared import TASKS
from stargazer.tasks.execution.restoring import Again, restore
from stargazer.tasks.execution.values import rebuilt

if TYPE_CHECKING:
    from stargazer.storage.store import LocalStore

__all__ = ["recompute", "repeat", "reproduce"]

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
            arguments = await _ready(execution)
            with use_client(client):
                await restore(execution, arguments)
            return True
        except StargazerError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return False


async def reproduce(client: StorageClient, cid: str) -> Again:
    """Do again what made a file, whether its bytes are here or not, and compare; nothing is registered.

    Args:
        cid: of the file, of which the execution that its record names is meant, or of an execution's document.

    Raises:
        AssetNotFoundError: no execution of it is known: it was imported.
        StargazerError: it cannot be done here: its task is not installed, or an input is not to be had.
    """
    store = cast("LocalStore", getattr(client, "store", None))
    document = await asyncio.to_thread(_document, store, cid)
    executions = [document] if document else await asyncio.to_thread(_makers, store, cid)
    if not executions:
        raise AssetNotFoundError(
            f"no execution is known that made {cid}: it was imported, or never registered here"
        )
    return await repeat(client, executions[0])


async def repeat(client: StorageClient, execution: Execution) -> Again:
    """Do an execution again and compare.

    Raises:
        StargazerError: it cannot be done here.
    """
    arguments = await _ready(execution)
    with use_client(client):
        return await restoring.reproduce(execution, arguments)


async def _ready(execution: Execution) -> dict[str, Any]:
    """The arguments of an execution's call, once the task is declared if any distribution has it."""
    if execution.task not in TASKS:
        await asyncio.to_thread(_load_tasks)
    return _arguments(execution)


def _document(store: LocalStore, cid: str) -> Execution | None:
    """The execution that a provenance document tells of; None if the CID is that of a file."""
    if not store.is_registered(cid):
        return None
    document = store.document(cid)
    return document if isinstance(document, Execution) else None


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
