"""Homes with a few samples, runs in them that are killed or interrupted, and what is left of those."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["COMMAND", "GERMLINE", "answer", "assert_nothing_left", "assert_sound", "begun", "cids", "computed",
           "events", "processes", "register", "run_undisturbed", "stargazer", "wait_until_gone", "work",
           "worker"]  # fmt: skip

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
