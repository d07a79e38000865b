"""`stargazer why` and `stargazer diff` on files that were added."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .command import Command, added


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


@pytest.mark.parametrize(
    "words",
    [
        ["why"],
        ["why", "a", "b"],
        ["why", "a", "--format", "png"],
        ["why", "a", "--json", "--format", "dot"],
        ["diff", "a"],
        ["diff", "a", "b", "c"],
        ["diff", "a", "b", "asset=r1"],
    ],
)
def test_misuse_is_status_two(stargazer: Command, words: list[str]) -> None:
    assert stargazer(*words)[0] == 2


@pytest.mark.parametrize(
    ("form", "name", "start"),
    [
        ("text", "lineage.txt", "reference g.fa build=GRCh38"),
        ("json", "lineage.json", "{"),
        ("dot", "lineage.dot", "digraph lineage {"),
        ("mermaid", "lineage.mmd", "flowchart LR"),
        ("rocrate", "ro-crate-metadata.json", "{"),
    ],
)
def test_why_in_every_format_printed_or_written(
    stargazer: Command, store: dict[str, Any], form: str, name: str, start: str
) -> None:
    printed = stargazer("why", "asset=reference", "--format", form)[1]
    status, said, _ = stargazer("why", "asset=reference", "--format", form, "--to", "made/folder")
    written = (Path("made/folder") / name).read_text()

    assert (status, said) == (0, f"made/folder/{name}\n")
    assert printed.startswith(start)
    assert json.loads(printed) == json.loads(written) if start == "{" else printed == written


def test_why_into_a_file_that_is_no_folder(stargazer: Command, store: dict[str, Any]) -> None:
    Path("file").write_text("")
    status, _, err = stargazer("why", "asset=reference", "--format", "dot", "--to", "file")
    assert status == 1
    assert "cannot write 'file/lineage.dot'" in err


def test_diff_names_the_two_imports_and_their_lines(stargazer: Command, store: dict[str, Any]) -> None:
    a, b = store["r1 L1"]["cid"], store["r1 L2"]["cid"]
    status, out, _ = stargazer("diff", a, "L2_R1.fq")
    assert status == 0
    assert out.splitlines()[:2] == ["A r1 L1_R1.fq lane=L1 platform=ILLUMINA sample=NA12878", f"  cid {a}"]
    assert "what differs upstream:\n  r1 (imported):\n" in out
    assert f"    B r1 L2_R1.fq lane=L2 platform=ILLUMINA sample=NA12878 {b}\n" in out
    assert out.endswith("  only in A: @L1/1\n    only in B: @L2/1\n")


def test_diff_as_json_without_contents(stargazer: Command, store: dict[str, Any]) -> None:
    a, b = store["r1 L1"], store["r2 L1"]
    answer = json.loads(stargazer("diff", a["id"], b["id"], "--json", "--no-contents")[1])
    assert (answer["a"]["cid"], answer["b"]["cid"]) == (a["cid"], b["cid"])
    assert [found["kind"] for found in answer["divergences"]] == ["file"]
    assert answer["contents"] == []


def test_diff_of_a_file_with_itself(stargazer: Command, store: dict[str, Any]) -> None:
    cid = store["reference"]["cid"]
    assert stargazer("diff", cid, "g.fa")[1].endswith("the same bytes\nnothing differs upstream\n")
