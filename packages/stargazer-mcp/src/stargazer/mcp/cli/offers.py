"""What a word of a command line may be: workflows, runs, keys and values of records, files, by the kind of word."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

__all__ = ["SOURCES", "Line", "Offer", "actions_of"]

CID = re.compile(r"(baf|Qm)\w*")
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


def actions_of(verb: str) -> Mapping[str, tuple[Any, set[str]]]:
    """The actions of a verb, with the options that each takes."""
    from stargazer.mcp.cli import module_of

    found: Mapping[str, tuple[Any, set[str]]] = getattr(sys.modules[module_of(verb)], "ACTIONS", {})
    return found


def _actions(line: Line) -> Iterable[Offer]:
    return [] if line.plain else [(action, "") for action in actions_of(line.verb) if action]


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


def _notebooks(line: Line) -> Iterable[Offer]:
    from stargazer.mcp.gallery import notebooks

    return [] if line.plain else [(each.name, each.title) for each in notebooks()]


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
    "notebooks": _notebooks,
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
