"""The scripts that run the engines of wheels count in the run key, by their code."""

from __future__ import annotations

from pathlib import Path

from stargazer.tasks.execution.runkey import run_key
from stargazer.tasks.tools import ResolvedTool


def key(folder: Path, text: str) -> str:
    script = folder / f"engine{len(list(folder.iterdir()))}.py"
    script.write_text(text)
    tool = ResolvedTool(name="engine", version="1", source="wheel engine==1", argv=("python",), script=script)
    return run_key("lab.task", "code", {}, [tool])


def test_a_change_of_a_script_changes_the_key(tmp_path: Path):
    assert key(tmp_path, "BATCH = 10\n") != key(tmp_path, "BATCH = 20\n")


def test_comments_docstrings_and_formatting_of_a_script_do_not_count(tmp_path: Path):
    plain = "def align(reads):\n    return reads + 1\n"
    dressed = '"""Aligns."""\n\n\ndef align( reads ):  # fast\n    """Align reads."""\n    return reads+1\n'

    assert key(tmp_path, plain) == key(tmp_path, dressed)
