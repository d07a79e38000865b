"""docs/tutorial.md: each command does what the page shows, in its order, in the folder of one reader."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from stargazer.mcp.cli import main

PAGE = (Path(__file__) / "../../../../docs/tutorial.md").resolve()
if not PAGE.is_file():
    pytest.skip("docs/ is in the repository alone, not in this distribution", allow_module_level=True)

SESSION = re.compile(r"^```text\n(\$ .*?)^```", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
VARYING = (
    (r"\b\d+\.\d s\b", "0.0 s"),
    (r"\b\d{4}-\d\d-\d\dT[\d:]+", "2026-11-30T00:00:00"),
    (r"\(run [\w-]+\)", "(run 1)"),
)
"""What is another in every session, and what stands for it."""


def steps() -> list[tuple[str, str]]:
    """Every command of the page, and what it shows to be said."""
    shown = "".join(SESSION.findall(PAGE.read_text()))
    return [
        (command, said) for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", shown, re.MULTILINE)
    ]


def steady(said: str) -> str:
    """What is said, but for times and names of runs."""
    for varying, instead in VARYING:
        said = re.sub(varying, instead, said)
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


@pytest.mark.slow
@pytest.mark.jvm
@pytest.mark.timeout(600)
def test_each_command_says_what_the_page_shows(
    gatk_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (script,) = SCRIPT.findall(PAGE.read_text())
    Path("make_reads.py").write_text(script)

    for command, shown in steps():
        said = run(command)
        assert re.fullmatch(pattern(shown), steady(said)), f"$ {command}\n{said}"

    for name in (
        "anna/anna.germline_report.html",
        "cohort/germline_report.html",
        "bcftools/germline_report.html",
    ):
        assert "<svg" in Path(name).read_text()
