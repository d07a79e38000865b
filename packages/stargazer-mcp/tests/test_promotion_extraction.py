"""What is taken out of a notebook for a task, and what is refused with its line and what to do."""

from __future__ import annotations

import ast
import functools
import textwrap
from pathlib import Path

import pytest
from stargazer.mcp.promotion.cells import PromotionError, check_notebook, parse_notebook, read_notebook
from stargazer.mcp.promotion.checkout import find_checkout
from stargazer.mcp.promotion.extraction import Extraction, canonical, extract
from stargazer.mcp.promotion.names import Taken
from stargazer.mcp.promotion.packages import Packages

from .promotion_notebooks import TASK, notebook

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

MODULE = "stargazer.tasks.lines"


@functools.cache
def known() -> tuple[Taken, Packages]:
    checkout = find_checkout()
    return Taken(checkout), Packages(checkout)


def extracted(*cells: str, name: str = "count_lines", setup: str = "") -> Extraction:
    text = notebook(*cells, setup=setup) if setup else notebook(*cells)
    return extract(parse_notebook(Path("experiment.py"), text), name, MODULE, *known())


def code_of(extraction: Extraction) -> str:
    return "\n".join(part.text for part in extraction.parts)


def refusal(*cells: str, name: str = "count_lines", setup: str = "") -> str:
    with pytest.raises(PromotionError) as raised:
        extracted(*cells, name=name, setup=setup)
    return str(raised.value)


# what is taken


def test_a_task_comes_with_the_imports_it_needs_and_no_others() -> None:
    taken = extracted(TASK, setup="""
import json
from pathlib import Path
from stargazer.assets import Alignment, Table, Variants
from stargazer.tasks import bcftools, expect, htslib_env, samtools, workspace
""")  # fmt: skip
    assert [each.statement for each in taken.imports] == [
        "from stargazer.assets import Table",
        "from stargazer.assets import Variants",
        "from stargazer.tasks.environments import htslib_env",  # where they are, not the front page
        "from stargazer.tasks.execution import workspace",
        "from stargazer.tasks.tools import bcftools",
        "from stargazer.tasks.tools import expect",
    ]
    assert code_of(taken) == TASK.strip()
    assert taken.promoted.task == "htslib.count_lines"
    assert taken.promoted.cell == "counting"
    assert taken.promoted.parameters == ("variants",)
    assert taken.summary == "Count the lines of a VCF."


def test_a_task_is_named_by_its_cell_too() -> None:
    assert extracted(TASK, name="counting").promoted.function == "count_lines"


def test_constants_helpers_and_classes_of_any_cell_come_along_before_what_needs_them() -> None:
    taken = extracted(
        TASK.replace('"lines.csv"', "NAME").replace("len(", "counted(").replace("-> Table", "-> Lines"),
        "# How it is called.\nNAME = f'{STEM}.csv'  # in the workspace\n'''Its name.'''",
        'STEM = "lines"',
        "@app.function\ndef counted(lines: list[str]) -> int:\n    # all of them\n    return len(lines)",
        'from stargazer.assets import asset\n@asset("line_counts", suffix=".csv")\nclass Lines(Table):\n    """L."""',
    )
    assert [part.names for part in taken.parts] == [
        ("STEM",),
        ("NAME",),
        ("Lines",),
        ("count_lines",),
        ("counted",),
    ]
    text = code_of(taken)
    assert "# How it is called.\nNAME = f'{STEM}.csv'  # in the workspace\n'''Its name.'''" in text
    assert "    # all of them\n" in text
    assert '@asset("line_counts", suffix=".csv")\nclass Lines(Table):' in text
    assert taken.asset_types == ("line_counts",)
    assert set(taken.offered) == {"count_lines", "Lines"}


def test_an_environment_that_a_cell_makes_comes_along() -> None:
    taken = extracted(
        TASK.replace("htslib_env", "lab_env"),
        'lab_env = AssetEnvironment(name="lab", tools=[bcftools], resources=flyte.Resources(cpu=1, memory="1Gi"))',
        "import flyte",
    )
    assert taken.promoted.task == "lab.count_lines"
    assert "import flyte" in [each.statement for each in taken.imports]
    assert set(taken.offered) == {"count_lines", "lab_env"}


def test_decorators_with_arguments_and_strings_over_lines_are_kept_as_marimo_runs_them() -> None:
    task = TASK.replace("@htslib_env.task", "@htslib_env.task(tools=[bcftools], retries=2)").replace(
        '"lines\\n{', '"""lines\n  kept\n{'
    ).replace('}\\n")', '}\n""")')  # fmt: skip
    taken = extracted(task)
    assert canonical(taken.parts[-1].statement) != canonical(
        ast.parse(task).body[0]
    )  # the file indents the string
    assert canonical(ast.parse(taken.parts[-1].text).body[0]) == canonical(ast.parse(task).body[0])
    assert "@htslib_env.task(tools=[bcftools], retries=2)" in taken.parts[-1].text


