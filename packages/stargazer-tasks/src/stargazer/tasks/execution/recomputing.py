"""Making files again by what provenance says of them: bytes that are gone, and results that are to be compared."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
from typing import TYPE_CHECKING, Any, get_type_hints

from stargazer.assets import Asset, StargazerError, asset_class, use_client
from stargazer.assets.provenance import Entry, Execution
from stargazer.storage import makers, makes
from stargazer.tasks.execution.again import Again, compute_again, restore
from stargazer.tasks.execution.declared import TASKS
from stargazer.tasks.execution.values import rebuilt

if TYPE_CHECKING:
    from stargazer.storage import Store, StoreClient

__all__ = ["can_run", "execution_of", "recompute", "repeat"]

_GROUPS = ("stargazer.tasks", "stargazer.workflows")


async def recompute(client: StoreClient, cid: str) -> bool:
    """Compute the bytes of a CID again, if an execution is known that made them.

    Their inputs are brought first, if need be in the same way. Nothing is registered.

    Returns:
        Whether there was such an execution.

    Raises:
        StargazerError: none of them makes the bytes here now; the message says why the first does not.
    """
    executions = await asyncio.to_thread(_makers, client.store, cid)
    failure: StargazerError | None = None
    for execution in executions.values():
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


def can_run(task: str) -> bool:
    """Whether a task is declared here, or by any installed distribution."""
    if task not in TASKS:
        _load_tasks()
    return task in TASKS


async def repeat(client: StoreClient, execution: Execution, *, register: bool = False) -> Again:
    """Do an execution again and compare; `register` as of compute_again().

    Raises:
        StargazerError: it cannot be done here.
    """
    arguments = await _ready(execution)
    with use_client(client):
        return await compute_again(execution, arguments, register=register)


def execution_of(store: Store, cid: str) -> tuple[str, Execution] | None:
    """The execution that made a file, or that a provenance document tells of, with the document's CID.

    Of several that made a file, the one that its record names, else the first. None if it was imported.
    """
    named = [record.keyvalues.get("provenance_cid", "") for record in store.query({"cid": cid})]
    for document_cid in dict.fromkeys([cid, *filter(None, named), *store.documents(cid)]):
        with contextlib.suppress(StargazerError):
            document = store.document(document_cid) if store.is_registered(document_cid) else None
            if isinstance(document, Execution) and (document_cid == cid or makes(document, cid)):
                return document_cid, document
    return None


async def _ready(execution: Execution) -> dict[str, Any]:
    """The arguments of an execution's call, once the task is declared if any distribution has it."""
    await asyncio.to_thread(can_run, execution.task)
    return _arguments(execution)


def _makers(store: Store, cid: str) -> dict[str, Execution]:
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
