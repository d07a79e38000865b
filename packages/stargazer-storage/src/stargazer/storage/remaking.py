"""Computing bytes again that no source has: what made them, and what installed distributions offer for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stargazer.assets.errors import StargazerError, StorageError
from stargazer.assets.provenance import Execution

if TYPE_CHECKING:
    from stargazer.storage.local import StoreClient
    from stargazer.storage.reading import StoreReader

__all__ = ["ENTRY_POINT_GROUP", "made_again", "makers", "makes"]

ENTRY_POINT_GROUP = "stargazer.recompute"
"""Functions `async (client, cid) -> bool`: whether there was a way; they raise a StargazerError if it failed."""


def makers(store: StoreReader, cid: str, named: Iterable[str] = ()) -> list[Execution]:
    """The executions that made a file, oldest first: those that read it too only hand it on.

    Args:
        named: CIDs of provenance that is to be looked at besides what the index knows.
    """
    found: list[Execution] = []
    for document_cid in dict.fromkeys([*store.documents(cid, "output"), *named]):
        try:
            document = store.document(document_cid)
        except StargazerError:
            continue
        if isinstance(document, Execution) and makes(document, cid):
            found.append(document)
    return found


def makes(execution: Execution, cid: str) -> bool:
    """Whether an execution made a file, and did not only hand it on."""
    return cid in {entry.cid for entry in execution.outputs} - {entry.cid for entry in execution.inputs}


async def made_again(client: StoreClient, cid: str, missing: StorageError) -> bool:
    """Whether the bytes of a CID are here now; why not, as a note of `missing`, if there was a way that failed."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            if await entry.load()(client, cid):
                return True
        except StargazerError as error:
            missing.add_note(f"and it could not be computed again: {error.explain()}")
    return False
