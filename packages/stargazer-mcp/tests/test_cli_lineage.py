"""`stargazer why` and `stargazer diff` on files that were added."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import main

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stargazer(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process: status, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        status = main(list(words))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stargazer: Command) -> dict[str, dict[str, Any]]:
    """A reference with its index, and two lanes of read pairs: records by what they are."""
    monkeypatch.chdir(tmp_path)
    Path("g.fa").write_text(">c\nACGT\n")
    Path("g.fa.fai").write_text("c\t4\t3\t4\t5\n")
    records: dict[str, dict[str, Any]] = {}
    records["reference"] = added(stargazer, "g.fa", "build=GRCh38")[0]
    link = f"reference_cid={records['reference']['cid']}"
    records["fai"] = added(stargazer, "g.fa.fai", "asset=reference_index", link)[0]
    for lane in ("L1", "L2"):
        for mate in ("1", "2"):
            Path(f"{lane}_R{mate}.fq").write_text(f"@{lane}/{mate}\nACGT\n+\nIIII\n")
        words = [f"{lane}_R1.fq", f"{lane}_R2.fq", "sample=NA12878", f"lane={lane}"]
        records[f"r1 {lane}"], records[f"r2 {lane}"] = added(stargazer, *words)
    return records


def added(stargazer: Command, *words: str) -> list[dict[str, Any]]:
    status, out, err = stargazer("add", *words, "--json")
    assert status == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_why_takes_a_cid_a_file_or_filters(stargazer: Command, store: dict[str, Any]) -> None:
    cid = store["reference"]["cid"]
    Path("renamed").write_bytes(Path("g.fa").read_bytes())
    answers = {
        stargazer("why", word)[1] for word in (cid, "renamed", "asset=reference", store["reference"]["id"])
    }
    assert len(answers) == 1
    assert "imported from g.fa" in answers.pop()


def test_why_as_json_names_what_made_it(stargazer: Command, store: dict[str, Any]) -> None:
    answer = json.loads(stargazer("why", "asset=reference", "--json")[1])
    made = answer["files"][answer["cid"]]
    assert made["made_by"]["kind"] == "import"
    assert made["made_by"]["files"][0]["origin"] == "g.fa"


def test_why_of_several_lists_them(stargazer: Command, store: dict[str, Any]) -> None:
    status, _, err = stargazer("why", "asset=r1")
    assert status == 1
    assert store["r1 L1"]["cid"] in err


def test_why_of_what_was_registered_twice_names_both_and_follows_each(
    stargazer: Command, store: dict[str, Any]
) -> None:
    added(stargazer, "g.fa", "build=other")
    cid = store["reference"]["cid"]
    lines = stargazer("why", cid)[1].splitlines()
    (line,) = [line for line in lines if "also imported" in line]
    (other,) = json.loads(stargazer("why", cid, "--json")[1])["files"][cid]["others"]
    assert "as build=other: stargazer why" in line
    assert line.endswith(other["cid"])
    assert stargazer("why", other["cid"])[1].startswith("provenance import.json kind=import\n")


@pytest.mark.parametrize("words", [["why"], ["why", "a", "b"]])
def test_misuse_is_status_two(stargazer: Command, words: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        stargazer(*words)
    assert raised.value.code == 2
