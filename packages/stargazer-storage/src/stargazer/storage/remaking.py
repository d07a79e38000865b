"""Computing bytes again that no source has: by what an installed distribution offers for it, for tasks are not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stargazer.assets.errors import StargazerError, StorageError

if TYPE_CHECKING:
    from stargazer.storage.local import StoreClient

__all__ = ["ENTRY_POINT_GROUP", "made_again"]

ENTRY_POINT_GROUP = "stargazer.recompute"
"""Functions `async (client, cid) -> bool`: whether there was a way; they raise a StargazerError if it failed."""


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
