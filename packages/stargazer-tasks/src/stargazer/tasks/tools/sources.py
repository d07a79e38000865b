"""Where a tool or a Python package comes from, and its version: a pinned wheel, an executable on PATH."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from attrs import field, frozen
from stargazer.assets import ConfigurationError, ToolError

__all__ = [
    "ENGINES",
    "VARIABLE",
    "Library",
    "OnPath",
    "Progress",
    "ResolvedTool",
    "Source",
    "Wheel",
    "installed_version",
    "launched",
    "preferences",
    "python_command",
    "python_environment",
]

ENGINES = Path(__file__).with_name("engines")
"""The folder of the stand-alone scripts that run an engine of a wheel in a child process."""

VARIABLE = "STARGAZER_TOOLS"
Progress: TypeAlias = Callable[[str, int, int | None], object]
"""Told a file's name, its bytes that are here, and those in all where known."""

_VERSION_TIMEOUT = 60  # seconds; a JVM on a cold network disk is slow, a program waiting for input never ends


@frozen
class ResolvedTool:
    """A tool as found on this machine.

    `version` is what the engine calls itself; `source` says where it came from without a local path
    (`wheel pysam==0.24.1`, `PATH`): both belong in provenance. `argv` starts the tool and stays on this
    machine, as does `environment`, which is added to that of its processes. `script` is what of ours runs the
    engine of a wheel; its code counts like a version. `install`, where there is one, brings what of the tool is not
    here yet, which may take long; it is given whom to tell of each file: its name, bytes that are here, bytes in all.
    """

    name: str
    version: str
    source: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(factory=dict)
    script: Path | None = None
    install: Callable[[Progress], object] | None = field(default=None, eq=False, repr=False)


class Source(Protocol):
    """One way to get a tool."""

    @property
    def kind(self) -> str:
        """The word that prefers this source in STARGAZER_TOOLS: `wheel`, `maven`, `path`."""

    def find(self, name: str) -> ResolvedTool | None:
        """Return the tool, None if this source has it not; raise ToolError if it is a wrong one."""

    def describe(self) -> str:
        """Return where this source looked and how to get the tool there, for the error message."""


@frozen
class Wheel:
    """An engine in a wheel pinned to one version, run by a script of ours in a child process.

    `script` is the name of a file in `engines/`, or any path; it gets the tool's arguments, after its name
    where the wheel carries `several` tools.
    `engine_version` is what the engine calls itself when that differs from the wheel's version.
    """

    distribution: str
    script: str
    version: str
    engine_version: str | None = None
    several: bool = False
    kind: str = field(default="wheel", init=False)

    @property
    def requirement(self) -> str:
        """The pin as pip reads it."""
        return f"{self.distribution}=={self.version}"

    def find(self, name: str) -> ResolvedTool | None:
        """Return the tool if the wheel is installed; raise ToolError if another version of it is."""
        installed = installed_version(self.distribution)
        if installed is None:
            return None
        if installed != self.version:
            raise ToolError(
                f"{name} needs {self.requirement}, but version {installed} is installed: results would not "
                f"be comparable. Reinstall it: pip install '{self.requirement}'"
            )
        script = ENGINES / self.script
        return ResolvedTool(
            name=name,
            version=self.engine_version or self.version,
            source=f"wheel {self.requirement}",
            argv=(*python_command(), "-S", str(script), *([name] if self.several else [])),
            environment=python_environment(),
            script=script,
        )

    def describe(self) -> str:
        """Return the pin and the command that installs it."""
        return f"the wheel {self.requirement} is not installed: pip install '{self.requirement}'"


