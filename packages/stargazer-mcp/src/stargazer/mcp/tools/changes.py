"""The MCP tools that take a registration back or correct what is said of a file, once somebody has agreed."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, NotRequired

from fastmcp import Context, FastMCP
from pydantic import Field
from stargazer import storage
from stargazer.assets import AmbiguousAssetError, AssetNotFoundError, InvalidAssetError, IpFile
from stargazer.mcp.access import Access
from stargazer.mcp.records import as_dict, named_registrations
from stargazer.mcp.tools.answers import JsonObject, told
from stargazer.mcp.tools.calls import for_clients
from stargazer.mcp.tools.consent import consent
from stargazer.mcp.tools.files import RegisteredFile
from stargazer.mcp.tools.limits import brief, fitting
from stargazer.storage import Store, amend_records, get_client, is_computed
from typing_extensions import TypedDict

from mcp.types import InputRequiredResult, ToolAnnotations

__all__ = ["register"]

MOST = 20
"""Candidates that an error lists."""

FileId = Annotated[str, Field(description="Id as query_files has it; a CID where it is registered once.")]


class Deleted(TypedDict):
    """A registration that was taken back."""

    deleted: RegisteredFile
    note: str


class Updated(TypedDict):
    """A registration as it is now."""

    file: RegisteredFile
    notes: NotRequired[list[str]]


def register(server: FastMCP, access: Access) -> None:
    """Add the tools that change what is registered to a server."""
    changes = {
        "read_only_hint": False,
        "destructive_hint": True,
        "idempotent_hint": True,
        "open_world_hint": False,
    }

    @server.tool(tags={"write"}, annotations=ToolAnnotations(title="Take a registration back", **changes))
    async def delete_file(context: Context, id: FileId) -> Deleted | InputRequiredResult:
        """Take back the registration of one file that is wrong; its bytes and what was computed from it stay."""
        with told():
            store = get_client().store
            record = await asyncio.to_thread(_one, store, id)
            about = f"delete {record.id}"
            question = f"Take back the registration of this file? Its bytes stay.\n{_shown(record)}"
            if asked := await consent(context, question, about):
                return asked
            await asyncio.to_thread(storage.retract, store, record)
            return {
                "deleted": brief(as_dict(record)),
                "note": "its bytes stay; upload_file registers them again",
            }

    @server.tool(tags={"write"}, annotations=ToolAnnotations(title="Correct metadata", **changes))
    async def update_file(
        context: Context,
        id: FileId,
        metadata: Annotated[JsonObject, Field(description="What is true of it; null takes a value away.")],
    ) -> Updated | InputRequiredResult:
        """Correct what is said of a registered file: sample, lane, build. What was computed from it stays as it is."""
        with told():
            if not metadata:
                raise InvalidAssetError("metadata: empty: say what is true of the file")
            store = get_client().store
            record = await asyncio.to_thread(_one, store, id, imported=True)
            change = json.dumps(brief(metadata), ensure_ascii=False)
            question = f"Change what is said of this file?\n{_shown(record)}\nto: {change}"
            if asked := await consent(context, question, f"update {record.id} {json.dumps(metadata)}"):
                return asked
            (amended,) = await asyncio.to_thread(amend_records, store, [record], metadata)
            notes = await asyncio.to_thread(_notes, store, amended)
            answer: Updated = {"file": brief(as_dict(amended))}
            return {**answer, "notes": notes} if notes else answer


def _one(store: Store, name: str, *, imported: bool = False) -> IpFile:
    """The one registration of a CID or id.

    Args:
        imported: where a task made the same bytes again, the one that somebody registered is meant.

    Raises:
        AssetNotFoundError: there is none.
        AmbiguousAssetError: there are several; the message lists them.
    """
    try:
        records = named_registrations(store, name)
    except AssetNotFoundError as error:
        raise AssetNotFoundError(f"{error}: query_files lists what there is") from None
    if imported and len(records) > 1:
        records = [record for record in records if not is_computed(store, record)] or records
    if len(records) > 1:
        more = f"\n... and {len(records) - MOST} more" if len(records) > MOST else ""
        lines = "\n".join(_shown(record) for record in records[:MOST])
        raise AmbiguousAssetError(
            f"it is registered {len(records)} times; name one by its id:\n{lines}{more}"
        )
    return records[0]


def _shown(record: IpFile) -> str:
    """A registration in a line: as JSON, so that nothing in it can be taken for anything else."""
    shown = {"id": record.id, "name": record.name, "keyvalues": dict(record.keyvalues)}
    return json.dumps(brief(shown), ensure_ascii=False)


def _notes(store: Store, record: IpFile) -> list[str]:
    from stargazer.workflows import amended_notices

    return fitting(map(for_clients, amended_notices(store, [record])))
