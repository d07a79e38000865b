"""`stargazer stale`, `supersede` and `query --superseded` as people and programs use them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Entry, Execution, ToolUse
from stargazer.storage import open_store
from stargazer.storage.ledger.documents import now

from .command import Command


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stargazer: Command) -> dict[str, dict[str, Any]]:
    """Two references, and a report that was computed from the old one."""
    monkeypatch.chdir(tmp_path)
    found: dict[str, dict[str, Any]] = {}
    for name in ("old", "new"):
        Path(f"{name}.fa").write_text(f">{name}\nACGT\n")
        status, out, err = stargazer("add", f"{name}.fa", "build=GRCh38", "--json")
        assert status == 0, err
        (found[name],) = json.loads(out)
    store = open_store(Path(os.environ["STARGAZER_LOCAL"]))
    path = store.objects.work / "report.txt"
    path.write_text("12 reads")
    read = Entry(role="reference", cid=found["old"]["cid"], keyvalues={})
    report = QcReport(path=path, kind="flagstat", sample="S")
    execution = Execution(
        task="lab.tasks.count",
        inputs=[read],
        tools=[ToolUse(name="samtools", version="1.22")],
        finished=now(),
    )
    store.commit(execution, [("report", report)])
    return found


def cids(out: str) -> list[str]:
    return [record["cid"] for record in json.loads(out)]


def test_stale_lists_what_was_computed_and_what_to_run_again(stargazer: Command, files: Any) -> None:
    for words in (["old.fa"], [files["old"]["cid"]], [files["old"]["id"]], ["samtools@1.22"], ["count"]):
        status, out, _ = stargazer("stale", *words)
        assert status == 0
        assert "sample=S" in out
        assert out.endswith("to run again: 1 execution: count (1)\n")

    status, out, err = stargazer("stale", "new.fa")
    assert (status, out) == (0, "")
    assert "nothing was computed from it" in err


def test_stale_for_programs(stargazer: Command, files: Any) -> None:
    status, out, _ = stargazer("stale", "count", "--json")

    found = json.loads(out)
    assert status == 0
    assert (found["what"], found["again"]) == ("lab.tasks.count", {"lab.tasks.count": 1})
    assert [run["outputs"] for run in found["runs"]] == [[end["cid"] for end in found["ends"]]]


def test_stale_of_what_nobody_knows_says_what_is_near(stargazer: Command, files: Any) -> None:
    status, _, err = stargazer("stale", "samtools@1.21")

    assert status == 1
    assert "known: samtools@1.22" in err


def test_supersede_hides_the_old_one_and_says_what_depends_on_it(stargazer: Command, files: Any) -> None:
    status, out, _ = stargazer("supersede", "old.fa", "new.fa", "--reason", "contig MT was missing")

    assert status == 0
    assert out.startswith("reference old.fa is superseded by reference new.fa; it stays")
    assert "to run again: 1 execution: count (1)" in out
    query = ("query", "asset=reference", "build=GRCh38", "--json")
    assert cids(stargazer(*query)[1]) == [files["new"]["cid"]]
    assert cids(stargazer(*query, "--superseded")[1]) == [files["old"]["cid"], files["new"]["cid"]]
    assert cids(stargazer(*query, "superseded=true")[1]) == [files["old"]["cid"]]
    assert cids(stargazer("query", f"id={files['old']['id']}", "--json")[1]) == [files["old"]["cid"]]
    assert stargazer("get", "old.fa", "--to", "copies")[0] == 0


def test_supersede_can_be_undone(stargazer: Command, files: Any) -> None:
    stargazer("supersede", "old.fa", "new.fa")

    status, out, _ = stargazer("supersede", "old.fa", "--undo")

    assert (status, out) == (0, "reference old.fa counts again\n")
    assert len(json.loads(stargazer("query", "asset=reference", "--json")[1])) == 2
    assert "is not superseded" in stargazer("supersede", "old.fa", "--undo")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["old.fa"], "name OLD and NEW"),
        (["old.fa", "new.fa", "--undo"], "name OLD alone"),
        (["old.fa", "old.fa"], "cannot take its own place"),
        (["nowhere.fa", "new.fa"], "no record 'nowhere.fa'"),
    ],
)
def test_supersede_of_what_makes_no_sense_is_refused(
    stargazer: Command, files: Any, words: list[str], said: str
) -> None:
    status, _, err = stargazer("supersede", *words)

    assert status > 0
    assert said in err


def test_a_value_of_superseded_that_means_nothing_is_refused(stargazer: Command, files: Any) -> None:
    status, _, err = stargazer("query", "superseded=maybe")

    assert status == 1
    assert "superseded is true or false, not 'maybe'" in err
