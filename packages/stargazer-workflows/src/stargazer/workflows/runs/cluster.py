"""Calling a workflow at the cluster: Flyte runs it there, and what became of it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Mapping
from importlib import metadata
from typing import Any

import attrs
from stargazer.assets import ConfigurationError, StargazerError, StorageError
from stargazer.storage import VARIABLES, Settings
from stargazer.workflows.catalogue import GROUPS, Entry
from stargazer.workflows.runs.record import Run

__all__ = ["call_at_cluster"]

CANCELLED = "cancelled by stargazer"
PASSED_ON = ("pinata_gateway", "pinata_visibility", "pinata_api", "pinata_uploads")
"""Settings that a task needs there as here; none is secret."""

PAUSE = 1.0
"""Seconds between looks at what the tasks of a run do."""

ROOT = "a0"
"""Flyte's name for what was called: a workflow, which is no task, or a single task."""

KINDS: dict[str, Any] = {
    "running": "started",
    "succeeded": "finished",
    "recovered": "finished",
    "failed": "failed",
    "timed_out": "failed",
    "aborted": "failed",
}
"""Flyte's phase of a task to the kind of its event; it waits in any other."""


async def call_at_cluster(made: Run, entry: Entry, values: Mapping[str, Any], settings: Settings) -> Any:
    """The result of a workflow or task that the cluster runs; if this call is cancelled, it is aborted there.

    The run's notes say where it is, and its events what its tasks do. Flyte does not tell which of them were
    remembered: they count as computed.

    Raises:
        ConfigurationError: it is of this process alone, or something is to be computed anew.
        StargazerError: it failed there, or was stopped.
    """
    import flyte
    from connectrpc.errors import ConnectError
    from stargazer.tasks.execution import named_outputs

    if made.refresh is not None:
        raise ConfigurationError(
            "the cluster cannot be told to compute anew what the memo knows: leave that out, or have it run on this "
            "machine (STARGAZER_MODE=local)"
        )
    variables = {VARIABLES[name]: str(getattr(settings, name)) for name in PASSED_ON
                 if settings.origins.get(name, "default") != "default"}  # fmt: skip
    context = flyte.with_runcontext(
        mode="remote", copy_style="none", version=_version(entry), env_vars=variables, log_format="json"
    )
    told = f"at {settings.flyte_endpoint}"
    try:
        run = await _submitted(made, context.run.aio(entry.call, **values))
        told = f"{told} as Flyte run {run.name}: {run.url}"
        made.notes = [f"It ran {told}"]
        with contextlib.suppress(StorageError):  # a full disk, which may have room again at the end
            made.save()
        await _end(made, run)
        await run.raise_for_status.aio()
        return named_outputs(entry.call, await run.outputs.aio())
    except (flyte.errors.BaseRuntimeError, ConnectError) as error:
        raise StargazerError(f"{error}\n{told}") from error


async def _submitted(made: Run, submission: Awaitable[Any]) -> Any:
    """The Flyte run that is submitted; one that is cancelled meanwhile is not left to itself."""
    submitting = asyncio.ensure_future(submission)
    try:
        return await asyncio.shield(submitting)
    except asyncio.CancelledError:
        await asyncio.wait([submitting])
        if submitting.exception() is None:
            await _abort(made, submitting.result())
        raise


async def _abort(made: Run, run: Any) -> None:
    """Have a Flyte run end; if it cannot be told, the notes say so, for what was cancelled here stays cancelled."""
    try:
        await run.abort.aio(CANCELLED)
    except Exception as error:  # of any layer of Flyte
        made.notes = [*made.notes, f"It may go on at {run.url}, for it could not be told to end: {error}"]


async def _end(made: Run, run: Any) -> None:
    """Wait until a Flyte run ends, and tell meanwhile what its tasks do."""
    tasks = _Tasks(made, run.name)
    watching = asyncio.create_task(tasks.watch())
    try:
        await run.wait.aio(quiet=True)
    except asyncio.CancelledError:
        await _abort(made, run)
        raise
    finally:
        watching.cancel()
    await tasks.tell()


def _version(entry: Entry) -> str:
    """The version of the distribution that a workflow comes with, which the cluster's image has, too."""
    for point in metadata.entry_points(group=GROUPS[entry.kind]):
        if point.module == entry.module and point.dist is not None:
            return point.dist.version
    raise ConfigurationError(
        f"{entry.name} is a {entry.kind} of this process, which the cluster does not know. Let it be part of an "
        "installed distribution, or have it run on this machine: STARGAZER_MODE=local"
    )


class _Tasks:
    """What the tasks of a Flyte run do, as events of ours."""

    def __init__(self, made: Run, name: str) -> None:
        self._made, self._name = made, name
        self._told: dict[str, tuple[int, str]] = {}
        self._began: dict[str, float] = {}

    async def watch(self) -> None:
        """Tell what happens, until this is cancelled."""
        while True:
            await asyncio.sleep(PAUSE)
            await self.tell()

    async def tell(self) -> None:
        """Tell what has happened since."""
        from connectrpc.errors import ConnectError
        from flyte.remote import Action
        from stargazer.tasks.execution import Event

        with contextlib.suppress(ConnectError):  # it is for people alone; the run itself is waited for
            async for action in Action.listall.aio(for_run_name=self._name):
                phase = action.phase.value
                call, last = self._told.get(action.name, (len(self._told) + 1, ""))
                kind = KINDS.get(phase, "waiting")
                if (action.name == ROOT and self._made.kind == "workflow") or last == kind:
                    continue
                now = time.monotonic()
                began = self._began.setdefault(action.name, now) if kind != "waiting" else now
                self._told[action.name] = call, kind
                note = (
                    "CancelledError"
                    if phase == "aborted"
                    else f"it {phase} there"
                    if kind == "failed"
                    else ""
                )
                event = Event(
                    kind=kind, task=action.task_name or action.name, call=call, note=note, seconds=now - began
                )
                self._made.append(attrs.asdict(event))
