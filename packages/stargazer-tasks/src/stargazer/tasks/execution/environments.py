"""The decorators that make a function a task (one operation, on slots, memoised) or a workflow (calls of tasks, some of
them in parallel).

htslib = AssetEnvironment(name="htslib", tools=[samtools], resources=flyte.Resources(cpu=1, memory="1Gi"))

@htslib.task
async def flagstat(alignment: Alignment) -> QcReport: ...
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from enum import Enum, EnumMeta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast, get_args, get_origin, overload

import flyte
from flyte.models import NativeInterface
from stargazer.assets import ConfigurationError, current_client
from stargazer.tasks.execution.call import execute
from stargazer.tasks.execution.digest.definitions import written
from stargazer.tasks.execution.flyte_mode import agree, default_image, in_pod, must_agree
from stargazer.tasks.execution.options import NotRemembered, bound, misses_told
from stargazer.tasks.execution.registry import TASKS, TaskCode
from stargazer.tasks.execution.values import assets_in, bound_arguments, hints_of, named_tuple, result_type

if TYPE_CHECKING:
    from stargazer.tasks.tools import Library, Tool

__all__ = ["AssetEnvironment", "WorkflowEnvironment", "named_outputs", "parallel"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
Awaited: TypeAlias = Coroutine[Any, Any, A]

F = TypeVar("F", bound=Callable[..., Any])
Tools: TypeAlias = "Sequence[Tool | Library]"

_inside: ContextVar[bool] = ContextVar("stargazer_inside", default=False)

UNITS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}


class _NamedResults(flyte.TaskEnvironment):
    """Runs tasks where the mode says, and keeps the names of their results.

    Flyte numbers the fields of a named tuple, and makes nested ones bare tuples.
    A named tuple is the whole result of a task. Within a list, a dict or another named tuple it works when awaited,
    but Flyte 2.12 has no type for it if it holds assets: let the result hold lists and dicts of assets there.
    """

    def __post_init__(self) -> None:
        agree()
        if self.image == "auto" and not in_pod():
            self.image = default_image()
        self.env_vars = {"STARGAZER_MODE": "cloud", **(self.env_vars or {})}  # of a pod; a task here has ours
        self.secrets = self.secrets or [flyte.Secret(key="PINATA_JWT", as_env_var="PINATA_JWT")]
        super().__post_init__()

    def _template(self, func: F, call: Callable[..., Awaited[Any]], options: dict[str, Any]) -> Any:
        """Flyte's task for a function, which `call` runs with the positional and the named arguments given."""

        @functools.wraps(func)
        async def run(*args: Any, **kwargs: Any) -> Any:
            return await _handed_over(call(args, kwargs))

        template: Any = super().task(**options)(run)
        template.interface = _as_spelt(template.interface, func)
        base = type(template)

        class Named(base):  # type: ignore[misc, valid-type]
            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                result = base.__call__(self, *args, **kwargs)
                return _renamed(result, func) if inspect.isawaitable(result) else result

            async def execute(self, *args: Any, **kwargs: Any) -> Any:
                must_agree()
                return await base.execute(self, *args, **kwargs)

        Named.__name__ = base.__name__
        template.__class__ = Named
        # marimo looks for the source of what is below `@app.function`
        template.__wrapped__, template.__name__ = func, func.__name__
        return template


@dataclasses.dataclass(init=True, repr=True, kw_only=True)
class AssetEnvironment(_NamedResults):
    """A Flyte task environment whose tasks take assets, hold slots, and are memoised.

    `tools` are those of every task in it that declares none; `resources` (cpu, memory) are the slots a task holds.
    """

    tools: Tools = ()

    @overload  # type: ignore[override]  # Flyte's names every option
    def task(self, _func: F, /) -> F: ...

    @overload
    def task(self, *, tools: Tools | None = None, **options: Any) -> Callable[[F], F]: ...

    def task(self, _func: F | None = None, *, tools: Tools | None = None, **options: Any) -> Any:
        """Make an async function a task: `@env.task` or `@env.task(tools=[...])`; other options are Flyte's."""
        if _func is None:
            return functools.partial(self.task, tools=tools, **options)
        if not inspect.iscoroutinefunction(_func):
            raise ConfigurationError(
                f"{_func.__qualname__} of {self.name!r}: a task is an async function (async def)"
            )
        _func.__name__ = written(_func.__name__)
        declared = tuple(self.tools if tools is None else tools)
        code = TaskCode(f"{self.name}.{_func.__name__}", _func, declared, *_slots(self.resources))
        TASKS[code.name] = code
        return self._template(_func, functools.partial(execute, code), options)


