"""One call of a task: looked up in the memo, else run on slots in a workspace, its results stored with provenance."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import itertools
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import attrs
from stargazer.assets import (
    Asset,
    AssetNotFoundError,
    ConfigurationError,
    Intervals,
    LinkKind,
    StargazerError,
    StorageError,
    current_client,
    no_assembling,
    record_id,
)
from stargazer.assets.provenance import Entry, Execution, ToolUse
from stargazer.storage import VARIABLES, Settings, Store, account, now
from stargazer.storage.lineage import find_nearest
from stargazer.tasks.execution._workspace import claim, open_workspace, sweep, to_the_end
from stargazer.tasks.execution.cells import cell_of
from stargazer.tasks.execution.digest.code import Digest, Undigestable
from stargazer.tasks.execution.digest.run_key import run_key, script_digest, task_digest
from stargazer.tasks.execution.inputs import lay_out, obtain, obtain_tool
from stargazer.tasks.execution.locks import key_lock
from stargazer.tasks.execution.options import (
    Event,
    Kind,
    Miss,
    NotRemembered,
    announce,
    bound,
    log_folder,
    misses_told,
    refresh_wanted,
    run_name,
)
from stargazer.tasks.execution.registry import TaskCode
from stargazer.tasks.execution.slots import Slots
from stargazer.tasks.execution.values import (
    assets_in,
    bound_arguments,
    described,
    leaves,
    named_tuple,
    rebuilt,
    result_type,
)
from stargazer.tasks.tools import ResolvedTool, Session, use_session

__all__ = ["Call", "execute", "result_role", "running"]

T = TypeVar("T")

PAUSE = 2.0
"""Seconds after each of which it is told what memory a running call takes, if that is more than before by MORE."""
MORE = 0.05

_calls = itertools.count(1)
_running: ContextVar[str | None] = ContextVar("stargazer_running", default=None)

_warned: set[tuple[str, str]] = set()

running = _running.get
"""The task that holds slots here: nothing that waits for slots may be started."""


async def execute(code: TaskCode, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run a task body, or give what an earlier call with the same run key gave.

    Raises:
        StargazerError: an argument is of a wrong type, an input is not stored, a tool is missing or failed, the store
            cannot take the results. What the task itself raises passes through. Nothing is registered then.
    """
    call = Call(code, bound_arguments(code.function, args, kwargs))
    try:
        return await call.result()
    except BaseException as error:
        call.tell("failed", note=str(error) or type(error).__name__)
        if isinstance(error, StargazerError) and not getattr(error, "__notes__", None):
            error.add_note(call.place())
        raise


