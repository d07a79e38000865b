"""What happens around every task body: memo, slots, workspace, registration and provenance."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import itertools
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import attrs
from stargazer.assets import Asset, AssetNotFoundError, ConfigurationError, current_client
from stargazer.assets.provenance import Entry, Execution, ToolUse
from stargazer.assets.query import no_assembling
from stargazer.storage.settings import Settings
from stargazer.storage.store import LocalStore, account, now

from stargazer.tasks.execution.code_digest import Undigestable
from stargazer.tasks.execution.events import Event, announce
from stargazer.tasks.execution.locks import key_lock
from stargazer.tasks.execution.runkey import code_digest, run_key
from stargazer.tasks.execution.slots import Slots
from stargazer.tasks.execution.values import assets_in, described, rebuilt
from stargazer.tasks.execution.workspace import lay_out, open_workspace, sweep
from stargazer.tasks.tools import ResolvedTool, Session, expect, use_session

__all__ = ["Declared", "TaskCode", "execute", "log_to", "refreshing"]


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


_calls = itertools.count(1)
_refresh: ContextVar[bool] = ContextVar("stargazer_refresh", default=False)
_logs: ContextVar[Path | None] = ContextVar("stargazer_logs", default=None)


@contextlib.contextmanager
def refreshing(enabled: bool = True) -> Iterator[None]:
    """Compute every task anew within a `with` block, whatever the memo knows."""
    token = _refresh.set(enabled)
    try:
        yield
    finally:
        _refresh.reset(token)


@contextlib.contextmanager
def log_to(folder: Path) -> Iterator[None]:
    """Keep what tools print, a file for each task call, in this folder within a `with` block."""
    token = _logs.set(folder)
    try:
        yield
    finally:
        _logs.reset(token)


async def execute(code: TaskCode, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run a task body, or give what an earlier call with the same run key gave.

    Raises:
        StargazerError: an input is not stored, a tool is missing or failed, the store cannot take the results. What
            the task itself raises passes through. Nothing is registered then.
    """
    bound = inspect.signature(code.function).bind(*args, **kwargs)
    bound.apply_defaults()
    call = _Call(code, dict(bound.arguments))
    try:
        return await call.result()
    except BaseException as error:
        call.tell("failed", note=str(error) or type(error).__name__)
        raise


