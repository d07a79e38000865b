"""The test equipment itself: tests of a browser or a JVM run one at a time, within limits, or are loudly left out."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Suite = Callable[..., tuple[int, str]]


@pytest.fixture
def equipped(tmp_path: Path) -> str:
    """A PATH with a Java and a browser that only say their version."""
    folder = tmp_path / "equipment"
    folder.mkdir()
    for name in ("java", "chromium"):
        (folder / name).write_text("#!/bin/sh\necho 1.0\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_one_at_a_time_also_on_several_workers(suite: Suite, equipped: str, tmp_path: Path) -> None:
    turns = tmp_path / "turns"
    text = f"""
import time, pytest
def turn(name):
    for when in ("begins", "ends"):
        with open({str(turns)!r}, "a") as file:
            file.write(f"{{name}} {{when}}\\n")
        time.sleep(0.2)
@pytest.mark.jvm
@pytest.mark.parametrize("number", range(3))
def test_java(number): turn(f"java {{number}}")
@pytest.mark.browser
@pytest.mark.parametrize("number", range(3))
def test_browser(number): turn(f"browser {{number}}")
"""

    status, told = suite(text, "-n", "2", "--dist", "load", path=equipped)

    assert status == 0, told
    assert "equipment that ran: a browser in 3 tests, a Java virtual machine in 3 tests" in told
    lines = turns.read_text().splitlines()
    assert lines[::2] == [line.replace("ends", "begins") for line in lines[1::2]]


def test_without_the_equipment_they_are_loudly_left_out(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\necho 'install one first' >&2\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    text = """
import importlib.util
import pytest
importlib.util.find_spec = lambda name: None  # nor the Java of a wheel
@pytest.mark.jvm
def test_java(): assert False
@pytest.mark.browser
@pytest.mark.parametrize("number", range(2))
def test_browser(number): assert False
def test_other(): ...
"""

    status, told = suite(text, path=str(tmp_path))

    assert status == 0, told
    assert "1 passed, 3 skipped" in told
    assert "not run: 1" in told
    assert "no Java that runs: install a JRE, or set JAVA_HOME" in told
    assert "not run: 2" in told
    assert "no browser that runs: install Chromium, Chrome or Firefox" in told


STARTS = '''
import subprocess, sys, time, pytest
def start(code):
    child = subprocess.Popen([sys.executable, "-c", code])
    print("STARTED", child.pid)
    return child
GRANDCHILD = """
import subprocess
child = subprocess.Popen(["sleep", "1000"])
print("STARTED", child.pid, flush=True)
child.wait()
"""
'''


def test_at_its_limit_all_that_it_started_is_killed(suite: Suite, equipped: str) -> None:
    text = f"""{STARTS}
@pytest.mark.jvm
@pytest.mark.timeout(2)
def test_slow():
    start(GRANDCHILD)
    try:
        time.sleep(1000)
    except BaseException:  # the signal of pytest-timeout
        start("import time; time.sleep(1000)").wait()
def test_other(): ...
"""

    status, told = suite(text, "-s", path=equipped)

    assert status == 1, told
    assert "killed, with all that it started: not over after 2 seconds" in told
    assert "1 failed, 1 passed" in told
    assert len(started(told)) == 3
    assert not any(map(is_alive, started(told))), told


def test_what_takes_too_much_memory_is_killed(suite: Suite, equipped: str) -> None:
    text = f"""{STARTS}
@pytest.mark.browser
def test_large():
    start("held = bytearray(300 << 20); import time; time.sleep(1000)").wait()
"""

    status, told = suite(text, "-s", path=equipped, **{"4 << 30": "200 << 20"})

    assert status == 1, told
    assert "MB of memory, at most 200" in told
    assert not any(map(is_alive, started(told))), told


def test_what_is_left_lives_as_long_as_the_session(suite: Suite, equipped: str) -> None:
    text = f"""{STARTS}
@pytest.fixture(scope="module")
def shared():
    return start("import time; time.sleep(1000)")
@pytest.mark.browser
@pytest.mark.parametrize("number", range(2))
def test_shared(shared, number):
    time.sleep(0.5)
    assert shared.poll() is None
"""

    status, told = suite(text, "-s", path=equipped)

    assert status == 0, told
    assert not any(map(is_alive, started(told))), told


def test_nobody_has_more_than_the_hard_limit(suite: Suite, equipped: str) -> None:
    text = """
import pytest
@pytest.mark.jvm
@pytest.mark.timeout(901)
def test_long(): ...
@pytest.mark.jvm
@pytest.mark.timeout(0)
def test_endless(): ...
"""

    status, told = suite(text, path=equipped)

    assert status == 1, told
    assert "a test marked jvm has at most 900 seconds, not 901" in told
    assert "a test marked jvm has at most 900 seconds, not 0" in told


def started(told: str) -> list[int]:
    """The processes that a suite says it started."""
    found = [int(number) for number in re.findall(r"STARTED (\d+)", told)]
    assert found, told
    return found


def is_alive(pid: int) -> bool:
    """Whether a process still runs after ten seconds: who was killed may not be collected at once."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True
