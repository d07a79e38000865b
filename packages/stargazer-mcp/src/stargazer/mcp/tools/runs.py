"""The MCP tools about runs: get_run, list_runs, cancel_run and resume_run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from pydantic import Field
from stargazer.mcp.access import Access
from stargazer.mcp.strict_json import shortened
from stargazer.mcp.tools.answers import told
from stargazer.mcp.tools.calls import for_clients
from stargazer.mcp.tools.jobs import PATIENCE, resumed
from stargazer.mcp.tools.limits import brief, error_text, fitting
from stargazer.workflows import (
    Run,
    calls_of,
    find_run,
    watch_run,
)
from stargazer.workflows import (
    cancel_run as stop_run,
)
from stargazer.workflows import (
    list_runs as recorded_runs,
)
from typing_extensions import TypedDict

from mcp.types import ToolAnnotations

__all__ = ["RunAnswer", "answer_soon", "register"]

MOST_WAIT = 50
"""Seconds that one call waits: clients give up after 60."""
LOOK = 2.0  # seconds between two reports of progress
CLEAN_UP = 20.0  # seconds that a cancelled run may take to end
MANY = 50  # members of a list that are shown
LOG, LOGS = 4_000, 12_000  # characters of the end of a log, and of all logs of an answer
SHOWN, FIRST = 20, 500  # runs of a list, and characters of what each says of its failure
FEW = 10  # members of a list among the arguments of a run in a list
PRIVATE = ("allowed",)  # of a job: what its own clients may do
WORKER = "worker"
"""The log of the process itself, beside those of tasks."""

RunId = Annotated[str, Field(description="As run_workflow, run_task or list_runs has it.")]


class RunAnswer(TypedDict):
    """A run as it is now."""

    run: str
    workflow: str
    kind: str
    state: str
    seconds: float
    computed: int
    memo_hits: int
    doing: NotRequired[list[str]]
    error: NotRequired[str]
    notes: NotRequired[list[str]]
    results: NotRequired[dict[str, Any]]
    logs: NotRequired[dict[str, str]]
    next: str


class ListedRun(TypedDict):
    """A run of a list."""

    run: str
    workflow: str
    kind: str
    state: str
    started: str
    seconds: float
    arguments: dict[str, Any]
    error: NotRequired[str]


class RunList(TypedDict):
    """Runs that were found, the newest first."""

    total: int
    runs: list[ListedRun]
    note: NotRequired[str]


def register(server: FastMCP, access: Access) -> None:
    """Add the tools about runs to a server."""

    @server.tool(
        annotations=ToolAnnotations(title="How a run is", read_only_hint=True, open_world_hint=False)
    )
    async def get_run(
        context: Context,
        run_id: RunId,
        wait_s: Annotated[float, Field(ge=0, le=MOST_WAIT, description="Wait so many seconds for its end.")] = 0,
        logs: Annotated[str, Field(description='Also the end of what its tools printed: of a task, or "all".')] = "",
    ) -> RunAnswer:  # fmt: skip
        """Follow a run: its state, what it is doing, at the end its results with CIDs, or why it failed."""
        with told():
            run = await asyncio.to_thread(find_run, run_id)
            deadline = time.monotonic() + wait_s
            while run.state == "running" and (left := deadline - time.monotonic()) > 0:
                run = await watch_run(run_id, seconds=min(left, LOOK))
                progress = so_far(run)
                await context.report_progress(
                    progress["computed"] + progress["memo_hits"], message="; ".join(progress["doing"][:3]) or run.state
                )  # fmt: skip
            return await asyncio.to_thread(_answer, run, logs)

    @server.tool(
        annotations=ToolAnnotations(title="What was run", read_only_hint=True, open_world_hint=False)
    )
    async def list_runs(
        state: Annotated[
            Literal["running", "succeeded", "failed", "cancelled", "lost", "any"],
            Field(description="Lost: its process was killed."),
        ] = "any",
        limit: Annotated[int, Field(ge=1, le=200, description="At most so many, the newest.")] = SHOWN,
        offset: Annotated[int, Field(ge=0, le=10**6, description="Leave out so many, the newest.")] = 0,
    ) -> RunList:  # fmt: skip
        """Find runs again, also those of an earlier conversation or of somebody else on this machine."""
        with told():
            runs = [run for run in await asyncio.to_thread(recorded_runs) if state in ("any", run.state)]
            shown: list[Any] = fitting(_listed(run) for run in runs[offset : offset + limit])
            answer: RunList = {"total": len(runs), "runs": shown}
            if offset + len(shown) < len(runs):
                answer["note"] = f"older ones with offset={offset + len(shown)}"
        return answer

    @server.tool(
        tags={"write"},
        annotations=ToolAnnotations(
            title="Stop a run",
            read_only_hint=False,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )
    async def cancel_run(
        run_id: RunId,
        kill: Annotated[bool, Field(description="End it without asking it to clean up.")] = False,
    ) -> RunAnswer:
        """Stop a run and its tools; what was finished is kept, and resume_run goes on from there."""
        with told():
            await asyncio.to_thread(stop_run, run_id, kill=kill)
            return await asyncio.to_thread(_answer, await watch_run(run_id, seconds=CLEAN_UP))

    @server.tool(
        tags={"write"},
        annotations=ToolAnnotations(
            title="Go on with a run",
            read_only_hint=False,
            destructive_hint=False,
            idempotent_hint=False,
            open_world_hint=False,
        ),
    )
    async def resume_run(run_id: RunId) -> RunAnswer:
        """Go on with a run that failed, was cancelled or lost: only what is missing is computed."""
        with told():
            await resumed(run_id, most=access.runs)
            return await answer_soon(run_id)


async def answer_soon(run_id: str) -> RunAnswer:
    """A run that has just been started: with its results if it ends at once.

    Raises:
        ToolError: it has failed.
    """
    run = await watch_run(run_id, seconds=PATIENCE)
    answer = await asyncio.to_thread(_answer, run)
    if run.state == "failed":
        raise ToolError(f"run {run.id} failed: {answer['error']}\n{answer['next']}")
    return answer


def so_far(run: Run) -> dict[str, Any]:
    """How many task calls of a run are done, and which go on."""
    last = calls_of(run)
    kinds = [event["kind"] for event in last]
    return {
        "computed": kinds.count("finished"),
        "memo_hits": kinds.count("memo hit"),
        "doing": [
            f"{event['task']} {event['label']}".strip()
            for event in last
            if event["kind"] in ("started", "progress")
        ],
    }


def _answer(run: Run, logs: str = "") -> RunAnswer:
    """A run as it is, and what to do next."""
    answer: RunAnswer = {
        "run": run.id,
        "workflow": run.workflow,
        "kind": run.kind,
        "state": run.state,
        "seconds": round(run.seconds, 1),
        "computed": run.computed,
        "memo_hits": run.memo_hits,
        "next": "",
    }
    wait = f'get_run {{"run_id": "{run.id}", "wait_s": {MOST_WAIT}}}'
    if run.state == "running":
        answer["doing"] = fitting(so_far(run)["doing"][:MANY])
        answer["next"] = f"it goes on, also without you: {wait} waits for it, cancel_run stops it"
    elif run.state == "succeeded":
        if run.notes:
            answer["notes"] = fitting(map(for_clients, run.notes[:MANY]))
        results = {name: _shown(value, bool(run.outdir)) for name, value in run.results.items()}
        answer["results"] = _in_part(results)
        answer["next"] = (
            f"{_to_read(results)}stargazer://assets/CID is a resource that shows a result; why says how it was made; "
            "check_claims checks figures before you report them"
        )
    else:
        answer["error"] = error_text(str(run.error))
        answer["next"] = _remedy(run)
    if logs:
        answer["logs"] = _ends_of_logs(run, "" if logs == "all" else logs)
        if not answer["logs"]:
            there = fitting(_logs_of(run))
            named = f"there are logs of {', '.join(there)}" if there else "nothing was printed so far"
            answer["next"] = f"no log of {shortened(logs)}: {named}\n{answer['next']}"
    return answer


def _remedy(run: Run) -> str:
    """What to do about a run that did not succeed."""
    resume = f'resume_run {{"run_id": "{run.id}"}} goes on where it was'
    if run.kind == "job":
        return "make the call again that has started it; what was registered is not registered twice"
    if run.defined_in:
        return f"no other process knows what it runs; {run.to_go_on}"
    if run.state in ("cancelled", "lost"):
        return resume
    start = {"workflow": "run_workflow", "task": "run_task"}[run.kind]
    return (
        f'get_run {{"run_id": "{run.id}", "logs": "all"}} shows what its tools printed. Where an argument was wrong, '
        f"call {start} with the right ones: what was finished is remembered. Where the arguments were right and the "
        f"cause is gone, {resume}"
    )


def _ends_of_logs(run: Run, task: str) -> dict[str, str]:
    """The ends of logs by name, the worker's and then the newest first, as far as they fit; of one task, or of all."""
    name = task.rpartition(".")[2]
    found: dict[str, str] = {}
    room = LOGS
    for stem, path in _logs_of(run).items():
        if name and stem != task and not stem.endswith(f"-{name}"):
            continue
        if room > 0 and (text := _end_of(path, min(LOG, room))):
            found[stem] = for_clients(text) if stem == WORKER else text  # what tools printed stays as it is
            room -= len(text)
    return found


