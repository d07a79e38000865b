"""Doing again what an execution did: for its bytes, or to see whether the same comes of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import Asset, ConfigurationError, IntegrityError, StorageError
from stargazer.assets.provenance import Execution
from stargazer.storage.ingest import hash_in_place
from stargazer.tasks.execution.declared import TASKS
from stargazer.tasks.execution.locks import key_lock
from stargazer.tasks.execution.misses import NotRemembered
from stargazer.tasks.execution.obtaining import what_changed
from stargazer.tasks.execution.options import misses_told
from stargazer.tasks.execution.threads import to_the_end
from stargazer.tasks.execution.values import assets_in
from stargazer.tasks.execution.workspace import claim
from stargazer.tasks.execution.wrapper import Call, holds_slots, result_role

__all__ = ["Again", "Result", "reproduce", "restore"]

_restoring: ContextVar[frozenset[str]] = ContextVar("stargazer_restoring", default=frozenset())


@attrs.frozen
class Result:
    """One result of an execution, and what came of doing it again.

    Attributes:
        role: which of its results.
        cid: what it made then; empty if it made no such result.
        again: what it makes now; empty if that result does not come any more.
    """

    role: str
    cid: str
    again: str

    @property
    def same(self) -> bool:
        """Whether the bytes are the same."""
        return self.cid == self.again

    def explain(self) -> str:
        """How it differs, after the name of the task."""
        if not self.again:
            return f"does not give {self.role!r} any more"
        if not self.cid:
            return f"gives {self.role!r} as well"
        return f"gives other bytes for {self.role!r}: {self.again}, not {self.cid}"


@attrs.frozen
class Again:
    """An execution that was done again.

    Attributes:
        changed: how what computes now differs from what computed then, in a few words.
    """

    execution: Execution
    results: list[Result]
    changed: str

    @property
    def same(self) -> bool:
        """Whether all results are the same bytes."""
        return all(result.same for result in self.results)

    def check(self) -> None:
        """Raise an error for the first result that differs.

        Raises:
            IntegrityError: it names the result, both CIDs, and what is not as it was then.
        """
        for result in self.results:
            if not result.same:
                raise IntegrityError(
                    f"{self.execution.task} computed again {result.explain()} ({self.changed}); nothing was kept"
                )


async def restore(execution: Execution, arguments: Mapping[str, Any]) -> None:
    """Compute the bytes of an earlier execution's results again, if they are not here.

    Raises:
        ConfigurationError: its task is not declared here, or another task is running, which holds slots.
        IntegrityError: it makes other bytes now; the message says what is not as it was then.
    """
    await _Repeated(execution, arguments).restore()


async def reproduce(execution: Execution, arguments: Mapping[str, Any]) -> Again:
    """Do again what an execution did, whatever is here, and compare; its bytes are kept if all are the same.

    Raises:
        ConfigurationError: its task is not declared here, or another task is running, which holds slots.
        StargazerError: an input is not to be had, or the task fails.
    """
    return await _Repeated(execution, arguments).reproduce()


class _Repeated(Call):
    """A call that repeats an execution, and registers nothing."""

    def __init__(self, execution: Execution, arguments: Mapping[str, Any]):
        if misses_told() is not None:
            raise NotRemembered(
                f"{execution.task} would have to be computed again, and nothing is to be computed"
            )
        if holds_slots():
            raise ConfigurationError(
                f"{execution.task} cannot run while a task is waiting for it, which holds slots"
            )
        code = TASKS.get(execution.task)
        if code is None:
            raise ConfigurationError(
                f"{execution.task} is not installed here ({execution.distribution or 'it was part of a script'})"
            )
        try:
            bound = inspect.signature(code.function).bind(**arguments)
        except TypeError as error:
            raise ConfigurationError(f"{execution.task} takes other parameters now: {error}") from None
        bound.apply_defaults()
        super().__init__(code, bound)
        self.execution = execution
        self.key = f"restore-{execution.run_key or execution.started}"

    async def restore(self) -> None:
        """Have the bytes of the results here."""
        await self._obtain_once()
        async with key_lock(
            self.locks, self.key
        ):  # only now: who waits for a lock while it holds one may wait for ever
            if all(self.store.objects.stat(entry.cid) for entry in self.execution.outputs):
                return  # somebody else was first
            self.tell("waiting", note="computed again, for its bytes are not here")
            (await self._repeat()).check()

    async def reproduce(self) -> Again:
        """What comes of doing it again."""
        await self._obtain_once()
        async with key_lock(self.locks, self.key):
            self.tell("waiting", note="computed again, to be compared")
            return await self._repeat()

    async def _obtain_once(self) -> None:
        """Bring the inputs here; what needs itself for that cannot be computed."""
        if self.key in _restoring.get():
            raise StorageError(
                f"{self.execution.task} makes what it needs itself"
            )  # an index of the file that it indexes
        token = _restoring.set(_restoring.get() | {self.key})
        try:
            await self.obtain_inputs()
        finally:
            _restoring.reset(token)

    async def _repeat(self) -> Again:
        async with self.computed() as (session, value, _):
            return await to_the_end(self._compare, value, session.folder)

    def _compare(self, value: Any, folder: Path) -> Again:
        """The results beside those of the execution; their files are kept if all are the same."""
        results = dict(assets_in(value, result_role(value)))
        claim([(role, asset) for role, asset in results.items() if not asset.cid], folder, self.code.name)
        files = dict(self._files(results))
        made = {role: asset.cid or files[role][0] for role, asset in results.items()}
        expected = {entry.role: entry.cid for entry in self.execution.outputs}
        compared = [Result(role, expected.get(role, ""), made.get(role, "")) for role in {**expected, **made}]
        changed = what_changed(self.execution, self.code.distribution, self.tools)
        again = Again(self.execution, compared, changed)
        if again.same:
            self.store.restore({path: cid for cid, path in files.values()})
        return again

    def _files(self, results: Mapping[str, Asset]) -> Iterator[tuple[str, tuple[str, Path]]]:
        """CID and file of every new result, by its role."""
        for role, asset in results.items():
            if not asset.cid:
                path = Path(asset.path or "")
                yield role, (hash_in_place(path), path)