class _Call:
    """One call of a task, from its arguments to its result."""

    def __init__(self, code: TaskCode, arguments: dict[str, Any]):
        self.code, self.arguments = code, arguments
        self.inputs = [pair for name, value in arguments.items() for pair in assets_in(value, name)]
        self.number, self.started = next(_calls), time.monotonic()
        self.settings = Settings.load()
        self.client = current_client()
        self.store = _store(self.client)
        for role, asset in self.inputs:
            if not asset.cid:
                raise AssetNotFoundError(
                    f"{code.name}: {role} has no CID: only stored assets can be given to a task "
                    "(`stargazer add`, or the result of another task)"
                )

    def tell(self, kind: Any, **details: Any) -> None:
        """Announce what happened to this call."""
        announce(Event(kind=kind, task=self.code.name, call=self.number, label=_label(self.arguments),
                       seconds=time.monotonic() - self.started, **details))  # fmt: skip

    async def result(self) -> Any:
        tools = [tool.resolve() for tool in self.code.tools]
        digest, key = self._key(tools)
        if not key:
            return await self._run(tools, digest, key)
        if not _refresh.get() and (found := await asyncio.to_thread(self._remembered, key)) is not None:
            return found[0]
        async with key_lock(self.settings.home / "locks", key):
            if not _refresh.get() and (found := await asyncio.to_thread(self._remembered, key)) is not None:
                return found[0]
            return await self._run(tools, digest, key)

    def _key(self, tools: list[ResolvedTool]) -> tuple[str, str]:
        try:
            digest = code_digest(self.code.function, frozenset(tool.name for tool in self.code.tools)).hex
        except Undigestable as error:
            self.tell("waiting", note=f"not memoised: {error}")
            return "", ""
        return digest, run_key(self.code.name, digest, self.arguments, tools)

    def _remembered(self, key: str) -> tuple[Any] | None:
        """The result that the memo has for this key, in a tuple of one; None if it has none."""
        found = self.store.remembered(key)
        if found is None:
            return None
        provenance_cid, execution = found
        assets = [self._recalled(entry) for entry in execution.outputs]
        self.tell("memo hit")
        return (rebuilt(execution.result, assets, _annotation(self.code.function)),)

    def _recalled(self, entry: Entry) -> Asset:
        from stargazer.assets.asset import record_id

        record = self.store.get(record_id(entry.cid, entry.keyvalues))
        assert record is not None
        return Asset.from_record(record)

    async def _run(self, tools: list[ResolvedTool], digest: str, key: str) -> Any:
        self.tell("waiting")
        pool = _pool(self.settings)
        work = self.store.objects.work
        await asyncio.to_thread(_sweep_once, work)
        async with pool.hold(cores=self.code.cores, memory=self.code.memory) as grant:
            self.started, began = time.monotonic(), now()
            self.tell("started", cores=grant.cores)
            with open_workspace(work, self.code.function.__name__) as folder:
                arguments = await lay_out(self.arguments, folder, self.client, self.store.root / "unpacked")
                session = Session(folder=folder, log=self._log(), threads=grant.cores, pass_fds=grant.fds,
                                  tools={tool.name: tool for tool in tools if tool.argv})  # fmt: skip
                reason = f"{self.code.name} is a task: it takes its assets as parameters; assemble them in a workflow"
                with use_session(session), no_assembling(reason):
                    value = await self.code.function(**arguments)
                execution = Execution(
                    task=self.code.name,
                    distribution=self.code.distribution,
                    code_digest=digest,
                    run_key=key,
                    parameters=self._parameters(),
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
                    forced=_refresh.get(),
                )
                value = await _to_the_end(self._commit, execution, value)
                if not _logs.get():
                    session.log.unlink(missing_ok=True)
        self.tell("finished")
        return value

    def _commit(self, execution: Execution, value: Any) -> Any:
        outputs = list(assets_in(value, "" if hasattr(value, "_fields") else "result"))
        for role, asset in outputs:
            if not asset.cid and asset.path is not None:
                expect(asset.path, by=f"{self.code.name} ({role})")
        numbers = {id(asset): number for number, (_, asset) in enumerate(outputs)}
        shape = described(value, "result", lambda asset: {"asset": numbers[id(asset)]})
        self.store.commit(attrs.evolve(execution, result=shape), outputs)
        return value

    def _parameters(self) -> dict[str, Any]:
        plain = {name: value for name, value in self.arguments.items() if not list(assets_in(value, name))}
        return {name: described(value, name, lambda _: None) for name, value in plain.items()}

    def _log(self) -> Path:
        folder = _logs.get() or self.settings.home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{now()[:19].replace(':', '')}-{self.number:03d}-{self.code.function.__name__}.log"


async def _to_the_end(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function in a thread; a cancellation meanwhile takes effect when it has ended."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _store(client: Any) -> LocalStore:
    store = getattr(client, "store", None)
    if not isinstance(store, LocalStore):
        raise ConfigurationError(f"tasks need a client with a local store, not a {type(client).__name__}")
    return store


@functools.cache
def _pool(settings: Settings) -> Slots:
    return Slots(settings.home / "slots" / platform.node(), cores=settings.cores, memory=settings.memory)


@functools.cache
def _sweep_once(work: Path) -> None:
    sweep(work)


@functools.cache
def _distribution(module: str) -> str:
    from importlib import metadata

    parts = module.split(".")
    name = "-".join(parts[:2]) if parts[0] == "stargazer" else parts[0]
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return ""


def _annotation(function: Callable[..., Any]) -> Any:
    return get_type_hints(function).get("return")


def _entry(role: str, asset: Asset) -> Entry:
    pairs = asset.keyvalues
    provenance_cid = pairs.pop("provenance_cid", "")
    return Entry(role=role, cid=asset.cid or "", keyvalues=pairs, provenance_cid=provenance_cid)


def _label(arguments: Mapping[str, Any]) -> str:
    """What a call works on, for people: the sample and lane of its first asset that has one, and its part."""
    words: list[str] = []
    for name, value in arguments.items():
        for _, asset in assets_in(value, name):
            for field in ("sample", "lane", "name"):
                word = getattr(asset, field, None)
                if isinstance(word, str) and word not in words:
                    words.append(word)
    return " ".join(words[:4])


