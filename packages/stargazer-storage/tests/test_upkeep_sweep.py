"""sweep: what killed processes left goes, what running ones hold stays."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

import pytest
from stargazer.storage.maintenance import leftovers
from stargazer.storage.maintenance.leftovers import sweep
from stargazer.storage.store import open_store

from .upkeep_store import add, spawn

CID = "bafkreigks6arfsq3xxfpvqrrwonchxcnu6do76auprhhfomao6c273sixm"


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "store")
    add(store, "a")
    return store


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def temporary(store, name, text="half"):
    path = store.root / "tmp" / name
    path.write_text(text)
    return path


def locked(path):
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_a_temporary_file_of_a_dead_process_goes(store, dead_pid):
    path = temporary(store, f"{dead_pid}-00ff")

    report = sweep(store)

    assert report.removed == [f"tmp/{path.name}"]
    assert report.freed == 4
    assert not path.exists()
    assert sweep(store).removed == []


def test_a_temporary_file_of_a_running_process_stays(store):
    path = temporary(store, f"{os.getpid()}-00ff")

    assert sweep(store).removed == []
    assert path.exists()


def test_a_zombie_is_no_running_process(store):
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    path = temporary(store, f"{process.pid}-00ff")

    sweep(store)
    process.wait()

    assert not path.exists()


def test_while_others_add_a_fresh_temporary_file_of_a_process_that_is_not_seen_here_stays(store, dead_pid):
    path = temporary(store, f"{dead_pid}-00ff")
    held = os.open(store.root / "arrivals.lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_SH)  # it may run in another container

    assert sweep(store).removed == []
    os.close(held)
    assert sweep(store).removed == [f"tmp/{path.name}"]


def test_a_cut_download_stays_for_the_grace(store, monkeypatch):
    path = temporary(store, f"{CID}.part")
    assert sweep(store, grace=60).removed == []

    later = leftovers.time.time() + 61
    monkeypatch.setattr(leftovers.time, "time", lambda: later)
    assert sweep(store, grace=60).removed == [f"tmp/{path.name}"]


def test_an_old_download_that_goes_on_stays(store):
    path = temporary(store, f"{CID}.part")
    held = locked(path)

    assert sweep(store, grace=0).removed == []
    os.close(held)
    assert sweep(store, grace=-1).removed == [f"tmp/{path.name}"]


def test_a_download_that_never_got_a_byte_goes(store):
    path = temporary(store, f"{CID}.part", "")

    assert sweep(store).removed == [f"tmp/{path.name}"]


def test_a_clock_that_went_back_makes_nothing_old(store, monkeypatch, dead_pid):
    path = temporary(store, f"{CID}.part")
    monkeypatch.setattr(leftovers.time, "time", lambda: 1.0)

    assert sweep(store, grace=0).removed == []
    assert path.exists()


def test_workspaces_nobody_holds_go_with_read_only_folders_inside(store):
    folder = store.objects.work / "align-00ff"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "x.bam").write_text("bytes")
    (folder / "inner").chmod(0o555)
    lock = folder.with_suffix(".lock")
    held = locked(lock)
    assert sweep(store).removed == []

    os.close(held)
    report = sweep(store)

    assert report.removed == ["work/align-00ff"]
    assert report.freed == 5
    assert list(store.objects.work.iterdir()) == []


def test_the_lock_of_another_users_running_task_is_respected(store):
    lock = store.objects.work / "theirs-00ff.lock"
    held = locked(lock)
    lock.chmod(0)

    assert sweep(store).removed == []
    os.close(held)


def test_dangling_views_go_and_others_stay(store):
    (record,) = store.query({"asset": "qc_report"})
    view = store.views / record.cid
    view.mkdir(parents=True)
    (view / "good.txt").symlink_to(store.objects.path(record.cid))
    (view / "gone.txt").symlink_to(store.objects.path(CID[:-3] + "aaa"))

    assert sweep(store).removed == [f"{store.views.name}/{record.cid}/gone.txt"]
    assert [path.name for path in view.iterdir()] == ["good.txt"]


def test_a_dry_run_lists_the_same_and_removes_nothing(store, dead_pid):
    path = temporary(store, f"{dead_pid}-00ff")

    listed = sweep(store, dry_run=True)

    assert path.exists()
    assert sweep(store) == listed


def test_sweeping_while_another_process_adds_loses_nothing(store):
    adding = spawn("for n in range(60): add(store, f'x{n}', 'x' * 300_000 + str(n))", store.root)
    while adding.poll() is None:
        sweep(store)
    _, err = adding.communicate()

    assert adding.returncode == 0, err
    assert len(store.query({"asset": "qc_report"})) == 61


def test_what_is_no_store_is_left_alone(tmp_path):
    assert sweep(open_store(tmp_path / "none")).removed == []
    assert not (tmp_path / "none").exists()