class WorkflowEnvironment(_NamedResults):
    """A Flyte task environment for workflows: they assemble assets and call tasks, and are never memoised."""

    @overload  # type: ignore[override]  # Flyte's names every option
    def task(self, _func: F, /) -> F: ...

    @overload
    def task(self, **options: Any) -> Callable[[F], F]: ...

    def task(self, _func: F | None = None, **options: Any) -> Any:
        """Make an async function a workflow: `@env.task`; options are Flyte's."""
        if _func is None:
            return functools.partial(self.task, **options)
        _func.__name__ = written(_func.__name__)
        return self._template(_func, functools.partial(_call, _func), options)


async def _call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    bound = bound_arguments(func, args, kwargs)
    return await func(*bound.args, **bound.kwargs)


def named_outputs(task: Any, outputs: tuple[Any, ...]) -> Any:
    """The result of a task or workflow run by `flyte.run`, as a plain await gives it.

    run = flyte.with_runcontext(mode="local").run(germline_short_variant_discovery, samples=[...], build=...)
    calls = named_outputs(germline_short_variant_discovery, run.outputs())
    """
    wanted = result_type(task.func)
    if (named := named_tuple(wanted)) is not None:
        # those of a cluster have names, and come in the order of the alphabet
        names = sorted(literal.name for literal in getattr(getattr(outputs, "pb2", None), "literals", ()))
        if set(names) == set(named._fields):
            return named(**dict(zip(names, outputs, strict=True)))
        return named(*outputs)
    if get_origin(wanted) is tuple:
        return tuple(outputs)
    return outputs[0] if outputs else None


async def _handed_over(call: Coroutine[Any, Any, Any]) -> Any:
    """The result of a call; unless the call is part of another one, it is sent to where the store is shared.

    So the results of a workflow are, and what its tasks made on the way is not.
    """
    if _inside.get():
        return await call
    with bound(_inside, True):
        value = await call
    records = [asset.record for _, asset in assets_in(value, "") if asset.record is not None]
    if records and (store := getattr(current_client(), "store", None)) is not None:
        await asyncio.to_thread(store.hand_over, records)
    return value


def _as_spelt(interface: NativeInterface, func: Callable[..., Any]) -> NativeInterface:
    """Flyte's view of a function's parameters, with choices as the code spells them.

    Flyte 2.12 names the choices of a Literal in capitals, and its command line takes and hands on these names only.
    """
    hints, enum, inputs = hints_of(func), cast(Any, Enum), dict(interface.inputs)
    for name, (kind, default) in interface.inputs.items():
        if get_origin(hints.get(name)) is Literal and isinstance(kind, EnumMeta):
            inputs[name] = enum(kind.__name__, {choice: choice for choice in get_args(hints[name])}), default
    return dataclasses.replace(interface, inputs=inputs)


async def _renamed(awaitable: Any, func: Callable[..., Any]) -> Any:
    value, named = await awaitable, named_tuple(result_type(func))
    return named(*value) if named is not None and type(value) is tuple else value


def _slots(resources: flyte.Resources | None) -> tuple[int, int]:
    """Cores and bytes of Flyte's resources; the upper end of a range."""
    given: tuple[Any, Any] = (resources.cpu, resources.memory) if resources else (None, None)
    cpu, memory = (value[-1] if isinstance(value, tuple) else value for value in given)
    cpu, memory = str(cpu or 1), str(memory or "1Gi")
    cores = -(-int(cpu[:-1]) // 1000) if cpu.endswith("m") else max(1, round(float(cpu)))
    unit = UNITS.get(memory[-2:], 0)
    return cores, int(float(memory[:-2] if unit else memory) * (1 << unit))


@overload
async def parallel(coroutines: tuple[Awaited[A], Awaited[B]]) -> tuple[A, B]: ...
@overload
async def parallel(coroutines: tuple[Awaited[A], Awaited[B], Awaited[C]]) -> tuple[A, B, C]: ...
@overload
async def parallel(coroutines: list[Awaited[A]]) -> list[A]: ...
async def parallel(coroutines: list[Awaited[Any]] | tuple[Awaited[Any], ...]) -> Any:
    """The results of coroutines run at the same time, in order: a tuple for a tuple, else a list.

    The first failure cancels the others and is raised as it is. Where it was only asked what is remembered, all are
    asked first.
    """
    if misses_told() is not None:
        results = await asyncio.gather(*coroutines, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise min(failures, key=lambda failure: isinstance(failure, NotRemembered))
    else:
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(coroutine) for coroutine in coroutines]
        except BaseExceptionGroup as failures_of_all:
            raise _first(failures_of_all) from None
        results = [task.result() for task in running]
    return tuple(results) if isinstance(coroutines, tuple) else results


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
