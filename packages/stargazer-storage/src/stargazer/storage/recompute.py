"""Bytes that nobody has are computed again: which executions made them, and what installed distributions can run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from stargazer.assets import StargazerError, StorageClient, StorageError
from stargazer.assets.provenance import Execution

if TYPE_CHECKING:
    from stargazer.storage.store import Store

__all__ = ["ENTRY_POINT_GROUP", "Recomputer", "can_run", "computed_again", "makers", "makes"]

ENTRY_POINT_GROUP = "stargazer.recompute"
"""Each is a `Recomputer`: a module or an object."""


class Recomputer(Protocol):
    """What can compute files again."""

    async def recompute(self, client: StorageClient, cid: str) -> bool:
        """Have the bytes of a CID here, and tell whether there was a way.

        Raises:
            StargazerError: there was one, and it failed.
        """

    def can_run(self, task: str) -> bool:
        """Whether a task, by its full name, is installed here."""


def can_run(task: str) -> bool:
    """Whether any installed distribution can run a task."""
    return any(recomputer.can_run(task) for recomputer in _recomputers())


def makers(store: Store, cid: str, named: Iterable[str] = ()) -> dict[str, Execution]:
    """The executions that made a file, oldest first, by the CIDs of their documents: who reads it too only hands it on.

    Args:
        named: CIDs of provenance that is to be looked at besides what the index knows.
    """
    found: dict[str, Execution] = {}
    for document_cid in dict.fromkeys([*store.documents(cid, "output"), *named]):
        with contextlib.suppress(StargazerError):
            document = store.document(document_cid)
            if isinstance(document, Execution) and makes(document, cid):
                found[document_cid] = document
    return found


def makes(execution: Execution, cid: str) -> bool:
    """Whether an execution made a file, and did not only hand it on."""
    return cid in {entry.cid for entry in execution.outputs} - {entry.cid for entry in execution.inputs}


async def computed_again(client: StorageClient, cid: str, missing: StorageError) -> bool:
    """Whether the bytes of a CID are here now; why not, as a note of `missing`, if there was a way that failed."""
    for recomputer in _recomputers():
        try:
            if await recomputer.recompute(client, cid):
                return True
        except StargazerError as error:
            missing.add_note(f"and it could not be computed again: {error.explain()}")
    return False


def _recomputers() -> list[Recomputer]:
    from importlib.metadata import entry_points

    return [entry.load() for entry in entry_points(group=ENTRY_POINT_GROUP)]
