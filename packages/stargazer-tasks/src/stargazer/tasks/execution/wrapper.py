"""What happens around every task body: memo, slots, workspace, registration and provenance."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import itertools
import os
import platform
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

import attrs
from stargazer.assets import (
    Asset,
    AssetNotFoundError,
    ConfigurationError,
    IntegrityError,
    StargazerError,
    StorageError,
    current_client,
)
from stargazer.assets.client import record_id
from stargazer.assets.provenance import Entry, Execution, ToolUse
from stargazer.assets.query import no_assembling
from stargazer.storage.ingest import hash_in_place
from stargazer.storage.settings import Settings
from stargazer.storage.store import LocalStore, account, now
from stargazer.tasks.execution.code_digest import Undigestable
from stargazer.tasks.execution.events import Event, Kind, announce
from stargazer.tasks.execution.locks import key_lock
from stargazer.tasks.execution.obtaining import obtain, what_changed
from stargazer.tasks.execution.options import log_folder, refresh_wanted
from stargazer.tasks.execution.runkey import code_digest, run_key
from stargazer.tasks.execution.slots import Slots
from stargazer.tasks.execution.threads import to_the_end
from stargazer.tasks.execution.values import assets_in, described, leaves, named_tuple, rebuilt, result_type
from stargazer.tasks.execution.workspace import Shared, claim, lay_out, open_workspace, sweep
from stargazer.tasks.tools import ResolvedTool, Session, use_session

__all__ = ["TASKS", "Declared", "TaskCode", "execute", "restore"]


class Declared(Protocol):
    """A tool or a library: something with a name and a version that a task uses."""

    @property
    def name(self) -> str: ...

    def resolve(self) -> ResolvedTool: ...


@attrs.frozen
class TaskCode:
    """A task as it was declared.

    Attributes:
        name: environment and function.
        cores, memory: the slots it holds; memory in bytes.
    """

    name: str
    function: Callable[..., Any]
    tools: tuple[Declared, ...]
    cores: int
    memory: int

    @property
    def distribution(self) -> str:
        """Name and version of the distribution that holds the function; empty for a notebook or script."""
        return _distribution(self.function.__module__)


TASKS: dict[str, TaskCode] = {}
"""Every task that was declared, by its full name."""

_calls = itertools.count(1)
_restoring: ContextVar[frozenset[str]] = ContextVar("stargazer_restoring", default=frozenset())
_holding: ContextVar[bool] = ContextVar("stargazer_holding", default=False)
_running: ContextVar[str | None] = ContextVar("stargazer_running", default=None)


async def execute(code: TaskCode, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run a task body, or give what an earlier call with the same run key gave.

    Raises:
        StargazerError: an input is not stored, a tool is missing or failed, the store cannot take the results. What
            the task itself raises passes through. Nothing is registered then.
    """
    bound = inspect.signature(code.function).bind(*args, **kwargs)
    bound.apply_defaults()
    call = _Call(code, bound)
    try:
        return await call.result()
    except BaseException as error:
        call.tell("failed", note=str(error) or type(error).__name__)
        if isinstance(error, StargazerError) and not getattr(error, "__notes__", None):
            error.add_note(call.place())
        raise


@contextlib.asynccontextmanager
async def _holding_slots() -> AsyncIterator[None]:
    """Within the block, nothing that waits for slots may be started."""
    token = _holding.set(True)
    try:
        yield
    finally:
        _holding.reset(token)


async def restore(execution: Execution, arguments: Mapping[str, Any]) -> None:
    """Compute the bytes of an earlier execution's results again.

    Raises:
        ConfigurationError: its task is not declared here, or another task is running, which holds slots.
        IntegrityError: it makes other bytes now.
    """
    if _holding.get():
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
    await _Call(code, bound).restore(execution)


