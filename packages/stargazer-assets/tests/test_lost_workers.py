"""The test equipment itself: a test that ends its process, or never ends, is named, and the suite goes on and ends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if not (ROOT / "hatch.toml").exists():
    pytest.skip("hatch.toml is in the repository alone, not in this distribution", allow_module_level=True)

FAR = 100  # seconds, of which the suites below take a few: reached only if one hangs
SUITE = {
    "test_killed.py": """
import os, signal
def test_before(): ...
def test_killed(): os.kill(os.getpid(), signal.SIGKILL)
def test_after(): ...
""",
    "test_slept.py": """
import time, pytest
@pytest.mark.timeout(0.5)
def test_slept(): time.sleep(1000)
def test_after(): ...
""",
    "test_blocked.py": """
import ctypes, pytest
@pytest.mark.timeout(0.5)
def test_blocked_where_no_signal_reaches():
    mutex, lock = ctypes.create_string_buffer(64), ctypes.PyDLL(None).pthread_mutex_lock  # the GIL is held
    lock(mutex)
    lock(mutex)
def test_after(): ...
""",
    "test_teardown.py": """
import threading, pytest
@pytest.fixture
def stuck():
    yield
    threading.Event().wait()
@pytest.mark.timeout(0.5)
def test_failed_and_its_teardown_hangs(stuck): assert False
def test_after(): ...
""",
    "test_other.py": """
import pytest
@pytest.mark.slow
@pytest.mark.parametrize("number", range(9))
def test_other(number): ...
""",
}
ENDED = {
    "test_killed::test_killed",
    "test_slept::test_slept",
    "test_blocked::test_blocked_where_no_signal_reaches",
    "test_teardown::test_failed_and_its_teardown_hangs",
}
OTHERS = {
    "test_killed::test_before",
    *(f"{stem}::test_after" for stem in ("test_killed", "test_slept", "test_blocked", "test_teardown")),
    *(f"test_other::test_other[{number}]" for number in range(9)),
}
PLUGINS = "-p xdist -p xdist.looponfail -p pytest_timeout"  # Hypothesis takes longer to load than all of this


def outcomes(folder: Path, *options: str) -> tuple[dict[str, set[str]], str]:
    """What `hatch run test` says of every test of SUITE, with the settings of this repository; and all it prints."""
    tests = folder / "packages" / "stargazer-x" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(ROOT / "packages" / "conftest.py", folder / "packages")
    for name, text in SUITE.items():
        (tests / name).write_text(text)
    scripts = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]["test"]["scripts"]
    command = (
        scripts["test"].replace("{args}", " ".join(["-v", "-p no:cacheprovider", PLUGINS, *options])).split()
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"

    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=FAR,
        check=False,
    )

    assert done.returncode == 1, done.stdout
    found: dict[str, set[str]] = defaultdict(set)
    pattern = r"(?:^|\s)(PASSED|FAILED|UNHEARD) packages/stargazer-x/tests/(\w+)\.py(::\S+)"
    for outcome, stem, name in re.findall(pattern, done.stdout):
        found[stem + name].add(outcome)
    return found, done.stdout


def test_every_test_is_reported_though_workers_are_lost(tmp_path: Path) -> None:
    found, told = outcomes(tmp_path)

    assert {name for name, outcome in found.items() if "FAILED" in outcome} == ENDED, told
    assert {name for name, outcome in found.items() if outcome == {"PASSED"}} == OTHERS, told
    assert "crashed while running" in told
    assert (
        "in test_blocked_where_no_signal_reaches" in told
    )  # the stack, where the interpreter could not say it


def test_what_was_not_run_is_named_when_too_many_are_lost(tmp_path: Path) -> None:
    found, told = outcomes(tmp_path, "--max-worker-restart=0")

    unheard = [name for name, outcome in found.items() if outcome == {"UNHEARD"}]
    assert found.keys() == ENDED | OTHERS, told
    assert unheard
    assert f"ended unheard: {len(unheard)}" in told
