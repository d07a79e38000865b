"""The memo: what counts for the run key and what does not, in this process and in others."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from stargazer.assets.catalogue import Alignment, QcReport
from stargazer.assets.provenance import Execution
from stargazer.storage import Store, get_client, retract
from stargazer.tasks.execution import AssetEnvironment, Event, observe, refreshing, workspace

env = AssetEnvironment(name="memo")


@env.task
async def copied(alignment: Alignment) -> QcReport:
    path = workspace() / "copy"
    path.write_text(alignment.path.read_text() + " copied")
    return QcReport(path=path, kind="copy", sample=alignment.sample)


@env.task
async def longer(given: QcReport) -> QcReport:
    path = workspace() / "longer"
    path.write_text(given.path.read_text() + "!")
    return QcReport(path=path, kind="longer")


@env.task
async def unstable() -> QcReport:
    path = workspace() / "noise"
    path.write_bytes(os.urandom(8))
    return QcReport(path=path, kind="noise")


def store() -> Store:
    return get_client().store


def kinds(task: Any, *args: Any, **kwargs: Any) -> tuple[Any, list[str]]:
    events: list[Event] = []

    async def call() -> Any:
        with observe(events.append):
            return await task(*args, **kwargs)

    value = asyncio.run(call())
    return value, [event.kind for event in events]


@env.task
async def aligned() -> Alignment:
    path = workspace() / "a.bam"
    path.write_bytes(b"bam")
    return Alignment(path=path, sample="s1", reference_cid="bafkref")


@pytest.fixture
def alignment() -> Alignment:
    made: Alignment = asyncio.run(aligned())
    return made


def test_a_typed_field_counts_and_links_and_records_do_not(alignment: Alignment) -> None:
    first, _ = kinds(copied, alignment)
    same = [
        attrs.evolve(alignment, reference_cid="bafkother"),
        attrs.evolve(alignment, record=None, provenance_cid="bafkother"),
        attrs.evolve(alignment, path=Path("elsewhere")),
    ]
    for other in same:
        assert kinds(copied, other) == (first, ["memo hit"])
    renamed, said = kinds(copied, attrs.evolve(alignment, sample="s2", record=None))
    assert said[-1] == "finished"
    assert renamed.sample == "s2"


def test_refresh_computes_again_and_the_record_stays(alignment: Alignment) -> None:
    first, _ = kinds(copied, alignment)
    with refreshing():
        again, said = kinds(copied, alignment)
    assert said == ["waiting", "started", "finished"]
    assert again == first
    assert again.record == first.record
    assert again.provenance_cid == first.provenance_cid
    made = [store().document(cid) for cid in store().documents(first.cid)]
    assert [document.forced for document in made if isinstance(document, Execution)] == [False, True]
    assert kinds(copied, alignment)[1] == ["memo hit"]


def test_what_differs_from_run_to_run_is_remembered_as_it_was_last() -> None:
    first, _ = kinds(unstable)
    assert kinds(unstable)[0] == first
    with refreshing():
        second, _ = kinds(unstable)
    assert second != first
    assert kinds(unstable)[0] == second


def test_a_retracted_result_is_computed_again(alignment: Alignment) -> None:
    first, _ = kinds(copied, alignment)
    retract(store(), first.record)
    again, said = kinds(copied, alignment)
    assert said[-1] == "finished"
    assert again == first
    assert kinds(copied, alignment)[1] == ["memo hit"]


def test_a_hit_needs_no_bytes_and_who_needs_them_later_has_them_made(alignment: Alignment) -> None:
    made, _ = kinds(copied, alignment)
    store().objects.remove(made.cid)
    again, said = kinds(copied, alignment)
    assert (again, said) == (made, ["memo hit"])
    assert again.path is None
    assert kinds(longer, again)[0].path.read_text() == "bam copied!"


def test_without_its_provenance_nothing_is_remembered(alignment: Alignment) -> None:
    first, _ = kinds(copied, alignment)
    store().ledger.remove(first.provenance_cid)
    assert kinds(copied, alignment)[1][-1] == "finished"


@pytest.mark.planted_secret  # a path is a parameter
def test_a_failing_task_leaves_no_memo(tmp_path: Path) -> None:
    switch = tmp_path / "switch"

    @env.task
    async def fragile(path: str) -> QcReport:
        written = workspace() / "x"
        written.write_text("x")
        if not Path(path).exists():
            raise RuntimeError("off")
        return QcReport(path=written, kind="x")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="off"):
            kinds(fragile, str(switch))
    switch.touch()
    assert kinds(fragile, str(switch))[1] == ["waiting", "started", "finished"]


# code that changes, in processes of its own

TASKS = '''
"""Tasks in a file."""
from __future__ import annotations
import asyncio, sys
from pathlib import Path
from attrs import frozen
from stargazer.assets.catalogue import QcReport
from stargazer.tasks.execution import AssetEnvironment, observe, workspace
from stargazer.tasks.tools import ResolvedTool, Tool

@frozen
class Script:
    version: str
    kind: str = "wheel"

    def find(self, name):
        return ResolvedTool(name=name, version=self.version, source="wheel", argv=("/bin/sh", "counting.sh"))

    def describe(self):
        return "here"

counting = Tool("counting", (Script("1.0"),))
env = AssetEnvironment(name="changing", tools=[counting])
LIMIT = 3

def helper(text):
    return text * LIMIT

@env.task
async def changing(text: str, times: int = 1) -> QcReport:
    out = workspace() / "out"
    await counting(out, helper(text) * times)
    return QcReport(path=out, kind="count")
'''

MAIN = """
import asyncio, sys
from stargazer.tasks.execution import observe
from changing import changing

