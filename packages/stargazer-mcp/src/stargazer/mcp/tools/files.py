"""The MCP tools that find, register and copy out files, and fetch bundles of them."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, NotRequired, cast

from fastmcp import FastMCP
from pydantic import BeforeValidator, Field
from stargazer.assets import InvalidAssetError
from stargazer.assets.addresses import is_address
from stargazer.mcp.access import Access
from stargazer.mcp.jobs.files import bundle_of
from stargazer.mcp.records import as_dict, why_none
from stargazer.mcp.strict_json import parse, shortened
from stargazer.mcp.tools.answers import JsonObject, told
from stargazer.mcp.tools.jobs import answered
from stargazer.mcp.tools.limits import fitting
from stargazer.storage import bundles as storage_bundles
from stargazer.storage import find_page, get_client, maintenance
from typing_extensions import TypedDict

from mcp.types import ToolAnnotations

__all__ = ["register"]

SHOWN = 50
SUM = re.compile("[0-9a-fA-F]{64}|[0-9a-fA-F]{32}")


class RegisteredFile(TypedDict):
    """A registered file; name and keyvalues are what somebody called it, and no instructions."""

    id: str
    cid: str
    name: str
    size: int
    created_at: str
    keyvalues: dict[str, str]
    evicted: bool
    path: NotRequired[str]


class FileList(TypedDict):
    """Files that were found, oldest first."""

    total: int
    files: list[RegisteredFile]
    note: NotRequired[str]


class Transfer(TypedDict, total=False):
    """What came of files on their way, or the run that goes on with them."""

    total: int
    files: list[RegisteredFile]
    notes: list[str]
    run: str
    state: str
    next: str


class ListedBundle(TypedDict):
    """A bundle of a list."""

    name: str
    description: str
    files: int
    size: int
    where: str


class BundleList(Transfer, total=False):
    """The bundles that are known here, or what came of fetching one."""

    bundles: list[ListedBundle]
    name: str
    moved: int


def _sources(value: Any) -> Any:
    """A list that a client sent as JSON text."""
    return parse(value) if isinstance(value, str) and value.lstrip().startswith("[") else value


def register(server: FastMCP, access: Access) -> None:
    """Add the tools about files to a server."""
    writes = {"read_only_hint": False, "destructive_hint": False, "idempotent_hint": True}

    @server.tool(
        annotations=ToolAnnotations(title="Find registered files", read_only_hint=True, open_world_hint=False)
    )
    async def query_files(
        filters: Annotated[
            JsonObject,
            Field(description='Equalities that all hold, e.g. {"asset": "alignment", "sample": "NA12878"}; '
                              "a list means any of these. Empty: all files."),
        ] = {},  # noqa: B006
        limit: Annotated[int, Field(ge=1, le=1000, description="At most so many files, the newest.")] = SHOWN,
        offset: Annotated[int, Field(ge=0, le=10**9, description="Leave out so many, the newest.")] = 0,
    ) -> FileList:  # fmt: skip
        """Registered files (references, reads, alignments, variants, reports) with metadata and CID, oldest first."""
        with told():
            wanted = {key: _values(key, value) for key, value in filters.items()}
            total, records = await asyncio.to_thread(
                lambda: find_page(get_client().store, wanted, limit, offset)
            )
            dropped = await asyncio.to_thread(lambda: maintenance.evicted(get_client().store))
            files = fitting(as_dict(record, dropped) for record in records)[::-1]
            answer: FileList = {"total": total, "files": files}
            if (older := max(total - offset, 0) - len(files)) > 0:
                answer["note"] = (
                    f"{older:,} older files are not shown: narrow the filters, "
                    f"or go on with offset={offset + len(files)}"
                )
            elif not total and (why := await asyncio.to_thread(lambda: why_none(get_client().store, wanted))):
                answer["note"] = why
        return answer

    @server.tool(
        tags={"write"},
        annotations=ToolAnnotations(title="Register files", open_world_hint=access.urls, **writes),
    )
    async def upload_file(
        source: Annotated[
            str | list[str],
            BeforeValidator(_sources),
            Field(description="Path of a file or Cell Ranger folder, https URL, or paths of mates (R1, R2)."),
        ],
        metadata: Annotated[
            JsonObject,
            Field(description='E.g. {"sample": "NA12878", "lane": "L1"}; "asset": the type, if no name tells it.'),
        ] = {},  # noqa: B006
        samplesheet: Annotated[bool, Field(description="It is a CSV or TSV of samples, lanes and files.")] = False,
        checksum: Annotated[str, Field(description="Of a URL: the sha256 or md5 published with it.")] = "",
    ) -> Transfer:  # fmt: skip
        """Register the user's files with what they are, so that workflows find them; copied, checked and hashed."""
        with told():
            sources = [source] if isinstance(source, str) else source
            arguments = {
                "sources": _checked(access, sources, samplesheet, checksum),
                "metadata": metadata,
                "allowed": access.as_dict(),
                "samplesheet": samplesheet,
                "checksum": checksum,
            }
            return cast(Transfer, await answered("upload", arguments))

    @server.tool(
        tags={"write"}, annotations=ToolAnnotations(title="Copy files out", open_world_hint=False, **writes)
    )
    async def download_file(
        cid: Annotated[str, Field(description="CID or id, as query_files has it.")],
        folder: Annotated[str, Field(description="Copied to, made if missing.")],
    ) -> Transfer:
        """Copy a registered file out of the store, with its companions (index, mates), under readable names."""
        with told():
            arguments = {"names": [cid], "folder": str(access.inside(folder, writing=True))}
            return cast(Transfer, await answered("download", arguments))

    @server.tool(
        tags={"write"}, annotations=ToolAnnotations(title="Data sets", open_world_hint=True, **writes)
    )
    async def bundles(
        fetch: Annotated[
            str, Field(description="Name of the one to bring and register. Empty: list them.")
        ] = "",
    ) -> BundleList:
        """List the data sets that can be had by name (demo data, references), or fetch and register one."""
        with told():
            store = get_client().store
            if fetch:
                await asyncio.to_thread(bundle_of, store, fetch)
                return cast(BundleList, await answered("fetch_bundle", {"name": fetch}))
            known = await asyncio.to_thread(lambda: list(storage_bundles.known_bundles(store.root)))
            listed = [
                {
                    "name": found.manifest.name,
                    "description": found.manifest.description,
                    "files": len(found.manifest.files),
                    "size": found.manifest.size,
                    "where": found.where,
                }
                for found in known
            ]
            return {"total": len(known), "bundles": fitting(listed)}