class _Call:
    """One call of a task, from its arguments to its result."""

    def __init__(self, code: TaskCode, bound: inspect.BoundArguments):
        if (outer := _running.get()) is not None:
            raise ConfigurationError(
                f"{code.name} is a task, and {outer} too: a task cannot call one, for it would wait for the slots "
                "that it holds itself; call both from a workflow"
            )
        self.code, self.bound, self.arguments = code, bound, dict(bound.arguments)
        self.inputs = [pair for name, value in self.arguments.items() for pair in assets_in(value, name)]
        self.number, self.started = next(_calls), time.monotonic()
        self.settings = Settings.load()
        self.client = current_client()
        self.store = _store(self.client)
        self.locks = self.settings.home / "locks"
        for role, asset in self.inputs:
            if not asset.cid:
                raise AssetNotFoundError(
                    f"{code.name}: {role} has no CID: only stored assets can be given to a task "
                    "(`stargazer add`, or the result of another task)"
                )

    def place(self) -> str:
        """Where an error came from, for people: the task and the files it was given, by the names they came with."""
        files = (
            f"  {role} = {asset.record.name!r} ({asset.cid})"
            for role, asset in self.inputs
            if asset.record is not None and asset.record.name
        )
        return "\n".join([f"in {self.code.name}, given", *files]) if self.inputs else f"in {self.code.name}"

    def tell(self, kind: Kind, **details: Any) -> None:
        """Announce what happened to this call."""
        seconds = time.monotonic() - self.started
        label = _label(asset for _, asset in self.inputs)
        announce(
            Event(kind=kind, task=self.code.name, call=self.number, label=label, seconds=seconds, **details)
        )

    async def result(self) -> Any:
        """What the memo knows, else what the body returns; the second of two equal calls waits for the first."""
        tools = [tool.resolve() for tool in self.code.tools]
        try:
            digest = code_digest(self.code.function, frozenset(tool.name for tool in self.code.tools)).hex
        except Undigestable as error:
            run_key(self.code.name, "", self.arguments, tools)  # refuses the same arguments
            self.tell("waiting", note=f"not memoised: {error}")
            return await self._run(tools, "", "")
        key = run_key(self.code.name, digest, self.arguments, tools)
        if (found := await self._remembered(key)) is not None:
            return found[0]
        async with key_lock(self.locks, key):
            if (found := await self._remembered(key)) is not None:
                return found[0]
            self.tell("waiting")
            return await self._run(tools, digest, key)

    async def _remembered(self, key: str) -> tuple[Any] | None:
        """The result that the memo has for this key, in a tuple of one; None if it has none, or shall be refreshed."""
        if refresh_wanted() or (found := await asyncio.to_thread(self._recall, key)) is None:
            return None
        self.tell("memo hit")
        return found

    def _recall(self, key: str) -> tuple[Any] | None:
        found = self.store.remembered(key)
        if found is None:
            return None
        _, execution = found
        records = [self.store.get(record_id(entry.cid, entry.keyvalues)) for entry in execution.outputs]
        assets = [Asset.from_record(record) for record in records if record is not None]
        if len(assets) < len(records):
            return None  # retracted just now
        return (rebuilt(execution.result, assets, result_type(self.code.function)),)

    async def _run(self, tools: list[ResolvedTool], digest: str, key: str) -> Any:
        """Run the body and register what it returns."""
        parameters, assets = self._described()
        await self._obtain()
        async with self._computed(tools) as (session, value, began):
            execution = Execution(
                task=self.code.name,
                distribution=self.code.distribution,
                code_digest=digest,
                run_key=key,
                parameters=parameters,
                assets=assets,
                inputs=[_entry(role, asset) for role, asset in self.inputs],
                tools=[ToolUse(name=tool.name, version=tool.version, source=tool.source) for tool in tools],
                commands=session.commands,
                platform=f"{platform.system()} {platform.machine()}",
                python=platform.python_version(),
                account=account(),
                started=began,
                finished=now(),
                seconds=round(time.monotonic() - self.started, 3),
                peak_memory=session.peak_memory,
                forced=refresh_wanted(),
            )
            return await to_the_end(self._commit, execution, value, session.folder)

    async def restore(self, execution: Execution) -> None:
        """Run the body again for the bytes that an earlier execution made, and register nothing.

        Raises:
            IntegrityError: it makes other bytes now; the message says what is not as it was then.
        """
        key = f"restore-{execution.run_key or execution.started}"
        if key in _restoring.get():
            raise StorageError(
                f"{execution.task} makes what it needs itself"
            )  # an index of the file that it indexes
        token = _restoring.set(_restoring.get() | {key})
        try:
            await self._obtain()
        finally:
            _restoring.reset(token)
        async with key_lock(
            self.locks, key
        ):  # only now: who waits for a lock while it holds one may wait for ever
            if all(self.store.objects.stat(entry.cid) for entry in execution.outputs):
                return  # somebody else was first
            self.tell("waiting", note="computed again, for its bytes are not here")
            tools = [tool.resolve() for tool in self.code.tools]
            async with self._computed(tools) as (session, value, _):
                await to_the_end(self._restore, execution, value, session.folder, tools)

    async def _obtain(self) -> None:
        """Bring the inputs here before slots are taken: that may take long, and may need slots itself."""
        for _, asset in self.inputs:
            await obtain(asset, self.client, self.store)

    @contextlib.asynccontextmanager
    async def _computed(self, tools: list[ResolvedTool]) -> AsyncIterator[tuple[Session, Any, str]]:
        """The session, result and start of the body, run on slots of the machine and in a workspace of its own.

        The workspace is there within the block.
        """
        pool, work = _pool(self.settings), self.store.objects.work
        await to_the_end(sweep, work)
        async with pool.hold(cores=self.code.cores, memory=self.code.memory) as grant, _holding_slots():
            self.started, began = time.monotonic(), now()
            self.tell("started", cores=grant.cores)
            with open_workspace(work, self.code.function.__name__) as folder:
                session = Session(
                    folder=folder,
                    log=self._log(),
                    threads=grant.cores,
                    pass_fds=grant.fds,  # type: ignore[arg-type]  # mypy and converter=tuple
                    tools={tool.name: tool for tool in tools if tool.argv},
                )
                yield session, await self._body(session), began
                if not log_folder():
                    session.log.unlink(missing_ok=True)
        self.tell("finished")

    async def _body(self, session: Session) -> Any:
        """What the task's function returns for the arguments, laid out in the session's folder."""
        shared = Shared(unpacked=self.store.root / "unpacked", locks=self.locks)
        self.bound.arguments = await lay_out(self.arguments, session.folder, self.client, shared)
        token = _running.set(self.code.name)
        reason = f"{self.code.name} is a task: it takes its assets as parameters; assemble them in a workflow"
        try:
            with use_session(session), no_assembling(reason):
                return await self.code.function(*self.bound.args, **self.bound.kwargs)
        finally:
            _running.reset(token)

    def _commit(self, execution: Execution, value: Any, folder: Path) -> Any:
        """Register the results of the body; the value is made anew of its JSON, as a memo hit makes it."""
        numbers = itertools.count()
        shape = described(value, f"{self.code.name}: the result", lambda _: next(numbers))
        outputs = [(role, self._handed_on(asset)) for role, asset in assets_in(value, _result_role(value))]
        claim(outputs, folder, self.code.name)
        self.store.commit(attrs.evolve(execution, result=shape), outputs)
        return rebuilt(shape, [asset for _, asset in outputs], result_type(self.code.function))

    def _restore(self, execution: Execution, value: Any, folder: Path, tools: Sequence[ResolvedTool]) -> None:
        """Keep the results of the body, if they are those of an earlier execution."""
        results = list(assets_in(value, _result_role(value)))
        outputs = [(role, asset) for role, asset in results if not asset.cid]
        claim(outputs, folder, self.code.name)
        expected = {entry.role: entry.cid for entry in execution.outputs}
        if missing := sorted(expected.keys() - {role for role, _ in results}):
            raise IntegrityError(
                f"{execution.task} computed again does not give {', '.join(map(repr, missing))} any more"
                f" ({what_changed(execution, self.code.distribution, tools)}); nothing was kept"
            )
        made = {role: (hash_in_place(Path(asset.path or "")), asset.path) for role, asset in outputs}
        for role, (cid, _) in made.items():
            if cid != expected.get(role):
                raise IntegrityError(
                    f"{execution.task} computed again gives other bytes for {role!r}: {cid}, not {expected.get(role)}"
                    f" ({what_changed(execution, self.code.distribution, tools)}); nothing was kept"
                )
        self.store.restore({Path(path or ""): cid for cid, path in made.values()})

    def _handed_on(self, asset: Asset) -> Asset:
        """An input among the results with the store's path, for its workspace goes; a new asset as it is."""
        if not asset.cid:
            return asset
        path = self.store.objects.path(asset.cid)
        return asset.copy(path=path if path.exists() else None)

    def _described(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The arguments that are more than assets, and those that are several assets; an asset by its role."""
        roles = (role for role, _ in self.inputs)
        shapes = {
            name: described(value, name, lambda _: next(roles)) for name, value in self.arguments.items()
        }
        plain = {name: shape for name, shape in shapes.items() if not _only_assets(self.arguments[name])}
        several = {
            name: shape for name, shape in shapes.items() if name not in plain and shape != {"asset": name}
        }
        return plain, several

    def _log(self) -> Path:
        folder = log_folder() or self.settings.home / "logs"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot keep logs in {str(folder)!r}: {error.strerror}") from error
        return (
            folder
            / f"{now()[:19].replace(':', '')}-{os.getpid()}-{self.number:03d}-{self.code.function.__name__}.log"
        )


def _store(client: Any) -> LocalStore:
    store = getattr(client, "store", None)
    if not isinstance(store, LocalStore):
        raise ConfigurationError(
            f"tasks need a client with a local store (its `store`), and {type(client).__name__} has none: "
            "use stargazer.storage.get_client()"
        )
    return store


@functools.cache
def _pool(settings: Settings) -> Slots:
    return Slots(settings.home / "slots" / platform.node(), cores=settings.cores, memory=settings.memory)


@functools.cache
def _distribution(module: str) -> str:
    from importlib import metadata

    parts = module.split(".")
    name = "-".join(parts[:2]) if parts[0] == "stargazer" else parts[0]
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return ""


def _entry(role: str, asset: Asset) -> Entry:
    pairs = asset.keyvalues
    provenance_cid = pairs.pop("provenance_cid", "")
    return Entry(role=role, cid=asset.cid or "", keyvalues=pairs, provenance_cid=provenance_cid)


def _result_role(value: Any) -> str:
    return "" if named_tuple(type(value)) else "result"


def _only_assets(value: Any) -> bool:
    found = [leaf for _, leaf in leaves(value, "")]
    return bool(found) and all(isinstance(leaf, Asset) for leaf in found)


def _label(assets: Iterable[Asset]) -> str:
    """What a call works on, for people: the samples, lanes and parts that its assets name; four words at most."""
    found = (getattr(asset, field, None) for asset in assets for field in ("sample", "lane", "name"))
    words = dict.fromkeys(word for word in found if isinstance(word, str))
    return " ".join(itertools.islice(words, 4))
