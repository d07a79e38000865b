"""Where tools come from: wheels by their pin, programs on PATH by what they say, and in which order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stargazer.assets import ConfigurationError, ToolError
from stargazer.tasks import bcftools, samtools
from stargazer.tasks.tools import OnPath, Tool, Wheel


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that puts a program which prints a text on PATH; each run leaves a line in `runs`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.delenv("STARGAZER_TOOLS", raising=False)

    def make(name: str, text: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\necho run >> '{tmp_path}/runs'\nprintf '%s\\n' '{text}'\n")
        path.chmod(0o755)
        return path

    return make


@pytest.mark.parametrize("tool", [samtools, bcftools], ids=lambda tool: tool.name)
def test_a_pinned_wheel_is_known_without_a_process(tool: Tool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STARGAZER_TOOLS", raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))

    resolved = tool.resolve()

    assert (resolved.version, resolved.source) == ("1.24", "wheel pysam==0.24.1")


@pytest.mark.parametrize("tool", [samtools, bcftools], ids=lambda tool: tool.name)
def test_the_wheel_holds_the_engine_that_we_say_it_does(tool: Tool):
    resolved = tool.resolve({})

    said = subprocess.run(
        [*resolved.argv, "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=dict(resolved.environment),
    )

    assert said.stdout.splitlines()[0] == f"{tool.name} {resolved.version} (pysam)"


def test_another_version_of_the_wheel_is_an_error_that_says_how_to_reinstall():
    tool = Tool("samtools", (Wheel("pysam", "hts.py", "0.1.0"), OnPath("sh")))

    with pytest.raises(ToolError, match=r"needs pysam==0\.1\.0, but version .* pip install 'pysam==0\.1\.0'"):
        tool.resolve({})


def test_the_first_source_that_has_the_tool_gives_it(program):
    program("aligner", "aligner 2.1")
    tool = Tool("aligner", (Wheel("no-such-distribution", "hts.py", "1.0"), OnPath("aligner")))

    resolved = tool.resolve()

    assert (resolved.name, resolved.version, resolved.source) == ("aligner", "2.1", "PATH")


def test_a_program_on_path_runs_as_itself(program, tmp_path: Path):
    path = program("aligner", "aligner 2.1")
    path.write_text('#!/bin/sh\necho 2.1 "$@"\nexit 3\n')

    done = subprocess.run(
        [*Tool("aligner", (OnPath("aligner"),)).resolve().argv, "a b", "-c"], capture_output=True
    )

    assert (done.returncode, done.stdout) == (3, b"2.1 a b -c\n")


def test_a_program_is_asked_for_its_version_once_until_it_changes(program, tmp_path: Path):
    path = program("aligner", "aligner 2.1")
    tool = Tool("aligner", (OnPath("aligner"),))

    versions = [tool.resolve().version, tool.resolve().version]
    path.write_text(path.read_text().replace("2.1", "2.10"))
    versions.append(tool.resolve().version)

    assert versions == ["2.1", "2.1", "2.10"]
    assert (tmp_path / "runs").read_text() == "run\nrun\n"


def test_a_program_that_is_too_old_is_an_error(program):
    program("aligner", "aligner 1.9")
    tool = Tool("aligner", (OnPath("aligner", minimum="1.16", hint="apt install aligner"),))

    with pytest.raises(
        ToolError, match=r"version 1\.9, but aligner needs 1\.16 or newer: apt install aligner"
    ):
        tool.resolve()


def test_a_program_that_does_not_tell_its_version_is_an_error(program):
    program("aligner", "hello")

    with pytest.raises(ToolError, match=r"does not tell its version: it printed 'hello"):
        Tool("aligner", (OnPath("aligner"),)).resolve()


def test_a_missing_tool_is_an_error_that_says_where_it_was_looked_for_and_how_to_get_it():
    tool = Tool(
        "aligner", (Wheel("no-such-distribution", "hts.py", "1.0"), OnPath("no-such-program", hint="apt"))
    )

    with pytest.raises(ToolError) as error:
        tool.resolve({})

    text = str(error.value)
    assert text.startswith("aligner was not found")
    assert "pip install 'no-such-distribution==1.0'" in text
    assert "no no-such-program on PATH: apt" in text


def test_of_several_ways_to_install_a_program_the_one_whose_command_is_here_is_told(program):
    tool = OnPath("aligner", hint="mamba install aligner, or port install aligner")

    first = tool.remedy
    program("port", "")

    assert (first, tool.remedy) == ("mamba install aligner", "port install aligner")
    assert OnPath("aligner").remedy == ""


def test_a_variable_prefers_a_kind_of_source(program, monkeypatch: pytest.MonkeyPatch):
    program("samtools", "samtools 1.99")
    monkeypatch.setenv("STARGAZER_TOOLS", "other=path, samtools=path")

    assert samtools.resolve().version == "1.99"
    assert bcftools.resolve().source == "wheel pysam==0.24.1"


def test_what_is_preferred_but_missing_falls_back(program):
    tool = Tool("samtools", (*samtools.sources[:1], OnPath("no-such-program")))

    assert tool.resolve({"samtools": "path"}).source == "wheel pysam==0.24.1"


@pytest.mark.parametrize("value", ["samtools", "samtools=", "=path"])
def test_a_malformed_variable_is_an_error(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STARGAZER_TOOLS", value)

    with pytest.raises(ConfigurationError, match="expected name=kind"):
        samtools.resolve()


def test_a_kind_that_the_tool_does_not_have_is_an_error():
    with pytest.raises(ConfigurationError, match=r"samtools from 'maven'; it can come from: wheel, path"):
        samtools.resolve({"samtools": "maven"})


def test_importing_the_runner_imports_no_engine_and_scans_no_distribution():
    script = (
        "import stargazer.tasks, sys;"
        "print([name for name in ('numpy', 'pysam', 'flyte', 'importlib.metadata') if name in sys.modules])"
    )

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"
