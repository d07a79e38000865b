"""Runs in cloud mode: a fake control plane takes them, pods are processes, files are in an account at Pinata."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stargazer import assets, storage, tasks, workflows

from .flyte_control_plane import ControlPlane

EMULATOR = Path(__file__).parents[2] / "stargazer-storage" / "tests"
pytestmark = pytest.mark.skipif(
    not (EMULATOR / "pinata_emulator.py").exists(),
    reason="NOT TESTED: no Pinata emulator (stargazer-storage/tests of the repository) beside these tests",
)
LAB = '''
"""Tasks and workflows of a laboratory, which are installed here and in the pods."""

import asyncio
import os
from typing import NamedTuple

from stargazer.assets import InvalidAssetError, Reference, SequenceDict
from stargazer.tasks.execution import AssetEnvironment, WorkflowEnvironment, workspace

lab_env = AssetEnvironment(name="lab")
lab_workflows = WorkflowEnvironment(name="lab-workflows", depends_on=[lab_env])


class Described(NamedTuple):
    reference: Reference
    length: int
    dictionary: SequenceDict


@lab_env.task
async def write_dictionary(reference: Reference) -> SequenceDict:
    dictionary = workspace() / "found.dict"
    dictionary.write_text("@HD\\tVN:1.6\\n@SQ\\tSN:c\\tLN:4\\n")
    return SequenceDict(path=dictionary, reference_cid=reference)


@lab_workflows.task
async def describe(build: str) -> Described:
    reference = await Reference.one(build=build)
    return Described(reference, 4, await write_dictionary(reference))


@lab_workflows.task
async def wait_long(seconds: int) -> int:
    await asyncio.sleep(seconds)
    return seconds
'''


def emulator() -> ModuleType:
    """The emulator's module, which lies in another distribution's tests."""
    sys.path.insert(0, str(EMULATOR))
    try:
        import pinata_emulator
    finally:
        sys.path.remove(str(EMULATOR))
    return pinata_emulator


class Place:
    """A project whose configuration names a cluster, with what is installed there as wheels would be."""

    def __init__(self, folder: Path, pinata: Any) -> None:
        self.project, site = folder / "project", folder / "site-packages"
        self.project.mkdir()
        (site / "stargazer").mkdir(parents=True)
        for package in (assets, storage, tasks, workflows):
            source = Path(package.__file__ or "").parent
            (site / "stargazer" / source.name).symlink_to(source)
        (site / "lab.py").write_text(LAB)
        about = site / "lab-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(
            "[stargazer.tasks]\nlab = lab\n[stargazer.workflows]\nlab = lab\n"
        )
        found = {"PYTHONPATH": str(site)}
        self.plane = ControlPlane(folder / "cluster", {"PINATA_JWT": pinata.jwt}, found)
        self.plane.write_config(self.project)
        self.environment = {
            **found,
            **{name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
            "HOME": str(folder / "home"),
            "STARGAZER_HOME": str(folder / "stargazer"),
            "DO_NOT_TRACK": "1",
            "PINATA_JWT": pinata.jwt,
            "PINATA_API": pinata.api,
            "PINATA_UPLOADS": pinata.uploads,
            "PINATA_GATEWAY": pinata.gateway,
        }

    def python(self, script: str, **variables: str) -> Any:
        """What a script in the project's folder prints as JSON, on its last line."""
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=self.project, env=self.environment | variables,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{self.plane.logs()}"
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cluster")
    with emulator().PinataProcess(folder / "account") as pinata:
        found = Place(folder, pinata)
        with found.plane:
            found.python(
                "import asyncio, json, pathlib\n"
                "from stargazer.storage import add\n"
                "pathlib.Path('tiny.fa').write_text('>c\\nACGT\\n')\n"
                "asyncio.run(add('tiny.fa', build='tiny'))\n"
                "print(json.dumps(None))\n"
            )
            yield found


NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "execution.py"


