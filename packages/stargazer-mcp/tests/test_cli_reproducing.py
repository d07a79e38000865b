"""Why something would be computed, doing it again, and capsules, through the command."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from .command import GERMLINE, simulate, stargazer

CALLS = ("asset=variants", "filtered=true")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the variants of S have been called, as other tests find it."""
    folder = tmp_path_factory.mktemp("lab")
    simulate(folder)
    with pytest.MonkeyPatch.context() as patch:
        home(patch, folder / "home")
        patch.chdir(folder)
        stargazer("add", "tiny.fa", "S_R1.fq.gz", "S_R2.fq.gz", "build=tiny", "sample=S", "lane=L1")
        (first,) = asked()
        assert (first["task"], first["note"], first["nearest"]) == ("htslib.check_reference", "", None)
        stargazer(*GERMLINE)
    return folder


@pytest.fixture(autouse=True)
def _in_the_lab(lab: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home(monkeypatch, lab / "home")
    monkeypatch.chdir(tmp_path)


def home(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("STARGAZER_HOME", str(folder))
    patch.setenv("STARGAZER_LOCAL", str(folder / "local"))
    patch.setenv("STARGAZER_CORES", "2")


def asked(*options: str) -> Any:
    return json.loads(stargazer(*GERMLINE, "--why-not", "--json", *options).stdout)["misses"]


def computed(*options: str) -> int:
    return int(json.loads(stargazer(*GERMLINE, "--json", *options).stdout)["computed"])


def cid_of(*filters: str) -> str:
    records = json.loads(stargazer("query", *filters, "--json").stdout)
    return str(records[-1]["cid"])


def test_nothing_would_be_computed_that_was_computed_before() -> None:
    done = stargazer(*GERMLINE, "--why-not")

    assert done.stdout == "nothing would be computed\n"
    assert "task calls remembered, 0 not" in done.stderr


def test_what_would_be_computed_is_named_and_nothing_runs(lab: Path) -> None:
    runs = len(list((lab / "home" / "runs").iterdir()))

    done = stargazer(*GERMLINE, "--why-not", "contigs=c:1-9")

    assert done.stdout == "htslib.select_contigs\n  it was never executed here\n"
    assert done.stderr.endswith("0 task calls remembered, 1 not, and whatever reads their results\n")
    assert len(list((lab / "home" / "runs").iterdir())) == runs


def test_one_task_or_everything_from_one_on_is_computed_anew() -> None:
    assert computed("--refresh-task", "filter_variants") == 1
    assert (
        computed("--refresh-from", "filter_variants") == 5
    )  # and its index, its counts, the summary, the report
    assert computed() == 0
    assert [miss["task"] for miss in asked("--refresh-from", "filter_variants")] == ["htslib.filter_variants"]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--refresh", "--refresh-task", "flagstat"], 2, "give one of --refresh, --refresh-task"),
        (["--why-not", "--outdir", "x"], 2, "--why-not computes nothing"),
        (["--refresh-task", "flagstatt"], 1, "no task 'flagstatt'; did you mean 'flagstat'?"),
    ],
    ids=["two levels", "no results", "no such task"],
)
def test_what_makes_no_sense_is_said(options: list[str], status: int, said: str) -> None:
    assert said in stargazer(*GERMLINE, *options, status=status).stderr


def test_a_result_is_computed_again_and_compared() -> None:
    cid = cid_of(*CALLS)

    done = stargazer("verify", cid, "--recompute")

    assert done.stdout == f"{cid} variants.vcf.gz the same again by htslib.filter_variants\n"
    (answer,) = json.loads(stargazer("verify", cid, "--recompute", "--json").stdout)
    assert answer["state"] == "same"
    assert answer["results"][0] == {"kind": "file", "name": "result", "then": cid, "now": cid}


def test_an_import_has_nothing_to_be_computed_again() -> None:
    done = stargazer("verify", "build=tiny", "asset=reference", "--recompute", status=1)
    assert "no execution is known that made tiny.fa: imported" in done.stderr

    both = stargazer("verify", cid_of("build=tiny", "asset=reference"), cid_of(*CALLS), "--recompute")
    assert both.stdout.splitlines()[0].endswith("tiny.fa imported: nothing to compute again")


def test_results_whose_bytes_are_gone_are_brought_when_they_are_wanted(tmp_path: Path) -> None:
    cid = cid_of(*CALLS)
    stargazer("evict", cid)

    done = stargazer(*GERMLINE, "--json")
    record = json.loads(done.stdout)
    assert (record["computed"], record["results"]["variants"]["path"]) == (0, None)

    stargazer(*GERMLINE, "--outdir", str(tmp_path / "out"))
    assert (tmp_path / "out" / "S.tiny.variants.vcf.gz").is_file()


