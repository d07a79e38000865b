"""`stargazer amend`: what is said of registered files is corrected, for all that are named or for none."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from stargazer.assets.provenance import Amendment
from stargazer.mcp.cli import main
from stargazer.storage import get_client

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command in this process: its output, and its notes if it is `add`."""
    monkeypatch.chdir(tmp_path)

    def words(*argv: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main(list(argv)) == status
        captured = capsys.readouterr()
        return captured.err if status or argv[0] == "add" else captured.out

    for stem in "xy":
        for mate, bases in (("1", "ACGT"), ("2", "CCGT")):
            Path(f"{stem}_R{mate}.fq").write_text(f"@{stem}/{mate}\n{bases * 25}\n+\n{'I' * 100}\n")
    words("add", "x_R1.fq", "x_R2.fq", "sample=S")
    return words


def known(*, asset: str) -> dict[str, str]:
    (record,) = get_client().store.query({"asset": asset})
    return {key: value for key, value in record.keyvalues.items() if not key.endswith("_cid")}


def test_a_lane_is_given_to_both_mates_and_taken_away_again(run: Run) -> None:
    before = {asset: known(asset=asset) for asset in ("r1", "r2")}
    found = json.loads(run("amend", "x_R1.fq", "x_R2.fq", "lane=L001", "library=a b", "--json"))
    assert [record["keyvalues"]["lane"] for record in found] == ["L001", "L001"]
    assert known(asset="r2") == before["r2"] | {"lane": "L001", "library": "a b"}
    (r1,) = get_client().store.query({"asset": "r1"})
    (r2,) = get_client().store.query({"asset": "r2"})
    assert r2.keyvalues["r1_cid"] == r1.cid

    run("amend", r1.cid, r2.id, "lane=", "library=")
    assert {asset: known(asset=asset) for asset in ("r1", "r2")} == before


def test_it_is_written_down(run: Run) -> None:
    (record,) = get_client().store.query({"asset": "r1"})
    run("amend", "x_R1.fq", "sample=T")
    store = get_client().store
    (now,) = store.query({"asset": "r1"})
    (written,) = store.query({"asset": "provenance", "kind": "amendment"})
    amendment = store.document(written.cid)
    assert isinstance(amendment, Amendment)
    assert (amendment.record, amendment.keyvalues["sample"]) == (record.id, "T")
    assert now.keyvalues["provenance_cid"] == record.keyvalues["provenance_cid"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x_R1.fq", "lan=L1"], "unknown key 'lan'; did you mean 'lane'?"),
        (["x_R1.fq", "sample="], "'x_R1.fq': r1 needs sample: give sample=..."),
        (["x_R1.fq", "asset=r2"], "what a file is cannot be amended"),
        (
            ["x_R1.fq", "x_R2.fq", "platform=ILUMINA"],
            "'x_R1.fq': platform=ILUMINA is none that read groups can name",
        ),
        (["x_R2.fq", "r1_cid=bafkreib6vj3os7l4lqqytaw5vju46iorcknttfiwfnlbizjcqn7xd5hrvy"], "no r1 bafkrei"),
        (["y_R1.fq", "lane=L1"], "it was never registered"),
        (["x_R1.fq", "nowhere", "lane=L1"], "no record 'nowhere'"),
        (["x_R1.fq", "x_R2.fq", "lane=a\tb"], "lane: expected text without tabs"),
    ],
)
def test_all_or_nothing(run: Run, words: list[str], said: str) -> None:
    before = get_client().store.query({})
    assert said in run("amend", *words, status=1)
    assert get_client().store.query({}) == before


def test_one_of_several_registrations_is_named_by_its_id(run: Run) -> None:
    run("add", "x_R1.fq", "sample=T")
    said = run("amend", "x_R1.fq", "lane=L1", status=1)
    assert "'x_R1.fq' is registered 2 times" in said
    id = re.findall(r"([0-9a-f]{32}) r1 sample=T", said)[0]
    run("amend", id, "lane=L1")
    assert {record.keyvalues["sample"]: record.keyvalues.get("lane") for record in get_client().store.query(
        {"asset": "r1"})} == {"S": None, "T": "L1"}  # fmt: skip


def test_a_link_that_other_reads_have_is_refused(run: Run) -> None:
    run("add", "y_R1.fq", "sample=S", "lane=L2")
    (y1,) = get_client().store.query({"lane": "L2"})
    assert "these files are not mates" in run("amend", "x_R2.fq", f"r1_cid={y1.cid}", status=1)


def test_what_was_forced_can_be_amended_in_other_things(run: Run) -> None:
    run("add", "--force", "y_R1.fq", "sample=Y", "platform=SANGER")
    run("amend", "y_R1.fq", "lane=L9")
    (record,) = get_client().store.query({"sample": "Y"})
    assert (record.keyvalues["platform"], record.keyvalues["lane"]) == ("SANGER", "L9")


@pytest.mark.parametrize("words", [[], ["x_R1.fq"], ["lane=L1"], ["x_R1.fq", "lane=L1", "lane=L2"]])
def test_words_that_say_nothing_are_an_error(run: Run, words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["amend", *words])


