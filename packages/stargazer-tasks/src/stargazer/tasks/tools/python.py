"""Calls a Python function in a child process, so that its computing never holds up the event loop that tasks share."""

from __future__ import annotations

import functools
import importlib
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import ConfigurationError, StargazerError, ToolError
from stargazer.tasks.tools.disk import full_disk
from stargazer.tasks.tools.pipelines import run_stages, useful_line
from stargazer.tasks.tools.session import Session, current_session
from stargazer.tasks.tools.sources import ENGINES, installed_version, python_command, python_environment
from stargazer.tasks.tools.transcript import Stage

__all__ = ["arithmetic", "call", "function_stage", "raised"]


async def call(function: Callable[..., Any], /, **arguments: Any) -> Any:
    """Run a function of a module in a child process with these arguments; return its result.

        quality = await call(cell_quality, counts=path, min_genes=200)

    Arguments and result are JSON values; a Path argument arrives as a str relative to the workspace, which is
    the child's current folder. What the function prints goes to the log. The function itself is given, not its
    name, so that its code is part of the task's run key.

    Raises:
        ConfigurationError: a child process cannot import the function: it is of a notebook or script, or a local one.
        StargazerError: the function raised one: the same class, with the same text.
        ToolError: the function raised anything else, or its process died.
    """
    session = current_session()
    stage = function_stage(function, arguments, session)
    _, name, text = stage.recorded
    with (
        tempfile.TemporaryFile(dir=session.folder) as request,
        tempfile.TemporaryFile(dir=session.folder) as answer,
    ):
        try:
            request.write(text.encode("utf-8", "surrogateescape"))
            request.seek(0)
        except OSError as error:
            full = full_disk(session.folder, str(error))
            raise ToolError(
                f"python {name} could not be told what to do: {full or error.strerror}"
            ) from error
        argv = [*stage.argv, str(ENGINES / "call.py"), str(answer.fileno()), name]
        stage = attrs.evolve(stage, argv=argv, pass_fds=(answer.fileno(),))
        try:
            await run_stages([stage], session, stdin=request.fileno())
        except ToolError as error:
            raise raised(answer.read()) or error from None
        return json.loads(answer.read())["result"]


def function_stage(function: Callable[..., Any], arguments: Mapping[str, Any], session: Session) -> Stage:
    """Return the call of a function as a stage: it is recorded as python, its name and its arguments as JSON.

    Its argv is that of the interpreter, without the script.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    if function.__module__ == "__main__":
        raise ConfigurationError(
            f"{function.__qualname__} is defined in a notebook or script, which a child process cannot import: call it "
            f"in the task itself, `await asyncio.to_thread({function.__name__}, ...)`, or have it in a package "
            "(`stargazer promote-task` puts a task there, with the functions that it uses)"
        )
    if "<" in name:
        raise ConfigurationError(
            f"a child process cannot import {name}: define it at the top level of a module"
        )
    try:
        text = json.dumps(_plain(arguments, session), sort_keys=True, ensure_ascii=False)
    except TypeError as error:
        raise TypeError(f"the arguments of {name} must be JSON values or paths: {error}") from error
    environment = python_environment()
    environment["PYTHONPATH"] += os.pathsep + os.getcwd() if "" in sys.path else ""
    return Stage(
        label=f"python {name}",
        argv=python_command(),
        recorded=["python", name, text],
        environment=environment,
        useful_line=_exception_line,
    )


@functools.cache
def arithmetic() -> dict[str, str]:
    """Variables with which numpy and OpenBLAS use no wider vectors than AVX2, which x86 processors have since 2013.

    AVX-512 gives sums in another order, and another last digit of log1p. None on a processor without AVX2, and where
    Linux does not tell what it has.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text() if platform.machine() == "x86_64" else ""
    except OSError:
        flags = ""
    if not re.search(r"^flags\b.* avx2\b", flags, re.MULTILINE):
        return {}
    version = tuple(map(int, (installed_version("numpy") or "0.0").split(".")[:2]))
    wide = (
        "X86_V4 AVX512_ICL AVX512_SPR"
        if version >= (2, 4)
        else "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL"
    )
    return {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": wide}


def _plain(value: Any, session: Session) -> Any:
    if isinstance(value, Path):
        return session.relative(value)
    if isinstance(value, dict):
        return {key: _plain(item, session) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, session) for item in value]
    return value


def raised(answer: bytes) -> StargazerError | None:
    """Return the error of ours that the child reports, if it does."""
    if not answer:
        return None
    try:
        error = json.loads(answer)["error"]
    except ValueError:  # it was cut short: the disk is full
        return None
    kind = getattr(importlib.import_module(error["module"]), error["class"], StargazerError)
    rebuilt: StargazerError = kind.__new__(kind)  # its __init__ may take anything
    rebuilt.args = (error["text"],)
    return rebuilt


def _exception_line(said: str) -> str | None:
    """Return the last line that is not indented: the exception that ends a traceback."""
    lines = [line for line in said.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if not line[0].isspace()), useful_line(said))
