"""Two tasks of which one thing can be changed, run in processes of their own, which count the tool they use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["ChangingTasks"]

TASKS = '''
"""Two tasks, of which the second knows nothing of what changes."""
from __future__ import annotations
import asyncio, json, sys
from pathlib import Path
from attrs import frozen
from stargazer.assets import Intervals, QcReport, current_client
from stargazer.tasks.execution import AssetEnvironment, asking_why, workspace
from stargazer.tasks.execution.options import NotRemembered
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
FACTOR = 3

def helper(text):
    return text * FACTOR

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

async def work():
    (interval,) = await Intervals.all(name="i", build=sys.argv[1])
    return await second(await first(interval, 1))

async def main():
    if sys.argv[2] == "run":
        print((await work()).cid)
        return
    with asking_why() as misses:
        try:
            await work()
        except NotRemembered:
            pass
    print(json.dumps([[miss.task, miss.explain()] for miss in misses]))
'''


class ChangingTasks:
    """Runs both tasks on the intervals `i` of a build, with one replacement in their module.

    What the tool writes depends on its version.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._script = folder / "counting.sh"
        self._number = 0

    def __call__(self, what: str, old: str = "", new: str = "", build: str = "one", **env: str) -> str:
        """What the module prints: the last CID of a `run`, or as JSON why calls are not remembered (`ask`)."""
        assert old in TASKS
        self._number += 1
        folder = self.folder / f"run{self._number}"
        folder.mkdir()
        source = TASKS.replace(old, new) if old else TASKS
        version = source.partition('Script("')[2][:3]
        self._script.write_text(f'echo x >> {self.folder}/started; printf %s "{version} $2" > "$1"\n')
        (folder / "changing.py").write_text(source.replace("SCRIPT", str(self._script)))
        main = "import asyncio, changing; asyncio.run(changing.main())"
        done = subprocess.run([sys.executable, "-c", main, build, what], cwd=folder, text=True, capture_output=True,
                              env={**os.environ, "PYTHONPATH": str(folder), **env}, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def started(self) -> int:
        """How many processes of the tool were started so far."""
        path = self.folder / "started"
        return path.read_text().count("x") if path.exists() else 0
