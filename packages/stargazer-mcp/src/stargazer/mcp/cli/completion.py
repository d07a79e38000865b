"""`stargazer completion`: prints what completes words in bash, zsh and fish, and answers what may come next."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from stargazer.mcp.cli.console import Parser, ParserFound, escaped

__all__ = ["completion", "offered", "parser_of"]

SHELLS = {"bash": "stargazer.bash", "zsh": "stargazer.zsh", "fish": "stargazer.fish"}
TAKES: dict[str, tuple[str, ...]] = {
    "demo": ("scrna",),
    "add": ("fields", "files"),
    "samplesheet": ("folders",),
    "query": ("pairs",),
    "get": ("pairs", "cids", "files"),
    "amend": ("fields", "cids", "files"),
    "rm": ("pairs", "cids"),
    "why": ("pairs", "cids", "files"),
    "diff": ("cids", "files"),
    "stale": ("pairs", "tasks", "cids", "files"),
    "claims": ("files",),
    "supersede": ("cids", "files"),
    "run": ("workflows", "arguments"),
    "runs": ("actions",),
    **dict.fromkeys(
        (f"runs {action}" for action in ("show", "logs", "watch", "cancel", "resume", "rm")), ("runs",)
    ),
    "push": ("pairs", "cids"),
    "pull": ("pairs", "cids"),
    "verify": ("pairs", "cids"),
    "evict": ("pairs", "cids"),
    "replay": ("bundles", "files"),
    "bundle": ("actions",),
    "bundle make": ("pairs", "cids"),
    **dict.fromkeys((f"bundle {action}" for action in ("show", "fetch", "verify")), ("bundles", "files")),
    "install": ("tools",),
    "completion": tuple(SHELLS),
    "mcp": ("clients",),
}
"""What words of a verb, or of one of its actions, may be: what a function of `SOURCES` offers, or the word itself."""
STANDS_FOR = {"SHEET": "files", "DIR": "folders", "FOLDER": "folders", "TASK": "tasks", "RUN": "runs",
              "key=value": "pairs"}  # fmt: skip
"""The same by what the value of an option is called."""
PLAIN = re.compile(r"[\w.:+@%/,=-]+")
"""Words that no shell takes for something else; others are not offered."""
CID = re.compile(r"(baf|Qm)\w*")
ABOUT = 70  # characters of what is said beside a word
NEWEST = 20  # runs that are offered

Offer: TypeAlias = tuple[str, str]
"""A word and what is said of it; `:files` and `:folders` leave it to the shell."""


class Line(NamedTuple):
    """A command line of which a word is being written.

    Attributes:
        verb: its verb.
        plain: the words before this one that are neither options nor values of them.
        current: what there is of the word.
    """

    verb: str
    plain: list[str]
    current: str

    @property
    def pair(self) -> tuple[str, str, str]:
        """Of a word that is becoming a pair: its key, the members of the list so far, and what there is of the next."""
        key, _, value = self.current.partition("=")
        head, comma, begin = value.rpartition(",")
        return key, head + comma, begin


def completion(argv: Sequence[str]) -> int | None:
    """Print the script of a shell, or what may come next."""
    parser = Parser(
        "completion",
        "bash | zsh | fish",
        "Print what has a shell complete verbs, options, workflows and their arguments, runs, keys and values.\n"
        "It asks this command while you write, which changes and sends nothing.",
        "  source <(stargazer completion bash)      # in ~/.bashrc\n"
        "  source <(stargazer completion zsh)       # in ~/.zshrc, after compinit\n"
        "  stargazer completion fish > ~/.config/fish/completions/stargazer.fish",
        {"--offer": {"action": "store_true", "help": argparse.SUPPRESS}},
    )
    words = parser.sort(argv)
    if words.options.offer:
        for word, about in offered(words.plain):
            sys.stdout.write(f"{word}\t{escaped(about)[:ABOUT]}\n")
        return None
    if len(words.plain) != 1 or words.plain[0] not in SHELLS or words.pairs:
        parser.error(f"say for which shell: {', '.join(SHELLS)}")
    sys.stdout.write((Path(__file__).parent / "shells" / SHELLS[words.plain[0]]).read_text())
    return None


def offered(words: Sequence[str]) -> list[Offer]:
    """What may come next.

    Args:
        words: those after the command, with what there is of the one that is being written, which may be empty.
    """
    from stargazer.mcp.cli import VERBS

    *before, current = words or [""]
    found: Iterable[Offer] = ()
    if not before:
        found = [*VERBS.items(), ("--help", ""), ("--version", "")]
    elif before[0] in VERBS:
        found = _of_verb(before[0], before[1:], current)
    begins = [(word, about) for word, about in found if word.startswith((":", current))]
    return [(word, about) for word, about in dict(begins).items() if PLAIN.fullmatch(word)]


def _of_verb(verb: str, before: Sequence[str], current: str) -> Iterator[Offer]:
    if "--" in before:
        yield ":files", ""
        return
    parser = parser_of(verb)
    flags = {flag: action for action in parser.flags for flag in action.option_strings} if parser else {}
    line, awaited = Line(verb, [], current), None
    for word in before:
        if awaited is not None:
            awaited = None
        elif word in flags:
            awaited = flags[word] if flags[word].nargs != 0 else None
        elif not word.startswith("-"):
            line.plain.append(word)
    name, is_value, value = current.partition("=")
    if awaited is not None:
        yield from _values_of(awaited, line)
    elif is_value and name in flags:
        for word, about in _values_of(flags[name], line._replace(current=value)):
            yield (word if word.startswith(":") else f"{name}={word}"), about
    elif current.startswith("-"):
        yield from _options(verb, line, {flag for flag in flags if flag not in before}, flags)
    else:
        of = f"{verb} {line.plain[0]}" if line.plain and _actions_of(verb) else verb
        for source in TAKES.get(of, ()):
            yield from SOURCES[source](line) if source in SOURCES else ([] if line.plain else [(source, "")])


def parser_of(verb: str) -> Parser | None:
    """What the words of a verb are read with."""
    Parser.asked = True
    try:
        getattr(importlib.import_module(f"stargazer.mcp.cli.{verb}"), verb)([])
    except ParserFound as found:
        return found.parser
    finally:
        Parser.asked = False
    return None


def _options(
    verb: str, line: Line, left: Iterable[str], flags: Mapping[str, argparse.Action]
) -> Iterator[Offer]:
    """The options that were not given yet; of a verb with actions, those of the action."""
    actions = _actions_of(verb)
    taken = actions.get(line.plain[0] if line.plain else "", (None, None))[1] if actions else None
    for flag in flags:
        action = flags[flag]
        is_taken = taken is None or action.dest in taken or action.dest in ("help", "json")
        if flag in left and is_taken and action.help != argparse.SUPPRESS:
            yield flag, action.help or ""


def _values_of(action: argparse.Action, line: Line) -> Iterable[Offer]:
    """What the value of an option may be."""
    if action.choices is not None:
        return [(str(choice), "") for choice in action.choices]
    source = STANDS_FOR.get(str(action.metavar))
    return SOURCES[source](line._replace(plain=[])) if source else ()


def _actions_of(verb: str) -> Mapping[str, tuple[Any, set[str]]]:
    """The actions of a verb, with the options that each takes."""
    found: Mapping[str, tuple[Any, set[str]]] = getattr(
        sys.modules[f"stargazer.mcp.cli.{verb}"], "ACTIONS", {}
    )
    return found


# what words may be


def _actions(line: Line) -> Iterable[Offer]:
    return [] if line.plain else [(action, "") for action in _actions_of(line.verb) if action]


def _pairs(line: Line) -> Iterable[Offer]:
    """Keys and values that records have."""
    from stargazer.storage import known_keys

    return _values(line) if "=" in line.current else [(f"{key}=", "") for key in known_keys()]


def _values(line: Line) -> Iterable[Offer]:
    from stargazer.storage import known_values

    key, head, begin = line.pair
    return [(f"{key}={head}{value}", "") for value in known_values(key, begin)]


def _clients(line: Line) -> Iterable[Offer]:
    from stargazer.mcp.cli.mcp import CLIENTS

    names = [] if line.plain[1:] else CLIENTS if line.plain else ["config"]
    return [(name, "") for name in names]


def _fields(line: Line) -> Iterable[Offer]:
    """Fields of the type that is said, or of all; types; values that other records have."""
    fields: dict[str, list[str]] = _known()["fields"]
    if line.current.startswith("asset="):
        return [(f"asset={kind}", "") for kind in fields]
    if "=" in line.current:
        return _values(line)
    kinds = [word.removeprefix("asset=") for word in line.plain if word.startswith("asset=")]
    names = {name for kind in kinds or fields for name in fields.get(kind, ())}
    return [(f"{name}=", "") for name in sorted(names | {"asset"})]


def _bundles(line: Line) -> Iterable[Offer]:
    from stargazer.storage import Settings
    from stargazer.storage.bundles import known_bundles

    found = [bundle.manifest for bundle in known_bundles(Settings.load().local)]
    return [(manifest.name, manifest.description) for manifest in found]


def _cids(line: Line) -> Iterable[Offer]:
    from stargazer.storage import known_values

    return [(cid, "") for cid in known_values("cid", line.current)] if CID.fullmatch(line.current) else []


def _workflows(line: Line) -> Iterable[Offer]:
    return [] if line.plain else [(name, known["about"]) for name, known in _known()["workflows"].items()]


def _arguments(line: Line) -> Iterable[Offer]:
    """Arguments of the workflow that is named, and their values."""
    takes: dict[str, dict[str, Any]] = (
        _known()["workflows"].get(line.plain[0], {}).get("arguments", {}) if line.plain else {}
    )
    if "=" not in line.current:
        given = {word.partition("=")[0] for word in line.plain}
        return [(f"{name}=", said["about"]) for name, said in takes.items() if name not in given]
    key, head, _ = line.pair
    if choices := takes.get(key, {}).get("choices"):
        return [(f"{key}={head}{choice}", "") for choice in choices]
    return _values(line) if key in takes else []


def _tasks(line: Line) -> Iterable[Offer]:
    return [(name, about) for name, about in _known()["tasks"].items()]


def _tools(line: Line) -> Iterable[Offer]:
    return [] if line.plain else [(tool, "") for tool in _known()["tools"]]


def _runs(line: Line) -> Iterable[Offer]:
    """The newest runs with which an action has something to do; after `logs ID` its tasks."""
    from stargazer.workflows import find_run, list_runs

    action = line.plain[0] if line.plain else ""
    if len(line.plain) > 1:
        logs = find_run(line.plain[1]).logs.glob("*.log") if action == "logs" and len(line.plain) == 2 else ()
        return [(task, "") for task in sorted({path.stem.rpartition("-")[2] for path in logs})]
    meant: dict[str, Callable[[str], bool]] = {
        "cancel": lambda state: state == "running",
        "resume": lambda state: state not in ("running", "succeeded"),
        "rm": lambda state: state != "running",
    }
    runs = [run for run in list_runs(NEWEST) if meant.get(action, bool)(run.state)]
    last = [("last", "the newest one")] if line.verb == "runs" and action not in meant else []
    return [*last, *((run.id, f"{run.state} {run.workflow} {run.started[:16]}") for run in runs)]


SOURCES: dict[str, Callable[[Line], Iterable[Offer]]] = {
    "actions": _actions,
    "arguments": _arguments,
    "bundles": _bundles,
    "cids": _cids,
    "clients": _clients,
    "fields": _fields,
    "files": lambda line: [] if "=" in line.current else [(":files", "")],
    "folders": lambda line: [(":folders", "")],
    "pairs": _pairs,
    "runs": _runs,
    "tasks": _tasks,
    "tools": _tools,
    "workflows": _workflows,
}


# what takes half a second to find out, and is kept


def _known() -> dict[str, Any]:
    """Workflows, tasks, fields of types and tools of this installation: found out anew when it has changed."""
    from stargazer.storage import Settings

    path = Settings.load().home / "caches" / "completion.json"
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        known: dict[str, Any] = json.loads(path.read_bytes())
        if known["prefix"] == sys.prefix and all(
            _time(file) == time for file, time in known["times"].items()
        ):
            return known
    known = _found_out()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.part")
        temporary.write_text(json.dumps(known))
        temporary.replace(path)
    return known


def _found_out() -> dict[str, Any]:
    from stargazer import assets
    from stargazer.mcp.cli.install import brought_tools
    from stargazer.workflows import entries, surely_taken

    assets.load_asset_types()
    known = entries()
    files = {sys.modules[entry.module].__file__ for entry in known} | {__file__}
    places = [place for place in sys.path if place.endswith(("site-packages", "dist-packages"))]
    return {
        "prefix": sys.prefix,
        "times": {str(path): _time(str(path)) for path in [*places, *filter(None, files)]},
        "workflows": {
            entry.name: {
                "about": entry.summary,
                "arguments": {
                    each.name: {"about": each.text, "choices": surely_taken(each.annotation)}
                    for each in entry.parameters
                },
            }
            for entry in known
            if entry.kind == "workflow"
        },
        "tasks": {entry.name: entry.summary for entry in known if entry.kind == "task"},
        "fields": {key: list(kind.fields()) for key, kind in sorted(assets.REGISTRY.items())},
        "tools": list(brought_tools()),
    }


def _time(path: str) -> int:
    """When a file, or what is in a folder, changed."""
    return os.stat(path).st_mtime_ns
