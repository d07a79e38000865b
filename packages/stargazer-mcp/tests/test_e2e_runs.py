"""Runs as a lab relies on them: killed and resumed, without their terminal, awaited in any way, a cohort that grows."""

from __future__ import annotations

import gzip
import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .command import simulate
from .homes import (
    COMMAND,
    GERMLINE,
    answer,
    assert_nothing_left,
    cids,
    events,
    processes,
    stargazer,
)
from .run_kills import campaign, undisturbed_run

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="no /proc to see processes in"
)

IN_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
AWAITED = """
import asyncio, json, sys
import flyte
from stargazer.tasks.execution import named_outputs
from stargazer.workflows import germline_short_variant_discovery as call

given = {"samples": ["S"], "build": "small", "caller": "bcftools"}
if sys.argv[1] == "flyte.run":
    found = named_outputs(call, flyte.with_runcontext(mode="local").run(call, **given).outputs())
else:
    found = asyncio.run(call(**given))

def described(value):
    return [described(item) for item in value] if isinstance(value, list) else {"cid": value.cid}

print(json.dumps({"results": {name: described(value) for name, value in found._asdict().items()}}))
"""


@pytest.mark.slow
def test_runs_killed_at_many_points_go_on_where_they_were(
    home: Path, registered: Path, undisturbed: Path
) -> None:
    """The short form of benchmarks/kill_runs.py."""

    def renew() -> None:
        shutil.rmtree(home)
        shutil.copytree(registered, home)

    first = min(path.name for path in (undisturbed / "runs").iterdir())
    found = campaign(renew, [*GERMLINE, "samples=S"], undisturbed_run(undisturbed, first), kills=4, seed=3)

    assert found.bad == []
    assert found.kills == 4
    assert found.remembered > 0


class Tmux:
    """A session of tmux."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()  # a socket's path is short
        self.command = ["tmux", "-S", f"{self.folder.name}/socket", "-f", os.devnull]

    def start(self, *words: str) -> None:
        subprocess.run([*self.command, "new-session", "-d", shlex.join(words)], check=True)

    def look(self) -> None:
        """Nobody has to read what is on it."""

    def kill(self) -> None:
        subprocess.run([*self.command, "kill-session"], check=False, stderr=subprocess.DEVNULL)
        self.folder.cleanup()


class Window:
    """A terminal whose window is closed."""

    def __init__(self) -> None:
        self.screen = -1

    def start(self, *words: str) -> None:
        self.screen, inside = pty.openpty()
        command = [sys.executable, "-c", IN_A_TERMINAL, *words]
        self.process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside)
        os.close(inside)

    def look(self) -> None:
        """Read what is on it, lest it is full."""
        while select.select([self.screen], [], [], 0)[0]:
            os.read(self.screen, 4096)

    def kill(self) -> None:
        if self.screen >= 0:
            os.close(self.screen)
            self.screen = -1
            assert self.process.wait(30) == -signal.SIGHUP


@pytest.fixture
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tmux | Window]:
    """A terminal of the kind that is asked for."""
    made = request.param()
    yield made
    made.kill()


@pytest.mark.parametrize(
    "terminal",
    [pytest.param(Tmux, marks=pytest.mark.debian("tmux")), pytest.param(Window, marks=pytest.mark.long)],
    indirect=True,
)
def test_a_run_goes_on_when_its_terminal_is_killed(
    terminal: Tmux | Window, home: Path, undisturbed_cids: dict[str, Any]
) -> None:
    terminal.start(*COMMAND, *GERMLINE, "samples=S")
    while not any(event["kind"] == "started" for event in events(home)):
        terminal.look()
        time.sleep(0.01)

    terminal.kill()
    while any("stargazer.mcp.cli" in command for command in processes(home)):
        time.sleep(0.01)

    (left,) = answer(stargazer("runs", "--json"))
    assert left["state"] in ("running", "succeeded")  # which of both, a busy machine decides
    done = answer(stargazer("runs", "watch", left["run"], "--json"))
    assert cids(done["results"]) == undisturbed_cids["S"]
    assert_nothing_left(home)


@pytest.mark.slow
def test_awaited_under_flyte_and_detached_it_gives_what_it_gave_watched(
    home: Path, registered: Path, undisturbed_cids: dict[str, Any], tmp_path: Path
) -> None:
    ways: dict[str, subprocess.Popen[str]] = {}
    for way in ("awaited", "flyte.run"):
        other = tmp_path / way
        shutil.copytree(registered, other)
        env = {**os.environ, "STARGAZER_HOME": str(other), "STARGAZER_LOCAL": str(other / "local")}
        command = [sys.executable, "-c", AWAITED, way]
        ways[way] = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    run = answer(stargazer(*GERMLINE, "samples=S", "--detach"))["run"]
    ways["detached"] = stargazer("runs", "watch", run, "--json")

    found = {way: cids(answer(process)["results"]) for way, process in ways.items()}

    assert found == dict.fromkeys(ways, undisturbed_cids["S"])


@pytest.mark.slow
def test_a_sample_that_joins_a_finished_cohort_takes_its_own_tasks_and_the_joint_part(tmp_path: Path) -> None:
    simulate(tmp_path)
    answer(stargazer("add", tmp_path / "tiny.fa", "build=tiny", "--json"))
    names, sheet = ["a", "b", "c", "d"], tmp_path / "sheet.csv"
    for mate in "12":
        lines = gzip.decompress((tmp_path / f"S_R{mate}.fq.gz").read_bytes()).splitlines(keepends=True)
        reads = [b"".join(lines[start : start + 4]) for start in range(0, len(lines), 4)]
        for number, name in enumerate(names):
            (tmp_path / f"{name}_R{mate}.fq.gz").write_bytes(gzip.compress(b"".join(reads[number::4])))
    rows = [f"{name},{name}_R1.fq.gz,{name}_R2.fq.gz\n" for name in names]

    def run(count: int) -> tuple[Any, Counter[tuple[str, str]]]:
        """The run of so many samples, and what it computed: task and label."""
        sheet.write_text("sample,fastq_1,fastq_2\n" + "".join(rows[:count]))
        words = ["caller=bcftools", "build=tiny", "--samplesheet", sheet, "--json"]
        done = answer(stargazer("run", "germline_short_variant_discovery", *words))
        path = Path(os.environ["STARGAZER_HOME"], "runs", done["run"], "events.jsonl")
        told = [json.loads(line) for line in path.read_text().splitlines()]
        computed = [(event["task"], event["label"]) for event in told if event["kind"] == "finished"]
        return done, Counter(computed)

    three, _ = run(3)
    four, computed = run(4)

    own = ["align.align_with_bwa_mem3", "htslib.markdup", "htslib.index_alignment", "htslib.flagstat",
           "htslib.alignment_stats", "htslib.coverage_stats"]  # fmt: skip
    joint = ["htslib.call_variants", "htslib.normalise_variants", "htslib.filter_variants",
             "htslib.index_variants", "htslib.variant_stats", "report.summarise_germline",
             "report.germline_report"]  # fmt: skip
    assert Counter(task for task, _ in computed.elements()) == Counter([*own, *joint])
    assert {label for task, label in computed if task in own} == {"d"}
    assert four["computed"] == len(own) + len(joint)
    assert cids(four["results"])["alignments"].items() > cids(three["results"])["alignments"].items()
