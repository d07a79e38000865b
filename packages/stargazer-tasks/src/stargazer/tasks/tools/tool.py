"""A tool: what it is called, where it may come from, and how to make a command of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import field, frozen
from stargazer.assets import ConfigurationError, ToolError
from stargazer.tasks.tools.command import Argument, Command
from stargazer.tasks.tools.pipelines import useful_line
from stargazer.tasks.tools.sources import ResolvedTool, Source

__all__ = ["Tool"]

VARIABLE = "STARGAZER_TOOLS"


@frozen
class Tool:
    """An external program; calling it makes a command, awaiting the command runs it.

        await samtools("index", "-@", session.threads, bam)
        await (bwa("mem", reference, reads) | samtools("sort", "-o", bam, "-"))

    Sources are tried in order. STARGAZER_TOOLS (`bwa-mem2=path,samtools=path`) or the mapping given to
    `resolve` moves the sources of one kind to the front. `useful_line` picks the line of stderr that an error
    shows first.
    """

    name: str
    sources: tuple[Source, ...]
    useful_line: Callable[[str], str | None] = field(default=useful_line, kw_only=True, eq=False)

    def __call__(
        self, *args: Argument | None, stdin: Path | None = None, stdout: Path | None = None
    ) -> Command:
        """Return the command with these arguments; `stdin` and `stdout` redirect from and to files."""
        return Command(tool=self, args=args, stdin=stdin, stdout=stdout)

    def resolve(self, preferred: Mapping[str, str] | None = None) -> ResolvedTool:
        """Return this tool as found on this machine; starts no process for a pinned wheel.

        Raises:
            ToolError: no source has it, or one has a version that is not accepted.
            ConfigurationError: it is preferred from a kind of source that it does not have.
        """
        if preferred is None:
            preferred = _preferences(os.environ.get(VARIABLE, ""))
        sources = self._ordered(preferred.get(self.name))
        for source in sources:
            resolved = source.find(self.name)
            if resolved is not None:
                return resolved
        looked = "\n".join(f"  - {source.describe()}" for source in sources)
        raise ToolError(f"{self.name} was not found. Any one of these gives it:\n{looked}")

    def _ordered(self, kind: str | None) -> list[Source]:
        if kind is None:
            return list(self.sources)
        if kind not in (kinds := [source.kind for source in self.sources]):
            raise ConfigurationError(
                f"{VARIABLE} asks for {self.name} from {kind!r}; it can come from: {', '.join(kinds)}"
            )
        return sorted(self.sources, key=lambda source: source.kind != kind)


def _preferences(text: str) -> dict[str, str]:
    preferred = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, kind = (part.strip() for part in item.partition("="))
        if not (name and equals and kind):
            raise ConfigurationError(
                f"{VARIABLE}={text!r}: expected name=kind, as in samtools=path, not {item!r}"
            )
        preferred[name] = kind
    return preferred
