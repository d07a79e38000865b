"""Commands that messages name for people, as the calls of tools that do the same for an agent."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from stargazer.mcp.cli import VERBS

__all__ = ["for_clients"]

Call: TypeAlias = tuple[str, Mapping[str, Any]]

FOR_PEOPLE = "(a person can run it)"
COMMAND = re.compile(rf"`stargazer ([a-z]+)([^`\n]*)`(?! on the command line)(?! {re.escape(FOR_PEOPLE)})")
"""Not where it is said already whose it is: a text may come here twice."""
PAIR = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
WITH_VALUE = ("--sha256", "--md5")
OPTIONS: Mapping[str, tuple[str, ...]] = {"add": ("--samplesheet", *WITH_VALUE), "rm": ("--all",)}
"""That a tool has, too; with any other it is for people."""

OF_RUN: Mapping[str, Mapping[str, Any]] = {"show": {}, "watch": {"wait_s": 50}, "logs": {"logs": "all"}}


def for_clients(text: str) -> str:
    """A text with calls of tools in the place of the commands that it names; of what no tool does, it says so."""
    return COMMAND.sub(_translated, text)


def _translated(command: re.Match[str]) -> str:
    verb = command[1]
    try:
        words = [word for word in shlex.split(command[2]) if word != "..."]
    except ValueError:  # a quote that is not closed
        return command[0]
    if verb not in VERBS:
        return command[0]
    calls = _calls(verb, words)
    if calls is None:
        return f"{command[0]} {FOR_PEOPLE}"
    return " and ".join(f"`{_written(*call)}`" for call in calls)


def _written(tool: str, arguments: Mapping[str, Any]) -> str:
    return f"{tool} {json.dumps(arguments, ensure_ascii=False)}" if arguments else tool


def _calls(verb: str, words: Sequence[str]) -> list[Call] | None:
    """The calls that do what a command does; None where no tool does."""
    options, plain, pairs = {}, [], []
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            options[word] = next(rest, "") if word in WITH_VALUE else ""
        elif pair := PAIR.fullmatch(word):
            pairs.append((pair[1], pair[2]))
        else:
            plain.append(word)
    if not options.keys() <= {*OPTIONS.get(verb, ())}:
        return None
    match verb, plain:
        case "add", []:
            return [("upload_file", {})]
        case "add", files:
            more: dict[str, Any] = {"metadata": dict(pairs)} if pairs else {}
            more |= {"samplesheet": True} if "--samplesheet" in options else {}
            more |= {"checksum": sums[0]} if (sums := [*filter(None, options.values())]) else {}
            return [("upload_file", {"source": files[0] if len(files) == 1 else files, **more})]
        case "amend", names:
            metadata = {key: value or None for key, value in pairs}
            return [("update_file", {"id": name, "metadata": metadata}) for name in names] or [
                ("update_file", {})
            ]
        case "rm", names:
            return [("delete_file", {"id": name}) for name in names] or [("delete_file", {})]
        case "get", names:
            return [("download_file", {"cid": name, "folder": "FOLDER"}) for name in names] or [
                ("download_file", {})
            ]
        case "query", []:
            return [("query_files", {"filters": _any_of(pairs)} if pairs else {})]
        case "run", [name]:
            return [("run_workflow", {"name": name, "arguments": dict(pairs)})]
        case "run", []:
            return [("list_tasks", {"kind": "workflow"})]
        case "runs", []:
            return [("list_runs", {})]
        case "runs", [("cancel" | "resume") as action, run]:
            return [(f"{action}_run", {"run_id": run})]
        case "runs", [("show" | "watch" | "logs") as action, run, *_]:
            return [("get_run", {"run_id": run, **OF_RUN[action]})]
        case "why", [cid]:
            return [("why", {"cid": cid})]
        case "diff", [cid, other]:
            return [("why", {"cid": cid, "other": other})]
        case "stale", [cid]:
            return [("why", {"cid": cid, "stale": True})]
        case "claims", _:
            return [("check_claims", {})]
        case "bundle", ["list"]:
            return [("bundles", {})]
        case "bundle", ["fetch", name]:
            return [("bundles", {"fetch": name})]
        case "why" | "diff" | "stale", []:
            return [("why", {})]
    return None


def _any_of(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Pairs as filters: a key that is there several times means any of its values."""
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}
