"""`stargazer add ... asset=file`: a file of no known type is kept, found, amended, told apart and copied out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_table_is_kept_with_keys_of_ones_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "gènes of mine.tsv.gz").write_bytes(b"\x1f\x8b no gzip, and nobody minds")
    [record] = said(capsys, "add", "gènes of mine.tsv.gz", "asset=file", "project=brca", "notes=by hand")
    pairs = {key: value for key, value in record["keyvalues"].items() if key != "provenance_cid"}
    assert pairs == {"asset": "file", "name": "gènes of mine.tsv.gz", "notes": "by hand", "project": "brca"}
    assert [each["cid"] for each in said(capsys, "query", "asset=file", "project=brca")] == [record["cid"]]
    assert main(["query", "project=brca"]) == 1
    assert "a key of your own goes with asset=file" in capsys.readouterr().err

    assert main(["amend", record["cid"], "project=", "sample=NA12878", "notes=counted twice"]) == 0
    capsys.readouterr()
    [amended] = said(capsys, "query", "sample=NA12878")
    assert "project" not in amended["keyvalues"]
    assert amended["keyvalues"]["notes"] == "counted twice"

    assert main(["get", record["cid"], "--to", "out"]) == 0
    [copy] = (here / "out").iterdir()
    assert copy.name == "gènes of mine.tsv.gz"
    assert copy.read_bytes().endswith(b"nobody minds")


@pytest.mark.parametrize(("name", "copied"), [("-rf.txt", "rf.txt"), ("a" * 240 + ".txt", None), ("x", "x")])
def test_odd_names_are_copied_out_as_names(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, copied: str | None
) -> None:
    (here / "a.xyz").write_text("x")
    [record] = said(capsys, "add", "a.xyz", "asset=file", f"name={name}")
    assert main(["get", record["cid"], "--to", "out"]) == 0
    [copy] = (here / "out").iterdir()
    assert copied in (None, copy.name)
    assert len(copy.name.encode()) <= 255


def test_a_damaged_bam_is_a_file_only_where_somebody_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "x.bam").write_bytes(b"no BAM")
    (here / "notes.txt").write_text("x")
    (here / "empty.txt").touch()
    assert main(["add", "x.bam", "sample=S"]) == 1
    assert main(["add", "notes.txt"]) == 1
    assert "or asset=file, to keep it as it is" in capsys.readouterr().err
    assert main(["add", "empty.txt", "asset=file"]) == 1
    assert "is empty" in capsys.readouterr().err
    assert main(["add", ".", "asset=file"]) == 1
    assert "is a folder" in capsys.readouterr().err
    assert main(["add", "x.bam", "asset=file"]) == 0
