"""How a file came to be, as a graph of files and executions for Graphviz (DOT) and Mermaid to draw."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from typing import TypeAlias

from stargazer.assets.provenance import Entry, Execution, Import
from stargazer.storage.lineage._render import labels, one_line
from stargazer.storage.lineage._why import Step, walk

__all__ = ["as_dot", "as_mermaid"]

_LONGEST = 60  # characters of one line in a node

_Node: TypeAlias = tuple[
    str, str, list[str]
]  # what it is: a file, imported, an execution; its CID; its lines


def as_dot(step: Step) -> str:
    """A lineage in Graphviz' language: `dot -Tsvg` draws it; boxes are executions, the rest files."""
    nodes, edges = _drawn(step)
    shapes = {
        "execution": 'shape=box, style=filled, fillcolor="#dbe7f5"',
        "file": "shape=box, style=rounded",
        "imported": 'shape=cylinder, style=filled, fillcolor="#f4ead2"',
    }
    font = 'fontname="Helvetica"'
    lines = ["digraph lineage {", "  rankdir=LR;", f"  node [{font}]; edge [{font}];"]
    for key, (kind, cid, words) in nodes.items():
        lines.append(f"  {key} [label={_quoted(words)}, tooltip={_quoted([cid])}, {shapes[kind]}];")
    for begin, end, role in edges:
        lines.append(f"  {begin} -> {end}" + (f" [label={_quoted([role])}]" if role else "") + ";")
    return "\n".join([*lines, "}"])


def as_mermaid(step: Step) -> str:
    """A lineage in Mermaid's language, which GitHub and many editors draw."""
    nodes, edges = _drawn(step)
    brackets = {"execution": ("[", "]"), "file": ("(", ")"), "imported": ("[(", ")]")}
    lines = ["flowchart LR"]
    for key, (kind, _, words) in nodes.items():
        lines.append(f"  {key}{_mermaid(words).join(brackets[kind])}")
    for begin, end, role in edges:
        lines.append(f"  {begin} -->" + (f"|{_mermaid([role])}|" if role else "") + f" {end}")
    return "\n".join(lines)


def _drawn(step: Step) -> tuple[dict[str, _Node], Iterable[tuple[str, str, str]]]:
    """The nodes by key, the file asked for first, and the edges from what was read to what read it, with its role."""
    nodes: dict[str, _Node] = {}
    edges: dict[tuple[str, str, str], None] = {}
    keys: dict[tuple[str, ...], str] = {}

    def key(letter: str, *identity: str) -> str:
        return keys.setdefault((letter, *identity), f"{letter}{len(keys)}")

    for here in walk(step):
        entry, document = here.entry, here.document
        file = key("f", entry.cid, here.provenance_cid)
        words = [
            entry.keyvalues.get("asset", "file"),
            " ".join(map(_plain, labels(entry))),
            f"...{entry.cid[-9:]}",
        ]
        kind = "imported" if isinstance(document, Import) else "file"
        nodes.setdefault(file, (kind, entry.cid, list(filter(None, words))))
        if isinstance(document, Execution):
            made_by = key("x", here.provenance_cid)
            tools = [f"{tool.name} {tool.version}" for tool in document.tools]
            task = document.task.rpartition(".")[2]
            nodes.setdefault(made_by, ("execution", here.provenance_cid, [task, *tools]))
            edges[made_by, file, ""] = None
            for child in here.inputs:
                read = key("f", child.entry.cid, child.provenance_cid)
                edges[read, made_by, _role(child.entry)] = None
    return nodes, edges


def _role(entry: Entry) -> str:
    """What a file was read as, where its type does not say so."""
    role, asset = entry.role.partition("[")[0], entry.keyvalues.get("asset", "")
    return "" if role in (asset, f"{asset}s") or asset.endswith(f"_{role}") else role


def _plain(value: str) -> str:
    """A list of texts without JSON's signs; any other value as it is."""
    with contextlib.suppress(ValueError):
        values = json.loads(value)
        if isinstance(values, list):
            return ", ".join(map(str, values))
    return value


def _quoted(lines: list[str]) -> str:
    """A string of DOT."""
    cut = (one_line(line, _LONGEST).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(cut) + '"'


def _mermaid(lines: list[str]) -> str:
    """A string of Mermaid: everything but letters, digits and a few signs as its code."""
    coded = (
        re.sub(r"[^\w .,\-/:+=()]", lambda char: f"#{ord(char[0])};", one_line(line, _LONGEST))
        for line in lines
    )
    return '"' + "<br>".join(coded) + '"'
