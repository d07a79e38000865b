"""`stargazer run` and `add` that are killed, interrupted or run at once: what is left, and what comes after."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .homes import (
    GERMLINE,
    answer,
    assert_nothing_left,
    assert_sound,
    begun,
    cids,
    computed,
    events,
    processes,
    stargazer,
    wait_until_gone,
    work,
)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="no /proc to see processes in"
)


def test_two_runs_of_one_sample_compute_each_task_once(home: Path, undisturbed_cids: dict[str, Any]) -> None:
    both = [stargazer(*GERMLINE, "samples=S") for _ in range(2)]
    for process in both:
        assert cids(answer(process)["results"]) == undisturbed_cids["S"]
    assert set(computed(home).values()) == {1}
    assert "failed" not in {event["kind"] for event in events(home)}
    assert_nothing_left(home)


@pytest.mark.long
def test_two_samples_at_once_are_both_right(home: Path, undisturbed_cids: dict[str, Any]) -> None:
    both = {sample: stargazer(*GERMLINE, f"samples={sample}") for sample in ("S", "T")}
    for sample, process in both.items():
        assert cids(answer(process)["results"]) == undisturbed_cids[sample]
    assert [count for (task, _), count in computed(home).items() if "index_for_bwa" in task] == [1]
    assert_nothing_left(home)
    assert_sound(home)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [2, pytest.param(4, marks=pytest.mark.long)])
def test_many_runs_on_one_slot_finish(
    home: Path, undisturbed_cids: dict[str, Any], monkeypatch: pytest.MonkeyPatch, pairs: int
) -> None:
    monkeypatch.setenv("STARGAZER_CORES", "1")
    runs = [(sample, stargazer(*GERMLINE, f"samples={sample}")) for sample in ("S", "T") * pairs]
    for sample, process in runs:
        assert cids(answer(process)["results"]) == undisturbed_cids[sample]
    assert_nothing_left(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole_group", [True, False])
def test_a_signal_in_the_middle_leaves_nothing(home: Path, number: signal.Signals, whole_group: bool) -> None:
    draw = random.Random(f"{number} {whole_group}")
    process = begun(home, draw.randint(1, 5))
    time.sleep(draw.uniform(0, 0.1))
    (os.killpg if whole_group else os.kill)(process.pid, number)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 128 + number, error
    assert out == ""
    assert "Traceback" not in error
    assert "`stargazer runs resume " in error
    assert_nothing_left(home)
    (record,) = [json.loads(path.read_text()) for path in home.glob("runs/*/run.json")]
    assert record["state"] == "cancelled"
    assert_sound(home)


@pytest.mark.long
def test_a_run_goes_on_after_signals_at_many_points(home: Path, undisturbed_cids: dict[str, Any]) -> None:
    draw = random.Random(11)
    for number, is_impatient in ((signal.SIGINT, True), (signal.SIGTERM, False)):
        process = begun(home, draw.randint(1, 3))
        time.sleep(draw.uniform(0, 0.15))
        os.killpg(process.pid, number)
        if is_impatient:  # a second one kills
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        _, error = process.communicate(timeout=30)
        assert process.returncode in (0, 128 + number), error
        assert "Traceback" not in error
        wait_until_gone(home)
        assert is_impatient or work(home) == []  # else the next run sweeps it
    assert cids(answer(stargazer(*GERMLINE, "samples=S"))["results"]) == undisturbed_cids["S"]
    assert_nothing_left(home)
    assert_sound(home)


def test_a_signal_at_any_moment_of_the_start_is_told_by_its_status(home: Path) -> None:
    for pause in (0.05, 0.15, 0.3):
        process = stargazer(*GERMLINE, "samples=S")
        time.sleep(pause)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)
        assert_nothing_left(home)


@pytest.mark.parametrize("tool", ["samtools", pytest.param("bwa-mem3", marks=pytest.mark.long)])
def test_a_killed_tool_is_named_and_the_next_run_is_right(
    home: Path, undisturbed_cids: dict[str, Any], tool: str
) -> None:
    for _ in range(5):  # where the machine is busy, a tool may end before it is seen or killed
        process, found = stargazer(*GERMLINE, "samples=S", "--refresh"), None
        while found is None and process.poll() is None:
            found = _tool(home, tool)
        if found is not None:
            os.kill(found, signal.SIGKILL)
        out, error = process.communicate(timeout=60)
        if process.returncode:
            break
    assert process.returncode == 1, error
    assert out == ""
    assert "was killed by SIGKILL" in error
    assert tool in error.rpartition("stargazer: error:")[2]
    assert_nothing_left(home)
    assert cids(answer(stargazer(*GERMLINE, "samples=S"))["results"]) == undisturbed_cids["S"]


def _tool(home: Path, tool: str) -> int | None:
    """A process that runs a tool of a wheel for this home."""
    script = "bwa_mem3.py" if tool == "bwa-mem3" else tool
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            is_tool = any(os.path.basename(os.fsdecode(word)) == script for word in words[2:8])
            if is_tool and str(home) in os.readlink(folder / "cwd"):
                return int(folder.name)
    return None


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[list[Path]]:
    """Four folders of 200 small files each; the empty store is that of the test."""
    made = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in range(200):
            (folder / f"{name}.txt").write_text(f"file {number} {name}\n" * (1 + name % 5))
        made.append(folder)
    yield made
    assert processes(Path(os.environ["STARGAZER_HOME"])) == []


def add(folder: Path, sample: str = "") -> subprocess.Popen[str]:
    words = ["asset=qc_report", f"kind=k{folder.name}", f"sample={sample or folder.name}"]
    return stargazer("add", *sorted(folder.iterdir()), *words, "--json")


def test_four_adds_of_200_files_at_once_register_800(folders: list[Path]) -> None:
    records = [record for process in [add(folder) for folder in folders] for record in answer(process)]
    home = Path(os.environ["STARGAZER_HOME"])
    assert len({record["cid"] for record in records}) == 800
    found = answer(stargazer("query", "asset=qc_report", "--json"))
    assert {record["id"] for record in found} == {record["id"] for record in records}
    assert assert_sound(home) == 804  # and one document for each command
    assert list((home / "local" / "tmp").glob("*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("turns", [8, pytest.param(20, marks=pytest.mark.long)])
def test_adds_that_are_killed_lose_nothing_acknowledged(folders: list[Path], turns: int) -> None:
    home, draw = Path(os.environ["STARGAZER_HOME"]), random.Random(5)
    acknowledged: set[str] = set()
    answer(add(folders[0], "warm"))
    for turn in range(turns):
        victims = [add(folder, f"turn{turn}") for folder in folders[:2]]
        time.sleep(draw.uniform(0.15, 0.7))
        for process in victims:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in victims:
            out, _ = process.communicate()
            with contextlib.suppress(ValueError):  # killed in the middle of its answer
                acknowledged |= {record["id"] for record in json.loads(out)}
    assert_sound(home)
    found = answer(stargazer("query", "asset=qc_report", "--json"))
    assert acknowledged <= {record["id"] for record in found}
    for count in Counter(record["keyvalues"]["sample"] for record in found).values():
        assert count % 200 == 0  # all or none of each command
    assert len(answer(add(folders[3], "after"))) == 200
    assert_sound(home)
