"""caller=gatk that is killed or cancelled: no Java stays, nothing half done, and the next run is right.

These tests run side by side with others, without the marker `jvm`: each Java here takes less than 1 GB.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .homes import (
    answer,
    assert_sound,
    cids,
    processes,
    register,
    stargazer,
    wait_until_gone,
    worker,
)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="no /proc to see processes in"
)

GATK = ["run", "germline_short_variant_discovery", "caller=gatk", "build=small", "samples=S", "--json"]


@pytest.fixture(scope="module")
def ready(made_once: Callable[..., Path], gatk_tools: Path) -> tuple[Path, dict[str, Any]]:
    """A home in which everything up to GATK has run, and the results of an undisturbed run elsewhere."""

    def make(folder: Path) -> None:
        home, undisturbed = folder / "home", folder / "undisturbed"
        shutil.copytree(made_once("registered", register) / "home", home)
        words = ["run", "preprocess_sample", "caller=bcftools", "build=small", "sample=S", "--json"]
        answer(stargazer(*words, env=environment(home)))
        shutil.copytree(home, undisturbed)
        (undisturbed / "tools").symlink_to(gatk_tools)
        done = answer(stargazer(*GATK, env=environment(undisturbed)))
        (folder / "cids.json").write_text(json.dumps(results_of(done)))

    folder = made_once("gatk-interrupted", make)
    return folder / "home", json.loads((folder / "cids.json").read_text())


def results_of(done: Any) -> dict[str, Any]:
    """The CIDs of what a run gave, but for that of the report, which tells how long each step took."""
    return {name: found for name, found in cids(done["results"]).items() if name != "report"}


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "STARGAZER_HOME": str(home),
        "STARGAZER_LOCAL": str(home / "local"),
        "STARGAZER_CORES": "2",
    }


def renew(home: Path, ready: Path, tools: Path) -> None:
    """Make a home what it was when everything up to GATK had run."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(ready, home)
    (home / "tools").symlink_to(tools)


@pytest.fixture
def home(
    ready: tuple[Path, dict[str, Any]], gatk_tools: Path, monkeypatch: pytest.MonkeyPatch, _isolated: None
) -> Path:
    """A copy of that home for one test."""
    home = Path(os.environ["STARGAZER_HOME"])
    renew(home, ready[0], gatk_tools)
    monkeypatch.setenv("STARGAZER_CORES", "2")
    return home


@pytest.fixture
def undisturbed(ready: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    return ready[1]


def a_java(home: Path, run: subprocess.Popen[str], tool: str) -> int:
    """The process of a tool of GATK that has just begun in this home."""
    while run.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                here = os.readlink(folder / "cwd").startswith(str(home))
                if here and tool.encode() in words and words[0].endswith(b"/java"):
                    return int(folder.name)
        time.sleep(0.005)
    raise AssertionError(f"{tool} was not seen: {run.communicate()}")


def assert_clean(home: Path, undisturbed: dict[str, Any], *, is_finished: bool = False) -> None:
    """Nobody works here any more, nothing lies about, and no result is there that the run would have made later."""
    wait_until_gone(home)
    assert processes(home) == []
    assert_sound(home)
    work = home / "local" / "work"
    assert is_finished or not (home / "local" / "objects" / undisturbed["variants"]["cid"]).exists()
    assert not work.exists() or list(work.iterdir()) == []


@pytest.mark.slow
def test_kill_9_leaves_no_java_and_the_next_run_goes_on(
    home: Path, ready: tuple[Path, dict[str, Any]], gatk_tools: Path
) -> None:
    """At moments drawn once; where the machine is slow, they are earlier ones of the tool."""
    moments, undisturbed = random.Random(20_261_130), ready[1]
    for tool, whom in (
        ("MarkDuplicates", "java"),
        ("HaplotypeCaller", "stargazer"),
        ("GenotypeGVCFs", "group"),
    ):
        for _ in range(5):  # a tool may have ended before it was killed: from the beginning then
            run = stargazer(*GATK)
            java = a_java(home, run, tool)
            time.sleep(moments.uniform(0, 0.3))
            with contextlib.suppress(ProcessLookupError):
                if whom == "java":
                    os.kill(java, signal.SIGKILL)
                elif whom == "stargazer":
                    os.kill(worker(home), signal.SIGKILL)
                else:
                    os.killpg(worker(home), signal.SIGKILL)
            out, error = run.communicate(timeout=120)
            if run.returncode:
                break
            renew(home, ready[0], gatk_tools)
        wait_until_gone(home)
        assert_sound(home)
        assert out == ""
        if whom == "java":
            assert run.returncode == 1
            assert f"gatk {tool} was killed by SIGKILL" in error
            assert_clean(home, undisturbed)
    again = answer(stargazer(*GATK))
    assert results_of(again) == undisturbed
    assert again["memo_hits"] > 0
    assert_clean(home, undisturbed, is_finished=True)


def test_ctrl_c_in_the_middle_of_gatk_leaves_nothing(home: Path, undisturbed: dict[str, Any]) -> None:
    run = stargazer(*GATK)
    java = a_java(home, run, "MarkDuplicates")

    os.killpg(run.pid, signal.SIGINT)
    out, error = run.communicate(timeout=60)

    assert run.returncode == 128 + signal.SIGINT, error
    assert (out, "Traceback" in error) == ("", False)
    assert not Path(f"/proc/{java}").exists()
    assert_clean(home, undisturbed)


def test_a_timeout_leaves_nothing(home: Path, undisturbed: dict[str, Any]) -> None:
    """As a program that runs the workflow has it: what it awaits is cancelled while Java works."""
    program = """
import asyncio, os, sys
from pathlib import Path
from stargazer.tasks.execution import observe
from stargazer.workflows.germline import germline_short_variant_discovery as call

async def main():
    begun = asyncio.Event()
    with observe(lambda e: begun.set() if (e.kind, e.task) == ("started", "gatk.mark_duplicates") else None):
        running = asyncio.create_task(call(samples=["S"], build="small", caller="gatk"))
        await begun.wait()
        await asyncio.wait_for(running, 0.3)

try:
    asyncio.run(main())
except TimeoutError:
    sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)

    assert done.returncode == 7, done.stderr
    assert_clean(home, undisturbed)