def test_what_is_read_and_is_not_here_is_said_too() -> None:
    cid = cid_of("asset=alignment", "duplicates_marked=true")
    stargazer("evict", cid)

    (miss,) = [miss for miss in asked("--refresh-from", "flagstat") if miss["task"] == "htslib.flagstat"]

    assert miss["absent"] == [f"alignment {cid}"]
    done = stargazer(*GERMLINE, "--why-not", "--refresh-from", "flagstat")
    assert f"  not here, and brought or computed again first: alignment {cid}\n" in done.stdout
    stargazer("get", cid)


def test_all_results_of_a_run_are_a_capsule_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = json.loads(stargazer(*GERMLINE, "--json").stdout)["run"]

    stargazer("bundle", "make", "whole", "--run", run, "--with-lineage")

    home(monkeypatch, tmp_path / "theirs")
    stargazer("bundle", "fetch", "whole", "--records-only", "--trust")
    assert computed() == 0


@pytest.fixture
def capsule(tmp_path: Path) -> Path:
    done = stargazer("bundle", "make", "calls", cid_of(*CALLS), "--with-lineage", "--to", "capsule")
    assert "compute it again with: stargazer replay capsule\n" in done.stdout
    return tmp_path / "capsule"


def test_a_capsule_is_computed_again_on_an_empty_machine(
    capsule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cid = cid_of(*CALLS)
    home(monkeypatch, tmp_path / "empty")

    done = stargazer("replay", "capsule")

    last = done.stdout.splitlines()[-1]
    number = int(last.split()[0])
    assert number >= 8
    assert (
        f"{number} executions: {number} gave the same again, 0 did not, 0 could not be done, 0 skipped"
        in last
    )
    assert stargazer("verify", cid).returncode == 0
    assert stargazer("fsck").stdout.endswith("sound\n")
    again = stargazer("replay", "capsule", "--json")
    assert json.loads(again.stdout)["same"] is True
    assert len(json.loads(again.stdout)["executions"]) == number
    assert f"{number} executions to do again\n" in again.stderr


def test_what_came_out_the_same_is_remembered_and_so_is_what_is_trusted(
    capsule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = computed("--refresh")
    for way, words in {"replayed": ["replay", "capsule"], "trusted": ["bundle", "fetch", "capsule", "--trust"],
                       "untrusted": ["bundle", "fetch", "capsule"]}.items():  # fmt: skip
        home(monkeypatch, tmp_path / way)
        done = stargazer(*words)
        assert ("trusted: what they made is not computed here again" in done.stderr) == (way == "trusted")
        assert (computed() == everything) == (way == "untrusted")


def test_the_environment_of_a_capsule_is_what_pip_takes(capsule: Path) -> None:
    lines = stargazer("bundle", "show", "capsule", "--requirements").stdout.splitlines()

    assert lines[0].startswith("# Python 3.")
    assert any(line.startswith("# samtools ") for line in lines)
    assert any(line.startswith("stargazer-tasks==") for line in lines)


def test_a_difference_of_the_environment_is_said(
    capsule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = capsule / "calls.bundle.json"
    manifest = json.loads(path.read_text())
    manifest["environment"]["packages"] = ["pysam==0.1", "nothing-of-that-name==2"]
    path.write_text(json.dumps(manifest))
    home(monkeypatch, tmp_path / "empty")

    done = stargazer("replay", "capsule")

    assert f"environment: pysam: 0.1 then, {version('pysam')} now" in done.stderr
    assert "environment: nothing-of-that-name: 2 then, not installed now" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["bundle", "make", "x", "CID", "--intermediates"], 2, "--intermediates goes with --with-lineage"),
        (["bundle", "make", "x", "CID", "asset=variants"], 2, "say which files"),
        (["bundle", "make", "x", "--run", "20261129T000000-000000-abcdef"], 1, "no run '20261129T000000"),
        (["bundle", "show", "plain", "--requirements"], 1, "it was not made --with-lineage"),
        (["replay", "reads"], 1, "was computed, as far as its provenance tells"),
        (["replay"], 2, "say which bundle"),
        (["replay", "nothing"], 1, "no bundle, file or folder 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_wrong_with_a_bundle_is_said(words: list[str], status: int, said: str) -> None:
    stargazer("bundle", "make", "plain", cid_of(*CALLS))
    stargazer("bundle", "make", "reads", "asset=r1")
    words = [cid_of(*CALLS) if word == "CID" else word for word in words]

    assert said in stargazer(*words, status=status).stderr
    assert set(os.listdir(".")) == {"plain", "reads"}