@pytest.mark.parametrize(
    "value",
    ['re.compile(r"^@")', "frozenset({1, 2})", 'bytes.maketrans(b"ACGT", b"TGCA")', 'Path("a") / "b.txt"',
     '{name: number for number, name in enumerate("a b c".split())}', "(1, -2.5, None, True)", "lambda line: len(line)",
     'math.log(2) + len(PARTS)'],
)  # fmt: skip
def test_constants_are_what_gives_the_same_each_time(value: str) -> None:
    taken = extracted(
        TASK.replace("table = ", "print(VALUE)\n    table = "),
        f"VALUE = {value}",
        'import math\nimport re\nPARTS = ("a", "b")',
    )
    assert f"VALUE = {value}" in code_of(taken)


def test_types_that_a_result_is_made_of_are_offered_too() -> None:
    taken = extracted(
        TASK.replace("-> Table", "-> Counted").replace("return Table(", "return made("),
        "from typing import NamedTuple\n\nclass Counted(NamedTuple):\n    table: list[Lines]\n    number: int",
        "class Lines(Table):\n    ...\n\nclass Other(Table):\n    ...\n\ndef made(**fields: str) -> Counted:\n"
        "    return Counted([Lines(**fields), Other()], 1)  # both\n    # and nothing else",
    )
    assert set(taken.offered) == {"count_lines", "Counted", "Lines"}
    assert code_of(taken).endswith(
        "return Counted([Lines(**fields), Other()], 1)  # both\n    # and nothing else"
    )


def test_a_private_name_is_that_of_the_own_cell() -> None:
    task = TASK.replace('"lines.csv"', "_NAME")
    assert '_NAME = "mine.csv"' in code_of(extracted('_NAME = "mine.csv"\n' + task, '_NAME = "another.csv"'))
    assert "nothing in the notebook defines _NAME" in refusal(task, '_NAME = "another.csv"')


def test_annotations_in_quotes_and_imports_inside_of_the_function_are_seen() -> None:
    task = TASK.replace(": Variants", ': "Variants"').replace(
        "    table =", "    import csv\n    import numpy\n    table ="
    )
    assert "from stargazer.assets import Variants" in [each.statement for each in extracted(task).imports]


@hypothesis.given(
    st.lists(
        st.sampled_from(["# note", "x = 1  # one", "", "y = [1,\n         2]", 'z = """a\n  b"""']),
        max_size=6,
    )
)
def test_a_function_survives_with_its_comments_and_formatting(lines: list[str]) -> None:
    body = textwrap.indent("\n".join(lines), "    ")
    task = TASK.strip().replace("    table = ", f"{body}\n    table = ", 1)
    once = extracted(task)
    assert once.parts[0].text == task
    assert extracted(once.parts[0].text).parts[0].text == task  # and again


# what is refused: the line, and what to do


