"""Tools, the commands that calling them makes, and pipelines of commands: what a task awaits to run programs."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

from attrs import field, frozen
from stargazer.assets import ToolError
from stargazer.tasks.tools.disk import full_disk
from stargazer.tasks.tools.pipelines import Completed, run_stages, useful_line
from stargazer.tasks.tools.processes import Stage
from stargazer.tasks.tools.session import Session, current_session
from stargazer.tasks.tools.sources import Sourced

__all__ = ["Argument", "Command", "Pipeline", "Tool", "expect"]

Argument: TypeAlias = str | int | float | Path


@frozen
class Tool(Sourced):
    """An external program; calling it makes a command, awaiting the command runs it.

        await samtools("index", "-@", session.threads, bam)
        await (bwa("mem", reference, reads) | samtools("sort", "-o", bam, "-"))

    Sources are tried in order. STARGAZER_TOOLS (`bwa-mem2=path,samtools=path`) or the mapping given to
    `resolve` moves the sources of one kind to the front. `useful_line` picks the line of stderr that an error
    shows first.
    """

    useful_line: Callable[[str], str | None] = field(default=useful_line, kw_only=True, eq=False)

    def __call__(
        self, *args: Argument | None, stdin: Path | None = None, stdout: Path | None = None
    ) -> Command:
        """Return the command with these arguments; `stdin` and `stdout` redirect from and to files."""
        return Command(tool=self, args=args, stdin=stdin, stdout=stdout)


def _arguments(values: tuple[Any, ...]) -> tuple[Argument, ...]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, str | int | float | Path):
            raise TypeError(
                f"{value!r} is not an argument of a command: give a str, an int, a float or a Path"
            )
        if "\0" in str(value):
            raise ValueError(f"{value!r} is not an argument of a command: it holds a NUL character")
    return tuple(values)


class _Runnable:
    """What Command and Pipeline share."""

    def _parts(self) -> tuple[Command, ...]:
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, Completed]:
        return self._run(None).__await__()

    def __or__(self, other: Command | Pipeline) -> Pipeline:
        if not isinstance(other, _Runnable):
            return NotImplemented
        return Pipeline(self._parts() + other._parts())

    async def text(self) -> str:
        """Run and return what is written to stdout, decoded as UTF-8; for outputs that fit in memory."""
        if self._parts()[-1].stdout is not None:
            raise ValueError("text() of a command whose stdout is a file: read the file")
        with tempfile.TemporaryFile(dir=current_session().folder) as output:
            await self._run(output)
            output.seek(0)
            return output.read().decode("utf-8", "replace")

    async def _run(self, output: IO[bytes] | None) -> Completed:
        session, parts = current_session(), self._parts()
        stages = [part._stage(session) for part in parts]
        with contextlib.ExitStack() as files:
            source = files.enter_context(_opened(parts[0].stdin, session, "rb", stages[0].label))
            sink = output or files.enter_context(_opened(parts[-1].stdout, session, "wb", stages[-1].label))
            return await run_stages(
                stages,
                session,
                **({"stdin": source.fileno()} if source else {}),
                stdout=sink.fileno() if sink else None,
            )


@frozen
class Command(_Runnable):
    """A tool and its arguments. Awaiting it runs it, each time anew; `a | b` joins commands to a pipeline.

    Arguments are never seen by a shell. Paths become relative to the workspace. Without `stdout` what the
    tool prints goes to the log. Raises ToolError when the tool fails.
    """

    tool: Tool
    args: tuple[Argument, ...] = field(converter=_arguments)
    stdin: Path | None = None
    stdout: Path | None = None

    def _parts(self) -> tuple[Command, ...]:
        return (self,)

    def _stage(self, session: Session) -> Stage:
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
class Pipeline(_Runnable):
    """Commands joined by pipes; any failing one fails all, and the error is that of the one to blame."""

    commands: tuple[Command, ...]

    def __attrs_post_init__(self) -> None:
        if any(command.stdin is not None for command in self.commands[1:]):
            raise ValueError("only the first command of a pipeline can read its stdin from a file")
        if any(command.stdout is not None for command in self.commands[:-1]):
            raise ValueError("only the last command of a pipeline can write its stdout to a file")

    def _parts(self) -> tuple[Command, ...]:
        return self.commands


def expect(path: str | Path, by: str) -> Path:
    """Return the path of an output after checking that it is there and not empty.

    Raises:
        ToolError: `by` (a tool, as in "samtools sort") wrote nothing there.
    """
    path = Path(path)
    if not path.is_absolute():
        path = current_session().folder / path
    try:
        empty = not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0
    except FileNotFoundError:
        state = "does not exist"
    else:
        if not empty:
            return path
        state = "is empty"
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


@contextlib.contextmanager
def _opened(path: Path | None, session: Session, mode: str, label: str) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    inside = session.folder / session.relative(Path(path))
    try:
        file = open(inside, mode)  # noqa: SIM115 - the error is about opening alone
    except OSError as error:
        raise ToolError(
            f"{label}: cannot open {inside.name!r} as its "
            f"{'stdin' if 'r' in mode else 'stdout'}: {error.strerror}"
        ) from error
    with file:
        yield file
