"""docs/tutorial.md, single-cells.md: each command does what its page shows, in order, in the folder of one reader."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from stargazer.mcp.cli import main
from stargazer.workflows.demo.clusters import write_cluster_comparison

DOCS = (Path(__file__) / "../../../../docs").resolve()
if not DOCS.is_dir():
    pytest.skip("docs/ is in the repository alone, not in this distribution", allow_module_level=True)

SESSION = re.compile(r"^```text\n(\$ .*?)^```", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
VARYING = (
    (r"(?m)^.*: running\n", ""),  # of a task that takes 2 s here, and so is its memory
    (r"(?m)(: done in .*), [\d.]+ [kMG]B$", r"\1"),
    (r"\b\d+\.\d s\b", "0.0 s"),
    (r"\b\d{4}-\d\d-\d\dT[\d:]+", "2026-11-30T00:00:00"),
    (r"\(run [\w-]+\)", "(run 1)"),
    (r"(?<=: done in 0\.0 s), [\d.]+ [kMG]B$", ""),
    (r"^.+: running\n", ""),  # said of what takes a while
)
"""What is another in every session, and what stands for it."""


def steps(page: str) -> list[tuple[str, str]]:
    """Every command of a page, and what it shows to be said."""
    shown = "".join(SESSION.findall(page))
    return [
        (command, said) for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", shown, re.MULTILINE)
    ]


def steady(said: str) -> str:
    """What is said, but for times, memory and names of runs."""
    for varying, instead in VARYING:
        said = re.sub(varying, instead, said, flags=re.MULTILINE)
    return said


def pattern(shown: str) -> str:
    """Output as a regular expression: `...` stands for anything in a line, or for lines."""
    return "".join(
        r"(?:.*\n)*?" if line == "..." else ".*?".join(map(re.escape, line.split("..."))) + r"\n"
        for line in steady(shown).splitlines()
    )


def run(command: str) -> str:
    """What a command says: ours in this process, others in one of their own."""
    program, *words = shlex.split(command)
    if program != "stargazer":
        program = {"python": sys.executable}.get(program, program)
        return subprocess.run([program, *words], check=True, capture_output=True, text=True).stdout
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(words)
    assert status == 0, said.getvalue()
    return said.getvalue()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder of the reader is the current one."""
    (tmp_path / "reader").mkdir()
    monkeypatch.chdir(tmp_path / "reader")


def follow(name: str, script_name: str) -> str:
    """Save the script of a page and type its commands; return the page."""
    page = (DOCS / name).read_text()
    (script,) = SCRIPT.findall(page)
    Path(script_name).write_text(script)
    for command, shown in steps(page):
        said = run(command)
        assert re.fullmatch(pattern(shown), steady(said)), f"$ {command}\n{said}"
    return page


@pytest.mark.slow
@pytest.mark.jvm
@pytest.mark.timeout(600)
def test_each_command_of_the_tutorial_says_what_the_page_shows(gatk_home: Path) -> None:
    follow("tutorial.md", "make_reads.py")
    for name in (
        "anna/anna.germline_report.html",
        "cohort/germline_report.html",
        "bcftools/germline_report.html",
    ):
        assert "<svg" in Path(name).read_text()


def results(outdir: str, **keys: str) -> list[Path]:
    """The results of a run of which all this is said."""
    listed = json.loads(Path(outdir, "stargazer-results.json").read_text())["files"]
    return [Path(outdir, item["file"]) for item in listed if keys.items() <= item["keyvalues"].items()]


def stability(outdir: str) -> list[str]:
    """The rows that the page has of a run's stability table."""
    (summary,) = results(outdir, kind="summary")
    return [
        f"| {row['resolution']} | {row['clusters']} | {row['ari_mean']:.2f} | {row['ari_min']:.2f} "
        f"| {', '.join(f'{name}?' for name in row['differing']) or 'none'} |"
        for row in json.loads(summary.read_text())["resolutions"]
    ]


def agreement(outdir: str) -> str:
    """The cells of the page's row that says how well the clusters of a run agree with the types."""
    (table,), (summary,) = results(outdir, kind="cells"), results(outdir, kind="summary")
    write_cluster_comparison("comparison.json", str(table), "cells/truth.csv")
    of = json.loads(Path("comparison.json").read_text())["ari"]
    recommended = json.loads(summary.read_text())["recommended"]
    figures = [of["leiden_0.3"], of["leiden_0.5"], of["leiden_1"]]
    return f"{' | '.join(f'{ari:.2f}' for ari in figures)} | {recommended}: {of['leiden']:.2f} |"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_command_about_single_cells_says_what_the_page_shows(compiled: Path) -> None:
    page = follow("single-cells.md", "make_cells.py")
    for outdir in "one", "both", "apart", "colleague":
        (report,) = results(outdir, kind="scrna_report")
        assert report.read_text().count("data:image/png") == len(results(outdir, asset="plot")) >= 10
    assert "\n".join(stability("one")) in page
    assert f"| with Harmony | {agreement('both')}" in page
    assert f"| `integrate=none` | {agreement('apart')}" in page
