"""The MCP tools about evidence: `check_claims` against the files, and `why`, how a file came to be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from pydantic import BeforeValidator, Field
from stargazer.assets.provenance import Document, Entry, Execution
from stargazer.mcp.access import Access
from stargazer.mcp.cli.console import count
from stargazer.mcp.records import run_in_place
from stargazer.mcp.strict_json import parse, shortened
from stargazer.mcp.tools.answers import told
from stargazer.mcp.tools.calls import for_clients
from stargazer.mcp.tools.jobs import answered
from stargazer.mcp.tools.limits import brief, fitting, refuse_large
from stargazer.storage import Store, get_client, is_cid, lineage
from typing_extensions import TypedDict

from mcp.types import ToolAnnotations

if TYPE_CHECKING:
    from stargazer.storage.lineage import Step

__all__ = ["register"]

SHOWN = 20
COMMANDS = 50  # of one execution


class Claims(TypedDict, total=False):
    """How many claims are what, and each with what the file has; or the run that is still at it."""

    confirmed: int
    contradicted: int
    unverifiable: int
    results: list[dict[str, Any]]
    run: str
    state: str
    next: str


class Why(TypedDict):
    """How a file came to be, what became of it, or where two differ."""

    cid: str
    total: NotRequired[int]
    steps: NotRequired[list[dict[str, Any]]]
    again: NotRequired[dict[str, int]]
    ends: NotRequired[list[str]]
    other: NotRequired[str]
    same_bytes: NotRequired[bool]
    divergences: NotRequired[list[dict[str, Any]]]
    contents: NotRequired[list[str]]
    next: NotRequired[str]


def _list(value: Any) -> Any:
    """A list that a client sent as JSON text."""
    if isinstance(value, str):
        value = parse(value)
        refuse_large(value)
    return value


def register(server: FastMCP, access: Access) -> None:
    """Add the tools about evidence to a server."""

    @server.tool(
        annotations=ToolAnnotations(
            title="Check claims", read_only_hint=True, idempotent_hint=True, open_world_hint=False
        )
    )
    async def check_claims(
        claims: Annotated[
            list[Any],
            BeforeValidator(_list),
            Field(description='Each {"cid", "value", "about": {"sample": "S1"}}, and "field": metadata, or a path in a '
                  'JSON report ("samples.S1.reads"); or, of a VCF, CSV or h5ad, "query": {"what": count, share (of), '
                  'sum, mean, value or genotype (chrom, pos), "column", "where": [{"column": "FILTER", "op": "=", '
                  '"value": "PASS"}]}. Give "statement", your sentence, too.'),
        ],
    ) -> Claims:  # fmt: skip
        """Check figures against stored files before you report them: confirmed, contradicted or unverifiable."""
        with told():
            answer: Claims = brief(await answered("check_claims", {"claims": claims}))
        for result in answer.get("results", []):
            result |= {key: for_clients(result[key]) for key in ("why", "then") if result.get(key)}
        return answer

    @server.tool(
        annotations=ToolAnnotations(
            title="How a file came to be", read_only_hint=True, idempotent_hint=True, open_world_hint=False
        )
    )
    async def why(
        cid: Annotated[str, Field(description="Of a file or an execution; with stale also tool@version or a task.")],
        other: Annotated[str, Field(description="A second CID: where the ways of the two part.")] = "",
        stale: Annotated[bool, Field(description="What was computed from it instead.")] = False,
        limit: Annotated[int, Field(ge=1, le=200, description="At most so many steps, newest first.")] = SHOWN,
        offset: Annotated[int, Field(ge=0, le=10**6, description="Leave out so many.")] = 0,
    ) -> Why:  # fmt: skip
        """Explain a result: the tasks, tool versions, parameters and inputs that made it, or why two files differ."""
        with told():
            if stale and other:
                raise ToolError("give other or stale, not both: other compares two files, stale asks of one")
            return await asyncio.to_thread(_explained, cid, other, stale, limit, offset)


def _explained(cid: str, other: str, stale: bool, limit: int, offset: int) -> Why:
    store = get_client().store
    if not store.exists():
        raise ToolError(
            f"nothing is known of {shortened(cid)}: the store is empty; call upload_file to register files"
        )
    if other:
        return _difference(store, _known(store, cid), _known(store, other), limit)
    if stale:
        return _downstream(store, cid if not is_cid(cid) else _known(store, cid), limit, offset)
    cid = _known(store, cid)
    steps = _steps(lineage.walk(lineage.why(store, cid)))
    if steps and steps[0]["execution"] == cid:
        document = store.document(cid)
        steps[0]["commands"] = [" ".join(words) for words in getattr(document, "commands", [])[:COMMANDS]]
    return _paged({"cid": cid, "total": len(steps)}, steps, cid, limit, offset)


def _known(store: Store, name: str) -> str:
    """The CID that a CID or the id of a record means.

    Raises:
        ToolError: nothing is known of it.
    """
    if is_cid(name) and (store.query({"cid": name}) or store.documents(name) or store.is_registered(name)):
        return name
    if not is_cid(name) and (record := store.get(name)):
        return record.cid
    if text := run_in_place(name):
        raise ToolError(text)
    raise ToolError(f"nothing is known of {shortened(name)}: call query_files to find a file and its CID")


def _steps(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """What was done, newest first: each execution and import once, with the files of it that count here."""
    found: dict[str, dict[str, Any]] = {}
    for step in steps:
        key = step.provenance_cid or step.entry.cid
        if key not in found:
            found[key] = _done(step.document, step.provenance_cid)
            found[key]["at"] = step.at
        made = _file(step.entry) | ({"as": step.made_as} if step.made_as else {})
        if step.again:
            found[key]["again"] = step.again[-3:]
        found[key]["made"].append(made)
    return sorted(found.values(), key=lambda told: str(told["at"]), reverse=True)


def _done(document: Document | None, cid: str) -> dict[str, Any]:
    """What one document tells in a few words, without what it made."""
    if not isinstance(document, Execution):
        kind = type(document).__name__.lower() if document else "unknown"
        return {"task": kind, "execution": cid, "at": "", "made": []}
    return {
        "task": document.task,
        "execution": cid,
        "at": "",
        "tools": [f"{tool.name} {tool.version}" for tool in document.tools],
        "parameters": dict(document.parameters),
        "made": [],
        **({"defined in": document.place} if document.notebook else {}),
        "inputs": [{"as": entry.role, **_file(entry)} for entry in document.inputs[:SHOWN]],
        **({"inputs (number)": len(document.inputs)} if len(document.inputs) > SHOWN else {}),
    }


def _file(entry: Entry) -> dict[str, Any]:
    """A file in a few words."""
    pairs = entry.keyvalues
    told = {"cid": entry.cid, "asset": pairs.get("asset", ""), "name": entry.name, "origin": entry.origin}
    told |= {key: pairs[key] for key in ("sample", "samples", "kind", "build") if key in pairs}
    return {key: value for key, value in told.items() if value}


def _downstream(store: Store, what: str, limit: int, offset: int) -> Why:
    """What was computed from something, and what has to be run again if it is wrong."""
    found = lineage.stale(store, what)
    steps = [
        {
            "task": run.task,
            "execution": run.provenance_cid,
            "at": run.at,
            "made": run.outputs,
            "last": run.last,
        }
        for run in reversed(found.runs)
    ]
    answer: Why = {
        "cid": found.what,
        "total": len(steps),
        "again": found.tasks,
        "ends": found.ends[:SHOWN],
    }
    return _paged(answer, steps, what, limit, offset, ', "stale": true')


def _paged(
    answer: Why, steps: list[dict[str, Any]], what: str, limit: int, offset: int, more: str = ""
) -> Why:
    """An answer with some of the steps, and how to ask for the next."""
    answer["steps"] = fitting(steps[offset : offset + limit])
    place = offset + len(answer["steps"])
    if place < len(steps):
        answer["next"] = (
            f'{len(steps) - place} older steps: call why with {{"cid": {shortened(what)}{more}, "offset": {place}}}'
        )
    return answer


def _difference(store: Store, cid: str, other: str, limit: int) -> Why:
    """Where the ways of two files part, and how their contents differ."""
    difference = lineage.diff(store, cid, other)
    lines = lineage.contents(store, difference.a.entry, difference.b.entry)
    found: Mapping[str, Any] = lineage.difference_as_json(difference, lines)
    divergences = [{**each, "places": each["places"][:2]} for each in found["divergences"]]
    shown = fitting(divergences[:limit])
    contents = brief([*map(for_clients, lines[:SHOWN])])
    if len(lines) > SHOWN:
        contents.append(f"... and {count(len(lines) - SHOWN, 'line')} more")
    answer: Why = {
        "cid": cid,
        "other": other,
        "same_bytes": found["same_bytes"],
        "divergences": shown,
        "contents": contents,
    }
    if len(shown) < len(divergences):
        answer["next"] = f"{len(divergences) - len(shown)} more differences: give a larger limit"
    elif shown:
        answer["next"] = 'call why with the CID under "places" to see one of the executions'
    return answer
