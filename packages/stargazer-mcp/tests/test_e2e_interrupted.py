"""`stargazer run` and `add` that are killed, interrupted or run at once: what is left, and what comes after."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="no /proc to see processes in"
)

COMMAND = [sys.executable, "-m", "stargazer.mcp.cli"]
GERMLINE = ["run", "germline_short_variant_discovery", "caller=bcftools", "build=small", "--json"]


def stargazer(*words: object, **options: Any) -> subprocess.Popen[str]:
    """The command, started in a session of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def answer(process: subprocess.Popen[str], status: int = 0) -> Any:
    """What an ended command printed as JSON."""
    out, error = process.communicate(timeout=120)
    assert process.returncode == status, error
    assert "Traceback" not in error
    return json.loads(out)


def cids(results: Any) -> dict[str, Any]:
    """The CIDs of results by name, in their structure; without the report, which shows how long each step took."""
    if isinstance(results, list):
        return {str(number): cids(value) for number, value in enumerate(results)}
    if "cid" in results:
        return {"cid": results["cid"]}
    return {name: cids(value) for name, value in results.items() if name != "report"}


@pytest.fixture(scope="module")
def registered(made_once: Callable[..., Path]) -> Path:
    """A home whose store has a reference and a lane each of two samples."""
    return made_once("registered", register) / "home"


def register(folder: Path) -> None:
    from stargazer.workflows.demo.simulate import simulate_sample

    made = simulate_sample(str(folder / "data"), pairs=600, seed=1, genome_length=60000)
    env = {
        **os.environ,
        "STARGAZER_HOME": str(folder / "home"),
        "STARGAZER_LOCAL": str(folder / "home/local"),
    }
    data = folder / "data"
    first, second = made["samples"][0]["lanes"]
    commands = [[data / "reference.fa", "build=small"]]
    for sample, lane in (("S", first), ("T", second)):
        commands.append([data / lane["r1"], data / lane["r2"], f"sample={sample}", "lane=L1"])
    for words in commands:
        answer(stargazer("add", *words, "--json", env=env))


@pytest.fixture
def home(registered: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for one test."""
    home = Path(os.environ["STARGAZER_HOME"])
    shutil.copytree(registered, home, dirs_exist_ok=True)
    monkeypatch.setenv("STARGAZER_CORES", "2")
    return home


@pytest.fixture(scope="module")
def undisturbed(registered: Path, made_once: Callable[..., Path]) -> dict[str, Any]:
    """The CIDs of a run of S and of one of T in a store where nothing else happened."""
    home = made_once("undisturbed", lambda home: run_undisturbed(home, registered))
    return json.loads((home / "cids.json").read_text())


def run_undisturbed(home: Path, registered: Path) -> None:
    shutil.copytree(registered, home, dirs_exist_ok=True)
    env = {**os.environ, "STARGAZER_HOME": str(home), "STARGAZER_LOCAL": str(home / "local")}
    env["STARGAZER_CORES"] = "2"
    found = {
        sample: cids(answer(stargazer(*GERMLINE, f"samples={sample}", env=env))["results"])
        for sample in ("S", "T")
    }
    (home / "cids.json").write_text(json.dumps(found))


def processes(home: Path) -> list[str]:
    """Commands of all processes that work for this home, or in it."""
    sign, found = str(home).encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            here = (folder / "environ").read_bytes() + os.fsencode(os.readlink(folder / "cwd"))
            command = (folder / "cmdline").read_bytes()
            if int(folder.name) != os.getpid() and command and sign in here + command:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def worker(home: Path) -> int:
    """The process of the run that was started last."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, IndexError):
            last = sorted(home.glob("runs/*/run.json"))[-1]
            if pid := json.loads(last.read_text())["pid"]:
                return int(pid)
        time.sleep(0.01)
    raise AssertionError("no run has begun")


def wait_until_gone(home: Path) -> None:
    """Tools of a killed process end a moment after it; one that was being started just then is in no list yet."""
    deadline = time.monotonic() + 20
    while left := [*processes(home), *held(home)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def held(home: Path) -> list[Path]:
    """Slots and locks that somebody holds."""
    found = []
    for path in [*home.glob("slots/*/*"), *home.glob("locks/**/*")]:
        if path.is_file():
            with open(path) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(path)
    return found


def work(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "local" / "work").glob("*"))


def assert_nothing_left(home: Path) -> None:
    assert processes(home) == []
    assert held(home) == []
    assert work(home) == []


def assert_sound(home: Path) -> int:
    """Every record can be read in full, no file is between names; how many records there are."""

    from stargazer.storage import open_store

    store = open_store(home / "local")
    with store.index.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    records = store.query({})
    for record in records:
        store.read_here(record.cid)
    known = {record.cid for record in records}
    for path in (home / "local" / "objects").glob("*/*"):
        assert path.name in known or store.objects.verify(path.name), path
    store.index.close()
    return len(records)


def events(home: Path) -> list[dict[str, Any]]:
    """The events of all runs."""
    lines = [line for path in home.glob("runs/*/events.jsonl") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines if line.endswith("}")]


def begun(home: Path, number: int, *words: str) -> subprocess.Popen[str]:
    """A run of S that has just started so many more tasks than there were before; or that has ended."""
    before = sum(event["kind"] == "started" for event in events(home))
    process = stargazer(*GERMLINE, "samples=S", *words)
    while sum(event["kind"] == "started" for event in events(home)) < before + number:
        if process.poll() is not None:
            break
        time.sleep(0.003)
    return process


def computed(home: Path) -> Counter[tuple[str, str]]:
    return Counter((event["task"], event["label"]) for event in events(home) if event["kind"] == "finished")


def test_two_runs_of_one_sample_compute_each_task_once(home: Path, undisturbed: dict[str, Any]) -> None:
    both = [stargazer(*GERMLINE, "samples=S") for _ in range(2)]
    for process in both:
        assert cids(answer(process)["results"]) == undisturbed["S"]
    assert set(computed(home).values()) == {1}
    assert "failed" not in {event["kind"] for event in events(home)}
    assert_nothing_left(home)


@pytest.mark.long
def test_two_samples_at_once_are_both_right(home: Path, undisturbed: dict[str, Any]) -> None:
    both = {sample: stargazer(*GERMLINE, f"samples={sample}") for sample in ("S", "T")}
    for sample, process in both.items():
        assert cids(answer(process)["results"]) == undisturbed[sample]
    assert [count for (task, _), count in computed(home).items() if "index_for_bwa" in task] == [1]
    assert_nothing_left(home)
    assert_sound(home)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [2, pytest.param(4, marks=pytest.mark.long)])
def test_many_runs_on_one_slot_finish(
    home: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, pairs: int
) -> None:
    monkeypatch.setenv("STARGAZER_CORES", "1")
    runs = [(sample, stargazer(*GERMLINE, f"samples={sample}")) for sample in ("S", "T") * pairs]
    for sample, process in runs:
        assert cids(answer(process)["results"]) == undisturbed[sample]
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
def test_a_run_goes_on_after_signals_at_many_points(home: Path, undisturbed: dict[str, Any]) -> None:
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
    assert cids(answer(stargazer(*GERMLINE, "samples=S"))["results"]) == undisturbed["S"]
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
    home: Path, undisturbed: dict[str, Any], tool: str
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
    assert cids(answer(stargazer(*GERMLINE, "samples=S"))["results"]) == undisturbed["S"]


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