def test_a_name_that_no_task_has_is_answered_with_those_there_are() -> None:
    assert "it has count_lines (line 16)" in refusal(TASK, name="count_words")
    assert "it has none" in refusal("x = 1", name="x")
    two = refusal(TASK + TASK.replace("count_lines", "count_words"), name="counting")
    assert "experiment.py::count_lines (line 16), experiment.py::count_words" in two


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([TASK.replace("workspace()", "folder"), "folder = workspace()"],
         "experiment.py:19: folder is a value that the notebook computes by calling `workspace` at experiment.py:27"),
        ([TASK.replace('"lines.csv"', "NAME"), 'NAME = Path("name.txt").read_text()'], "computes by calling"),
        ([TASK.replace('"lines.csv"', "NAME"), 'import os\nNAME = os.environ["NAME"]'],
         "NAME is a value of this machine and this run (`os.environ`)"),
        ([TASK.replace('"lines.csv"', "_NAME + more()") + '\n_NAME = "a"',
          '_NAME = "b"\n\ndef more() -> str:\n    return _NAME'],
         "_NAME is something else in another cell (line 23); rename one of the two"),
        ([TASK.replace("-> Table", "-> RankedGenes"), "class RankedGenes(Table):\n    ..."],
         "stargazer.tasks offers another RankedGenes (stargazer.tasks.scrna.markers); give it another name"),
        ([TASK.replace('"lines.csv"', "NAME"), "NAME = await name()"], "computes (`await name()`)"),
        ([TASK.replace('"lines.csv"', "choice.value"), 'import marimo as mo\nchoice = mo.ui.text("x")'],
         "choice is a value that the notebook computes by calling `mo.ui.text`"),
        ([TASK.replace("    table =", '    mo.md("hello")\n    table ='), "import marimo as mo"],
         "experiment.py:19: mo (line 28) is not for a task: `marimo` is for notebooks"),
        ([TASK.replace("    table =", "    alt.Chart()\n    table ="), "import altair as alt"],
         "`altair` is for notebooks"),
        ([TASK.replace("    table =", "    import nowhere_known\n    table =")],
         "add nowhere-known to the dependencies in packages/stargazer-tasks/pyproject.toml"),
        ([TASK.replace("    table =", "    sc.read()\n    table ="), "import scanpy as sc"],
         "`scanpy` comes with the extra scrna, without which the module has to load; import it inside the function"),
        ([TASK.replace("    table =", "    run()\n    table ="), "from stargazer.workflows import run"],
         "`stargazer.workflows` is of a layer above the tasks"),
        ([TASK.replace("    table =", "    st.call()\n    table ="), "import stargazer.tasks as st"],
         "import what is used of stargazer by name"),
        ([TASK.replace("    table =", "    global total\n    total += 1\n    table ="), "total = 0"],
         "`global total` changes what the notebook holds"),
        ([TASK.replace('"lines.csv"', "NAMES[0]"), "NAMES = []", 'NAMES.append("x")'],
         "NAMES is given a value, or changed, more than once (lines 27, 33)"),
        ([TASK.replace('"lines.csv"', "NAME"), 'NAME = "a"\nNAME += "b"'],
         "NAME is given a value, or changed, more than once"),
        ([TASK.replace('"lines.csv"', "NAME"), 'if True:\n    NAME = "a"'],
         "NAME is bound by a `if` at experiment.py:27"),
        ([TASK.replace('"lines.csv"', "UNKNOWN")], "experiment.py:19: nothing in the notebook defines UNKNOWN"),
        ([TASK.replace("async def", "def").replace("await ", "")],
         "count_lines is not async; a task is an `async def`"),
        ([TASK.replace("    return", "    yield")], "count_lines is a generator"),
        ([TASK.replace('    """Count the lines of a VCF."""\n', "")], "count_lines has no docstring"),
        ([TASK.replace(": Variants", "")], "count_lines does not say the type of variants"),
        ([TASK.replace(" -> Table", "")], "count_lines does not say the type of its result"),
        ([TASK.replace("(variants: Variants)", "(*variants: Variants)")], "the parameters of a task have names"),
        ([TASK.replace("len(", "counted("), "def counted(lines):\n    return len(lines)"],
         "counted does not say the type of lines"),
        ([TASK.replace("len(", "flagstat("), TASK.replace("count_lines", "flagstat")], "flagstat is a task too"),
        ([TASK.replace("@htslib_env", "@other_env"), 'other_env = AssetEnvironment(name="htslib")'],
         "the environment 'htslib' is taken by packages/stargazer-tasks/src/stargazer/tasks/environments.py"),
        ([TASK.replace("@htslib_env", "@other_env"), 'from stargazer.tasks import WorkflowEnvironment\n'
          'other_env = WorkflowEnvironment(name="other")'], "computes by calling `WorkflowEnvironment`"),
        ([TASK.replace("@htslib_env", "@envs.htslib_env"), "from stargazer.tasks import environments as envs"],
         "import the environment by its name"),
        ([TASK.replace("-> Table", "-> Mine"),
          'from stargazer.assets import asset\n@asset("alignment")\nclass Mine(Table): ...'],
         "the type of assets 'alignment' is taken by packages/stargazer-assets/"),
        (["def outer(name: str) -> object:\n" + textwrap.indent(TASK.replace('"lines.csv"', "name"), "    ")
          + "\n    return count_lines"], "the task count_lines is defined inside of `outer`"),
        (["count_lines = htslib_env.task(lambda variants: None)"],
         "a task that is made by a call of `htslib_env.task` has no function to take"),
        ([TASK.replace("    table =", "    from os import *\n    table =")],
         "experiment.py:19: `import *`; import what is used by its name"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_with_its_line(cells: list[str], said: str) -> None:
    assert said in refusal(*cells)


@pytest.mark.parametrize("name", ["flagstat", "germline_short_variant_discovery", "expect"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    said = refusal(TASK.replace("count_lines", name), name=name, setup="""
from pathlib import Path
from stargazer.assets import Table, Variants
from stargazer.tasks import bcftools, htslib_env, workspace
from stargazer.tasks.tools import expect as expected
""".replace("", ""))  # fmt: skip
    assert f"{name}" in said
    assert "taken by packages/" in said or "stargazer.tasks offers another expect" in said


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = refusal(TASK.replace(" -> Table", "").replace('"lines.csv"', "UNKNOWN"))
    assert len(said.splitlines()) == 2


def test_a_path_of_this_machine_is_warned_of() -> None:
    (warning,) = extracted(
        TASK.replace('workspace() / "lines.csv"', 'Path("/home/someone/lines.csv")')
    ).warnings
    assert warning.startswith("experiment.py:19: '/home/someone/lines.csv' looks like a path of this machine")


# the notebook itself


def test_a_syntax_error_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "experiment.py"
    path.write_text(notebook("x = (1,"))
    with pytest.raises(PromotionError, match=r"experiment\.py:\d+: .*; mend the syntax error"):
        read_notebook(path)
    path.write_text(notebook(TASK, 'app._unparsable_cell(\n    r"""\n    x = (\n    """,\n    name="_"\n)'))
    with pytest.raises(
        PromotionError, match=r"experiment\.py:\d+: this cell has a syntax error; open the notebook"
    ):
        read_notebook(path)


@pytest.mark.parametrize(
    ("text", "said"), [("x = 1\n", "is no notebook of marimo"), ("", "is no notebook of marimo")]
)
def test_what_is_no_notebook_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "experiment.py"
    path.write_text(text)
    with pytest.raises(PromotionError, match=said):
        read_notebook(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromotionError, match="is not text in UTF-8"):
        read_notebook(path)
    with pytest.raises(PromotionError, match="cannot be read: No such file"):
        read_notebook(tmp_path / "other.py")
    with pytest.raises(PromotionError, match="expected a notebook of marimo in its Python format"):
        read_notebook(tmp_path / "other.md")


def test_marimo_finds_cycles_names_of_two_cells_and_star_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "experiment.py"
    monkeypatch.chdir(tmp_path)
    Path("tokenize.py").write_text(
        "raise SystemExit('a notebook of the user')"
    )  # which marimo is not to import
    path.write_text(notebook("c = 1", "c = 2", "from os import *"))
    with pytest.raises(PromotionError) as raised:
        check_notebook(path)
    said = str(raised.value)
    assert "Variable 'c' is defined in multiple cells; give one of the two another name" in said
    assert "experiment.py:26: Importing symbols with `import *` is not allowed" in said
    path.write_text(notebook("a = b", "b = a"))
    with pytest.raises(PromotionError) as raised:
        check_notebook(path)
    said = str(raised.value)
    assert "experiment.py:20: Cell is part of a circular dependency; each of these cells" in said


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("import time\ndef counted(lines: list[str], now: float = time.time()) -> int: ...", "by calling `time.time`"),
        ("import os\ndef counted(lines: list[str], *, at: str = os.environ['HOME']) -> int: ...", "of this machine"),
        ("from os import environ\nHOME = environ['HOME']\ndef counted(lines: list[str]) -> str: return HOME",
         "HOME is a value of this machine and this run (`environ`)"),
        ("import os\nclass At:\n    home = os.getenv('HOME')\ndef counted(lines: list[str]) -> At: return At()",
         "a default or attribute of At is a value that the notebook computes by calling `os.getenv`"),
        ("import functools\n@functools.singledispatch\ndef counted(lines: object) -> int: return 1\n"
         "@counted.register\ndef of_lists(lines: list) -> int: return 2", "counted is given a value, or changed"),
        ("def counted(lines: list[str]) -> str:\n    return 'ghp_abcdefghijklmnopqrstuvwxyz01'",
         "experiment.py:28: this looks like a secret"),
        ("# hf_abcdefghijklmnopqrstuvwxyz01\ndef counted(lines: list[str]) -> int: ...", "looks like a secret"),
        ("def counted(lines: list[str]) -> int:\n    # \u202e\n    return 1", "changes the direction of text"),
    ],
)  # fmt: skip
def test_what_is_of_this_machine_or_hidden_or_secret_is_refused(cell: str, said: str) -> None:
    assert said in refusal(TASK.replace("len(", "counted("), cell)


def test_what_is_computed_when_it_is_called_is_taken_and_a_path_in_a_comment_is_warned_of() -> None:
    taken = extracted(
        TASK.replace("len(", "Counts().of("),
        "import time\nimport attrs\n@attrs.frozen\nclass Counts:\n    # as in /home/alice/old.py\n"
        "    began: float = attrs.field(factory=lambda: time.time())\n    of = staticmethod(len)",
    )
    assert taken.warnings == (
        "experiment.py:31: the comment has '/home/alice', which looks like a path of this machine",
    )


def test_a_file_that_is_called_like_a_module_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiment.py").write_text(notebook(TASK))
    (tmp_path / "json.py").write_text("open('was_run', 'w').close()")
    monkeypatch.chdir(tmp_path)
    check_notebook(Path("experiment.py"))
    assert not (tmp_path / "was_run").exists()
