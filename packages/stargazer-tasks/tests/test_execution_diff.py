"""diff of what tasks really recorded: one thing changed far upstream, and exactly that is named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from stargazer.storage import get_client
from stargazer.storage.lineage.diff import diff

TASKS = '''
"""Two tasks, of which the second knows nothing of what changes."""
from __future__ import annotations
import asyncio
from pathlib import Path
from attrs import frozen
from stargazer.assets import Intervals, QcReport, current_client
from stargazer.tasks.execution import AssetEnvironment, workspace
from stargazer.tasks.tools import ResolvedTool, Tool

@frozen
class Script:
    version: str
    kind: str = "wheel"

    def find(self, name):
        return ResolvedTool(name=name, version=self.version, source="wheel", argv=("/bin/sh", "SCRIPT"))

    def describe(self):
        return "here"

counting = Tool("counting", (Script("1.0"),))
env = AssetEnvironment(name="changing", tools=[counting])

def helper(text):
    return text * 3

@env.task
async def first(intervals: Intervals, times: int) -> QcReport:
    out = workspace() / "out"
    await counting(out, helper(intervals.path.read_text()) * times)
    return QcReport(path=out, kind="first")

@env.task
async def second(report: QcReport) -> QcReport:
    out = workspace() / "out"
    out.write_text(report.path.read_text() + "end")
    return QcReport(path=out, kind="second")

async def main():
    Path("in.bed").write_text("c\\t0\\t10\\n")
    record = await current_client().upload_file(Path("in.bed"), Intervals(name="i").keyvalues)
    print((await second(await first(Intervals.from_record(record), 1))).cid)
'''

Runner = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    """Runs both tasks in a process of their own, with one replacement in their module; gives the last CID."""
    script = tmp_path / "counting.sh"
    number = 0

    def call(old: str = "", new: str = "") -> str:
        nonlocal number
        number += 1
        assert old in TASKS
        folder = tmp_path / str(number)
        folder.mkdir()
        source = TASKS.replace(old, new) if old else TASKS
        version = source.partition('Script("')[2][:3]
        script.write_text(f'printf %s "{version} $2" > "$1"\n')  # another version gives other bytes
        (folder / "changing.py").write_text(source.replace("SCRIPT", str(script)))
        main = "import asyncio, changing; asyncio.run(changing.main())"
        done = subprocess.run([sys.executable, "-c", main], cwd=folder, text=True, capture_output=True,
                              env={**os.environ, "PYTHONPATH": str(folder)}, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return call


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("text * 3", "text * 4", ("code", "changing.first")),
        ("(record), 1", "(record), 2", ("parameter", "times")),
        ('Script("1.0")', 'Script("1.1")', ("tool", "counting")),
        ("t10", "t11", ("file", "intervals")),
    ],
    ids=["a helper", "a parameter", "a tool's version", "an input"],
)
def test_one_change_is_named_and_nothing_else(
    run: Runner, old: str, new: str, expected: tuple[str, str]
) -> None:
    a, b = run(), run(old, new)

    difference = diff(get_client().store, a, b)

    assert a != b
    assert [(found.kind, found.name) for found in difference.divergences] == [expected]
