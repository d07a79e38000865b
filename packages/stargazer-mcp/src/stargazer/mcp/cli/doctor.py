"""`stargazer doctor`: checks Python, distributions, settings, the store, the machine and tools."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from importlib import metadata
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

import attrs
from stargazer import storage
from stargazer.assets import StargazerError, ToolError
from stargazer.mcp.cli.console import WIDTH, Parser, count, note, print_json, print_text

if TYPE_CHECKING:
    from stargazer.storage import Settings
    from stargazer.tasks import Library, Tool

__all__ = ["Finding", "doctor", "examine"]

MARKS = {"ok": "ok      ", "optional": "optional", "low": "low     ", "broken": "BROKEN  "}
DISTRIBUTIONS = [f"stargazer-{layer}" for layer in ("assets", "storage", "tasks", "workflows", "mcp")]
LITTLE_SPACE = 5e9  # bytes
DEFAULT = "germline_short_variant_discovery"  # has to run where there is nothing but wheels
ON_REQUEST = {"align.align_with_bwa", "index.index_with_bwa", "index.index_with_bwa_mem2"}
"""Tasks that the default workflow calls only where an argument asks for them: its code does not tell which."""
GATK = "gatk."
"""Begins the names of the tasks that it calls only where GATK is installed."""


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes:
        state: `broken` makes the command fail; `optional` is something missing that not everybody needs; `low` is
            what may run out.
        remedy: what to do about it.
        details: of a tool: version, source, whether the default workflow needs it, the workflows and tasks that do.
    """

    topic: str
    name: str
    text: str
    state: Literal["ok", "optional", "low", "broken"] = "ok"
    remedy: str = ""
    details: Mapping[str, Any] = {}


def doctor(argv: Sequence[str]) -> int:
    """Check this installation."""
    parser = Parser(
        "doctor",
        "[--json]",
        "Check this installation: Python, distributions, settings, the store, tools.\n"
        f"Exit status 1 if {DEFAULT} could not run, or something else is broken; nothing is changed.",
        "  stargazer doctor\n  stargazer doctor --json",
        {"--json": "print the findings as JSON"},
    )
    words = parser.sort(argv)
    parser.no_words(words, "doctor takes no words")
    findings = examine()
    if words.options.json:
        print_json([attrs.asdict(finding) for finding in findings])
    else:
        for topic, group in itertools.groupby(findings, key=lambda finding: finding.topic):
            print_text(topic)
            for (remedy, details), alike in itertools.groupby(group, key=_shared):
                for finding in alike:
                    print_text(f"  {MARKS[finding.state]}  {finding.name:20} {finding.text}")
                for what, names in details:
                    text = f"{what}: {', '.join(names)}"
                    print_text(fill(text, WIDTH, initial_indent=" " * 14, subsequent_indent=" " * 16))
                if remedy:
                    print_text(f"              -> {remedy}")
    broken = [finding.name for finding in findings if finding.state == "broken"]
    if broken:
        note(f"stargazer: {count(len(broken), 'thing')} broken: {', '.join(broken)}")
    return 1 if broken else 0


def _shared(finding: Finding) -> tuple[str, list[tuple[str, Sequence[str]]]]:
    """What is said once of all tools for which it is the same: the remedy, the workflows and tasks that need them."""
    return finding.remedy, [
        (what, finding.details[what]) for what in ("workflows", "tasks") if finding.details
    ]


def examine() -> list[Finding]:
    """Everything there is to say about this installation; nothing is changed by it."""
    found = [*_python(), *_distributions()]
    try:
        settings = storage.Settings.load()
    except StargazerError as error:
        remedy = "correct the variable or the file"
        return [*found, Finding("settings", "settings", str(error), "broken", remedy)]
    found += _settings(settings)
    for topic, check in (("store", _store), ("machine", _machine), ("tools", _tools)):
        try:
            found += list(check(settings))
        except Exception as error:
            what, remedy = f"{type(error).__name__}: {error}", "reinstall: pip install stargazer-mcp"
            found.append(Finding(topic, topic, what, "broken", remedy))
    return found


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding("python", "Python", f"{version} at {sys.executable}", "ok" if good else "broken",
                  "" if good else "use Python 3.11 or newer")  # fmt: skip
    yield Finding("python", "platform", f"{platform.system()} {platform.release()} {platform.machine()}")


