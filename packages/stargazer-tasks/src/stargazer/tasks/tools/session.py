"""The session of a task call: what it gives its commands (folder, log, tools, threads), and what it learns of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from attrs import define, field
from stargazer.assets import ToolError
from stargazer.tasks.tools.sources import ResolvedTool

__all__ = ["Session", "current_session", "use_session"]

_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))


@define(eq=False)
class Session:
    """What one task execution gives its commands.

    `folder` is their current folder and all that they may name; `log` gets their output; `tools` are those
    that the task declared; `memory` is what they may take together, in bytes, 0 where nobody counts; `pass_fds`
    are inherited by every process (an orphan keeps its slots); `environment` is added to the minimal one.
    Filled in while commands run: `commands`, each argv as provenance records it (the tool's name first, paths
    relative to the folder), `peak_memory`, the largest resident set of one process that ended, in bytes, and
    `seen_memory`, the largest that was seen of one that runs.
    """

    folder: Path = field(converter=_absolute)
    log: Path = field(converter=_absolute)
    tools: Mapping[str, ResolvedTool] = field(factory=dict)
    threads: int = 1
    memory: int = 0
    pass_fds: tuple[int, ...] = field(default=(), converter=tuple)
    environment: Mapping[str, str] = field(factory=dict)
    commands: list[list[str]] = field(factory=list)
    peak_memory: int = 0
    seen_memory: int = 0

    @property
    def memory_so_far(self) -> int:
        """The largest resident set of one process so far, in bytes; 0 if none is known yet."""
        return max(self.peak_memory, self.seen_memory)

    def tool(self, name: str) -> ResolvedTool:
        """Return a declared tool; raise ToolError for any other."""
        try:
            return self.tools[name]
        except KeyError:
            declared = ", ".join(sorted(self.tools)) or "none"
            raise ToolError(
                f"{name} is not declared by this task (declared: {declared}): its version would be missing "
                f"from the run key and the provenance. Add it to the task's tools=[...]"
            ) from None

    def process_environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a process: of ours only PATH and library paths, so no secret either.

        HOME is the workspace: no personal configuration file changes a result.
        """
        folder = str(self.folder)
        return {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            **dict.fromkeys(_THREADS, str(self.threads)),
            "HOME": folder,
            "TMPDIR": folder,
            "LC_ALL": "C",
            "TZ": "UTC",
            **({"STARGAZER_TASK_MEMORY": str(self.memory)} if self.memory else {}),
            **(extra or {}),
            **self.environment,
            "STARGAZER_PARENT": str(os.getpid()),
        }

    def relative(self, path: Path) -> str:
        """Return a path of the workspace as commands see it: relative, and never taken for an option.

        Raises:
            ToolError: the path leads out of the workspace.
        """
        absolute = os.path.normpath(self.folder / path)
        for folder in (str(self.folder), os.path.realpath(self.folder)):
            if absolute == folder:
                return "."
            if absolute.startswith(folder.rstrip(os.sep) + os.sep):
                relative = os.path.relpath(absolute, folder)
                return f".{os.sep}{relative}" if relative.startswith("-") else relative
        raise ToolError(
            f"{str(path)!r} lies outside of the task's workspace. A command names nothing else, so that it "
            f"is the same everywhere: fetch the asset, or link or copy the file into workspace()"
        )


_current: ContextVar[Session | None] = ContextVar("stargazer_session", default=None)


def current_session() -> Session:
    """Return the session of the running task; raise ToolError outside of any."""
    session = _current.get()
    if session is None:
        raise ToolError(
            "commands run inside a task: call this from a function decorated as a task, "
            "or in `with use_session(...)`"
        )
    return session


@contextmanager
def use_session(session: Session) -> Iterator[Session]:
    """Make `session` the current one for the commands awaited in this context and its asyncio tasks."""
    token = _current.set(session)
    try:
        yield session
    finally:
        _current.reset(token)
