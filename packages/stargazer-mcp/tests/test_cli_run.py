"""`stargazer run`: arguments, results, and what an interruption or a second run at the same time leaves."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from stargazer.storage.copies import RESULTS

from .command import COMMAND, GERMLINE, simulate, stargazer


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a reference and reads that are registered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STARGAZER_CORES", "2")
    simulate(tmp_path)
    stargazer("add", "tiny.fa", "S_R1.fq.gz", "S_R2.fq.gz", "build=tiny", "sample=S", "lane=L1")
    return tmp_path


def left_over() -> list[str]:
    """Workspaces, and processes that work in this test's store."""
    store = os.environ["STARGAZER_LOCAL"]
    work = Path(store, "work")
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [path.name for path in work.iterdir()] + [line for line in processes.splitlines() if store in line]


def children(pid: int) -> set[int]:
    """The processes that descend from one, by parent or by session."""
    lines = subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    parents = {int(child): int(parent) for child, parent in map(str.split, lines)}
    found: set[int] = set()
    while fresh := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= fresh
    return found


def started(task: str, *words: str) -> subprocess.Popen[str]:
    """A `stargazer` process, once it is in the middle of a task."""
    process = subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    work = Path(os.environ["STARGAZER_LOCAL"], "work")
    deadline = time.monotonic() + 60
    while not any(path.is_dir() for path in work.glob(f"{task}-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return process


def test_without_a_name_workflows_are_listed() -> None:
    out = stargazer("run").stdout
    assert "germline_short_variant_discovery" in out
    assert "Call, normalise and filter" in out


def test_help_of_the_command_and_of_a_workflow() -> None:
    assert "--outdir" in stargazer("run", "--help").stdout
    out = stargazer("run", "prepare_reference", "--help").stdout
    assert "build (text; required)" in out
    assert "stargazer run prepare_reference build=GRCh38" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prepare_refrence"], "did you mean prepare_reference"),
        (["prepare_reference"], "build is missing"),
        (["prepare_reference", "bild=x"], "did you mean 'build'"),
        (["prepare_reference", "build=x", "aligner=bowtie"], "expected one of bwa-mem3, bwa, none, got"),
        (["prepare_reference", "build=x"], "no reference"),
        (["germline_short_variant_discovery", "samples=", "build=x"], "at least one sample"),
        (["germline_short_variant_discovery", "samples=A", "build=x"], "no reads of sample 'A'"),
    ],
)
def test_wrong_arguments_are_errors(words: list[str], said: str) -> None:
    done = stargazer("run", *words, status=1)
    assert done.stdout == ""
    assert said in done.stderr


def test_misuse_is_status_two() -> None:
    assert stargazer("run", "build=x", status=2).stderr.startswith("usage: stargazer run ")


def test_reads_in_variants_out(reads: Path) -> None:
    done = stargazer(*GERMLINE, "--outdir", "out", "--json")
    answer = json.loads(done.stdout)
    assert answer["computed"] > 10
    assert answer["results"]["variants"]["path"] == str(Path("out/S.tiny.variants.vcf.gz").absolute())
    names = {path.name for path in Path("out").iterdir()}
    assert {
        "S.tiny.variants.vcf.gz",
        "S.tiny.variants.vcf.gz.tbi",
        "S.L1.alignment.bam",
        "S.L1.alignment.bam.bai",
        "S.germline_report.html",
    } <= names
    with gzip.open("out/S.tiny.variants.vcf.gz", "rt") as calls:
        lines = list(calls)
    assert [line.split("\t")[1] for line in lines if not line.startswith("#")] == ["3001"]
    cid = json.loads(stargazer("query", "asset=reference", "--json").stdout)[0]["cid"]
    assert [line for line in lines if line.startswith("##reference")] == [f"##reference=ipfs://{cid}\n"]
    assert {file["file"] for file in json.loads(Path("out", RESULTS).read_text())["files"]} == names - {
        RESULTS
    }
    assert "align_with_bwa_mem3 S L1: done" in done.stderr
    assert answer["notes"][0] == (
        "Unusual: coverage.mean of S is 9.733, usually at least 10; may mean many heterozygous variants are missed."
    )
    assert "<h1>Germline short variants: S</h1>" in Path("out/S.germline_report.html").read_text()
    assert "$ bwa-mem3 mem" in stargazer("why", "out/S.tiny.variants.vcf.gz").stdout


