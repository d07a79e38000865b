"""The report's drawing of how it came to be: imported files, task calls and this page, from top to bottom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import attrs
from stargazer.workflows.report.numbers import count

__all__ = ["graph"]

WIDTH = 1000.0
HEIGHT, BETWEEN, APART = 36.0, 26.0, 14.0
"""Of a node, between rows, and between nodes of a row."""
LETTER, PADDING, LETTERS = 6.4, 18.0, 28
"""Width of a letter, of what is around a text, and the letters of a line at most."""
THREAD = 6.0
"""Width of an edge that passes a row."""
SWEEPS = 6


@attrs.define(eq=False)
class Node:
    """Something in a row: a call or several, imported files, this page; or an edge that passes, without lines.

    Attributes:
        lines: what is written.
        style: its class in the page's style sheet.
        says: all of it, for who points at it.
        up, down: neighbours in the rows above and below.
        x: the middle.
    """

    lines: list[str] = attrs.field(factory=list)
    style: str = ""
    says: str = ""
    up: list[Node] = attrs.field(factory=list, repr=False)
    down: list[Node] = attrs.field(factory=list, repr=False)
    x: float = 0.0

    @property
    def width(self) -> float:
        return LETTER * max(map(len, self.lines)) + PADDING if self.lines else THREAD

    def below_middle(self) -> float:
        """The middle of what is above; where it is itself, if there is nothing."""
        return sum(node.x for node in self.up) / len(self.up) if self.up else self.x

    def above_middle(self) -> float:
        """The middle of what is below; where it is itself, if there is nothing."""
        return sum(node.x for node in self.down) / len(self.down) if self.down else self.x


def graph(steps: Sequence[Mapping[str, Any]], end: str = "this page") -> str:
    """The drawing as SVG, down to `end`; nothing where nothing is known."""
    nodes, layers, edges = _read(steps, end)
    if not nodes:
        return ""
    rows = _rows(nodes, layers, edges)
    _order(rows)
    width = max(WIDTH, *(_wide(row) for row in rows))
    _place(rows, width)
    height = len(rows) * (HEIGHT + BETWEEN) - BETWEEN + 4
    drawn = [*_edges(rows), *_boxes(rows)]
    label = escape(f"From imported files through tasks to {end}", quote=True)
    return (
        f'<svg role="img" aria-label="{label}" class=drawn viewBox="-2 -2 {width + 4:.0f} {height:.0f}">'
        f"{''.join(drawn)}</svg>"
    )


def _read(
    steps: Sequence[Mapping[str, Any]], end: str
) -> tuple[dict[int, Node], dict[int, int], list[tuple[int, int]]]:
    """Nodes by number, the layer of each, and the edges between them."""
    nodes: dict[int, Node] = {}
    layers: dict[int, int] = {}
    edges: list[tuple[int, int]] = []
    for step in steps:
        name = step["task"].rpartition(".")[2]
        for found in step["nodes"]:
            number = found["node"]
            of = f"{count(found['calls'])} times" if found["calls"] > 1 else " ".join(found["on"])
            nodes[number] = Node(
                [_cut(name), _cut(of)] if of else [_cut(name)], "call", f"{step['task']} {of}".strip()
            )
            layers[number] = found["layer"]
            edges += [(before, number) for before in found["after"]]
            for files in found["imported"]:
                nodes.setdefault(files["node"], _files(files))
                layers[files["node"]] = min(layers.get(files["node"], found["layer"]), found["layer"] - 1)
                edges.append((files["node"], number))
    if nodes:
        page, ends = max(nodes) + 1, set(nodes) - {before for before, _ in edges}
        nodes[page], layers[page] = Node([_cut(end)], "page", end), max(layers.values()) + 1
        edges += [(last, page) for last in sorted(ends)]
    return nodes, layers, edges


def _files(found: Mapping[str, Any]) -> Node:
    kinds = ", ".join(found["kinds"])
    of = found["of"] or (f"{count(found['files'])} files" if found["files"] > 1 else "1 file")
    return Node([_cut(kinds), _cut(of)], "files", f"imported: {kinds}, {of}")


def _rows(
    nodes: Mapping[int, Node], layers: Mapping[int, int], edges: Sequence[tuple[int, int]]
) -> list[list[Node]]:
    """Nodes row by row, a layer that is too wide in several; an edge that passes a row has a thread there."""
    by_layer: dict[int, list[int]] = defaultdict(list)
    for number in sorted(nodes):
        by_layer[layers[number]].append(number)
    rows: list[list[Node]] = []
    row_of: dict[int, int] = {}
    for layer in sorted(by_layer):
        rows.append([])
        for number in by_layer[layer]:
            if rows[-1] and _wide([*rows[-1], nodes[number]]) > WIDTH:
                rows.append([])
            rows[-1].append(nodes[number])
            row_of[number] = len(rows) - 1
    for start, end in edges:
        above = nodes[start]
        for row in rows[row_of[start] + 1 : row_of[end]]:
            thread = Node()
            row.append(thread)
            _join(above, thread)
            above = thread
        _join(above, nodes[end])
    return rows


def _join(above: Node, below: Node) -> None:
    above.down.append(below)
    below.up.append(above)


def _wide(row: Sequence[Node]) -> float:
    return sum(node.width for node in row) + APART * (len(row) - 1)


def _order(rows: Sequence[list[Node]]) -> None:
    """Nodes of a row in the order of the middle of their neighbours, so that edges cross little."""
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            for other in rows:
                for number, node in enumerate(other):
                    node.x = number
            row.sort(key=Node.below_middle if sweep % 2 == 0 else Node.above_middle)


def _place(rows: Sequence[Sequence[Node]], width: float) -> None:
    """Nodes below the middle of those above them, and above that of those below, as far as the row has room."""
    for row in rows:
        left = (width - _wide(row)) / 2
        for node in row:
            node.x = left + node.width / 2
            left += node.width + APART
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _settle(row, list(map(Node.below_middle if sweep % 2 == 0 else Node.above_middle, row)), width)
    left = min(node.x - node.width / 2 for row in rows for node in row)
    right = max(node.x + node.width / 2 for row in rows for node in row)
    for node in (node for row in rows for node in row):
        node.x += (width - left - right) / 2


def _settle(row: Sequence[Node], wanted: Sequence[float], width: float) -> None:
    """Have nodes where they are wanted, as near as their order and the width allow."""
    left = 0.0
    for node, x in zip(row, wanted, strict=True):  # from the left, as far right as wanted
        node.x = max(x, left + node.width / 2)
        left = node.x + node.width / 2 + APART
    right = width
    for node in reversed(row):  # from the right, what went over the edge comes back
        node.x = min(node.x, right - node.width / 2)
        right = node.x - node.width / 2 - APART


def _edges(rows: Sequence[Sequence[Node]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        bottom = number * (HEIGHT + BETWEEN) + HEIGHT
        for node in row:
            for below in node.down:
                end = bottom + BETWEEN
                middle = (bottom + end) / 2
                bend = f"{node.x:.1f} {middle:.1f} {below.x:.1f} {middle:.1f}"
                way = f"M{node.x:.1f} {bottom:.1f}C{bend} {below.x:.1f} {end:.1f}"
                if below.lines:
                    yield f'<path class=edge d="{way}"/><path class=tip d="M{below.x:.1f} {end:.1f}l-3 -6h6z"/>'
                else:
                    yield f'<path class=edge d="{way}v{HEIGHT:.0f}"/>'


def _boxes(rows: Sequence[Sequence[Node]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        top = number * (HEIGHT + BETWEEN)
        for node in row:
            if not node.lines:
                continue
            first = top + (HEIGHT / 2 + 4 if len(node.lines) == 1 else 15)
            texts = "".join(
                f'<text class="{"middle soft" if line else "middle"}" x="{node.x:.1f}" y="{first + 14 * line:.1f}">'
                f"{escape(words)}</text>"
                for line, words in enumerate(node.lines)
            )
            yield (
                f'<g><title>{escape(node.says)}</title><rect class={node.style} x="{node.x - node.width / 2:.1f}" '
                f'y="{top:.1f}" width="{node.width:.1f}" height="{HEIGHT:.0f}" rx=5 />{texts}</g>'
            )


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 3]}..."