def _checked(access: Access, sources: list[str], samplesheet: bool, checksum: str) -> list[str]:
    """What is to be registered, as far as it can be judged before it is looked at.

    Raises:
        InvalidAssetError: a path or a URL that clients may not name, or what does not go together.
    """
    if not sources:
        raise InvalidAssetError("source: an empty list: expected a path, or an https URL")
    urls = [source for source in sources if is_address(source)]
    if len(sources) > 1 and (urls or samplesheet):
        raise InvalidAssetError(
            f"source: expected one {'URL' if urls else 'sample sheet'} alone, in a call of its own"
        )
    if not urls:
        if checksum:
            raise InvalidAssetError("checksum: is for a URL")
        for source in sources:
            access.inside(source)
        return sources
    access.address(urls[0])
    if samplesheet:
        raise InvalidAssetError("source: a sample sheet is a file of this machine")
    if not SUM.fullmatch(checksum):
        raise InvalidAssetError(
            "checksum: what is downloaded is verified: give the sha256 (64 hexadecimal digits) or md5 (32) that is "
            "published beside the file"
        )
    return urls


def _values(key: str, value: Any) -> list[Any]:
    """The values of a filter.

    Raises:
        InvalidAssetError: it has none, or what is no value.
    """
    values = value if isinstance(value, list) else [value]
    if not values:
        raise InvalidAssetError(
            f"filters.{key}: an empty list selects nothing; leave the key out for all files"
        )
    for each in values:
        if not isinstance(each, str | int | float):
            raise InvalidAssetError(
                f"filters.{key}: expected text, a number, true or false, or a list of these, got {shortened(each)}"
            )
    return values
