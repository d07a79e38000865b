"""`stargazer fsck`, `gc`, `evict` and `verify` as people and programs use them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from .command import Command


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stargazer: Command) -> list[dict[str, Any]]:
    """Three references."""
    monkeypatch.chdir(tmp_path)
    found: list[dict[str, Any]] = []
    for name in "abc":
        Path(f"{name}.fa").write_text(f">{name}\nACGT\n")
        status, out, err = stargazer("add", f"{name}.fa", f"build={name}", "--json")
        assert status == 0, err
        found += json.loads(out)
    return found


@pytest.fixture
def root() -> Path:
    return Path(os.environ["STARGAZER_LOCAL"])


def object_of(root: Path, record: dict[str, Any]) -> Path:
    (path,) = root.glob(f"objects/*/{record['cid']}")
    return path


def spoil(path: Path) -> None:
    path.chmod(0o644)
    path.write_text(">x\nACGT\n")


def test_fsck_of_a_sound_store_says_so(stargazer: Command, records: list[Any], root: Path) -> None:
    status, out, err = stargazer("fsck", "--full")

    assert (status, err) == (0, "")
    assert out.startswith(f"{root}: 6 files, ")
    assert out.endswith(": sound\n")


def test_fsck_makes_a_lost_index_again(stargazer: Command, records: list[Any], root: Path) -> None:
    _, before, _ = stargazer("query", "--json")
    for path in root.glob("index.sqlite*"):
        path.unlink()

    status, out, _ = stargazer("fsck")

    assert status == 0
    assert "made again from 3 provenance documents" in out
    assert out.endswith(": repaired\n")
    assert stargazer("query", "--json")[1] == before


def test_fsck_says_what_is_lost_and_what_to_do(stargazer: Command, records: list[Any], root: Path) -> None:
    spoil(object_of(root, records[0]))

    status, out, _ = stargazer("fsck")

    assert status == 1
    assert f"damaged: {records[0]['cid']} (a.fa)" in out
    assert "to do: add 'a.fa' again" in out
    assert out.endswith(": 1 problem left\n")
    stargazer("add", "a.fa", "build=a")
    assert stargazer("fsck")[0] == 0


def test_fsck_as_json(stargazer: Command, records: list[Any], root: Path) -> None:
    spoil(object_of(root, records[0]))

    status, out, _ = stargazer("fsck", "--json", "--dry-run")

    report = json.loads(out)
    assert status == 1
    assert report["ok"] is False
    assert [problem["what"] for problem in report["problems"]] == [records[0]["cid"]]
    assert object_of(root, records[0]).exists()


def test_gc_frees_what_was_taken_back(stargazer: Command, records: list[Any], root: Path) -> None:
    stargazer("rm", records[0]["id"])

    status, out, err = stargazer("gc")
    assert (status, out) == (0, "freed 0 B (0 things)\n")
    assert "1 file without a record (8 B) stay" in err

    _, listed, _ = stargazer("gc", "--grace", "0", "--dry-run")
    assert records[0]["cid"] in listed
    assert "would free 8 B (1 thing)" in listed
    _, out, _ = stargazer("gc", "--grace", "0", "--json")
    assert json.loads(out)["freed"] == 8
    assert list(root.glob(f"objects/*/{records[0]['cid']}")) == []


def test_evict_refuses_what_cannot_be_had_again(stargazer: Command, records: list[Any], root: Path) -> None:
    status, out, err = stargazer("evict", records[0]["cid"])
    assert status == 1
    assert "it was imported, and no mirror of it gives it now" in out
    assert "nothing was dropped" in err

    status, out, _ = stargazer("evict", records[0]["cid"], "--force")
    assert status == 0
    assert "freed 8 B (1 file); the records stay" in out
    assert len(json.loads(stargazer("query", "--json")[1])) == 3
    assert stargazer("fsck")[0] == 0


def test_evict_by_size_and_age(stargazer: Command, records: list[Any]) -> None:
    assert stargazer("evict", "--older-than", "1d", "--force", "--json")[0] == 0
    _, out, _ = stargazer("evict", "--larger-than", "1KB", "--force", "--json")
    assert json.loads(out)["evicted"] == []
    _, out, _ = stargazer("evict", "--larger-than", "1B", "build=b", "--force", "--dry-run", "--json")
    assert [found["cid"] for found in json.loads(out)["evicted"]] == [records[1]["cid"]]


@pytest.mark.parametrize(
    "words",
    [
        ("evict",),
        ("evict", "--older-than", "soon"),
        ("evict", "--larger-than", "9 parsecs"),
        ("gc", "--grace", "14"),
        ("gc", "bafkrei"),
        ("fsck", "build=x"),
        ("verify",),
    ],
)
def test_words_that_make_no_sense_are_refused(
    stargazer: Command, records: list[Any], words: tuple[str, ...]
) -> None:
    status, out, err = stargazer(*words)

    assert (status, out) == (2, "")
    assert err.startswith("usage: ")


def test_verify_names_what_is_damaged(stargazer: Command, records: list[Any], root: Path) -> None:
    assert stargazer("verify", records[0]["cid"])[:2] == (0, f"{records[0]['cid']} a.fa ok 8 B\n")
    spoil(object_of(root, records[0]))
    object_of(root, records[1]).unlink()

    status, out, _ = stargazer("verify", "asset=reference", "--json")

    answers = {answer["cid"]: answer for answer in json.loads(out)}
    assert status == 1
    assert [answers[record["cid"]]["ok"] for record in records] == [False, False, True]
    assert records[0]["cid"] in answers[records[0]["cid"]]["error"]
    assert answers[records[1]["cid"]]["missing"] is True


@pytest.mark.parametrize("verb", ["fsck", "gc"])
def test_looking_after_a_store_makes_none(stargazer: Command, root: Path, verb: str) -> None:
    status, _, err = stargazer(verb)

    assert status == 1
    assert "there is no store" in err
    assert not root.exists()