def followed(run: Run, text: str) -> None:
    for command in re.findall(r"`stargazer (amend [^`]*)`", text):
        run(*command.split())


def test_what_add_says_of_a_second_pair_without_a_lane_corrects_it(run: Run) -> None:
    said = run("add", "y_R1.fq", "y_R2.fq", "sample=S")
    assert "note: sample 'S', no lane: 2 r1 files: 'x_R1.fq' (" in said
    followed(run, said)
    lanes = {
        (record.name[:1], record.keyvalues["lane"]) for end in ("r1", "r2") for record in
        get_client().store.query({"asset": end})
    }  # fmt: skip
    assert lanes == {("x", "L001"), ("y", "L002")}
    assert "no lane" not in run("add", "y_R1.fq", "sample=T", "lane=L1")


def test_another_pair_of_a_lane_that_has_a_name_gets_the_next(run: Run) -> None:
    run("amend", "x_R1.fq", "x_R2.fq", "lane=L001")
    assert "lane=L002`" in run("add", "y_R1.fq", "y_R2.fq", "sample=S", "lane=L001")


def test_a_lane_that_is_taken_away_is_said_to_be_shared(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("add", "y_R1.fq", "y_R2.fq", "sample=S", "lane=L002")
    assert main(["amend", "y_R1.fq", "y_R2.fq", "lane="]) == 0
    said = capsys.readouterr().err
    assert "note: sample 'S', no lane: 2 r1 files" in said
    followed(run, said)
    assert {record.keyvalues["lane"] for record in get_client().store.query({"asset": "r2"})} == {
        "L001",
        "L002",
    }


@pytest.mark.parametrize(("end", "other"), [("1", "2"), ("2", "1")])
def test_mates_that_are_amended_apart_are_said_to_be(
    run: Run, capsys: pytest.CaptureFixture[str], end: str, other: str
) -> None:
    assert main(["amend", f"x_R{end}.fq", "sample=a b"]) == 0
    said = capsys.readouterr().err
    assert f"note: x_R{end}.fq and its mates x_R{other}.fq are said to be of two samples or libraries" in said
    (command,) = re.findall(r"`stargazer (amend [^`]*)`", said)
    run(*shlex.split(command))
    assert known(asset="r1")["sample"] == known(asset="r2")["sample"] == "a b"
    assert main(["amend", "x_R1.fq", "x_R2.fq", "sample=S"]) == 0
    assert capsys.readouterr().err == "amended 2 of 2 records\n"


def test_files_are_called_by_their_names(run: Run) -> None:
    run("add", "y_R1.fq", "sample=S")
    Path("bad_R2.fq").write_text(Path("x_R2.fq").read_text().replace("CCGT", "CCGA"))
    run("add", "bad_R2.fq", "sample=S")
    said = run("amend", "y_R1.fq", "bad_R2.fq", "lane=L1", status=1)
    assert said.startswith(
        "stargazer: error: 'y_R1.fq' and 'bad_R2.fq': record 1: the names differ: 'y/1' and 'x/2'"
    )
    assert "bafk" not in said
    assert said.count("differ") == 1


def test_second_reads_of_another_sample_than_their_first_ones_are_said(run: Run) -> None:
    (r1,) = get_client().store.query({"asset": "r1"})
    run("rm", "asset=r2", "--all")
    said = run("add", "x_R2.fq", "sample=T", f"r1_cid={r1.cid}")
    assert f"`stargazer amend {r1.id} sample=T`" in said


@pytest.mark.parametrize("change", ["recompressed", "trimmed"])
def test_the_same_reads_for_two_samples_are_said_however_they_are_written(run: Run, change: str) -> None:
    for mate in "12":
        head, bases, plus, qualities = Path(f"x_R{mate}.fq").read_text().splitlines()
        cut = 3 if change == "trimmed" else 0
        text = "\n".join([head, bases[cut:], plus, qualities[cut:], ""])
        Path(f"z_R{mate}.fq.gz").write_bytes(gzip.compress(text.encode()))
    said = run("add", "z_R1.fq.gz", "z_R2.fq.gz", "sample=T")
    assert (
        "note: z_R1.fq.gz and x_R1.fq, which is sample=S platform=ILLUMINA, begin with the same read (x/1)"
        in said
    )
    (command,) = re.findall(r"`stargazer (rm [^`]*)`", said)
    run(*command.split())
    assert {record.keyvalues["sample"] for record in get_client().store.query({"asset": "r2"})} == {"S"}


def test_one_file_for_two_samples_is_said_with_the_command_that_takes_it_back(run: Run) -> None:
    said = run("add", "x_R1.fq", "sample=T")
    assert "also registered as sample=S" in said
    (command,) = re.findall(r"`stargazer (rm [^`]*)`", said)
    run(*command.split())
    assert [record.keyvalues["sample"] for record in get_client().store.query({"asset": "r1"})] == ["S"]


def test_a_lane_given_later_is_no_contradiction(run: Run) -> None:
    assert "`" not in run("add", "x_R1.fq", "x_R2.fq", "sample=S", "lane=L001")
