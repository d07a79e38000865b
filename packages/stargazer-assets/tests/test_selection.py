"""The test equipment itself: which tests run by default, as a sample and in `hatch run long`, and what they share."""

from __future__ import annotations

import os
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

Suite = Callable[..., tuple[int, str]]
ROOT = Path(__file__).resolve().parents[3]
in_repository = pytest.mark.skipif(
    not (ROOT / "hatch.toml").exists(),
    reason="hatch.toml is in the repository alone, not in this distribution",
)
TESTS = """
import pytest
@pytest.mark.long
def test_long(): ...
@pytest.mark.slow
def test_slow(): ...
@pytest.mark.parametrize("number", range(3))
def test_cases(number): ...
def test_second(): ...
def test_third(): ...
"""


def test_long_tests_are_left_out_unless_asked_for(suite: Suite) -> None:
    status, told = suite(TESTS, "--collect-only", "-q")

    assert status == 0, told
    assert "6/7 tests collected (1 deselected)" in told
    assert told.index("test_third") < told.index("test_slow")


def test_a_sample_is_one_case_of_the_first_tests_of_a_module(suite: Suite) -> None:
    status, told = suite(TESTS, "--collect-only", "-q", "-m", "not slow and not long", "--sample", "2")

    assert status == 0, told
    assert [line for line in told.splitlines() if "::" in line] == [
        "test_it.py::test_cases[0]",
        "test_it.py::test_second",
    ]


def test_the_long_profile_tries_ten_times_as_many_examples(suite: Suite) -> None:
    text = """
from hypothesis import given, strategies
tried = []
@given(strategies.integers())
def test_property(number): tried.append(number)
@given(strategies.integers())
def test_count(number): assert len(tried) >= 1000
def test_other(): assert False
"""

    status, told = suite(
        text, "-p", "hypothesispytest", "-m", "long or hypothesis", "--hypothesis-profile", "long"
    )

    assert status == 0, told
    assert "2 passed, 1 deselected" in told


def test_expensive_data_is_made_once_for_all_workers(suite: Suite, tmp_path: Path) -> None:
    turns = tmp_path / "turns"
    text = f"""
import pytest, time
from pathlib import Path
def make(folder):
    with open({str(turns)!r}, "a") as file:
        file.write("made\\n")
    assert not (folder / "left").exists()
    (folder / "left").touch()
    time.sleep(1)
    if len(Path({str(turns)!r}).read_text().splitlines()) == 1:
        raise OSError("cut short")
    (folder / "data").write_text("expensive")
@pytest.mark.parametrize("number", range(4))
def test_of_it(made_once, number):
    assert (made_once("data", make) / "data").read_text() == "expensive"
"""

    status, told = suite(text, "-n", "2", "--dist", "load")

    assert status == 1, told
    assert "1 failed, 3 passed" in told
    assert "cut short" in told
    assert turns.read_text() == "made\nmade\n"


@in_repository
def test_what_the_default_environment_passes_on_is_there() -> None:
    environments = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]

    for name, script in environments["default"]["scripts"].items():
        if script.startswith(".ci/in "):
            assert script == f".ci/in test:{name} {{args}}"
            assert name in environments["test"]["scripts"]


@in_repository
def test_the_hatch_that_runs_is_found_beside_its_uv(tmp_path: Path) -> None:
    hatch = tmp_path / "bin" / "hatch"
    hatch.parent.mkdir()
    hatch.write_text('#!/bin/sh\nprintf "<%s>" "$@"\nexit 7\n')
    hatch.chmod(0o755)

    done = subprocess.run(
        [ROOT / ".ci" / "in", "test:test", "-k", "a or b", ""],
        env={"PATH": os.defpath, "HATCH_UV": f"{hatch.parent}/uv"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (7, "<run><test:test><-k><a or b><>")
