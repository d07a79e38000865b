"""Doing one execution again as provenance tells of it: for its bytes, or to compare what it gives now with then."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
from stargazer.assets import Asset, ConfigurationError, IntegrityError, StorageError, asset_class, use_client
from stargazer.assets.provenance import Entry, Execution
from stargazer.storage import hash_in_place
from stargazer.storage.lineage import between, then_and_now
from stargazer.tasks.execution._workspace import claim
from stargazer.tasks.execution.call import Call, result_role, running
from stargazer.tasks.execution.locks import key_lock
from stargazer.tasks.execution.options import NotRemembered, bound, misses_told
from stargazer.tasks.execution.registry import TaskCode, find_task
from stargazer.tasks.execution.values import assets_in, described, hints_of, rebuilt

if TYPE_CHECKING:
    from stargazer.storage import StoreClient

__all__ = ["Again", "Compared", "repeat", "restore"]

_restoring: ContextVar[frozenset[str]] = ContextVar("stargazer_restoring", default=frozenset())


@attrs.frozen
class Compared:
    """One thing that an execution gave, and what it gives now.

    Attributes:
        kind: a `file` by its CID, a `field` of its metadata, or a `value` that is no file.
        name: the role of the file, `field of role`, or `result`.
        then, now: as text; empty where there was nothing.
    """

    kind: Literal["file", "field", "value"]
    name: str
    then: str
    now: str

    @property
    def same(self) -> bool:
        """Whether it is what it was."""
        return self.then == self.now

    def explain(self) -> str:
        """How it differs, after the name of the task."""
        if not self.now:
            return f"does not give {self.name!r} any more"
        if not self.then:
            return f"gives {self.name!r} as well"
        what = "other bytes" if self.kind == "file" else f"another {self.kind}"
        return f"gives {what} for {self.name!r}: {self.now}, not {self.then}"


@attrs.frozen
class Again:
    """An execution that was done again.

    Attributes:
        results: its files, their fields, and values that are no files.
        reasons: what is not as it was then: code, parameters, tools, platform, a line each.
    """

    execution: Execution
    results: list[Compared]
    reasons: list[str]

    @property
    def same(self) -> bool:
        """Whether the same came of it."""
        return all(result.same for result in self.results)

    def explain(self) -> str:
        """What differs, and what is not as it was then."""
        differing = "; ".join(result.explain() for result in self.results if not result.same)
        reasons = "; ".join(self.reasons) or "all that is recorded is as it was: it is not deterministic"
        return f"{differing} ({reasons})"


async def repeat(client: StoreClient, execution: Execution, *, register: bool = False) -> Again:
    """Do again what an execution did, whatever is here, and compare.

    Args:
        register: if the same came of it, register that as an execution of our own, with which the memo answers;
            otherwise nothing is kept.

    Raises:
        ConfigurationError: no distribution has its task, or another task is running, which holds slots.
        StargazerError: an input is not to be had, or the task fails.
    """
    async with _ready(client, execution) as call:
        return await call.again("to be compared", call.registered if register else call.compared)


async def restore(client: StoreClient, execution: Execution) -> None:
    """Compute the bytes of an earlier execution's results again, if they are not here; nothing is registered.

    Raises:
        ConfigurationError: no distribution has its task, or another task is running, which holds slots.
        IntegrityError: it makes other bytes now; the message says what is not as it was then.
    """
    async with _ready(client, execution) as call:
        stat = call.store.objects.stat
        if not all(stat(entry.cid) for entry in execution.outputs):  # else somebody was first
            await call.again("for its bytes are not here", call.restored)


@contextlib.asynccontextmanager
async def _ready(client: StoreClient, execution: Execution) -> AsyncIterator[_Repeated]:
    """The call that repeats an execution: its inputs are here, and nobody else is at it.

    Raises:
        StorageError: an input is not to be had, or needs this execution itself.
    """
    code = await asyncio.to_thread(find_task, execution.task)
    with use_client(client):
        call = _Repeated(code, execution)
        if call.key in _restoring.get():
            # an index of the file that it indexes
            raise StorageError(f"{execution.task} makes what it needs itself")
        with bound(_restoring, _restoring.get() | {call.key}):
            await call.obtain_inputs()
        # only now: who waits for a lock while it holds one may wait for ever
        async with key_lock(call.locks, call.key):
            yield call


class _Repeated(Call):
    """A call that repeats an execution."""

    def __init__(self, code: TaskCode | None, execution: Execution):
        if misses_told() is not None:
            raise NotRemembered(
                f"{execution.task} would have to be computed again, and nothing is to be computed"
            )
        if running() is not None:
            raise ConfigurationError(
                f"{execution.task} cannot run while a task is waiting for it, which holds slots"
            )
        if code is None:
            raise ConfigurationError(
                f"{execution.task} is not installed here ({execution.place or 'it was part of a script'})"
            )
        try:
            bound = inspect.signature(code.function).bind(**_arguments(code, execution))
        except TypeError as error:
            raise ConfigurationError(f"{execution.task} takes other parameters now: {error}") from None
        bound.apply_defaults()
        super().__init__(code, bound)
        self.execution = execution
        self.key = f"restore-{execution.run_key or execution.started}"

    async def again(self, why: str, use: Callable[[Execution, Any, Path], Again]) -> Again:
        """What `use` makes of it."""
        self.tell("waiting", note=f"computed again, {why}")
        digest, key, _ = self.keyed()
        return await self.run(self.planned(digest, key), use)

    def restored(self, made: Execution, value: Any, folder: Path) -> Again:
        """Keep the bytes, whatever else differs.

        Raises:
            IntegrityError: they are other ones.
        """
        again = self.compared(made, value, folder)
        wrong = [result for result in again.results if result.kind == "file" and not result.same]
        if wrong:
            raise IntegrityError(
                f"{self.execution.task} computed again {attrs.evolve(again, results=wrong).explain()}; nothing was kept"
            )
        self.store.restore(self.files)
        return again

    def registered(self, made: Execution, value: Any, folder: Path) -> Again:
        """Register it as an execution of our own if all is the same."""
        again = self.compared(made, value, folder)
        if again.same:
            self.commit(made, value, folder)
        return again

    def compared(self, made: Execution, value: Any, folder: Path) -> Again:
        """The comparison; nothing is kept, and `files` are the CIDs of the new files then."""
        results = dict(assets_in(value, result_role(value)))
        new = {role: asset for role, asset in results.items() if not asset.cid}
        claim(new.items(), folder, self.code.name)
        self.files = {Path(asset.path or ""): hash_in_place(Path(asset.path or "")) for asset in new.values()}
        now = {role: asset.cid or self.files[Path(asset.path or "")] for role, asset in results.items()}
        before = {entry.role: entry for entry in self.execution.outputs}
        then = {role: entry.cid for role, entry in before.items()}
        compared = [Compared("file", role, then.get(role, ""), now.get(role, "")) for role in {**then, **now}]
        for role in filter(before.get, results):
            compared += _fields(before[role], results[role])
        numbers = itertools.count()
        shape = described(value, self.code.name, lambda _: next(numbers))
        texts = [json.dumps(each, sort_keys=True) for each in (self.execution.result, shape)]
        compared.append(Compared("value", "result", *texts))
        if not made.code_digest:  # it has no digest here, so there is nothing to compare
            made = attrs.evolve(made, code_digest=self.execution.code_digest)
        reasons = [line for found in between(self.execution, made) for line in then_and_now(found)]
        return Again(self.execution, compared, reasons)


def _arguments(code: TaskCode, execution: Execution) -> dict[str, Any]:
    """The arguments of an execution's call."""
    assets = {entry.role: _asset(entry) for entry in execution.inputs}
    shapes = {**execution.parameters, **execution.assets}
    alone = {role: asset for role, asset in assets.items() if role.isidentifier() and role not in shapes}
    hints = hints_of(code.function)
    return alone | {name: rebuilt(shape, assets, hints.get(name)) for name, shape in shapes.items()}


def _asset(entry: Entry) -> Asset:
    pairs = {**entry.keyvalues, **({"provenance_cid": entry.provenance_cid} if entry.provenance_cid else {})}
    return asset_class(entry.keyvalues.get("asset", "")).from_keyvalues(pairs, cid=entry.cid)


def _fields(then: Entry, now: Asset) -> Iterator[Compared]:
    """The fields of a result's metadata; links follow from files."""
    sides = [{"asset": side.asset_key, **side.values()} for side in (_asset(then), now)]
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        values = ["" if side.get(name) is None else str(side[name]) for side in sides]
        yield Compared("field", f"{name} of {then.role}", *values)