@frozen
class OnPath:
    """An executable on PATH, whose version is asked from the program itself.

    `version_pattern` is a regular expression whose first group is the version in what `version_args` print.
    `minimum` is the oldest version accepted, `hint` the command that installs the tool, or several, parted by `, or `.
    """

    executable: str
    version_args: tuple[str, ...] = ("--version",)
    version_pattern: str = r"(\d+(?:\.\d+)+)"
    minimum: str | None = None
    hint: str = ""
    kind: str = field(default="path", init=False)

    @property
    def remedy(self) -> str:
        """The command of `hint` whose program is on PATH, else its first."""
        commands = self.hint.split(", or ")
        return next((each for each in commands if shutil.which(each.partition(" ")[0])), commands[0])

    def find(self, name: str) -> ResolvedTool | None:
        """Return the tool if PATH has it; raise ToolError if it is too old or does not tell its version."""
        found = shutil.which(self.executable)
        if found is None:
            return None
        executable = os.path.abspath(found)
        state = os.stat(executable)
        version = _reported_version(
            executable, (state.st_mtime_ns, state.st_size), self.version_args, self.version_pattern
        )
        if self.minimum is not None and _numbers(version) < _numbers(self.minimum):
            raise ToolError(
                f"{executable} is version {version}, but {name} needs {self.minimum} or newer"
                + (f": {self.hint}" if self.hint else "")
            )
        return ResolvedTool(name=name, version=version, source="PATH", argv=launched(executable))

    def describe(self) -> str:
        """Return the name looked for on PATH and how to install it."""
        return f"no {self.executable} on PATH" + (f": {self.hint}" if self.hint else "")


@frozen
class Library:
    """An installed Python package, named as it is imported; `distribution` when PyPI calls it otherwise.

    `extra` is the extra of stargazer-tasks, and of what is above it, that brings the package.
    """

    name: str
    distribution: str = ""
    extra: str = ""

    def resolve(self) -> ResolvedTool:
        """Its version, without importing it.

        Raises:
            ToolError: it is not installed.
        """
        distribution = self.distribution or self.name
        version = installed_version(distribution)
        if version is None:
            wanted = f"'stargazer-mcp[{self.extra}]'" if self.extra else distribution
            raise ToolError(f"the Python package {distribution} is not installed: pip install {wanted}")
        return ResolvedTool(name=self.name, version=version, source="Python package", argv=())


def launched(executable: str) -> tuple[str, ...]:
    """Return an argv that starts a program that ends with us, even on kill -9 (on Linux only)."""
    if sys.platform != "linux":
        return (executable,)
    return (sys.executable, "-I", "-S", str(ENGINES / "launch.py"), executable)


def python_command() -> tuple[str, ...]:
    """Return this interpreter with the options of every child: UTF-8, sys.path as python_environment says."""
    return (sys.executable, "-P", "-s", "-X", "utf8")


def python_environment() -> dict[str, str]:
    """Return the variables that give a child interpreter our sys.path (user site and .pth files included)."""
    folders = [os.path.abspath(folder) for folder in sys.path if folder and os.path.exists(folder)]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(folders)), "PYTHONHASHSEED": "0"}


@functools.cache
def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, without importing it; None if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _reported_version(executable: str, state: tuple[int, int], args: tuple[str, ...], pattern: str) -> str:
    """Run the program once for each state (mtime in ns, size) of its file."""
    command = f"{executable} {' '.join(args)}".rstrip()
    try:
        done = subprocess.run(
            [executable, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_VERSION_TIMEOUT,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"cannot ask {command!r} for its version: {error}") from error
    text = done.stdout.decode("utf-8", "replace")
    match = re.search(pattern, text)
    if match is None:
        raise ToolError(f"{command!r} does not tell its version: it printed {text[:200]!r}, not {pattern!r}")
    return match.group(1)


def preferences() -> dict[str, str]:
    """The kind of source by tool, as STARGAZER_TOOLS asks for it.

    Raises:
        ConfigurationError: the variable cannot be read.
    """
    preferred, text = {}, os.environ.get(VARIABLE, "")
    for item in filter(None, map(str.strip, text.split(","))):
        name, _, kind = (part.strip() for part in item.partition("="))
        if not (name and kind):
            raise ConfigurationError(
                f"{VARIABLE}={text!r}: expected name=kind, as in samtools=path, not {item!r}"
            )
        preferred[name] = kind
    return preferred


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