def test_what_to_look_at_next_is_said_at_the_end(reads: Path) -> None:
    there = stargazer(*GERMLINE, "--outdir", "out").stderr.splitlines()
    stored = stargazer(*GERMLINE).stderr.splitlines()
    cid = stargazer("query", "kind=germline_report", "--json").stdout.split('"cid": "')[1].split('"')[0]
    assert there[-1].startswith("What next: open out/S.germline_report.html in a browser")
    assert f"`stargazer get {cid} --to DIR`" in stored[-1]


def test_where_nothing_can_be_written_nothing_is_run(reads: Path) -> None:
    done = stargazer(*GERMLINE, "--outdir", "tiny.fa/out", status=1)
    assert "cannot make the folder 'tiny.fa/out'" in done.stderr
    assert not Path(os.environ["STARGAZER_HOME"], "runs").exists()


def test_a_second_run_computes_nothing(reads: Path) -> None:
    first = json.loads(stargazer(*GERMLINE, "--json").stdout)
    second = json.loads(stargazer(*GERMLINE, "--json").stdout)
    assert second["computed"] == 0
    assert second["results"] == first["results"]
    assert second["run"] > first["run"]


def test_refresh_computes_anew(reads: Path) -> None:
    words = ["run", "prepare_reference", "build=tiny", "aligner=none", "--json"]
    stargazer(*words)
    assert json.loads(stargazer(*words, "--refresh").stdout)["computed"] == 3


def test_a_table_is_for_people(reads: Path) -> None:
    done = stargazer("run", "prepare_reference", "build=tiny", "aligner=none")
    assert done.stdout.splitlines()[0].split() == ["RESULT", "TYPE", "CID"]
    assert "3 tasks computed" in done.stderr
    assert "stargazer get CID --to DIR" in done.stderr


def test_a_failing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.fa").write_text(">c\nACGT\n")
    stargazer("add", "r.fa", "build=b")
    Path("samtools").write_text('#!/bin/sh\n[ "$1" = --version ] && echo samtools 1.99 || exit 7\n')
    Path("samtools").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("STARGAZER_TOOLS", "samtools=path")
    error = stargazer("run", "prepare_reference", "build=b", status=1).stderr
    assert "stargazer: error:" in error
    assert "samtools" in error
    assert left_over() == []


@pytest.mark.parametrize(
    ("number", "task", "whole_group"),
    [
        (signal.SIGINT, "align_with_bwa_mem3", True),
        pytest.param(signal.SIGTERM, "call_variants", False, marks=pytest.mark.long),
    ],
)
def test_an_interrupted_run_leaves_nothing_and_goes_on(
    reads: Path, number: signal.Signals, task: str, whole_group: bool
) -> None:
    process = started(task, *GERMLINE)
    offspring = children(process.pid)
    if whole_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 128 + number, error
    assert out == ""
    assert "Traceback" not in error
    assert left_over() == []
    assert [pid for pid in offspring if Path(f"/proc/{pid}").exists()] == []
    again = json.loads(stargazer(*GERMLINE, "--json").stdout)
    assert again["memo_hits"] > 0
    assert again["results"]["variants"]["cid"]


@pytest.mark.long
def test_two_runs_of_one_sample_share_the_work(reads: Path) -> None:
    both = [
        subprocess.Popen([*COMMAND, *GERMLINE, "--json"], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers: list[dict[str, Any]] = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert answers[0]["results"] == answers[1]["results"]
    tasks = [answer["computed"] + answer["memo_hits"] for answer in answers]
    assert answers[0]["computed"] + answers[1]["computed"] == max(tasks)
    assert left_over() == []