class Call:
    """One call of a task, from its arguments to its result."""

    def __init__(self, code: TaskCode, bound: inspect.BoundArguments):
        if (outer := running()) is not None:
            raise ConfigurationError(
                f"{code.name} is a task, and {outer} too: a task cannot call one, for it would wait for the slots "
                "that it holds itself; call both from a workflow"
            )
        self.code, self.bound, self.arguments = code, bound, dict(bound.arguments)
        self.inputs = [pair for name, value in self.arguments.items() for pair in assets_in(value, name)]
        self.label = _label(asset for _, asset in self.inputs)
        self.number, self.started = next(_calls), time.monotonic()
        self.session: Session | None = None
        self.settings = Settings.load()
        self.client = current_client()
        store = getattr(self.client, "store", None)
        if not isinstance(store, Store):
            raise ConfigurationError(
                f"tasks need a client with a local store (its `store`), and {type(self.client).__name__} has none: "
                "use stargazer.storage.get_client()"
            )
        self.store = store
        self.locks = self.settings.home / "locks"
        for role, asset in self.inputs:
            if not asset.cid:
                raise AssetNotFoundError(
                    f"{code.name}: {role} has no CID: only stored assets can be given to a task "
                    "(`stargazer add`, or the result of another task)"
                )
        self.cids = {asset.cid or "" for _, asset in self.inputs}
        refresh = refresh_wanted()
        self.refresh = refresh if refresh is not None and refresh.wants(code.name, self.cids) else None

    @functools.cached_property
    def tools(self) -> list[ResolvedTool]:
        """The tools of the task as they are on this machine."""
        return [tool.resolve() for tool in self.code.tools]

    def place(self) -> str:
        """Where an error came from, for people: the task and the files it was given, by the names they came with."""
        files = (
            f"  {role} = {asset.record.name!r}{self._extent(asset)} ({asset.cid})"
            for role, asset in self.inputs
            if asset.record is not None and asset.record.name
        )
        where = f"in {self.code.name}" + (f" of {self.label}" if self.label else "")
        return "\n".join([f"{where}, given", *files]) if self.inputs else where

    def _extent(self, asset: Asset) -> str:
        """Of intervals, where on the genome they begin and end; of other files, and what cannot be read, nothing."""
        if not isinstance(asset, Intervals):
            return ""
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = self.store.objects.path(asset.cid or "").read_text().splitlines()
            rows = [line.split("\t") for line in lines if not line.startswith(("#", "track", "browser"))]
            (first, start, *_), (last, _, end, *_) = rows[0], rows[-1]
            return f", from {first}:{int(start) + 1:,} to {last}:{int(end):,}"
        return ""

    def tell(self, kind: Kind, **details: Any) -> None:
        """Announce what happened to this call."""
        seconds = time.monotonic() - self.started
        task, number, label = self.code.name, self.number, self.label
        memory = self.session.memory_so_far if self.session else 0
        announce(
            Event(kind=kind, task=task, call=number, label=label, seconds=seconds, memory=memory, **details)
        )

    async def result(self) -> Any:
        """What the memo knows, else what the body returns; the second of two equal calls waits for the first.

        Raises:
            NotRemembered: the memo does not know it, and nothing is to be computed.
        """
        digest, key, note = self.keyed()
        if (found := await self._remembered(key)) is not None:
            return found[0]
        planned = self.planned(digest, key)
        if (told := misses_told()) is not None:
            told.append(await asyncio.to_thread(self._miss, planned, note))
            raise NotRemembered(
                f"{self.code.name} {self.label} is not remembered, and nothing is to be computed"
            )
        async with self._alone(key) if key else contextlib.nullcontext():
            if (found := await self._remembered(key)) is not None:
                return found[0]
            self.tell("waiting", note=note)
            with self._warned(note):
                await self.obtain_inputs()
                return await self.run(planned, self.commit)

    @contextlib.contextmanager
    def _warned(self, note: str) -> Iterator[None]:
        """Within a `with` block a task of a notebook or script that is not memoised has been warned of, once."""
        told, code = (self.code.name, note), inspect.unwrap(self.code.function).__code__
        if not note or told in _warned or self.code.function.__module__ != "__main__":
            yield
            return
        _warned.add(told)
        try:
            text = f"{self.code.name} is computed each time, {note}"
            warnings.warn_explicit(text, UserWarning, code.co_filename, code.co_firstlineno)
            yield
        finally:
            _warned.discard(told)

    def _alone(self, key: str) -> contextlib.AbstractAsyncContextManager[None]:
        """The lock of a run key; who waits for it says for whom."""

        own = run_name() or f"process {os.getpid()}"

        def tell(name: str) -> None:
            self.tell(
                "waiting", note=f"for {'another call' if name == own else name}, which computes the same"
            )

        return key_lock(self.locks, key, holder=own, told=tell)

    def keyed(self) -> tuple[Digest, str, str]:
        """The digest of the code and the run key; or empty ones, and why the call is not memoised."""
        try:
            digest = task_digest(self.code.function, frozenset(tool.name for tool in self.code.tools))
        except Undigestable as error:
            return Digest("", frozenset(), {}), "", f"not memoised: {error}"
        return digest, run_key(self.code.name, digest.hex, self.arguments, self.tools), ""

    async def _remembered(self, key: str) -> tuple[Any] | None:
        """The result that the memo has for this key, in a tuple of one; None if it has none, or shall be refreshed."""
        valid = self.refresh is None or key in self.refresh.keys  # computed anew by an equal call, just now
        found = await asyncio.to_thread(self._recall, key) if key and valid else None
        if found is not None:
            if self.refresh is not None:  # by an earlier attempt of a run that goes on
                self._note_made(asset for _, asset in assets_in(found[0], ""))
            self.tell("memo hit")
        return found

    def _recall(self, key: str) -> tuple[Any] | None:
        if (found := self.store.remembered(key)) is None:
            return None
        execution = found[1]
        records = [self.store.get(record_id(entry.cid, entry.keyvalues)) for entry in execution.outputs]
        assets = [Asset.from_record(record) for record in records if record is not None]
        if len(assets) < len(records):
            return None  # retracted just now
        return (rebuilt(execution.result, assets, result_type(self.code.function)),)

    def _miss(self, planned: Execution, note: str) -> Miss:
        """Why it is not remembered, and what is not here."""
        note = note or ("it is to be computed anew" if self.refresh is not None else "")
        stat = self.store.objects.stat
        return Miss(
            task=self.code.name,
            label=self.label,
            note=note,
            nearest=None if note else find_nearest(self.store, planned),
            absent=[f"{role} {asset.cid}" for role, asset in self.inputs if stat(asset.cid or "") is None],
        )

    def planned(self, digest: Digest, key: str) -> Execution:
        """What is known of the execution before it: what it does with what, and nothing of what comes of it."""
        roles = (role for role, _ in self.inputs)
        shapes = {
            name: described(value, name, lambda _: next(roles)) for name, value in self.arguments.items()
        }
        notebook, cell = cell_of(self.code.function)
        several = {name: shapes[name] for name, value in self.arguments.items() if _only_assets(value)}
        return Execution(
            task=self.code.name,
            distribution=self.code.distribution,
            notebook=notebook,
            cell=cell,
            code_digest=digest.hex,
            code=digest.parts,
            run_key=key,
            parameters={name: shape for name, shape in shapes.items() if name not in several},
            assets={name: shape for name, shape in several.items() if shape != {"asset": name}},
            inputs=[_entry(role, asset) for role, asset in self.inputs],
            tools=[
                ToolUse(
                    name=tool.name,
                    version=tool.version,
                    source=tool.source,
                    script=script_digest(tool.script)[:16],
                )
                for tool in self.tools
            ],
            platform=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            account=account(),
            forced=self.refresh is not None,
        )

    async def obtain_inputs(self) -> None:
        """Bring tools and inputs here before slots are taken: that may take long, and may need slots itself."""
        for tool in self.tools:
            await obtain_tool(tool, functools.partial(self.tell, "waiting"))
        for _, asset in self.inputs:
            await obtain(asset, self.client, self.store)

    async def run(self, planned: Execution, use: Callable[[Execution, Any, Path], T]) -> T:
        """Run the body on slots of the machine and in a workspace of its own.

        Returns:
            What `use` makes, in a thread, of the execution, of what the body returned, and of the workspace.
        """
        work, settings = self.store.objects.work, self.settings
        await to_the_end(sweep, work)
        pool = Slots(settings.home / "slots" / platform.node(), settings.cores, settings.memory)
        async with pool.hold(cores=self.code.cores, memory=self.code.memory) as grant:
            self.started, began = time.monotonic(), now()
            self.tell("started", cores=grant.cores)
            with bound(_running, self.code.name), open_workspace(work, self.code.function.__name__) as folder:
                self.session = session = Session(
                    folder=folder,
                    log=self._log(),
                    threads=grant.cores,
                    memory=grant.memory,
                    environment={VARIABLES["memory"]: str(settings.memory)},  # as the settings here say
                    pass_fds=grant.fds,  # type: ignore[arg-type]  # mypy and converter=tuple
                    tools={tool.name: tool for tool in self.tools if tool.argv},
                )
                value = await self._body(session)
                execution = attrs.evolve(
                    planned,
                    run_key=self._key_still(planned),
                    commands=session.commands,
                    started=began,
                    finished=now(),
                    seconds=round(time.monotonic() - self.started, 3),
                    peak_memory=session.peak_memory,
                    cores=grant.cores,
                )
                made = await to_the_end(use, execution, value, session.folder)
                if not log_folder():
                    session.log.unlink(missing_ok=True)
        self.tell("finished", key=execution.run_key)
        return made

    def _key_still(self, planned: Execution) -> str:
        """The run key, or "" if a cell has changed meanwhile what the task uses: the result is of neither state."""
        if self.code.function.__module__ != "__main__":
            return planned.run_key
        with contextlib.suppress(ConfigurationError):  # what is there now could not be run
            if self.keyed()[1] == planned.run_key:
                return planned.run_key
        return ""

    async def _body(self, session: Session) -> Any:
        """What the task's function returns for the arguments, laid out in the session's folder."""
        folder = session.folder
        self.bound.arguments = await lay_out(self.arguments, folder, self.client, self.store, self.locks)
        reason = f"{self.code.name} is a task: it takes its assets as parameters; assemble them in a workflow"
        with use_session(session), no_assembling(reason), self._progress_told(session):
            return await self.code.function(*self.bound.args, **self.bound.kwargs)

    @contextlib.contextmanager
    def _progress_told(self, session: Session) -> Iterator[None]:
        """Tell within a `with` block what memory the tools take, when it grew: a long call has few such events."""
        loop, told = asyncio.get_running_loop(), 0
        timer: asyncio.TimerHandle

        def tell() -> None:
            nonlocal told, timer
            if session.memory_so_far > told * (1 + MORE):
                told = session.memory_so_far
                self.tell("progress")
            timer = loop.call_later(PAUSE, tell)

        timer = loop.call_later(PAUSE, tell)
        try:
            yield
        finally:
            timer.cancel()

    def commit(self, execution: Execution, value: Any, folder: Path) -> Any:
        """Register the results of the body; the value is made anew of its JSON, as a memo hit makes it."""
        numbers = itertools.count()
        shape = described(value, f"{self.code.name}: the result", lambda _: next(numbers))
        outputs = [(role, self._handed_on(asset)) for role, asset in assets_in(value, result_role(value))]
        claim(outputs, folder, self.code.name)
        self.store.commit(attrs.evolve(execution, result=shape), outputs)
        if self.refresh is not None:
            self.refresh.keys.add(execution.run_key)
            self._note_made(asset for _, asset in outputs)
        return rebuilt(shape, [asset for _, asset in outputs], result_type(self.code.function))

    def _note_made(self, results: Iterable[Asset]) -> None:
        """Let what reads these be computed anew as well, if it is to be."""
        assert self.refresh is not None
        made = [asset for asset in results if asset.cid not in self.cids]
        self.refresh.made.update(cid for asset in made for cid in [asset.cid or "", *_accompanied(asset)])

    def _handed_on(self, asset: Asset) -> Asset:
        """An input among the results with the store's path, for its workspace goes; a new asset as it is."""
        if not asset.cid:
            return asset
        path = self.store.objects.path(asset.cid)
        return asset.copy(path=path if path.exists() else None)

    def _log(self) -> Path:
        folder = log_folder() or self.settings.home / "logs"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot keep logs in {str(folder)!r}: {error.strerror}") from error
        name = f"{os.getpid()}-{self.number:03d}-{self.code.function.__name__}.log"
        return folder / f"{now()[:19].replace(':', '')}-{name}"


def _entry(role: str, asset: Asset) -> Entry:
    pairs = asset.keyvalues
    provenance_cid = pairs.pop("provenance_cid", "")
    return Entry(role=role, cid=asset.cid or "", keyvalues=pairs, provenance_cid=provenance_cid)


def result_role(value: Any) -> str:
    """The role that results are named by: that of a field, if they have names, else `result`."""
    return "" if named_tuple(type(value)) else "result"


def _only_assets(value: Any) -> bool:
    found = [leaf for _, leaf in leaves(value, "")]
    return bool(found) and all(isinstance(leaf, Asset) for leaf in found)


def _label(assets: Iterable[Asset]) -> str:
    """What a call works on, for people: the samples, lanes and parts that its assets name; four words at most."""
    found = (getattr(asset, field, None) for asset in assets for field in ("sample", "lane", "name"))
    words = dict.fromkeys(word for word in found if isinstance(word, str))
    return " ".join(itertools.islice(words, 4))


def _accompanied(asset: Asset) -> list[str]:
    """The CIDs of the files beside which an asset is laid."""
    kinds = {name: link.kind for name, link in asset.links().items()}
    return [cid for name, cid in asset.keyvalues.items() if kinds.get(name) is LinkKind.COMPANION]