@pytest.mark.long
@pytest.mark.skipif(not NOTEBOOK.exists(), reason="the notebooks are not in the sdist")
def test_the_tutorial_runs_a_task_at_the_cluster(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.plane.tasks.clear()
    for name in ("PINATA_API", "PINATA_UPLOADS", "PINATA_GATEWAY"):  # `flyte.run` hands nothing on
        monkeypatch.setitem(place.plane.environment, name, place.environment[name])

    done = subprocess.run(
        [sys.executable, NOTEBOOK], cwd=place.project, env=place.environment, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, f"{done.stdout}{done.stderr}{place.plane.logs()}"
    assert place.plane.tasks == ["htslib.samtools_faidx"]


START = """
import asyncio, json
from stargazer.workflows import start_run, watch_run

async def main():
    events = []
    done = await watch_run(start_run({workflow!r}, {arguments!r}).id, events.append)
    print(json.dumps({{**done.as_dict(), "events": [(event["task"], event["kind"]) for event in events]}}))

asyncio.run(main())
"""


def test_a_run_in_cloud_mode_is_done_at_the_cluster(place: Place) -> None:
    place.plane.tasks.clear()

    done = place.python(START.format(workflow="describe", arguments={"build": "tiny"}))

    assert (done["state"], done["error"]) == ("succeeded", "")
    assert place.plane.tasks == ["lab-workflows.describe", "lab.write_dictionary"]
    assert done["events"][-1] == ["lab.write_dictionary", "finished"]
    assert {
        name: value if name == "length" else value["asset"] for name, value in done["results"].items()
    } == {
        "reference": "reference",
        "length": 4,
        "dictionary": "sequence_dict",
    }
    (note,) = done["notes"]
    assert note.startswith(f"It ran at {place.plane.endpoint} as Flyte run ")


TASK = """
import asyncio, json
from stargazer.workflows import find_entry, start_run, task_arguments, watch_run

async def main():
    given = await task_arguments(find_entry("write_dictionary", "task"), {"build": "tiny"}, {})
    done = await watch_run(start_run("write_dictionary", given, kind="task").id)
    print(json.dumps(done.as_dict()))

asyncio.run(main())
"""


@pytest.mark.long
def test_a_single_task_is_run_there_too(place: Place) -> None:
    place.plane.tasks.clear()

    done = place.python(TASK)

    assert (done["state"], done["computed"], place.plane.tasks) == ("succeeded", 1, ["lab.write_dictionary"])
    assert done["results"]["result"]["asset"] == "sequence_dict"


@pytest.mark.long
def test_what_fails_there_fails_the_run_with_its_text(place: Place) -> None:
    done = place.python(START.format(workflow="describe", arguments={"build": "tinny"}))

    assert done["state"] == "failed"
    assert done["error"].startswith("no reference build=tinny; the store holds 1 reference:")
    assert f"at {place.plane.endpoint} as Flyte run " in done["error"]


@pytest.mark.long
def test_in_local_mode_it_runs_here_though_there_is_a_cluster(place: Place) -> None:
    place.plane.tasks.clear()

    done = place.python(START.format(workflow="wait_long", arguments={"seconds": 0}), STARGAZER_MODE="local")

    assert (done["state"], done["results"], place.plane.tasks) == ("succeeded", {"result": 0}, [])


CANCEL = """
import asyncio, json
from stargazer.workflows import cancel_run, find_run, start_run, watch_run

async def main():
    started = start_run("wait_long", seconds=60)
    while not find_run(started.id).notes:  # it says where it runs
        await asyncio.sleep(0.05)
    cancel_run(started.id)
    print(json.dumps((await watch_run(started.id)).as_dict()))

asyncio.run(main())
"""


@pytest.mark.long
def test_a_run_that_is_cancelled_is_aborted_there(place: Place) -> None:
    place.plane.aborted.clear()

    done = place.python(CANCEL)

    assert done["state"] == "cancelled"
    assert list(place.plane.aborted.values()) == ["cancelled by stargazer"]
    assert done["notes"][0].split()[-2].rstrip(":") in place.plane.aborted


CANCEL_AT_ONCE = """
import asyncio, json, sys
from pathlib import Path
from stargazer.workflows import cancel_run, start_run, watch_run

async def main():
    held = Path({held!r})
    started = start_run("wait_long", seconds=60)
    while not held.with_name("made").exists():
        await asyncio.sleep(0.05)
    cancel_run(started.id)
    await asyncio.sleep(1)
    held.unlink()
    print(json.dumps((await watch_run(started.id)).as_dict()))

asyncio.run(main())
"""


@pytest.mark.long
def test_a_run_that_is_cancelled_while_it_is_sent_is_aborted_too(place: Place) -> None:
    place.plane.aborted.clear()
    place.plane.held.touch()

    done = place.python(CANCEL_AT_ONCE.format(held=str(place.plane.held)))

    assert done["state"] == "cancelled"
    assert list(place.plane.aborted.values()) == ["cancelled by stargazer"]


@pytest.mark.long
def test_what_cannot_be_aborted_is_cancelled_here_and_said(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.plane, "is_deaf", True)

    done = place.python(CANCEL)

    assert done["state"] == "cancelled"
    assert "It may go on at " in done["notes"][-1]
    assert "nobody listens" in done["notes"][-1]


REFUSED = """
import asyncio, json
from stargazer.assets import ConfigurationError
from stargazer.tasks.execution import Refresh
from stargazer.workflows import run, workflow_env

@workflow_env.task
async def of_this_process() -> int:
    return 1

async def refused(*args, **named):
    try:
        await run(*args, **named)
    except ConfigurationError as error:
        return str(error)

async def main():
    print(json.dumps([
        await refused(of_this_process),
        await refused("wait_long", seconds=0, refresh=Refresh()),
    ]))

asyncio.run(main())
"""


@pytest.mark.long
def test_what_the_cluster_cannot_do_is_refused(place: Place) -> None:
    unknown, anew = place.python(REFUSED)

    assert unknown.startswith(
        "of_this_process is a workflow of this process, which the cluster does not know"
    )
    assert anew.startswith("the cluster cannot be told to compute anew what the memo knows")
