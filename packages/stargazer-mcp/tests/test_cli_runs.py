"""`stargazer runs` and `run --detach`: every verb, how a run is named, and what signals do to who watches."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from stargazer.workflows import Run, find_run, list_runs, new_run, start_run

from .command import COMMAND, Command
from .waiting import DEADLINE, waiting

PREPARE = ["run", "prepare_reference", "build=tiny", "aligner=none"]


def ended(state: str = "failed", workflow: str = "flow", **more: Any) -> Run:
    """The record of a run without a process."""
    made = new_run(workflow, {"build": "tiny"}, detached=True)
    for name, value in {"state": state, **more}.items():
        setattr(made, name, value)
    made.save()
    made.release()
    return made


def ago(**time: int) -> str:
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(**time)).isoformat()


def start(*words: str) -> subprocess.Popen[str]:
    """A command in a session of its own."""
    return subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a command still says after a line that was read, to its end; it says little."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        return process.stdout.read(), process.stderr.read()


# a run in a process of its own


def test_a_detached_run_is_listed_shown_followed_and_watched(gate: Path, stargazer: Command) -> None:
    status, out, err = stargazer(*PREPARE, "--detach")
    id = out.strip()
    assert (status, [run.id for run in list_runs()]) == (0, [id])
    assert err == (f"started; `stargazer runs watch {id}` shows it, `stargazer runs cancel {id}` stops it\n")
    waiting()
    _, out, _ = stargazer("runs")
    assert out.splitlines()[1].split()[:3] == [id, "prepare_reference", "running"]
    _, out, _ = stargazer("runs", "show", "last")
    assert out.startswith(f"prepare_reference {id}\n  state     running\n")
    assert "build     tiny" in out
    status, _, err = stargazer("runs", "rm", id)
    assert (status, err) == (1, f"stargazer: error: run {id} goes on: `stargazer runs cancel {id}` ends it\n")
    status, _, err = stargazer("runs", "resume", id[-6:])
    assert (status, err) == (1, f"stargazer: error: run {id} goes on: `stargazer runs watch {id}` shows it\n")

    following = start("runs", "logs", "last", "samtools_faidx", "-f")
    watching = [start("runs", "watch", id[-6:], "--json"), start("runs", "watch", "last")]
    assert following.stdout is not None
    assert "samtools_faidx" in following.stdout.readline()
    gate.touch()
    out, err = rest(following)
    assert "indexing" in out
    assert "done in" in out
    assert (following.returncode, err) == (0, "")
    (answer, err), (table, _) = [each.communicate(timeout=DEADLINE) for each in watching]
    assert [each.returncode for each in watching] == [0, 0]
    assert json.loads(answer)["run"] == id
    assert "samtools_faidx: done in" in err
    assert table.splitlines()[0].split() == ["RESULT", "TYPE", "CID"]
    status, out, _ = stargazer("runs", "show", id, "--json")
    record = json.loads(out)
    assert (record["state"], record["computed"], record["attempt"]) == ("succeeded", 3, 1)
    status, _, err = stargazer("runs", "cancel", id)
    assert (status, err) == (1, f"stargazer: error: run {id} has ended: it succeeded\n")
    assert stargazer("runs", "rm", "last")[2] == "1 run removed\n"
    assert stargazer("runs")[2] == "nothing was run yet; `stargazer run` lists workflows\n"


def test_the_terminal_goes_and_the_run_is_cancelled_from_another_and_resumed(
    gate: Path, stargazer: Command
) -> None:
    process = start(*PREPARE)
    run = waiting()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == -signal.SIGHUP
    assert find_run(run.id).state == "running"

    watching = start("runs", "watch", "last")
    assert watching.stderr is not None
    assert "check_reference: done in" in watching.stderr.readline()
    os.killpg(watching.pid, signal.SIGINT)
    _, err = rest(watching)
    assert watching.returncode == 130
    assert f"run {run.id} goes on" in err
    assert find_run(run.id).state == "running"

    status, _, err = stargazer("runs", "cancel", "last")
    assert (status, err) == (
        0, f"run {run.id}: cancelled; `stargazer runs resume {run.id}` goes on where it was\n",
    )  # fmt: skip
    gate.touch()
    status, out, err = stargazer("runs", "resume", "last", "--json")
    assert status == 0, err
    assert (json.loads(out)["computed"], json.loads(out)["memo_hits"]) == (2, 1)
    assert "check_reference: remembered" in err


def test_a_single_task_of_a_server_is_said_to_be_one_and_goes_on(gate: Path, stargazer: Command) -> None:
    reference = json.loads(stargazer("query", "asset=reference", "--json")[1])[0]["id"]
    task = start_run("samtools_faidx", {"reference": reference}, kind="task")
    assert waiting().id == task.id
    job = new_run("upload", {"source": "x.fa"}, kind="job")
    _, out, _ = stargazer("runs")
    assert [line.split()[1:3] for line in out.splitlines()[1:]] == [
        ["job", "upload"],
        ["task", "samtools_faidx"],
    ]
    assert stargazer("runs", "show", job.id)[1].startswith(f"job upload {job.id}\n")
    job.release()
    assert stargazer("runs", "cancel", task.id)[0] == 0
    gate.touch()
    status, out, err = stargazer("runs", "resume", task.id)
    assert status == 0, err
    assert "reference_index" in out
    assert "task samtools_faidx: 1 task computed, 0 remembered" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_and_says_how_to_go_on(gate: Path, number: signal.Signals) -> None:
    process = start(*PREPARE)
    run = waiting()
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (128 + number, "")
    assert err.splitlines()[-1] == (
        f"stargazer: stopped by {number.name}; what was finished is kept: `stargazer runs resume {run.id}` "
        "goes on where it was"
    )
    done = find_run(run.id)
    assert (done.state, done.error) == ("cancelled", "interrupted")
    assert os.listdir(Path(os.environ["STARGAZER_LOCAL"], "work")) == []


def test_ctrl_c_twice_kills(gate: Path) -> None:
    process = start(*PREPARE)
    run = waiting()
    os.kill(run.pid, signal.SIGSTOP)  # it takes long to stop
    assert process.stderr is not None
    os.killpg(process.pid, signal.SIGINT)
    while "stopping" not in process.stderr.readline():
        pass
    os.killpg(process.pid, signal.SIGINT)
    _, err = rest(process)
    assert process.returncode == 130
    assert err.splitlines()[0] == "stargazer: killing ..."
    assert f"`stargazer runs resume {run.id}`" in err
    done = find_run(run.id)
    assert (done.state, done.error) == ("cancelled", "killed")


def test_a_killed_worker_is_said_to_be_lost(gate: Path, stargazer: Command) -> None:
    process = start(*PREPARE)
    run = waiting()
    os.kill(run.pid, signal.SIGKILL)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "its process ended before it did" in err
    assert f"`stargazer runs resume {run.id}` goes on where it was" in err
    _, out, _ = stargazer("runs")
    assert "lost" in out.splitlines()[1].split()
    assert "1 computed, 0 remembered" in out
    _, out, _ = stargazer("runs", "show", "last")
    assert "1 not finished" in out


# records


def test_runs_are_named_by_their_end_and_never_guessed(stargazer: Command) -> None:
    runs = [ended() for _ in range(2)]
    ids = [run.id for run in runs]
    for name in (ids[0], ids[0][-6:], ids[0][-13:]):
        assert json.loads(stargazer("runs", "show", name, "--json")[1])["run"] == ids[0]
    assert json.loads(stargazer("runs", "show", "last", "--json")[1])["run"] == ids[1]
    twin = runs[0].folder.with_name(f"20200101T000000-000000-{ids[0][-6:]}")
    twin.mkdir()
    (twin / "run.json").write_bytes((runs[0].folder / "run.json").read_bytes())
    status, _, err = stargazer("runs", "rm", ids[0][-6:])
    assert status == 1
    assert f"2 runs end in {ids[0][-6:]!r}: {ids[0]}, {twin.name}" in err
    status, _, err = stargazer("runs", "show", "zzz")
    assert (status, "no run 'zzz'" in err) == (1, True)


def test_no_run_is_the_last(stargazer: Command) -> None:
    status, _, err = stargazer("runs", "watch", "last")
    assert (status, err) == (1, "stargazer: error: nothing was run yet; `stargazer run` lists workflows\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shw"], "'shw' is none of show, logs, watch, cancel, resume, rm"),
        (["state=lost"], "'state' is none of"),
        (["show"], "say which run: `stargazer runs show ID`, or `last`"),
        (["show", "a", "b"], "'b' is not expected here"),
        (["logs", "a", "b", "c"], "'c' is not expected here"),
        (["rm"], "say which run"),
        (["--kill"], "--kill is not for `runs`"),
        (["watch", "last", "--detach"], "--detach is not for `runs watch`"),
        (["logs", "last", "-f", "--json"], "leave -f out"),
        (["rm", "--older-than", "soon"], "expected a time like 30m, 12h, 14d or 2w, got 'soon'"),
        (["rm", "last", "--older-than", "1d"], "give a run or --older-than, not both"),
    ],
)
def test_misuse_is_status_two(stargazer: Command, words: list[str], said: str) -> None:
    ended()
    status, out, err = stargazer("runs", *words)
    assert (status, out, len(list_runs())) == (2, "", 1)
    assert said in err


def test_what_ended_long_ago_is_removed_and_what_goes_on_is_not(stargazer: Command) -> None:
    old = ended("succeeded", started=ago(days=40), finished=ago(days=31))
    recent = ended("cancelled", started=ago(days=40), finished=ago(days=29))
    lost = ended("running", started=ago(days=31))
    damaged = ended()
    (damaged.folder / "run.json").write_text("")
    going = new_run("flow", {}, detached=True)
    going.started = ago(days=50)
    going.save()
    status, out, err = stargazer("runs", "rm", "--older-than", "30d", "--json")
    assert status == 0, err
    assert json.loads(out) == [lost.id, old.id]
    assert [run.id for run in list_runs()] == [going.id, damaged.id, recent.id]
    assert stargazer("runs", "rm", damaged.id)[0] == 0
    assert stargazer("runs", "rm", "--older-than", "0")[2] == "1 run removed\n"
    assert [run.id for run in list_runs()] == [going.id]
    going.release()


def test_a_clock_that_went_backwards_shows_no_negative_time(stargazer: Command) -> None:
    at = {"started": ago(days=-2), "finished": ago(days=1)}
    ended("succeeded", seconds=3.5, **at)
    going = new_run("flow", {}, detached=True)
    going.started = at["started"]
    going.save()
    going.append({"kind": "started", "task": "t", "call": 1, "at": ago(days=-1)})
    for words in (["runs"], ["runs", "show", "last"]):
        status, out, err = stargazer(*words)
        assert (status, err) == (0, "")
        assert " -" not in out.replace(" - ", "")
    assert "0.0 s" in out
    going.release()


def test_a_damaged_record_is_listed_as_such(stargazer: Command) -> None:
    good, bad = ended("succeeded"), ended()
    (bad.folder / "run.json").write_text('{"work')
    _, out, err = stargazer("runs")
    assert [line.split()[0] for line in out.splitlines()[1:]] == [bad.id, good.id]
    assert err == ""
    for verb in ("show", "watch"):
        _, out, err = stargazer("runs", verb, bad.id)
        assert f"its record is damaged; `stargazer runs rm {bad.id}` removes it" in out + err
    assert len(json.loads(stargazer("runs", "--json")[1])) == 2


def test_logs_of_a_task_that_has_none(stargazer: Command) -> None:
    run = ended()
    (run.logs / "2026-11-30T120000-77-001-mark_duplicates.log").write_text("hello\n")
    assert stargazer("runs", "logs", run.id)[1] == "==> 2026-11-30T120000-77-001-mark_duplicates <==\nhello\n"
    assert "hello" in stargazer("runs", "logs", run.id, "gatk.mark_duplicates")[1]
    assert json.loads(stargazer("runs", "logs", run.id, "--json")[1]) == [
        {"log": "2026-11-30T120000-77-001-mark_duplicates", "text": "hello\n"}
    ]
    _, out, err = stargazer("runs", "logs", run.id, "markdup")
    assert (out, err) == ("", "no logs of markdup; there are some of mark_duplicates\n")
