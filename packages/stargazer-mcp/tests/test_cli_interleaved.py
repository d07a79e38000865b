"""`stargazer add --interleaved`: one file of first and second reads by turns becomes two that are linked."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import main
from stargazer.storage import get_client, names_of_mates

Add = Callable[..., list[dict[str, Any]]]


def read(line: str, bases: str = "ACGT") -> str:
    return f"@{line}\n{bases}\n+\n{'I' * len(bases)}\n"


PAIRS = [
    read(f"r{number}/{mate} x", "ACGT"[mate : number % 3 + 2]) for number in range(99) for mate in (1, 2)
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def add(here: Path, capsys: pytest.CaptureFixture[str]) -> Add:
    """`stargazer add --interleaved ... --json`: the records."""

    def run(*words: str) -> list[dict[str, Any]]:
        assert main(["add", "--interleaved", *words, "--json"]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    return run


def content(record: dict[str, Any]) -> str:
    return gzip.decompress(get_client().store.read(record["cid"]).read_bytes()).decode()


def test_each_mate_goes_to_a_file_of_its_own(here: Path, add: Add) -> None:
    (here / "both.fq").write_text("".join(PAIRS))
    r1, r2 = add("both.fq", "sample=S", "lane=L1")
    assert (content(r1), content(r2)) == ("".join(PAIRS[::2]), "".join(PAIRS[1::2]))
    assert r1["keyvalues"].items() >= {"asset": "r1", "sample": "S", "lane": "L1"}.items()
    assert (
        r2["keyvalues"].items() >= {"asset": "r2", "sample": "S", "lane": "L1", "r1_cid": r1["cid"]}.items()
    )
    assert (r1["name"], r2["name"]) == ("both_R1.fq.gz", "both_R2.fq.gz")
    store = get_client().store
    document: Any = store.document(r1["keyvalues"]["provenance_cid"])
    assert {entry.origin for entry in document.files} == {"both.fq"}
    assert list(store.objects.work.iterdir()) == []


def test_the_same_reads_give_the_same_files_whatever_holds_them(here: Path, add: Add) -> None:
    (here / "both.fq").write_text("".join(PAIRS))
    (here / "b.fastq.gz").write_bytes(b"".join(gzip.compress(pair.encode()) for pair in PAIRS))
    (here / "windows.fq").write_text("".join(PAIRS).replace("\n", "\r\n"), newline="")
    cids = {
        tuple(record["cid"] for record in add(name, "sample=S"))
        for name in ("both.fq", "b.fastq.gz", "windows.fq")
    }
    assert len(cids) == 1


@pytest.mark.parametrize("name", ["r{}/{}", "r{} {}:N:0:ACGT"])
def test_second_reads_before_first_ones_are_put_in_order(here: Path, add: Add, name: str) -> None:
    pairs = [read(name.format(number, mate)) for number in range(3) for mate in (2, 1)]
    (here / "both.fq").write_text("".join(pairs))
    r1, r2 = add("both.fq", "sample=S")
    assert (content(r1), content(r2)) == ("".join(pairs[1::2]), "".join(pairs[::2]))


def test_several_files_are_several_pairs(here: Path, add: Add) -> None:
    for folder in "ab":
        (here / folder).mkdir()
        (here / folder / "x_R1.fq").write_text("".join(read(f"{folder}{at}") for at in "1122"))
    found = add("a/x_R1.fq", "b/x_R1.fq", "sample=S")
    assert [record["name"] for record in found] == ["x_R1.fq.gz", "x_R2.fq.gz"] * 2
    assert [found[at]["keyvalues"]["r1_cid"] for at in (1, 3)] == [found[at]["cid"] for at in (0, 2)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("".join(PAIRS[:-1]), "it holds 197 reads, and the last one, 'r98/1', has no mate"),
        ("".join(PAIRS[::2]), "records 1 and 2 are no mates: 'r0/1' and 'r1/1'"),
        (
            "".join([*PAIRS[:4], *PAIRS[6:], PAIRS[4], PAIRS[7]]),
            "records 197 and 198 are no mates: 'r2/1' and 'r3/2'",
        ),
        ("".join(PAIRS)[:-4], "truncated: record 198 (line 789) has 3 of 4 lines"),
        (">c\nACGT\n", "line 1 begins with '>c'"),
    ],
)
def test_what_is_not_interleaved_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (here / "x.fq").write_text(text)
    assert main(["add", "--interleaved", "x.fq", "sample=S"]) == 1
    error = capsys.readouterr().err
    assert "'x.fq'" in error
    assert said in error
    store = get_client().store
    assert store.query({}) == []
    assert list(store.objects.work.iterdir()) == []


def test_a_damaged_gzip_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x.fq.gz").write_bytes(gzip.compress("".join(PAIRS).encode())[:-9])
    assert main(["add", "--interleaved", "x.fq.gz", "sample=S"]) == 1
    assert "'x.fq.gz' is a truncated or damaged gzip file" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["nowhere.fq", "sample=S"], ["x.fq", "smple=S"], ["x.fq"]])
def test_wrong_words_are_told_before_anything_is_read(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    (here / "x.fq").write_text("")
    assert main(["add", "--interleaved", *words]) == 1
    assert ("no such file" if "nowhere.fq" in words else "sample") in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--in-place"], ["asset=r1"]])
def test_what_makes_no_sense_with_it_is_an_error(here: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["add", "--interleaved", "x.fq", "sample=S", *words])


@pytest.mark.parametrize(
    ("name", "mates"),
    [
        ("x.fq", ("x_R1.fq.gz", "x_R2.fq.gz")),
        ("x.fastq.gz", ("x_R1.fq.gz", "x_R2.fq.gz")),
        ("x_R1.fq.gz", ("x_R1.fq.gz", "x_R2.fq.gz")),
        ("S_L001_R1_001.fastq.gz", ("S_L001_R1_001.fq.gz", "S_L001_R2_001.fq.gz")),
        ("reads", ("reads_R1.fq.gz", "reads_R2.fq.gz")),
    ],
)
def test_the_names_of_the_two(name: str, mates: tuple[str, str]) -> None:
    assert names_of_mates(name) == mates
