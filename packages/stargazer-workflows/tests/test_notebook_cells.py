"""Tasks, workflows and asset types that are written in the cells of a marimo notebook, in real kernels."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from stargazer.assets import Asset, InvalidAssetError, Reference
from stargazer.assets.provenance import Execution
from stargazer.storage import Addition, LocalStorageClient, Store
from stargazer.workflows import events_of, list_runs, resume_run, watch_run

from .notebook_kernel import Kernel, Server, serving

NOTEBOOK = '''
import marimo

app = marimo.App()

with app.setup:
    import asyncio
    import os
    from pathlib import Path

    import marimo as mo
    from stargazer.assets import Asset, QcReport, Reference, asset
    from stargazer.tasks import compute, htslib_env, samtools, workspace
    from stargazer.tasks.execution import observe
    from stargazer.workflows import run, start_run, workflow_env


@app.class_definition
@asset("line_count")
class LineCount(Asset):
    lines: int


@app.function
def lines_of(path):
    return path.read_text().count("\\n")


@app.function
@htslib_env.task
async def longest(reference: Reference) -> QcReport:
    """The longest line."""
    out = workspace() / "longest.txt"
    out.write_text(str(max(map(len, reference.path.read_text().split()))))
    return QcReport(path=out, kind="longest")


@app.cell
def _():
    slider = mo.ui.slider(1, 10, value=4)
    factor = 2
    slider
    return factor, slider


@app.cell
def counting(factor, slider):
    _more = 5

    def _added(count):
        return count * factor + _more

    @htslib_env.task(tools=[samtools])
    async def count_lines(reference: Reference) -> LineCount:
        """The lines of a reference."""
        out = workspace() / "lines.txt"
        count = _added(lines_of(reference.path)) + slider.value
        out.write_text(str(count))
        return LineCount(path=out, lines=count)
    return (count_lines,)


@app.cell
def _():
    table = iter([1, 2, 3])
    return (table,)


@app.cell
def opaque(table):
    @htslib_env.task
    async def from_elsewhere(reference: Reference) -> QcReport:
        out = workspace() / "out.txt"
        out.write_text(type(table).__name__)
        return QcReport(path=out, kind="elsewhere")

    @htslib_env.task
    async def in_a_child(reference: Reference) -> QcReport:
        out = workspace() / "out.txt"
        out.write_text(str(await compute(lines_of, path=reference.path)))
        return QcReport(path=out, kind="child")
    return from_elsewhere, in_a_child


@app.cell
async def calls(count_lines):
    told = []
    reference = (await Reference.all())[0]
    with observe(lambda event: told.append((event.task, event.kind))):
        counted = await count_lines(reference)
        longest_line = await longest(reference)
    print("TOLD", [kind for _, kind in told if kind in ("finished", "memo hit")], counted.lines, counted.cid)
    return (reference,)


if __name__ == "__main__":
    app.run()
'''

SLOW = '''
import marimo

app = marimo.App()

with app.setup:
    import asyncio
    import os
    from pathlib import Path

    from stargazer.assets import QcReport, Reference
    from stargazer.tasks import htslib_env, workspace
    from stargazer.workflows import run, start_run, workflow_env


@app.cell
def tasks():
    @htslib_env.task
    async def first(reference: Reference) -> QcReport:
        out = workspace() / "first.txt"
        out.write_text("first")
        return QcReport(path=out, kind="first")

    @htslib_env.task
    async def second(report: QcReport) -> QcReport:
        while not Path(os.environ["GO"]).exists():
            await asyncio.sleep(0.02)
        out = workspace() / "second.txt"
        out.write_text("second")
        return QcReport(path=out, kind="second")

    @workflow_env.task
    async def both(reference: Reference) -> QcReport:
        """One after the other."""
        return await second(await first(reference))
    return (both,)


@app.cell
async def _():
    reference = (await Reference.all())[0]
    return (reference,)
'''


class Home:
    """Folders of somebody who writes notebooks, with a reference in the store."""

    def __init__(self, root: Path):
        self.root, self.go = root, root / "go"
        self.environment = {
            "STARGAZER_HOME": str(root / "home"),
            "STARGAZER_LOCAL": str(root / "local"),
            "GO": str(self.go),
        }
        self.notebooks = root / "notebooks"
        self.notebooks.mkdir()

    def add_reference(self) -> None:
        path = self.root / "tiny.fa"
        path.write_text(">c\nACGTAC\nACGT\n")
        self.store.add([Addition(path, Reference(build="tiny"))])

    @property
    def store(self) -> Store:
        return LocalStorageClient(self.root / "local").store

    def write(self, text: str, name: str = "experiment.py") -> Path:
        path = self.notebooks / name
        path.write_text(text)
        return path

    def script(self, path: Path) -> str:
        """What a notebook prints when it is run as a script."""
        done = subprocess.run(
            [sys.executable, path], env={**os.environ, **self.environment}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def executions(self) -> Mapping[str, Execution]:
        """By name of the function, the newest."""
        store = self.store
        records = store.query({"asset": "provenance", "kind": "execution"})
        documents = [store.document(record.cid) for record in records]
        made = [document for document in documents if isinstance(document, Execution)]
        return {each.task.partition(".")[2]: each for each in sorted(made, key=lambda each: each.started)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def server(home: Home) -> Iterator[Server]:
    with serving(home.notebooks, home.environment) as running:
        yield running


def cell_named(kernel: Kernel, name: str) -> str:
    return next(cell for cell, known in kernel.names.items() if known == name)


def told(text: str) -> str:
    return next(line for line in text.splitlines() if "TOLD" in line)


def test_a_task_in_a_cell_is_remembered_until_something_that_it_uses_changes(
    home: Home, server: Server
) -> None:
    home.add_reference()
    notebook = home.write(NOTEBOOK)
    kernel = server.open(notebook)
    kernel.start()
    calls = cell_named(kernel, "calls")
    assert "['finished', 'finished'] 15 " in told(kernel.text(calls)), kernel.text(calls)

    made = home.executions()
    assert [(made[name].notebook, made[name].cell) for name in ("count_lines", "longest")] == [
        ("experiment.py", "counting"),
        ("experiment.py", "longest"),
    ]
    assert made["count_lines"].code_digest

    # as a script all is remembered: the digest is the same
    assert "['memo hit', 'memo hit'] 15 " in told(home.script(notebook))

    # a value that somebody chooses, a constant of another cell, a private one, the function itself
    slider = next(cell for cell, text in kernel.codes.items() if "mo.ui.slider" in text)
    kernel.post("kernel/set_ui_element_value", objectIds=[f"{slider}-0"], values=[7])
    kernel.wait()
    assert "['finished', 'memo hit'] 18 " in told(kernel.text(calls))
    kernel.run(kernel.codes[slider].replace("factor = 2", "factor = 3"), slider)
    assert "['finished', 'memo hit'] 18 " in told(kernel.text(calls))  # 3 x 3 + 5 + 4
    counting = cell_named(kernel, "counting")
    kernel.run(kernel.codes[counting].replace("_more = 5", "_more = 6"), counting)
    assert "['finished', 'memo hit'] 19 " in told(kernel.text(calls))
    kernel.run(kernel.codes[counting].replace('"""The lines of', '"""All lines of'), counting)
    assert "['memo hit', 'memo hit'] 19 " in told(kernel.text(calls))
    kernel.run(kernel.codes[counting].replace("_more = 6", "_more = 5"), counting)
    kernel.run(kernel.codes[slider].replace("factor = 3", "factor = 2"), slider)
    assert "['memo hit', 'memo hit'] 15 " in told(kernel.text(calls))  # as at first

    # what cannot be remembered is said in the cell, what cannot work says what to do
    shown = kernel.run("await from_elsewhere(reference)")
    assert "computed each time, not memoised: table: what a cell has computed" in shown
    shown = kernel.run("await in_a_child(reference)")
    assert "lines_of is defined in a notebook or script, which a child process cannot import" in shown

    # a task of one cell alone, under the name that it has there
    private = "@htslib_env.task\nasync def _empty(reference: Reference) -> None: pass\n"
    private += "print(_empty.name, _empty.__name__)"
    assert "htslib._empty _empty" in kernel.run(private)

    # a run of a task of a cell
    shown = kernel.run("print((await run(count_lines, reference=reference)).memo_hits)")
    (recorded,) = list_runs()
    assert (recorded.workflow, recorded.kind, recorded.state) == ("count_lines", "task", "succeeded"), shown
    assert recorded.defined_in == "cell counting of experiment.py"
    assert recorded.results["result"]["keyvalues"]["lines"] == "15"
    shown = kernel.run("await run(count_lines, reference=3)")
    assert "expected reference, got 3" in shown
    shown = kernel.run("await run(in_a_child, reference=reference)")
    failed = list_runs()[0]
    assert (failed.state, failed.kind) == ("failed", "task"), shown
    assert failed.to_go_on == "run it again in cell opaque of experiment.py: what was finished is remembered"
    kernel.close()

    # a type of a cell that has not run here
    with pytest.warns(match="line_count"):
        found = [Asset.from_record(record) for record in home.store.query({"asset": "line_count"})]
    assert [type(each) for each in found] == [Asset] * 3


def started(task: str) -> bool:
    return any(
        event["kind"] == "started" and event["task"].endswith(task)
        for each in list_runs()
        for event, _ in events_of(each)
    )


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.long
def test_a_run_ends_with_its_kernel_and_what_was_finished_is_remembered(home: Home, server: Server) -> None:
    home.add_reference()
    notebook = home.write(SLOW)
    kernel = server.open(notebook)
    kernel.start()
    pid = kernel.pid()
    kernel.begin("done = await run(both, reference=reference)")
    wait_until(lambda: started("second"))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: list_runs()[0].state == "lost")
    (lost,) = list_runs()
    assert lost.error.endswith("run it again in cell tasks of experiment.py: what was finished is remembered")
    with pytest.raises(
        InvalidAssetError, match=r"cell tasks of experiment\.py, which no other process knows"
    ):
        resume_run(lost.id)

    home.go.touch()
    kernel.post("kernel/restart_session")
    kernel.close()
    again = server.open(notebook)
    again.start()
    shown = again.run(
        "done = await run(both, reference=reference); print(f'<{done.computed} {done.memo_hits}>')"
    )
    assert "<1 1>" in shown
    assert [each.state for each in list_runs()] == ["succeeded", "lost"]


@pytest.mark.long
def test_a_run_of_packaged_tasks_outlives_the_kernel(home: Home, server: Server) -> None:
    home.add_reference()
    kernel = server.open(home.write(SLOW))
    kernel.start()
    pid = kernel.pid()
    shown = kernel.run("print('<' + start_run('prepare_reference', build='tiny', aligner='none').id + '>')")
    os.kill(pid, signal.SIGKILL)
    done = asyncio.run(watch_run(shown.split("<")[1].split(">")[0]))
    assert (done.state, done.detached, done.computed) == ("succeeded", True, 3)
    kernel.post("kernel/restart_session")
    kernel.close()
    again = server.open(home.notebooks / "experiment.py")
    again.start()
    shown = again.run(
        "from stargazer.workflows import list_runs; print([each.state for each in list_runs()])"
    )
    assert "['succeeded']" in shown


@pytest.mark.long
def test_two_kernels_with_the_same_cells_compute_each_task_once(home: Home, server: Server) -> None:
    home.add_reference()
    kernels = [server.open(home.write(SLOW, name)) for name in ("experiment.py", "experiment_2.py")]
    for kernel in kernels:
        kernel.start()
    cells = [
        kernel.begin(
            "done = await run(both, reference=reference); print('DONE', done.results['result']['cid'])"
        )
        for kernel in kernels
    ]
    wait_until(lambda: len(list_runs()) == 2 and started("second"))
    home.go.touch()
    shown = [kernel.text(cell, wait=True) for kernel, cell in zip(kernels, cells, strict=True)]
    results = [text.partition("DONE ")[2].split("<")[0].strip() for text in shown]
    assert results[0].startswith("baf"), shown
    assert results[0] == results[1]
    assert sum(each.computed for each in list_runs()) == 2
    assert sum(each.memo_hits for each in list_runs()) == 2


@pytest.mark.long
def test_without_a_reference_the_error_says_how_to_add_one(home: Home, server: Server) -> None:
    kernel = server.open(home.write(SLOW))
    kernel.start()
    shown = kernel.run("await Reference.one(build='tiny')")
    assert "stargazer add" in shown
