"""The files that a promoted task changes: its module, front page, entry points, catalogue and changelog."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from stargazer.assets import ConfigurationError, InvalidAssetError
from stargazer.mcp.promotion.cells import PromotionError, parse_notebook
from stargazer.mcp.promotion.checkout import Checkout, find_checkout, target_of
from stargazer.mcp.promotion.extraction import Extraction, extract
from stargazer.mcp.promotion.module import (
    changed_catalogue,
    changed_changelog,
    changed_entry_points,
    changed_front_page,
    changed_module,
)
from stargazer.mcp.promotion.names import Taken
from stargazer.mcp.promotion.packages import Packages

from .promotion_notebooks import TASK, notebook

LINES = Path("packages/stargazer-tasks/src/stargazer/tasks/lines.py")
MODULE = '''\
"""Count the lines of a VCF."""

from __future__ import annotations

from stargazer.assets import Table, Variants
from stargazer.tasks.environments import htslib_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.tools import bcftools, expect

__all__ = ["count_lines"]

NAME = "lines.csv"
"""In the workspace."""


@htslib_env.task
async def count_lines(variants: Variants) -> Table:
    """Count the lines of a VCF."""
    text = await bcftools("view", "-H", variants.path).text()
    table = workspace() / NAME
    table.write_text(f"lines\\n{len(text.splitlines())}\\n")
    return Table(path=expect(table, by="count_lines"), kind="lines", sample=variants.only_sample)
'''
NAMED = TASK.replace('"lines.csv"', "NAME")
CONSTANT = 'NAME = "lines.csv"\n"""In the workspace."""'


@functools.cache
def known() -> tuple[Checkout, Taken, Packages]:
    checkout = find_checkout()
    return checkout, Taken(checkout), Packages(checkout)


def extracted(*cells: str, module: str = "stargazer.tasks.lines") -> Extraction:
    _, *rest = known()
    return extract(parse_notebook(Path("experiment.py"), notebook(*cells)), "counting", module, *rest)


def module_with(text: str | None, *cells: str) -> str:
    return changed_module(text, extracted(*cells), known()[0].root / LINES)


# the module


def test_a_new_module_is_as_the_house_has_them() -> None:
    assert module_with(None, NAMED, CONSTANT) == MODULE


def test_a_module_is_extended_at_its_end_and_what_it_has_is_shared() -> None:
    other = (
        NAMED.replace("count_lines", "count_words")
        .replace("len(", "counted(")
        .replace("Table(", "Table(\n        ")
    )
    helper = "import json\n\ndef counted(words: list[str]) -> int:\n    return len(json.dumps(words))"
    text = module_with(MODULE, other, CONSTANT, helper)
    assert text.startswith(MODULE.partition("from __future__")[0])
    assert text.count("NAME = ") == 1
    assert text.count("from stargazer.assets import Table, Variants\n") == 1
    assert "from __future__ import annotations\n\nimport json\n\nfrom stargazer.assets" in text
    assert '__all__ = ["count_lines", "count_words"]' in text
    defined = [
        node.name for node in ast.parse(text).body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    ]
    assert defined == ["count_lines", "count_words", "counted"]


@pytest.mark.parametrize(
    ("there", "cells", "said"),
    [
        ('NAME = "a"', [NAMED, CONSTANT], "experiment.py:27: NAME is something else in stargazer/tasks/lines.py"),
        ("from os import path as Table", [TASK], "experiment.py: Table (from stargazer.assets import Table) is"),
        ("def len(text: str) -> int:\n    return 1", [TASK], "experiment.py:20: len is Python's own here, and"),
        ("def count_lines() -> None: ...", [TASK], "experiment.py:16: count_lines is something else"),
    ],
)  # fmt: skip
def test_a_name_that_is_something_else_in_the_module_is_refused(
    there: str, cells: list[str], said: str
) -> None:
    text = f'"""Lines."""\n\nfrom __future__ import annotations\n\n__all__: list[str] = []\n\n{there}\n'
    with pytest.raises(PromotionError) as raised:
        module_with(text, *cells)
    assert said in str(raised.value)


def test_imports_for_annotations_alone_stay_so() -> None:
    task = TASK.replace("len(text.splitlines())", "counted(text)")
    first = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import anndata\n    from scipy import sparse"
    helper = "def counted(text: str, data: anndata.AnnData | None = None) -> int:\n    return len(text)"
    text = module_with(None, task, first, helper)
    assert "from typing import TYPE_CHECKING\n\n" in text
    assert "\nif TYPE_CHECKING:\n    import anndata\n\n" in text
    more = helper.replace("counted", "counted_again").replace("anndata.AnnData", "sparse.csr_matrix")
    again = task.replace("count_lines", "count_words").replace("counted", "counted_again")
    assert "\nif TYPE_CHECKING:\n    import anndata\n    from scipy import sparse\n\n" in module_with(
        text, again, first, more
    )
    assert (
        module_with(text, again, first, helper.replace("counted", "counted_again")).count("import anndata")
        == 1
    )


@pytest.mark.parametrize(
    "listed", ['__all__: list[str] = ["x"]', '__all__ = ("x",)', '__all__ = ["x"]\n__all__ += ["y"]']
)
def test_a_module_that_lists_its_names_otherwise_is_refused(listed: str) -> None:
    text = f'"""Lines."""\n\nfrom __future__ import annotations\n\n{listed}\n'
    with pytest.raises(PromotionError, match="is no plain list of names"):
        module_with(text, TASK)


def test_what_ruff_finds_is_told_by_the_line_of_the_notebook() -> None:
    with pytest.raises(PromotionError) as raised:
        module_with(None, TASK.replace("    table =", "    # all\n    print(open(text))\n    table ="))
    assert str(raised.value).splitlines() == [
        "experiment.py:20: ruff says T201 `print` found; mend it in the cell",
        "experiment.py:20: ruff says ASYNC230 Async functions should not open files with blocking methods like `open`; "
        "do it in a plain function that the task calls",
        "experiment.py:20: ruff says SIM115 Use a context manager for opening files; mend it in the cell",
    ]


# the front page, and what follows from it


def test_the_front_page_offers_the_task() -> None:
    page = known()[0].front_page
    before = page.read_text()
    after = changed_front_page(before, extracted(TASK), page)
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert added == ["from .lines import count_lines", '    "count_lines",']
    assert after == changed_front_page(after, extracted(TASK), page)


def test_an_entry_point_names_the_module_once_and_comments_stay() -> None:
    group = '[project.entry-points."stargazer.tasks"]'
    before = f'[project]\nname = "x" # of it\n\n{group}\nlines = "other.lines" # theirs\n'
    after = changed_entry_points(before, extracted(TASK, module="stargazer.tasks.germline.lines"))
    assert after == f'{before}germline_lines = "stargazer.tasks.germline.lines"\n'
    assert changed_entry_points(after, extracted(TASK, module="stargazer.tasks.germline.lines")) == after
    mine = 'from stargazer.assets import asset\n@asset("line_counts", suffix=".csv")\nclass Lines(Table):\n    """L."""'
    points = tomllib.loads(
        changed_entry_points(before, extracted(TASK.replace("-> Table", "-> Lines"), mine))
    )
    assert points["project"]["entry-points"]["stargazer.assets"] == {"lines": "stargazer.tasks.lines"}


def test_the_catalogue_places_a_task_with_those_most_like_it() -> None:
    checkout, taken, _ = known()
    text = checkout.catalogue.read_text()

    def groups(extraction: Extraction, target: Path) -> dict[str, str]:
        script = ast.parse(changed_catalogue(text, extraction, target, taken))
        (found,) = (line for line in map(ast.unparse, script.body) if line.startswith("GROUPS = "))
        return dict(ast.literal_eval(found.removeprefix("GROUPS = ")))

    assert groups(extracted(TASK), checkout.root / LINES)["Variants"].endswith(" count_lines")
    beside = checkout.source / "tasks/scrna/plots.py"
    assert groups(extracted(TASK), beside)["Plots"].endswith(" count_lines")
    unlike = (
        '@lab_env.task\nasync def count_lines(number: int) -> set[str]:\n    """Count."""\n    return set()'
    )
    own = groups(extracted(unlike, 'lab_env = AssetEnvironment(name="lab")'), checkout.root / LINES)
    assert own == {**groups(extracted(TASK), beside), "Plots": own["Plots"], "Lines": "count_lines"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# Changelog\n\n## 0.2.0 (unreleased)\n\n- Old.\n", "# Changelog\n\n## 0.2.0 (unreleased)\n\nLINE\n- Old.\n"),
        ("# Changelog\n\n## 0.1.0 (2026-11-01)\n\n- Old.\n",
         "# Changelog\n\n## Next (unreleased)\n\nLINE\n\n## 0.1.0 (2026-11-01)\n\n- Old.\n"),
    ],
)  # fmt: skip
def test_the_changelog_has_a_line(before: str, after: str) -> None:
    line = "- `count_lines` (`stargazer.tasks.lines`): Count the lines of a VCF."
    assert changed_changelog(before, extracted(TASK)) == after.replace("LINE", line)


# where it goes


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("workflows/lines.py", "only tasks are promoted"),
        (
            "lines.py",
            "is outside of the tasks; expected a module below tasks/, such as --to tasks/deepvariant.py",
        ),
        ("../tasks/lines.py", "is outside of the tasks"),
        ("tasks/../../lines.py", "is outside of the tasks"),
        ("/tmp/tasks/lines.py", "is outside of the tasks"),
        ("tasks", "is outside of the tasks"),
        ("tasks/lines.pyi", "is no Python module"),
        ("tasks/__init__.py", "'__init__' is no name for a module"),
        ("tasks/my-lines.py", "'my-lines' is no name for a module"),
        ("tasks/class.py", "'class' is no name for a module"),
        ("tasks/Lines.py", "'Lines' is no name for a module"),
        ("tasks/zeilenzähler.py", "is no name for a module"),
        ("tasks/nowhere/lines.py", "there is no package stargazer.tasks.nowhere"),
        ("tasks/germline.py", "a package of this name is there"),
    ],
)
def test_what_is_no_module_of_the_tasks_is_refused(to: str, said: str) -> None:
    with pytest.raises(InvalidAssetError) as raised:
        target_of(known()[0], to)
    assert said in str(raised.value)


def test_a_module_may_be_new_or_there() -> None:
    checkout = known()[0]
    assert target_of(checkout, "tasks/lines.py").module == "stargazer.tasks.lines"
    assert target_of(checkout, "tasks/germline/variants.py").path.is_file()


def test_an_installed_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stargazer/tasks").mkdir(parents=True)
    (tmp_path / "stargazer/tasks/__init__.py").touch()
    code = "from stargazer.mcp.promotion.checkout import find_checkout; find_checkout()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert f"{ConfigurationError.__name__}: stargazer-tasks is installed as a wheel" in done.stderr
    assert "clone the repository" in done.stderr


def test_another_checkout_than_that_of_the_command_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "packages/stargazer-tasks/pyproject.toml"
    project.parent.mkdir(parents=True)
    project.write_text('[project]\nname = "stargazer-tasks"\n')
    monkeypatch.chdir(project.parent)
    with pytest.raises(ConfigurationError, match=f"and you are in {tmp_path}; run `hatch run test:stargazer"):
        find_checkout()
    project.unlink()
    assert find_checkout().front_page.is_file()
