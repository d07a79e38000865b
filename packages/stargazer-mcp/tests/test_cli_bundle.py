"""`stargazer bundle`: what is made, shown, fetched and verified, and what is said when something is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from .command import Command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stargazer: Command) -> Path:
    """A bundle of a pair of reads, and another, empty store from here on."""
    monkeypatch.chdir(tmp_path)
    for mate in "12":
        Path(f"x_R{mate}.fq").write_text(f"@x/{mate}\nACGT\n+\nIIII\n")
    assert stargazer("add", "x_R1.fq", "x_R2.fq", "sample=S")[0] == 0
    status, out, err = stargazer(
        "bundle", "make", "reads", "sample=S", "--to", "out", "--description", "A pair. Small."
    )
    assert (status, err) == (0, "copying x_R1.fq\ncopying x_R2.fq\n")
    assert out == (
        "out/reads.bundle.json: 2 files, 34 B, 1 provenance document\nfetch it with: stargazer bundle fetch out\n"
    )
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "other"))
    return tmp_path / "out"


def listed(stargazer: Command, *words: str) -> Any:
    status, out, err = stargazer(*words, "--json")
    assert status == 0, err
    return json.loads(out)


def test_a_bundle_is_fetched_shown_listed_and_verified(folder: Path, stargazer: Command) -> None:
    status, out, err = stargazer("bundle", "show", "out")
    assert (status, err) == (0, "")
    assert out.startswith(
        f"reads ({folder}/reads.bundle.json)\nA pair. Small.\n2 files, 34 B, 1 provenance document; 0 here\n"
    )

    status, out, err = stargazer("bundle", "fetch", "out")
    assert (status, sorted(err.splitlines())) == (0, ["x_R1.fq: 17 B", "x_R2.fq: 17 B"])
    assert [line.split()[0] for line in out.splitlines()] == ["TYPE", "r1", "r2"]

    assert "2 here" in stargazer("bundle", "show", "reads")[1]
    assert {"name": "reads", "description": "A pair. Small.", "files": 2, "size": 34,
            "where": f"{folder}/reads.bundle.json"} in listed(stargazer, "bundle", "list")  # fmt: skip
    assert f"reads: 3 of 3 files good in {folder}, " in stargazer("bundle", "verify", "out")[1]
    assert "3 of 3 files good in the store" in stargazer("bundle", "verify", "reads")[1]
    assert len(listed(stargazer, "query", "sample=S")) == 2


def test_why_leads_to_the_import_that_travelled_along(folder: Path, stargazer: Command) -> None:
    (record,) = listed(stargazer, "bundle", "fetch", "out", "--only", "asset=r1", "--only", "sample=S")[
        "records"
    ]
    status, out, err = stargazer("why", record["cid"])
    assert status == 0, err
    assert "x_R1.fq" in out


def test_a_failure_names_what_is_missing_and_fetching_again_continues(
    folder: Path, stargazer: Command
) -> None:
    (cid,) = [
        entry["cid"]
        for entry in listed(stargazer, "bundle", "show", "out")["entries"]
        if entry["name"] == "x_R1.fq"
    ]
    os.rename(folder / cid, folder / "elsewhere")

    status, out, err = stargazer("bundle", "fetch", "out", "--json")

    assert status == 1
    assert [record["name"] for record in json.loads(out)["records"]] == ["x_R2.fq"]
    assert [item["name"] for item in json.loads(out)["failed"]] == ["x_R1.fq"]
    assert "stargazer: error: 1 of the bundle 'reads' could not be had" in err
    assert stargazer("bundle", "verify", "out")[0] == 1
    assert stargazer("bundle", "verify", "reads", "--download")[0] == 1

    os.rename(folder / "elsewhere", folder / cid)
    assert stargazer("bundle", "verify", "reads", "--download")[0] == 0
    assert len(listed(stargazer, "query", "sample=S")) == 2


def test_what_a_check_refuses_is_held_back_unless_it_is_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stargazer: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x_R1.fq").write_text("@x\nACGT\n+\nIIII\n")
    assert stargazer("add", "x_R1.fq", "sample=S", "platform=ILUMINA", "--force")[0] == 0
    assert stargazer("bundle", "make", "reads", "sample=S", "--to", "out")[0] == 0
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "other"))

    status, out, err = stargazer("bundle", "fetch", "out")

    assert (status, out) == (1, "")
    assert "x_R1.fq: 'x_R1.fq': platform=ILUMINA is none that read groups can name" in err
    assert "`stargazer bundle fetch --force` registers it all the same" in err
    assert listed(stargazer, "query", "sample=S") == []
    assert [item["name"] for item in listed(stargazer, "bundle", "fetch", "out", "--force")["records"]] == [
        "x_R1.fq"
    ]
    assert len(listed(stargazer, "query", "sample=S")) == 1
    assert stargazer("bundle", "show", "out", "--force")[0] == 2


def test_a_damaged_copy_is_named(folder: Path, stargazer: Command) -> None:
    (cid,) = [
        entry["cid"]
        for entry in listed(stargazer, "bundle", "show", "out")["entries"]
        if entry["name"] == "x_R1.fq"
    ]
    os.chmod(folder / cid, 0o644)
    (folder / cid).write_text("@x/1\nACGA\n+\nIIII\n")

    status, _, err = stargazer("bundle", "verify", "out")

    assert status == 1
    assert "x_R1.fq: damaged: " in err
    assert cid in err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "say what to do with bundles: make, list, show, fetch, verify"),
        (["push"], 2, "not 'push'"),
        (["fetch"], 2, "expected one name, file or URL"),
        (["fetch", "a", "b"], 2, "expected one name, file or URL"),
        (["fetch", "a", "asset=r1"], 2, "--only key=value"),
        (["fetch", "a", "--only", "r1"], 2, "expected key=value"),
        (["list", "a"], 2, "expected nothing more"),
        (["list", "--to", "x"], 2, "--to is not for `bundle list`"),
        (["make", "x"], 2, "say which files"),
        (["make", "../x", "asset=r1"], 1, "cannot name a bundle"),
        (["make", "x", "asset=r1"], 1, "no record matches asset=r1"),
        (["make", "x", "asset=nothing"], 1, "unknown asset type 'nothing'"),
        (["fetch", "nothing"], 1, "no bundle, file or folder 'nothing'"),
        (["fetch", "nothing.bundle.json"], 1, "'nothing.bundle.json' cannot be read"),
        (["fetch", "."], 1, "expected one file *.bundle.json in the folder '.'"),
    ],
)
def test_what_is_wrong_is_said(
    words: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stargazer: Command,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = stargazer("bundle", *words)
    assert (found, out) == (status, "")
    assert said in err


@pytest.mark.slow
def test_the_demo_is_the_same_as_what_the_demo_registers(stargazer: Command) -> None:
    """Given the built-in bundle, what `stargazer demo` registers afterwards is there already."""
    pytest.importorskip("numpy")
    pytest.importorskip("pysam")
    from stargazer.storage import get_client
    from stargazer.workflows.demo import prepare

    fetched = listed(stargazer, "bundle", "fetch", "demo")
    assert (len(fetched["records"]), fetched["failed"]) == (16, [])
    before = {record.id for record in get_client().store.query({})}

    prepare()

    assert {record.id for record in get_client().store.query({})} == before
    assert listed(stargazer, "bundle", "fetch", "demo")["moved"] == 0
    origins = {entry.origin for cid in get_client().store.documents(fetched["records"][0]["cid"])
               for entry in get_client().store.document(cid).files}  # fmt: skip
    assert "reference.fa, simulated by stargazer demo, seed 42" in origins


def test_a_bundle_that_was_made_is_listed_and_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, stargazer: Command
) -> None:
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "mine"))
    assert stargazer("add", "x_R1.fq", "x_R2.fq", "sample=S")[0] == 0
    for place in ("here", "there"):
        assert stargazer("bundle", "make", "pair", "sample=S", "--to", place)[0] == 0

    known = [item for item in listed(stargazer, "bundle", "list") if item["name"] == "pair"]

    assert sorted(item["where"] for item in known) == [
        f"{tmp_path}/{place}/pair.bundle.json" for place in ("here", "there")
    ]
    assert "give the place of one" in stargazer("bundle", "show", "pair")[2]
    assert stargazer("bundle", "make", "pair", "sample=S")[0] == 0
    assert stargazer("bundle", "show", "pair")[0] == 0  # the folder of that name is meant


def test_verify_reads_the_folder_of_a_name_also_where_the_bundle_was_fetched(
    tmp_path: Path, folder: Path, stargazer: Command
) -> None:
    (tmp_path / "out").rename(tmp_path / "reads")
    assert stargazer("bundle", "fetch", "reads")[0] == 0
    mine = next(path for path in (tmp_path / "reads").iterdir() if path.read_bytes().startswith(b"@x/1"))
    mine.unlink()
    mine.write_text("@x/1\nTTTT\n+\nIIII\n")

    status, out, err = stargazer("bundle", "verify", "reads")

    assert (status, "damaged" in err) == (1, True)
    assert f"2 of 3 files good in {tmp_path}/reads" in out
    assert "good in the store" in stargazer("bundle", "verify", "reads", "--store")[1]


@pytest.mark.parametrize("key", ["sample", "samples"])
def test_only_a_sample_brings_its_calls_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, stargazer: Command, key: str
) -> None:
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "mine"))
    Path("c.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\tT\n"
    )
    assert stargazer("add", "x_R1.fq", "x_R2.fq", "sample=S")[0] == 0
    assert stargazer("add", "c.vcf")[0] == 0
    assert stargazer("bundle", "make", "all", "asset=r1", "asset=r2", "asset=variants")[0] == 0
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "theirs"))

    for name, kinds in {"S": ["r1", "r2", "variants"], "T": ["variants"]}.items():
        records = listed(stargazer, "bundle", "fetch", "all", "--only", f"{key}={name}")["records"]
        assert sorted(record["keyvalues"]["asset"] for record in records) == kinds
