"""How a file came to be, as a graph of files and executions for Graphviz (DOT) and Mermaid to draw."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from stargazer.assets.provenance import Entry, Execution, Import
from stargazer.storage.lineage._render import labels, one_line
from stargazer.storage.lineage._why import Step, walk

__all__ = ["as_dot", "as_mermaid"]

_LONGEST = 60  # characters of one line in a node


class _Node(NamedTuple):
    """A file or an execution: its key in the graph, its lines, the CID that it stands for, and what it is."""

    key: str
    lines: list[str]
    cid: str
    kind: Literal["file", "imported", "execution"]


def as_dot(step: Step) -> str:
    """A lineage in Graphviz' language: `dot -Tsvg` draws it; boxes are executions, the rest files."""
    nodes, edges = _drawn(step)
    shapes = {
        "execution": 'shape=box, style=filled, fillcolor="#dbe7f5"',
        "file": "shape=box, style=rounded",
        "imported": 'shape=cylinder, style=filled, fillcolor="#f4ead2"',
    }
    lines = [
        "digraph lineage {",
        "  rankdir=LR;",
        '  node [fontname="Helvetica"]; edge [fontname="Helvetica"];',
    ]
    for node in nodes:
        shape = shapes[node.kind]
        lines.append(f"  {node.key} [label={_quoted(node.lines)}, tooltip={_quoted([node.cid])}, {shape}];")
    for begin, end, role in edges:
        lines.append(f"  {begin} -> {end}" + (f" [label={_quoted([role])}]" if role else "") + ";")
    return "\n".join([*lines, "}"])


def as_mermaid(step: Step) -> str:
    """A lineage in Mermaid's language, which GitHub and many editors draw."""
    nodes, edges = _drawn(step)
    brackets = {"execution": ("[", "]"), "file": ("(", ")"), "imported": ("[(", ")]")}
    lines = ["flowchart LR"]
    for node in nodes:
        left, right = brackets[node.kind]
        lines.append(f"  {node.key}{left}{_mermaid(node.lines)}{right}")
    for begin, end, role in edges:
        lines.append(f"  {begin} -->" + (f"|{_mermaid([role])}|" if role else "") + f" {end}")
    return "\n".join(lines)


def _drawn(step: Step) -> tuple[Iterable[_Node], Iterable[tuple[str, str, str]]]:
    """The nodes, the file asked for first, and the edges from what was read to what read it, with its role."""
    nodes: dict[str, _Node] = {}
    edges: dict[tuple[str, str, str], None] = {}
    keys: dict[tuple[str, ...], str] = {}

    def key(letter: str, *identity: str) -> str:
        return keys.setdefault((letter, *identity), f"{letter}{len(keys)}")

    for here in walk(step):
        entry, document = here.entry, here.document
        file = key("f", entry.cid, here.provenance_cid)
        lines = [
            entry.keyvalues.get("asset", "file"),
            " ".join(map(_plain, labels(entry))),
            f"...{entry.cid[-9:]}",
        ]
        kind: Literal["imported", "file"] = "imported" if isinstance(document, Import) else "file"
        nodes[file] = _Node(file, list(filter(None, lines)), entry.cid, kind)
        if isinstance(document, Execution):
            made_by = key("x", here.provenance_cid)
            tools = [f"{tool.name} {tool.version}" for tool in document.tools]
            lines = [document.task.rpartition(".")[2], *tools]
            nodes.setdefault(made_by, _Node(made_by, lines, here.provenance_cid, "execution"))
            edges[made_by, file, ""] = None
            for child in here.inputs:
                read = key("f", child.entry.cid, child.provenance_cid)
                edges[read, made_by, _role(child.entry)] = None
    return nodes.values(), edges


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
