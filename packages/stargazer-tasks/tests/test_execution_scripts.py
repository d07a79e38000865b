"""The scripts that run the engines of wheels count in the run key, by their code."""

from __future__ import annotations

from pathlib import Path

import pytest
from stargazer.tasks.execution.digest.run_key import run_key
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


def test_what_a_script_imports_of_ours_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "scripts").mkdir()
    module = tmp_path / "stargazer" / "imported_by_an_engine.py"
    module.parent.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    script = "from stargazer.imported_by_an_engine import SIZE\n"

    def with_module(text: str) -> str:
        module.write_text(text)
        return key(tmp_path / "scripts", script)

    assert with_module("SIZE = 1\n") == with_module("SIZE = 1  # of a record\n")
    assert with_module("SIZE = 1\n") != with_module("SIZE = 2\n")
