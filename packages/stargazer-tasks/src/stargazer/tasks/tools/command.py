"""Tools, and the commands that calling them makes, alone or joined by pipes: what a task awaits to run programs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

from attrs import frozen
from stargazer.assets import ConfigurationError, ToolError
from stargazer.tasks.tools.disk import full_disk
from stargazer.tasks.tools.pipelines import run_stages, useful_line
from stargazer.tasks.tools.session import Session, current_session
from stargazer.tasks.tools.sources import VARIABLE, ResolvedTool, Source, preferences
from stargazer.tasks.tools.transcript import Stage

__all__ = ["Argument", "Command", "Tool", "expect"]

Argument: TypeAlias = str | int | float | Path


@frozen
class Tool:
    """An external program; calling it makes a command, awaiting the command runs it.

        await samtools("index", "-@", session.threads, bam)
        await (bwa("mem", reference, reads) | samtools("sort", "-o", bam, "-"))

    Sources are tried in order. STARGAZER_TOOLS (`bwa-mem2=path,samtools=path`) or the mapping given to
    `resolve` moves the sources of one kind to the front.

    Attributes:
        useful_line: the line that says what went wrong, picked from the end of what the tool wrote to stderr.
    """

    name: str
    sources: tuple[Source, ...]
    useful_line: Callable[[str], str | None] = useful_line

    def __call__(
        self, *args: Argument | None, stdin: Path | None = None, stdout: Path | None = None
    ) -> Command:
        """Return the command with these arguments; `stdin` and `stdout` redirect from and to files."""
        for value in args:
            if isinstance(value, bool) or not isinstance(value, str | int | float | Path):
                raise TypeError(
                    f"{value!r} is not an argument of a command: give a str, an int, a float or a Path"
                )
            if "\0" in str(value):
                raise ValueError(f"{value!r} is not an argument of a command: it holds a NUL character")
        return Command((_Part(self, args, stdin, stdout),))

    def ordered(self, preferred: Mapping[str, str] | None = None) -> list[Source]:
        """Return its sources as they are tried; raise ConfigurationError if none is of the kind preferred."""
        kind = (preferences() if preferred is None else preferred).get(self.name)
        if kind is not None and kind not in (kinds := [source.kind for source in self.sources]):
            raise ConfigurationError(
                f"{VARIABLE} asks for {self.name} from {kind!r}; it can come from: {', '.join(kinds)}"
            )
        return sorted(self.sources, key=lambda source: source.kind != kind)

    def resolve(self, preferred: Mapping[str, str] | None = None) -> ResolvedTool:
        """Return this tool as found on this machine; starts no process for a pinned wheel.

        Raises:
            ToolError: no source has it, or one has a version that is not accepted.
            ConfigurationError: it is preferred from a kind of source that it does not have.
        """
        for source in (sources := self.ordered(preferred)):
            if resolved := source.find(self.name):
                return resolved
        looked = "\n".join(f"  - {source.describe()}" for source in sources)
        raise ToolError(f"{self.name} was not found. Any one of these gives it:\n{looked}")


@frozen
class _Part:
    """A tool and its arguments. Without `stdout` what it prints goes to the log."""

    tool: Tool
    args: tuple[Any, ...]
    stdin: Path | None
    stdout: Path | None

    def stage(self, session: Session) -> Stage:
        resolved = session.tool(self.tool.name)
        arguments = [_rendered(argument, session) for argument in self.args]
        subcommand = arguments[:1] if arguments and arguments[0].replace("_", "").isalnum() else []
        return Stage(
            label=" ".join([self.tool.name, *subcommand]),
            argv=[*resolved.argv, *arguments],
            recorded=[self.tool.name, *arguments],
            environment=resolved.environment,
            useful_line=self.tool.useful_line,
        )


@frozen
class Command:
    """A call of a tool, or several joined by pipes: `a | b`. Awaiting it runs it, each time anew.

    Arguments are never seen by a shell. Paths become relative to the workspace. Awaited, it gives the end of
    what was written to stderr. Raises ToolError when a tool fails: any failing one fails all, and the error is
    that of the one to blame.
    """

    parts: tuple[_Part, ...]

    def __or__(self, other: Command) -> Command:
        if other.parts[0].stdin is not None:
            raise ValueError("only the first command of a pipeline can read its stdin from a file")
        if self.parts[-1].stdout is not None:
            raise ValueError("only the last command of a pipeline can write its stdout to a file")
        return Command(self.parts + other.parts)

    def __await__(self) -> Generator[Any, None, str]:
        return self._run(None).__await__()

    async def text(self) -> str:
        """Run and return what is written to stdout, decoded as UTF-8; for outputs that fit in memory."""
        if self.parts[-1].stdout is not None:
            raise ValueError("text() of a command whose stdout is a file: read the file")
        with tempfile.TemporaryFile(dir=current_session().folder) as output:
            await self._run(output)
            output.seek(0)
            return output.read().decode("utf-8", "replace")

    async def _run(self, sink: IO[bytes] | None) -> str:
        session, source = current_session(), None
        stages = [part.stage(session) for part in self.parts]
        with contextlib.ExitStack() as files:
            if path := self.parts[0].stdin:
                source = _opened(files, path, session, "rb", stages[0].label)
            if path := self.parts[-1].stdout:
                sink = _opened(files, path, session, "wb", stages[-1].label)
            stdin = source.fileno() if source else subprocess.DEVNULL
            return await run_stages(stages, session, stdin=stdin, stdout=sink.fileno() if sink else None)


def expect(path: str | Path, by: str) -> Path:
    """Return the path of an output after checking that it is there and not empty.

    Raises:
        ToolError: `by` (a tool, as in "samtools sort") wrote nothing there.
    """
    path = Path(path)
    if not path.is_absolute():
        path = current_session().folder / path
    if path.exists() and (any(path.iterdir()) if path.is_dir() else path.stat().st_size):
        return path
    state = "is empty" if path.exists() else "does not exist"
    full = full_disk(path.parent, "")
    raise ToolError(
        f"{by} wrote nothing: it ended without an error, but {path.name!r} {state}"
        + (f"; {full}" if full else "")
    )


def _rendered(argument: Argument, session: Session) -> str:
    if isinstance(argument, Path):
        return session.relative(argument)
    text = str(argument)
    if f"{session.folder}{os.sep}" in text:
        raise ToolError(
            f"the argument {text!r} holds the workspace's own path, which differs from run to run: "
            f"give the path as an argument of its own, as a Path"
        )
    return text


def _opened(files: contextlib.ExitStack, path: Path, session: Session, mode: str, label: str) -> IO[bytes]:
    inside = session.folder / session.relative(path)
    try:
        return files.enter_context(open(inside, mode))
    except OSError as error:
        stream = "stdin" if mode == "rb" else "stdout"
        raise ToolError(f"{label}: cannot open {inside.name!r} as its {stream}: {error.strerror}") from error
