"""Runs in a process of their own: watched, cancelled, killed, resumed, removed; and what goes wrong with a record."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import Alignment, AssetNotFoundError, InvalidAssetError, Reference, StorageError
from stargazer.storage import Addition, get_client, is_locked
from stargazer.tasks import samtools
from stargazer.workflows import (
    Entry,
    Run,
    cancel_run,
    events_of,
    find_run,
    list_runs,
    new_run,
    remove_run,
    resume_run,
    run,
    start_run,
    watch_run,
)
from stargazer.workflows.runs import worker

PREPARE, TINY = "prepare_reference", {"build": "tiny", "aligner": "none"}
DEADLINE = 60.0
"""Seconds for what takes one or two; nothing is decided by them."""

SAMTOOLS = """#!/bin/sh
here=${0%/*}
case "$1" in
  --version) echo samtools 1.99; exit;;
  faidx) echo faidx >> $here/calls; until [ -e $here/go ]; do sleep 0.02; done; printf 'c\\t4\\t3\\t4\\t5\\n' > "$3";;
  dict) printf '@SQ\\tSN:c\\tLN:4\\n' > "$5";;
esac
"""
"""A tool that waits in the middle of a task until there is a file `go` beside it."""


def until(happened: Callable[[], Any]) -> Any:
    """Wait for something; what it is then."""
    deadline = time.monotonic() + DEADLINE
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def watched(id: str, tell: Callable[[dict[str, Any]], object] | None = None) -> Run:
    return asyncio.run(watch_run(id, tell))


def kinds(run: Run) -> Counter[str]:
    """How many events of each kind there are of the last attempt, by task where one is named."""
    return Counter(f"{event['kind']} {event.get('task', '').rpartition('.')[2]}".strip()
                   for event, _ in events_of(run) if event.get("attempt", 1) == run.attempt)  # fmt: skip


def is_at_work(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left_over() -> list[str]:
    """Workspaces of tasks in the store, and processes that work in one."""
    store = os.environ["STARGAZER_LOCAL"]
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [*os.listdir(Path(store, "work")), *(line for line in processes.splitlines() if store in line)]


@pytest.fixture
def reference(tmp_path: Path) -> None:
    path = tmp_path / "tiny.fa"
    path.write_text(">c\nACGT\n")
    get_client().store.add([Addition(path, Reference(build="tiny"))])


class Held:
    """A samtools that waits in `samtools_faidx`, the second task of three."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "samtools").write_text(SAMTOOLS)
        (folder / "samtools").chmod(0o755)

    def start(self, **more: Any) -> Run:
        """A run that has come to where it waits."""
        before, run = self.calls(), start_run(PREPARE, TINY, **more)
        until(lambda: self.calls() > before or find_run(run.id).state != "running")
        return find_run(run.id)

    def let_go(self) -> None:
        (self.folder / "go").touch()

    def calls(self) -> int:
        """How often it was called."""
        calls = self.folder / "calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0


@pytest.fixture
def held(reference: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("STARGAZER_TOOLS", "samtools=path")
    yield Held(folder)
    (folder / "go").touch()  # whatever became of the test


def ended(state: str = "failed", **more: Any) -> Run:
    """The record of a run that has ended, without a process."""
    made = new_run("flow", {"build": "tiny"}, state=state, detached=True, **more)
    made.release()
    return made


def record_of(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / "run.json").read_text())
    return found


# a run from its start to its end


def test_a_run_has_a_process_of_its_own_and_is_as_any_other(
    reference: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    (tmp_path / "flyte.py").write_text(
        "raise ImportError('a module of the folder where the run was started')"
    )
    monkeypatch.chdir(tmp_path)
    started = start_run(PREPARE, TINY, aligner="none")
    assert (started.state, started.pid) == ("running", 0)
    pid = until(lambda: find_run(started.id).pid)
    assert os.getsid(pid) == pid != os.getsid(0)
    os.kill(pid, signal.SIGHUP)  # the terminal is closed
    done = watched(started.id, told.append)
    assert (done.state, done.attempt, done.computed, done.memo_hits) == ("succeeded", 1, 3, 0)
    assert [event["kind"] for event in told if event["kind"] in ("finished", "failed")] == ["finished"] * 3
    assert not is_locked(done.folder / "lock")
    assert {path.name for path in done.folder.iterdir()} <= {
        "run.json", "events.jsonl", "lock", "logs", "worker.log",
    }  # fmt: skip
    plain = asyncio.run(run(PREPARE, TINY))
    assert (plain.computed, plain.memo_hits) == (0, 3)
    assert plain.results == done.results
    assert [each.id for each in list_runs()] == [plain.id, done.id]
    for refused in (cancel_run, resume_run):
        with pytest.raises(InvalidAssetError, match=r"has (ended: it )?succeeded"):
            refused(done.id)
    remove_run(done.id)
    assert [each.id for each in list_runs()] == [plain.id]
    assert Path(plain.results["dictionary"]["path"]).is_file()


def test_what_is_wrong_with_the_arguments_is_in_the_record() -> None:
    done = watched(start_run(PREPARE, {"build": "absent"}).id)
    assert (done.state, done.computed) == ("failed", 0)
    assert "no reference" in done.error


def test_a_run_that_goes_on_is_shared_cancelled_and_resumed_by_one(held: Held) -> None:
    first = held.start()
    with pytest.raises(InvalidAssetError, match="goes on: `stargazer runs cancel"):
        remove_run(first.id)
    with pytest.raises(InvalidAssetError, match="goes on: `stargazer runs watch"):
        resume_run(first.id)

    second = start_run(PREPARE, TINY)
    waits = until(lambda: [event["note"] for event, _ in events_of(second)
                           if event["kind"] == "waiting" and event["note"]])  # fmt: skip
    assert waits == [f"for run {first.id}, which computes the same"]
    cancel_run(second.id)
    assert watched(second.id).state == "cancelled"
    assert find_run(first.id).state == "running"

    cancel_run(first.id)
    for _ in range(2):  # as an impatient person does
        with contextlib.suppress(InvalidAssetError):  # it may have ended by now
            cancel_run(first.id)
    cancelled = watched(first.id)
    assert (cancelled.state, cancelled.computed) == ("cancelled", 1)
    assert left_over() == []
    with pytest.raises(InvalidAssetError, match="has ended: it was cancelled"):
        cancel_run(first.id)

    both = threading.Barrier(2)

    def resume() -> Run | str:
        both.wait()
        try:
            return resume_run(first.id)
        except InvalidAssetError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor() as threads:
        answers = [future.result() for future in [threads.submit(resume) for _ in range(2)]]
    assert [answer for answer in answers if isinstance(answer, str)] == [
        f"run {first.id} goes on: `stargazer runs watch {first.id}` shows it"
    ]
    held.let_go()
    done = watched(first.id)
    assert (done.state, done.attempt, done.computed, done.memo_hits) == ("succeeded", 2, 2, 1)
    assert held.calls() == 2  # of the first attempt, and of the one that won
    assert done.seconds > cancelled.seconds


def test_a_refresh_that_was_killed_goes_on_and_computes_each_task_once(held: Held) -> None:
    held.let_go()
    before = asyncio.run(run(PREPARE, TINY))
    (held.folder / "go").unlink()
    started = held.start(refresh={"tasks": [], "below": False})
    os.kill(started.pid, signal.SIGKILL)
    watched(started.id)
    lost = find_run(started.id)
    assert (lost.state, lost.computed, lost.memo_hits) == ("lost", 1, 0)
    assert f"`stargazer runs resume {lost.id}` goes on where it was" in lost.error
    assert lost.seconds > 0
    with pytest.raises(InvalidAssetError, match="has ended: it was lost"):
        cancel_run(lost.id)
    with (lost.folder / "events.jsonl").open("a") as events:
        events.write('{"kind": "fini')  # as it was cut
    held.let_go()
    done = watched(resume_run(lost.id).id)
    assert (done.state, done.computed, done.memo_hits, done.error) == ("succeeded", 2, 1, "")
    computed = Counter(event["task"] for event, _ in events_of(done) if event["kind"] == "finished")
    assert set(computed.values()) == {1}
    assert len(computed) == 3
    assert {name: file["cid"] for name, file in done.results.items() if file} == {
        name: file["cid"] for name, file in before.results.items() if file
    }


def test_killing_is_recorded(held: Held) -> None:
    started = held.start()
    os.kill(started.pid, signal.SIGSTOP)  # it does not listen
    cancel_run(started.id)
    assert find_run(started.id).state == "running"
    cancel_run(started.id, kill=True)
    done = watched(started.id)
    assert (done.state, done.error, done.computed) == ("cancelled", "killed", 1)
    assert done.finished >= done.started
    assert done.seconds > 0


def test_a_record_that_is_removed_in_mid_run_takes_no_results_along(held: Held) -> None:
    started = held.start()
    shutil.rmtree(started.folder)
    with pytest.raises(AssetNotFoundError, match="no run"):
        watched(started.id)
    held.let_go()
    until(lambda: not is_at_work(started.pid))
    done = asyncio.run(run(PREPARE, TINY))
    assert (done.computed, done.memo_hits) == (0, 3)


def test_whoever_watches_a_run_that_is_removed_is_told(held: Held) -> None:
    started = held.start()

    async def main() -> None:
        watching = asyncio.create_task(watch_run(started.id))
        await asyncio.sleep(0)
        shutil.rmtree(started.folder)
        await watching

    with pytest.raises(
        AssetNotFoundError,
        match=f"the record of run {started.id} was removed; its process {started.pid} goes on",
    ):
        asyncio.run(main())


def test_a_run_within_this_process_is_not_cancelled_from_elsewhere() -> None:
    async def flow() -> int:
        (mine,) = list_runs()
        with pytest.raises(InvalidAssetError, match=f"works within process {os.getpid()}, a notebook"):
            cancel_run(mine.id)
        with pytest.raises(InvalidAssetError, match=f"works within process {os.getpid()}, a notebook"):
            cancel_run(mine.id, kill=True)
        with pytest.raises(InvalidAssetError, match="goes on"):
            resume_run(mine.id)
        return 7

    done = asyncio.run(run(Entry("flow", "workflow", "here", "Does it.", "", (), flow)))
    assert done.results == {"result": 7}


# a process that does not come up


def test_a_process_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StorageError, match="its process could not be started: No such file"):
        start_run(PREPARE, TINY)
    (made,) = list_runs()
    assert (made.state, is_locked(made.folder / "lock")) == ("failed", False)


def test_a_process_that_dies_at_once_is_lost_and_what_it_said_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\necho no module of that name >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    done = watched(start_run(PREPARE, TINY).id)
    assert done.state == "lost"
    assert f"`stargazer runs logs {done.id}` shows what it said" in done.error
    assert (done.folder / "worker.log").read_text() == "no module of that name\n"


# records


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"run": 1}', b'{"workflow": "flow", "given": 3, "started": null}'],
)  # fmt: skip
def test_a_damaged_record_hides_no_other_and_can_be_removed(content: bytes) -> None:
    good, bad = ended("succeeded"), ended()
    (bad.folder / "run.json").write_bytes(content)
    assert good.id in [each.id for each in list_runs()]
    found = find_run(bad.id)
    assert (found.state, found.detached) == ("lost", False)
    assert "its record is damaged" in found.error
    with pytest.raises(InvalidAssetError, match="its record is damaged; `stargazer runs rm"):
        resume_run(bad.id)
    remove_run(bad.id)
    assert [each.id for each in list_runs()] == [good.id]


def test_a_record_of_another_version_is_read() -> None:
    made = ended("succeeded")
    record = record_of(made)
    for name in ("given", "pid", "detached", "attempt", "outdir", "refresh", "notes", "state"):
        del record[name]
    record |= {"arguments": {"build": "tiny"}, "node": "elsewhere", "machine": {"cores": 4}}
    (made.folder / "run.json").write_text(json.dumps(record))
    (made.folder / "lock").unlink()  # which it did not have
    (made.folder / "events.jsonl").write_text(
        '{"at": "2026-11-30T12:00:00.000Z", "kind": "finished", "task": "t"}\n{"kind": "new"}\n[1]\n"kind"\n\n'
    )
    (found,) = list_runs()
    assert (found.state, found.computed, found.given) == ("lost", 1, {"build": "tiny"})


def test_a_lost_run_of_a_clock_that_went_backwards_took_no_negative_time() -> None:
    made = ended("running", started="2026-11-30T12:00:00.000Z")
    (made.folder / "events.jsonl").write_text(
        "".join(
            f'{{"at": "2026-11-30T{hour}:00:00.000Z", "kind": "started", "attempt": 1}}\n'
            for hour in (11, 10)
        )
    )
    assert find_run(made.id).seconds == 0


def test_an_event_after_a_line_that_was_cut_is_read() -> None:
    made = new_run("flow", {})
    made.append({"kind": "started"})
    with (made.folder / "events.jsonl").open("a") as events:
        events.write('{"kind": "fini')
    made.append({"kind": "finished"})
    assert [event["kind"] for event, _ in events_of(made)] == ["started", "finished"]


@pytest.mark.parametrize("held_by_us", [True, False])
@pytest.mark.parametrize("kill", [True, False])
def test_a_number_that_another_process_has_now_is_never_signalled(
    held_by_us: bool, kill: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PATIENCE", 0.1)
    other = subprocess.Popen(["sleep", "60"])
    try:
        made = new_run(PREPARE, TINY, detached=True, pid=other.pid)
        if not held_by_us:
            made.release()
        refusal = "has ended: it was lost" if not held_by_us else f"process {other.pid} is not that of run"
        with pytest.raises((InvalidAssetError, StorageError), match=refusal):
            cancel_run(made.id, kill=kill)
        assert other.poll() is None
    finally:
        made.release()
        other.kill()
        other.wait()


def test_a_record_that_cannot_be_written_leaves_the_run_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = ended("running")

    def full(self: Run) -> None:
        raise StorageError("cannot write the run's record: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Run, "save", full)
        for begin in (lambda: resume_run(lost.id), lambda: start_run(PREPARE, TINY)):
            with pytest.raises(StorageError, match="No space left"):
                begin()
    assert [each.id for each in list_runs()] == [lost.id]
    assert not is_locked(lost.folder / "lock")


# a disk that fails in mid-run

DAMAGE = """#!/bin/sh
here=${0%/*}; place=$(cat "$here/place")
case "$1:$(cat "$here/damage")" in
  --version:*) echo samtools 1.99; exit;;
  faidx:full) head -c 64M /dev/zero > "$place/filler";;
  faidx:read-only) mount --bind "$place" "$place" && mount -o remount,ro,bind "$place";;
  faidx:record) mount --bind "$place/home/runs" "$place/home/runs" && mount -o remount,ro,bind "$place/home/runs";;
esac
case "$1" in
  faidx) printf 'c\\t4\\t3\\t4\\t5\\n' > "$3";;
  dict) printf '@SQ\\tSN:c\\tLN:4\\n' > "$5";;
esac
"""

DISK = """
import asyncio, os, subprocess, sys
from pathlib import Path
from stargazer.assets import Reference
from stargazer.storage import Addition, get_client
from stargazer.workflows import resume_run, start_run, watch_run

place, tools = Path(sys.argv[1]), Path(sys.argv[2])
(place / "tiny.fa").write_text(">c\\nACGT\\n")
get_client().store.add([Addition(place / "tiny.fa", Reference(build="tiny"))])

def told(started):
    run = asyncio.run(watch_run(started.id))
    print(run.state, run.computed, run.memo_hits, run.error.replace("\\n", " "), sep="|")
    return run

for damage, seen in (("full", 0), ("read-only", 1), ("record", 1)):
    (tools / "damage").write_text(damage)
    asked = {"tasks": ["samtools_faidx"], "below": False}
    run = told(start_run("prepare_reference", build="tiny", aligner="none", refresh=asked))
    if damage != "full":
        subprocess.run(["umount", str(place / "home" / "runs" if damage == "record" else place)], check=True)
    (place / "filler").unlink(missing_ok=True)
    print((run.folder / "worker.log").read_text().replace("\\n", " "))
    (tools / "damage").write_text("none")
    told(resume_run(run.id))
    left = list((place / "home" / "local" / "work").iterdir())
    assert not left, left
"""


def test_a_disk_that_is_full_or_read_only_in_mid_run(tmp_path: Path) -> None:
    place, tools = tmp_path / "place", tmp_path / "tools"
    place.mkdir()
    tools.mkdir()
    (tools / "samtools").write_text(DAMAGE)
    (tools / "samtools").chmod(0o755)
    (tools / "place").write_text(str(place))
    (tools / "damage").write_text("none")
    space = ["unshare", "--mount", "--map-root-user", "sh", "-ec"]
    mount = 'mount -t tmpfs -o size=8m none "$1"'
    if (
        not shutil.which("unshare")
        or subprocess.run([*space, mount, "sh", place], capture_output=True).returncode
    ):
        pytest.skip("NOT TESTED: no mount namespaces here, so no full disk")
    environment = os.environ | {
        "STARGAZER_HOME": str(place / "home"), "STARGAZER_LOCAL": str(place / "home" / "local"),
        "STARGAZER_TOOLS": "samtools=path", "PATH": f"{tools}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(
        [*space, f'{mount}; shift; exec "$@"', "sh", place, sys.executable, "-c", DISK, place, tools],
        capture_output=True, text=True, env=environment, timeout=2 * DEADLINE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    full, _, full_again, read_only, said, again, unrecorded, unrecorded_said, unrecorded_again = (
        done.stdout.splitlines()
    )
    assert full.startswith("failed|1|0|samtools faidx failed")
    assert "the disk of the store is full" in full
    assert full_again == "succeeded|2|1|"
    assert read_only.startswith("lost|0|1|")
    assert "cannot write the run's record" in said
    assert "cannot be written: the filesystem is read-only" in said
    assert "Traceback" not in said
    assert again == "succeeded|1|2|"
    assert unrecorded.startswith("lost|0|1|")
    assert f"`stargazer runs logs {unrecorded_said.split()[-2]}` shows what it said" in unrecorded
    assert unrecorded_said.split()[-1] == "succeeded"
    assert unrecorded_again.startswith("succeeded|")


# scattered work

LAB = '''
import warnings
from stargazer.assets import Alignment, Reference, Variants
from stargazer.tasks import call_variants, samtools_faidx, split_intervals
from stargazer.workflows import parallel, workflow_env


@workflow_env.task
async def scattered(build: str) -> list[Variants]:
    """Calls of 20 pieces of a reference.

    Args:
        build: of the reference.
    """
    warnings.warn("this is a workflow of a test")
    reference, alignment = await Reference.one(build=build), await Alignment.one()
    await samtools_faidx(reference)
    pieces = await split_intervals(reference, None, 20)
    return await parallel([call_variants([alignment], reference, piece) for piece in pieces])
'''

BCFTOOLS = """#!/bin/sh
here=${0%/*}
case "$1" in
  --version) echo bcftools 1.99; exit;;
  mpileup) echo >> "$here/pieces"
           until [ "$(wc -l < "$here/pieces")" -ge 20 ]; do sleep 0.02; done
           grep -qsRf "$here/bad" --include='*.bed' . && exit 3;;
esac
exec sleep 60
"""
"""Waits for ever, but where the interval of a piece is that of the file `bad`: there it fails, once all have begun."""


def test_scattered_pieces_are_cancelled_and_one_that_fails_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_by_hand: Callable[..., bytes]
) -> None:
    contig, length = "chr1:1-99", 400_000
    (tmp_path / "r.fa").write_text(f">{contig}\n{'ACGT' * (length // 4)}\n")
    sam = f"@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:{contig}\tLN:{length}\n@RG\tID:1\tSM:s\n"
    (tmp_path / "s.bam").write_bytes(run_by_hand(samtools, "view", "-b", "-", stdin=sam.encode()))
    get_client().store.add([Addition(tmp_path / "r.fa", Reference(build="b")),
                            Addition(tmp_path / "s.bam", Alignment(sample="s", sorted_by="coordinate"))])  # fmt: skip
    tools, lab = tmp_path / "tools", tmp_path / "lab"
    for folder in (tools, lab, lab / "lab-1.dist-info"):
        folder.mkdir()
    (tools / "bcftools").write_text(BCFTOOLS)
    (tools / "bcftools").chmod(0o755)
    (lab / "lab.py").write_text(LAB)
    (lab / "lab-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1\n")
    (lab / "lab-1.dist-info" / "entry_points.txt").write_text("[stargazer.workflows]\nlab = lab\n")
    monkeypatch.setenv("PYTHONPATH", str(lab))
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    monkeypatch.setenv("STARGAZER_TOOLS", "bcftools=path")
    monkeypatch.setenv("STARGAZER_CORES", "20")
    monkeypatch.setenv("STARGAZER_MEMORY", "40GB")

    def pieces() -> int:
        return len((tools / "pieces").read_text()) if (tools / "pieces").exists() else 0

    (tools / "bad").write_text("no piece\n")
    started = start_run("scattered", build="b")
    until(lambda: pieces() == 20 or find_run(started.id).state != "running")
    assert kinds(find_run(started.id))["started call_variants"] == 20
    cancel_run(started.id)
    done = watched(started.id)
    assert (done.state, done.error) == ("cancelled", "interrupted")
    assert kinds(done)["failed call_variants"] == 20
    assert left_over() == []
    assert [event["note"] for event, _ in events_of(done) if event["kind"] == "warning"] == [
        "this is a workflow of a test"
    ]

    (tools / "pieces").unlink()
    (tools / "bad").write_text("\t240000\t260000\n")
    done = watched(resume_run(started.id).id)
    assert done.state == "failed"
    assert "bcftools mpileup failed with exit status 3" in done.error
    assert "in htslib.call_variants of s piece 13, given" in done.error
    assert re.search(r"intervals = 'intervals.bed', from \S+:240,001 to \S+:260,000 \(baf", done.error)
    failed = [event for event, _ in events_of(done) if event["kind"] == "failed" and event["attempt"] == 2]
    assert Counter(event["note"] == "CancelledError" for event in failed) == {True: 19, False: 1}
    assert [event["label"] for event in failed if event["note"] != "CancelledError"] == ["s piece 13"]
    assert done.memo_hits == 2
    assert left_over() == []
