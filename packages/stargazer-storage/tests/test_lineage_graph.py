"""A lineage as a graph: every file and execution once, every edge, and labels that no name breaks."""

from __future__ import annotations

import re

import pytest
from stargazer.assets.provenance import ToolUse
from stargazer.storage.lineage import why
from stargazer.storage.lineage.graph import as_dot, as_mermaid
from stargazer.storage.store import open_store

from .lineage_store import imported, made


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def diamond(store):
    """reads -> left, right -> top."""
    reads = imported(store, "reads")
    left, right = (made(store, f"env.{name}", name, {"qc_report": reads}) for name in ("left", "right"))
    tools = [ToolUse(name="samtools", version="1.24")]
    return why(store, made(store, "env.join", "top", {"parts[0]": left, "other": right}, tools=tools).cid)


def test_mermaid_in_full(diamond):
    text = re.sub(r"\.\.\.\w{9}", "...", as_mermaid(diamond))
    assert text.splitlines() == [
        "flowchart LR",
        '  f0("qc_report<br>env.join<br>...")',
        '  x1["join<br>samtools 1.24"]',
        '  f2("qc_report<br>env.left<br>...")',
        '  x4["left"]',
        '  f5[("qc_report<br>reads<br>...")]',
        '  f3("qc_report<br>env.right<br>...")',
        '  x6["right"]',
        "  x1 --> f0",
        '  f2 -->|"parts"| x1',
        '  f3 -->|"other"| x1',
        "  x4 --> f2",
        "  f5 --> x4",
        "  x6 --> f3",
        "  f5 --> x6",
    ]


def test_dot_has_the_same_nodes_and_edges(diamond):
    dot, mermaid = as_dot(diamond), as_mermaid(diamond)
    nodes = re.findall(r"^  ([fx]\d+) \[", dot, re.MULTILINE)
    assert nodes == re.findall(r"^  (\w+)[(\[]", mermaid, re.MULTILINE)
    assert len(re.findall(" -> ", dot)) == mermaid.count("-->")
    assert diamond.entry.cid in dot
    assert dot.startswith("digraph lineage {")
    assert dot.endswith("}")


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "<b>&amp;</b>", "];--> x #1;", "é 名"])
def test_no_name_breaks_a_label(store, name):
    step = why(store, imported(store, "reads", sample=name).cid)
    (line,) = as_mermaid(step).splitlines()[1:]
    assert re.fullmatch(r'  f0\[\("qc_report<br>[\w .,_/:+=()#;-]+<br>\.\.\.\w{9}"\)\]', line)
    (line,) = [line for line in as_dot(step).splitlines() if line.startswith("  f0 [")]
    assert len(re.findall(r'"(?:[^"\\]|\\.)*"', line)) == 3
    assert re.fullmatch(r'  f0 \[(?:[a-z]+=(?:"(?:[^"\\]|\\.)*"|\w+)(?:, )?)+\];', line)


def test_long_lists_of_samples_are_cut(store):
    names = ", ".join(f"sample{number}" for number in range(100))
    assert max(map(len, as_mermaid(why(store, imported(store, "x", sample=names).cid)).splitlines())) < 120
