"""Bytes that no source has any more are computed again: the entry point `stargazer.recompute` of storage."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from stargazer.assets import StargazerError
from stargazer.assets.provenance import Execution
from stargazer.storage import makers, makes
from stargazer.tasks.execution.registry import find_task
from stargazer.tasks.execution.reproduce.repeat import restore

if TYPE_CHECKING:
    from stargazer.storage import Store, StoreClient

__all__ = ["can_run", "execution_of", "recompute"]


async def recompute(client: StoreClient, cid: str) -> bool:
    """Compute the bytes of a CID again, if an execution is known that made them.

    Their inputs are brought first, if need be in the same way. Nothing is registered.

    Returns:
        Whether there was such an execution.

    Raises:
        StargazerError: none of them makes the bytes here now; the message says why the first does not.
    """
    executions = await asyncio.to_thread(lambda: makers(client.store, cid, _named(client.store, cid)))
    failure: StargazerError | None = None
    for execution in executions.values():
        try:
            await restore(client, execution)
            return True
        except StargazerError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return False


def can_run(task: str) -> bool:
    """Whether a task is declared here, or by any installed distribution."""
    return find_task(task) is not None


def execution_of(store: Store, cid: str) -> tuple[str, Execution] | None:
    """The execution that made a file, or that a provenance document tells of, with the document's CID.

    Of several that made a file, the one that its record names, else the first. None if it was imported.
    """
    for document_cid in dict.fromkeys([cid, *_named(store, cid), *store.documents(cid)]):
        with contextlib.suppress(StargazerError):
            document = store.document(document_cid) if store.is_registered(document_cid) else None
            if isinstance(document, Execution) and (document_cid == cid or makes(document, cid)):
                return document_cid, document
    return None


def _named(store: Store, cid: str) -> list[str]:
    """The provenance documents that the records of a file name."""
    named = (record.keyvalues.get("provenance_cid", "") for record in store.query({"cid": cid}))
    return list(filter(None, named))
