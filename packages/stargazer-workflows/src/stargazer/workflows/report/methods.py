"""The sections of the report that say how a run was done: settings, tools, what to cite, steps, commands and files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from stargazer.workflows.report import page
from stargazer.workflows.report.citations import citations
from stargazer.workflows.report.graph import graph
from stargazer.workflows.report.numbers import count, duration, memory
from stargazer.workflows.report.timeline import timeline

__all__ = ["cited", "commands", "notes", "picard", "settings", "steps", "tools"]

BESIDE = 3
"""Rows of metrics up to which each is a column."""

USERS = 12
"""Tasks that use a tool up to which each is named."""

WAY = (
    "Dashed: imported files. An arrow that others imply is left out; of one task that was done often, executions are "
    "one box. Point at a box or a bar for its full name."
)

Steps = Sequence[Mapping[str, Any]]


def notes(summary: Mapping[str, Any]) -> str:
    """What was not done, or was done otherwise than one might think, and why."""
    return page.section(
        "What was not done, and what was assumed", page.listing((note, "") for note in summary["notes"])
    )


def settings(rows: Sequence[tuple[str, str]]) -> str:
    """How the run was set: of each setting its name and its value."""
    return page.section("How it was run", page.table(("", ""), rows, style="facts"))


def picard(summary: Mapping[str, Any]) -> str:
    """Metrics of GATK and Picard as they are, each folded: few rows beside each other, many below each other."""
    folded = []
    for found in summary["picard"]:
        rows = found["rows"]
        names = list(dict.fromkeys(name for row in rows for name in row))
        if len(rows) > BESIDE:
            shown = page.table(names, [[_plain(row.get(name)) for name in names] for row in rows])
        else:
            beside = [(name, *(_plain(row.get(name)) for row in rows)) for name in names]
            shown = page.table(("", *([""] * len(rows))), beside)
        folded.append(page.folded(found["kind"], found["sample"] or "all samples", shown))
    return page.section("Metrics of GATK and Picard", *folded)


def tools(steps: Steps) -> str:
    """What computed the results, in which version, and where that came from."""
    used: dict[tuple[str, str, str], dict[str, None]] = {}
    for step in steps:
        name, _, version = step["distribution"].partition(" ")
        own = [{"name": name, "version": version, "source": "Stargazer"}] if name else []
        for tool in [*step["tools"], *own]:
            tasks = used.setdefault((tool["name"], tool["version"], tool["source"]), {})
            tasks[_short(step["task"])] = None
    rows = [(*tool, _users(list(tasks))) for tool, tasks in sorted(used.items())]
    return page.section("Tools", page.table(("tool", "version", "from", "used by"), rows))


def cited(steps: Steps) -> str:
    """How to cite the run: Stargazer, and the papers of the tools that were used."""
    ours = sorted({step["distribution"] for step in steps if step["distribution"]})
    names = {tool["name"] for step in steps for tool in step["tools"]}
    papers = citations(names, {_short(step["task"]) for step in steps})
    return page.section(
        "How to cite",
        page.listing(
            [
                (
                    f"Stargazer: {', '.join(ours)}. This page has the tools, their versions and each command.",
                    "",
                ),
                *((f"{paper.of}: {paper.text}", paper.doi) for paper in papers),
            ]
        ),
    )


def steps(found: Steps) -> str:
    """What was done, task by task: with the time and memory it took, when, and what led to what."""
    heads = ("task", "times", "time, together", "longest", "peak memory", "cores")
    rows = [
        (
            _short(step["task"]),
            count(step["count"]),
            duration(step["seconds"]),
            duration(step["longest"]),
            memory(step["peak_memory"]),
            count(step["cores"] or None),
        )
        for step in found
    ]
    return page.section(
        "Steps",
        page.table(heads, rows, (1, 2, 3, 4, 5)),
        page.text(
            "When each was computed; what was remembered from earlier runs took no time in this one. Memory is that of "
            "the largest process.",
            "note",
        ),
        page.part("When each ran", page.drawing(*timeline(found))),
        page.part("From imported files to this page", page.drawing(graph(found), WAY)),
    )


def commands(found: Steps) -> str:
    """Each command with the files that it made, folded by task; commands that are equal are written once."""
    return page.section("Commands and files", *map(_commands, found))


def _commands(step: Mapping[str, Any]) -> str:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for execution in step["executions"]:
        text = "\n".join(shlex.join(command) for command in execution["commands"])
        groups.setdefault(text, []).append(execution)
    parts = []
    for text, executions in groups.items():
        rows = [
            (", ".join(execution["on"]), output["name"], output["cid"], duration(execution["seconds"]))
            for execution in executions
            for output in execution["outputs"]
        ]
        parts += [page.code(text), page.table(("of", "file", "CID", "time"), rows, (3,))]
    more = step["count"] - len(step["executions"])
    tools = ", ".join(f"{tool['name']} {tool['version']}" for tool in step["tools"])
    return page.folded(
        _short(step["task"]),
        f"{count(step['count'])} times" if step["count"] > 1 else "",
        page.text(f"{step['task']} of {_place(step)}" + (f", with {tools}" if tools else ""), "note"),
        *parts,
        page.text(f"and {more:,} more: `stargazer why CID` shows each", "note") if more else "",
    )


def _users(tasks: Sequence[str]) -> str:
    few = USERS // 3
    return (
        ", ".join(tasks) if len(tasks) <= USERS else f"{', '.join(tasks[:few])} and {len(tasks) - few} more"
    )


def _place(step: Mapping[str, Any]) -> str:
    return str(step.get("notebook") or step["distribution"] or "a script")


def _short(task: str) -> str:
    return task.rpartition(".")[2]


def _plain(value: object) -> str:
    return "" if value is None else str(value)