async def main():
    said = []
    with observe(lambda event: said.append(event)):
        made = await changing(*eval(sys.argv[1]))
    print(made.cid, said[-1].kind, *[event.note for event in said if event.note])

asyncio.run(main())
"""

Runner = Callable[..., str]


@pytest.fixture
def changing(tmp_path: Path) -> Runner:
    """Writes the task's module with replacements, calls it in a new process, tells how it ended."""
    script = tmp_path / "counting.sh"
    script.write_text(f'echo started >> {tmp_path}/started; printf %s "$2" > "$1"\n')
    (tmp_path / "main.py").write_text(MAIN)
    number = 0

    def call(
        *replacements: tuple[str, str], arguments: tuple[Any, ...] = ("ab",), source: str = TASKS
    ) -> str:
        nonlocal number
        number += 1
        for old, new in [("counting.sh", str(script)), *replacements]:
            assert old in source, old
            source = source.replace(old, new)
        folder = tmp_path / str(number)  # a fresh one: no byte code of the same second
        folder.mkdir()
        (folder / "changing.py").write_text(textwrap.dedent(source))
        done = subprocess.run(
            [sys.executable, str(tmp_path / "main.py"), repr(arguments)],
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.partition(" ")[2].strip() if done.returncode == 0 else done.stdout + done.stderr

    return call


def started(tmp_path: Path) -> int:
    return (tmp_path / "started").read_text().count("started")


def test_a_second_process_starts_no_tool(changing: Runner, tmp_path: Path) -> None:
    assert changing() == "finished"
    assert changing() == "memo hit"
    assert changing(arguments=("ab", 1)) == "memo hit"
    assert started(tmp_path) == 1


@pytest.mark.slow
def test_comments_docstrings_hints_and_formatting_change_nothing(changing: Runner, tmp_path: Path) -> None:
    assert changing() == "finished"
    assert (
        changing(("def helper(text):", "def helper(text: str) -> str:\n    '''New.'''  # a comment\n"))
        == "memo hit"
    )
    assert changing(("return text * LIMIT", "return (\n        text *\n        LIMIT\n    )")) == "memo hit"
    assert changing(("@env.task\n", "@env.task(retries=0)\n")) == "memo hit"
    assert changing(('name="changing", ', 'name="changing",  ')) == "memo hit"
    assert started(tmp_path) == 1


@pytest.mark.slow
def test_helper_constant_default_parameter_and_tool_version_count(changing: Runner, tmp_path: Path) -> None:
    assert changing() == "finished"
    assert changing(("return text * LIMIT", "return LIMIT * text")) == "finished"
    assert changing(("LIMIT = 3", "LIMIT = 4")) == "finished"
    assert changing(("times: int = 1", "times: int = 2")) == "finished"
    assert changing(arguments=("ba",)) == "finished"
    assert changing(('"1.0"', '"1.1"')) == "finished"
    assert started(tmp_path) == 6


def test_an_undeclared_package_is_an_error_that_says_how(changing: Runner) -> None:
    using = (
        "    out = workspace",
        "    import hypothesis\n    print(hypothesis.__version__)\n    out = workspace",
    )
    said = changing(using)
    assert "changing uses hypothesis, which it does not declare: add Library('hypothesis')" in said
    library = (
        "import ResolvedTool, Tool",
        "import ResolvedTool, Tool\nfrom stargazer.tasks import Library",
    )
    declared = ("tools=[counting]", "tools=[counting, Library('hypothesis')]")
    assert changing(using, library, declared) == "finished"


def test_what_cannot_be_digested_runs_each_time_and_says_so(changing: Runner, tmp_path: Path) -> None:
    odd = ("LIMIT = 3", "import io\nfor LIMIT in [type('I', (int,), {})(3)]: HANDLE = [io.StringIO()]\n")
    used = ("return text * LIMIT", "return text * LIMIT + HANDLE[0].getvalue()")
    for _ in range(2):
        said = changing(odd, used)
        assert said.startswith("finished not memoised: ")
    assert started(tmp_path) == 2


def test_a_helper_changed_under_a_task_of_a_notebook_counts() -> None:
    cells = """
import asyncio, linecache
from stargazer.tasks.execution import AssetEnvironment, observe

def cell(number, source):
    name = f"<cell {number}>"
    linecache.cache[name] = len(source), None, source.splitlines(True), name
    exec(compile(source, name, "exec"), globals())

cell(1, "def helper():\\n    return 1\\n")
cell(2, "env = AssetEnvironment(name='cells')\\n")
cell(3, "@env.task\\nasync def number() -> int:\\n    return helper()\\n")
print(asyncio.run(number()))
cell(1, "def helper():\\n    return 2\\n")
print(asyncio.run(number()))
"""
    done = subprocess.run([sys.executable, "-c", cells], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1", "2"], done.stderr


def test_a_result_is_not_remembered_if_a_cell_changed_meanwhile_what_the_task_uses() -> None:
    script = """
import asyncio, linecache
from stargazer.tasks.execution import AssetEnvironment

env = AssetEnvironment(name="meanwhile")
limit = 1
source = "@env.task\\nasync def number() -> int:\\n    await asyncio.sleep(0)\\n    return limit\\n"
linecache.cache["<cell>"] = len(source), None, source.splitlines(True), "<cell>"
exec(compile(source, "<cell>", "exec"), globals())

async def begun():
    global limit
    from stargazer.tasks.execution import observe
    def change(event):
        global limit
        if event.kind == "started" and first:
            first.clear()
            limit = 2
    first = [True]
    with observe(change):
        print(await number())
    limit = 1
    print(await number())

asyncio.run(begun())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2", "1"], done.stderr


def test_in_a_notebook_a_module_that_is_loaded_again_counts_as_it_is_now(tmp_path: Path) -> None:
    """`importlib.reload` in a cell, or marimo's own reloading, leaves the task's function as it is."""
    (tmp_path / "laboratory").mkdir()
    (tmp_path / "laboratory" / "__init__.py").touch()
    (tmp_path / "laboratory" / "helpers.py").write_text("def limit():\n    return 1\n")
    (tmp_path / "laboratory" / "tasks.py").write_text(
        "from stargazer.tasks.execution import AssetEnvironment\nfrom laboratory import helpers\n"
        "env = AssetEnvironment(name='reloaded')\n\n\n@env.task\nasync def number() -> int:\n"
        "    return helpers.limit()\n"
    )
    script = """
import asyncio, importlib, sys, types
from pathlib import Path
sys.modules.setdefault("marimo", types.ModuleType("marimo"))
from laboratory import helpers, tasks

print(asyncio.run(tasks.number()))
Path(helpers.__file__).write_text("def limit():\\n    return 1 + 1\\n")
importlib.reload(helpers)
print(asyncio.run(tasks.number()))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["1", "2"], done.stderr