def _logs_of(run: Run) -> dict[str, Path]:
    """The logs that say something, by name: the worker's, and those of tasks, the newest first."""
    paths = sorted(run.logs.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
    own = run.folder / f"{WORKER}.log"
    return {path.stem: path for path in (own, *paths) if path.exists() and path.stat().st_size}


def _end_of(path: Path, most: int) -> str:
    """The end of a log, without control characters."""
    try:
        with open(path, "rb") as file:
            file.seek(max(path.stat().st_size - most, 0))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _few(value: Any) -> Any:
    """A value of an argument; of a long list the first members."""
    if isinstance(value, list) and len(value) > FEW:
        return [*fitting(value[:FEW]), f"... and {len(value) - FEW:,} more"]
    return brief(value)


def _listed(run: Run) -> ListedRun:
    given = run.arguments or run.given
    listed: ListedRun = {
        "run": run.id,
        "workflow": run.workflow,
        "kind": run.kind,
        "state": run.state,
        "started": run.started,
        "seconds": round(run.seconds, 1),
        "arguments": {name: _few(value) for name, value in given.items() if name not in PRIVATE},
    }
    if run.state not in ("running", "succeeded"):
        listed["error"] = error_text(str(run.error)).partition("\n")[0][:FIRST] or run.state
    return listed


def _shown(value: Any, has_path: bool) -> Any:
    """A result without what an agent does not need of a file: links, which `why` follows, and where the store has it.

    Args:
        has_path: a file was copied to where the user wants it.
    """
    if isinstance(value, list):
        return [_shown(each, has_path) for each in value]
    if not (isinstance(value, Mapping) and {"asset", "cid", "keyvalues"} <= value.keys()):
        return value
    pairs = {
        key: text for key, text in value["keyvalues"].items() if key != "asset" and not key.endswith("cid")
    }
    left_out = {"keyvalues", *(() if has_path else ("path",))}
    return {
        **{key: each for key, each in value.items() if key not in left_out},
        **({"keyvalues": pairs} if pairs else {}),
    }


def _to_read(results: Mapping[str, Any]) -> str:
    """Which result to read first, the summary or else the report."""
    for name in ("summary", "report"):
        value = results.get(name)
        if isinstance(value, Mapping) and "cid" in value:
            return f"read stargazer://assets/{value['cid']}/content, the {name}; "
    return ""


def _in_part(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name; of a long list the first ones, and how many more there are."""
    shown: dict[str, Any] = {}
    for name, value in values.items():
        shown[name] = fitting(value[:MANY]) if isinstance(value, list) else brief(value)
        if isinstance(value, list) and len(shown[name]) < len(value):
            shown[f"{name} (not shown)"] = f"{len(value) - len(shown[name]):,} more"
    return shown