def _distributions() -> Iterator[Finding]:
    for name in DISTRIBUTIONS:
        try:
            yield Finding("distributions", name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding("distributions", name, "not installed", "broken", f"pip install {name}")
    for place in _foreign():
        yield Finding(
            "distributions", "stargazer", f"another project's package, at {place}: it breaks our imports", "broken",
            "pip uninstall stargazer, then pip install --force-reinstall --no-deps " + " ".join(DISTRIBUTIONS),
        )  # fmt: skip


def _foreign() -> list[str]:
    """Where somebody else's `stargazer` is: ours has no `__init__.py` at its top."""
    places = [
        str(init) for folder in sys.path if (init := Path(folder) / "stargazer" / "__init__.py").is_file()
    ]
    if not places:
        with contextlib.suppress(metadata.PackageNotFoundError):
            places.append(f"distribution stargazer {metadata.version('stargazer')}")
    return places


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding("settings", "why this mode", settings.mode_reason)
    if settings.mode == "cloud" and not settings.pinata_jwt:
        yield Finding("settings", "cloud", "cloud mode keeps files on Pinata, and PINATA_JWT is not set", "broken",
                      "set PINATA_JWT to a token of your account, or STARGAZER_MODE=local")  # fmt: skip
    for name, source in settings.origins.items():
        value = settings.shown(name)
        if name == "home" and (reason := _unusable(settings.home)):
            remedy = "ask its owner, or set STARGAZER_HOME to a folder of yours"
            yield Finding("settings", name, f"{value}  [{source}]: {reason}", "broken", remedy)
        else:
            yield Finding("settings", name, f"{value}  [{source}]")


def _unusable(folder: Path) -> str:
    """Why a folder cannot be made or written; empty if it can."""
    there = _nearest(folder)
    if not there.is_dir():
        return f"{there} is no folder"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written"


def _nearest(folder: Path) -> Path:
    """A folder, or of those above it the nearest that exists."""
    return next(path for path in [folder, *folder.parents] if os.path.exists(path))


def _store(settings: Settings) -> Iterator[Finding]:
    from stargazer.storage import LocalStorageClient

    store = LocalStorageClient(settings.local, index=settings.index).store
    there = _nearest(store.root)
    if reason := _unusable(store.root):
        yield Finding("store", "folder", f"{store.root}: {reason}", "broken",
                      "ask its owner, or set STARGAZER_LOCAL to a folder of yours")  # fmt: skip
    else:
        made = "" if there == store.root else " (made at first use)"
        yield Finding("store", "folder", f"{store.root}{made}")
    free = shutil.disk_usage(there).free
    yield Finding("store", "free space", f"{free / 1e9:.1f} GB on {_filesystem(there)}",
                  *(("ok", "") if free > LITTLE_SPACE else ("low", "free some space")))  # fmt: skip
    index = store.index_path
    if index.parent != store.root:
        yield Finding("store", "index", str(index))
    store.is_checked = True  # it is said below
    if reason := store.doubt():
        yield Finding("store", "index", reason, "broken", "stargazer fsck")
    elif os.path.exists(index):  # else a look would make it
        yield Finding("store", "records", f"{len(store.query({})):,}")


def _filesystem(folder: Path) -> str:
    """The type of a folder's filesystem, where the system tells (Linux)."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return "this filesystem"
    real = folder.resolve()
    here = [mount for mount in mounts if real.is_relative_to(mount[1].encode().decode("unicode_escape"))]
    return max(here, key=lambda mount: len(mount[1]))[2] if here else "this filesystem"


def _machine(settings: Settings) -> Iterator[Finding]:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield Finding("machine", "cores", f"{settings.cores} given to tasks, of {os.cpu_count()}")
    memory = f"{settings.memory / 1e9:.1f} GB given to tasks, of {total / 1e9:.1f} GB"
    yield Finding("machine", "memory", memory)


def _tools(settings: Settings) -> Iterator[Finding]:
    from stargazer.tasks.execution import TASKS, tasks_called
    from stargazer.workflows import entries, germline_short_variant_discovery

    workflows = {entry.name: tasks_called(entry.call) for entry in entries() if entry.kind == "workflow"}
    called = tasks_called(germline_short_variant_discovery) - ON_REQUEST
    default = {name for name in called if not name.startswith(GATK)}
    tools: dict[str, Tool | Library] = {}
    for tool in (tool for task in TASKS.values() for tool in task.tools):
        if tool.name not in tools or not getattr(tool, "extra", ""):  # in an extra for some tasks alone
            tools[tool.name] = tool
    found = [_tool(tool, default, workflows) for tool in tools.values()]
    first: dict[str, str] = {}  # of those that the same tasks need, which are told together
    for finding in found:
        tasks = str(finding.details["tasks"])
        first[tasks] = min(first.get(tasks, finding.name), finding.name)
    yield from sorted(
        found, key=lambda finding: (first[str(finding.details["tasks"])], finding.remedy, finding.name)
    )
    for line in metadata.requires("stargazer-tasks") or ():  # what runs the tools imports more than these
        package = re.split(r"[^\w.-]", line)[0]
        if ";" not in line and package not in tools and not any(metadata.distributions(name=package)):
            yield Finding("packages", package, "not found; tools need it", "broken", f"pip install '{line}'")


def _tool(tool: Tool | Library, default: Set[str], workflows: Mapping[str, Set[str]]) -> Finding:
    """Where a tool is, and what needs it.

    Args:
        default: the tasks of the default workflow.
        workflows: the tasks of each.
    """
    from stargazer.tasks.execution import TASKS

    tasks = {name for name, task in TASKS.items() if tool.name in {each.name for each in task.tools}}
    essential = bool(tasks & default)
    version = source = remedy = ""
    try:
        found = tool.resolve()
        version, source, text = found.version, found.source, f"{found.version} ({found.source})"
        if absent := _to_be_brought(tool, found.source):
            text, remedy = f"{text}; {absent} at first use", f"stargazer install {tool.name}"
    except Exception as error:  # a source of somebody else may raise anything
        text, remedy = _missing(tool, error)
    return Finding(
        "tools", tool.name, text + (f"; {DEFAULT} needs it" if essential else ""),
        "ok" if source else "broken" if essential else "optional", remedy,
        {"version": version, "source": source, "essential": essential,
         "workflows": [name for name, called in workflows.items() if called & tasks],
         "tasks": sorted({name.rpartition(".")[2] for name in tasks})},
    )  # fmt: skip


def _to_be_brought(tool: Tool | Library, source: str) -> str:
    """What of a tool is not here yet; empty if all is."""
    from stargazer.tasks import Maven, Tool

    for maven in tool.sources if isinstance(tool, Tool) and source.startswith("maven ") else ():
        jars = maven.jars(tool.name) if isinstance(maven, Maven) else None
        if jars is not None and (absent := jars.absent()):
            return f"{sum(jar.size for jar in absent) / 1e6:.0f} MB are downloaded"
    return ""


def _missing(tool: Tool | Library, error: Exception) -> tuple[str, str]:
    """Why a tool cannot be used, and the one command that adds it: pip's with the extra or version that we require."""
    from stargazer.tasks import Library, Maven, OnPath, Wheel

    reason, *places = str(error).splitlines() or [repr(error)]
    if not isinstance(error, ToolError):
        return reason, ""
    source = tool if isinstance(tool, Library) else tool.ordered()[0]
    reason = "not found" if places or source is tool else reason
    if not isinstance(source, Library | Maven | Wheel):
        return reason, source.remedy if isinstance(source, OnPath) else source.describe()
    wanted = source.distribution or source.name if isinstance(source, Library) else source.requirement
    for line in [line for ours in DISTRIBUTIONS for line in metadata.requires(ours) or ()]:
        requirement, _, condition = line.partition(";")
        if re.split(r"[^\w.-]", requirement)[0] == wanted.partition("==")[0]:
            extra = re.search("extra == '(.+)'", condition)
            wanted = f"stargazer-mcp[{extra[1]}]" if extra else requirement
    if isinstance(source, Library) and source.extra:  # which may bring it by what it brings
        wanted = f"stargazer-mcp[{source.extra}]"
    return reason, f"pip install '{wanted}'"
