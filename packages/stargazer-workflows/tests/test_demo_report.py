"""The HTML report: self-contained, escaped, and reproducible."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from stargazer.workflows.demo.report import write_demo_report

HOSTILE = "<script>alert('x')</script> & \"quoted\""


def score(tp: int, fp: int, fn: int) -> dict:
    return {
        "truth": tp + fn,
        "calls": tp + fp,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "precision": 0.99,
        "recall": 0.98,
        "f1": 0.985,
        "genotype_concordance": None,
    }


def content(name: str = "demo-child") -> dict:
    scores = {"snv": score(100, 1, 2), "indel": score(0, 0, 0)}
    error = {
        "sample": name,
        "kind": "false",
        "type": "snv",
        "contig": name,
        "position": 12345,
        "ref": "A",
        "alt": "C",
        "truth": None,
        "call": "0/1",
        "quality": 31.5,
        "depth": 20,
        "alt_depth": 4,
    }
    balance = {"edges": [0, 0.5, 1], "counts": [3, 4]}
    return {
        "comparison": {"samples": {name: scores}, "total": scores, "errors": [error], "errors_total": 5},
        "inheritance": {
            "sites": 10,
            "violations": 1,
            "rate": 0.1,
            "listed": [
                {
                    "contig": name,
                    "position": 7,
                    "ref": "A",
                    "alt": "C",
                    "father": "0/0",
                    "mother": "0/0",
                    "child": "0/1",
                    "quality": None,
                }
            ],
        },
        "calls": {
            "records": 12,
            "filtered": 2,
            "snv": 8,
            "indel": 2,
            "other": 0,
            "ti_tv": 2.0,
            "quality": {"edges": [0, 10, 20], "snv": [1, 7], "indel": [2, 0]},
            "samples": {name: {"allele_balance": balance}},
        },
    }


def profile(name: str) -> dict:
    return {
        "window": 1000,
        "contigs": {name: [30.0, 28.5], "empty": []},
        "reads": 100,
        "mapped": 0.9,
        "duplicates": None,
        "mean": 29.25,
        "at_least": {"1": 1.0, "10": 1.0, "20": 0.5},
    }


def step(name: str) -> dict:
    return {
        "task": name,
        "on": [name],
        "seconds": 1.25,
        "tools": [f"{name} 1.0"],
        "commands": [[name]],
        "outputs": [{"cid": name, "name": name}],
    }


class Strict(HTMLParser):
    """Notes every tag, and any that is closed out of turn."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.seen.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(html: str) -> Strict:
    parser = Strict()
    parser.feed(html)
    assert parser.open == []
    return parser


def written(path: Path, name: str = "demo-child") -> str:
    comparison, coverage = path.with_suffix(".comparison.json"), path.with_suffix(".coverage.json")
    comparison.write_text(json.dumps(content(name)))
    coverage.write_text(json.dumps(profile(name)))
    write_demo_report(str(path), str(comparison), {name: str(coverage)}, [step(name)])
    return path.read_text(encoding="utf-8")


def test_the_same_content_gives_the_same_bytes_under_any_matplotlibrc(tmp_path, monkeypatch):
    import matplotlib

    first = written(tmp_path / "one.html")
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "red")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 22)

    assert written(tmp_path / "two.html") == first


def test_it_loads_nothing_and_has_no_date(tmp_path):
    html = written(tmp_path / "report.html")

    tags = parsed(html).seen
    assert not tags & {"script", "link", "img", "iframe", "image", "metadata"}
    assert not re.search(r"https?://|@import|url\((?!#)", html)
    assert not re.search(r"\b20\d\d-\d\d-\d\d", html)


def test_whatever_the_content_says_is_text(tmp_path):
    html = written(tmp_path / "report.html", HOSTILE)

    assert "script" not in parsed(html).seen
    assert "&lt;script&gt;" in html


def test_it_shows_the_figures(tmp_path):
    html = written(tmp_path / "report.html")

    for expected in (
        "0.9850",
        "12,345",
        "4 of 20",
        "and 4 more",
        "1.2 s",
        "Mendelian violations",
    ):
        assert expected in html
    assert html.count("<svg") == 4
