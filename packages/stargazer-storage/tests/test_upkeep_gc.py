"""gc: what no record refers to goes after a grace, and nothing that anybody counts on."""

from __future__ import annotations

import fcntl
import json
import os
import time

import pytest
from stargazer.assets import StorageError
from stargazer.storage.changes import amend, retract
from stargazer.storage.download.fetch import fetch_object
from stargazer.storage.download.sources import source_of
from stargazer.storage.maintenance import _gc as module
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.maintenance._gc import gc
from stargazer.storage.store import open_store

from .upkeep_store import add, commit, lose_index, spawn

DAY = 86_400


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def later(monkeypatch):
    """Let the clock go on."""
    offset = 0.0
    real = time.time

    def move(days):
        nonlocal offset
        offset += days * DAY

    monkeypatch.setattr(module.time, "time", lambda: real() + offset)
    return move


def names(report):
    return [found.name for found in report.removed]


def test_bytes_without_a_record_go_after_the_grace(store, later):
    kept, gone = add(store, "kept"), add(store, "gone")
    retract(store, gone)

    later(13)
    waiting = gc(store)
    assert names(waiting) == []
    assert (waiting.waiting, waiting.waiting_bytes) == (1, 4)

    later(2)
    report = gc(store)
    assert names(report) == [gone.cid]
    assert report.freed == 4
    assert store.objects.stat(gone.cid) is None
    assert store.read(kept.cid).read_text() == "kept"
    assert names(gc(store)) == []


def test_the_grace_begins_when_the_last_record_was_taken_back(store, later):
    record = add(store, "a")
    old = store.objects.path(record.cid).stat().st_ctime
    retract(store, record)
    (document,) = store.documents(record.cid, "retracted")
    assert json.loads(store.read(document).read_text())["at"]

    assert store.objects.path(record.cid).stat().st_ctime == old
    later(0.5)
    assert names(gc(store, grace=DAY)) == []


def test_bytes_with_another_record_stay(store, later):
    record = add(store, "a")
    commit(store, "b", text="a")
    retract(store, record)

    later(100)
    assert names(gc(store)) == []


def test_provenance_stays_and_so_do_amended_records(store, later):
    record = amend(store, add(store, "a"), {"kind": "b"})
    retract(store, record)
    before = len(store.query({"asset": "provenance"}))

    later(100)
    assert names(gc(store)) == [record.cid]
    assert len(store.query({"asset": "provenance"})) == before == 3
    assert all(store.ledger.is_own(found.cid) for found in store.query({"asset": "provenance"}))


def test_a_clock_that_went_back_makes_nothing_old(store, later):
    retract(store, add(store, "a"))

    later(-400)
    assert names(gc(store, grace=0)) == []


def test_a_dry_run_lists_the_same_and_removes_nothing(store, later):
    retract(store, add(store, "a"))
    (store.root / "unpacked" / "x").mkdir(parents=True)
    (store.root / "quarantine").mkdir()
    (store.root / "quarantine" / "q-1").write_text("damaged")
    later(15)
    before = sorted(store.root.rglob("*"))

    listed = gc(store, dry_run=True)

    assert sorted(store.root.rglob("*")) == before
    assert [found.kind for found in listed.removed] == ["object", "unpacked", "quarantine"]
    assert gc(store).removed == listed.removed
    assert not (store.root / "unpacked" / "x").exists()


def test_what_a_running_task_links_to_stays(store, later):
    record = add(store, "a")
    retract(store, record)
    folder = store.objects.work / "task-00ff"
    folder.mkdir()
    (folder / "reads").symlink_to(store.objects.path(record.cid))
    unpacked = store.root / "unpacked" / record.cid
    unpacked.mkdir(parents=True)
    held = os.open(folder.with_suffix(".lock"), os.O_CREAT | os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    later(100)

    assert names(gc(store)) == []
    os.close(held)
    assert record.cid in names(gc(store))


def test_of_a_file_added_in_place_the_link_goes_and_the_file_stays(store, tmp_path, later):
    store.open_index()
    (tmp_path / "big.txt").write_text("big")
    found = store.objects.link(tmp_path / "big.txt")
    later(100)

    (removed,) = gc(store).removed

    assert (removed.kind, removed.name, removed.size) == ("link", found.cid, 0)
    assert (tmp_path / "big.txt").read_text() == "big"


def test_a_lost_index_is_not_taken_for_an_empty_store(store, later):
    record = add(store, "a")
    lose_index(store)
    later(100)

    with pytest.raises(StorageError, match="fsck"):
        gc(store)
    assert store.objects.stat(record.cid) is not None

    fsck(store)
    assert names(gc(store)) == []


def test_gc_waits_for_whoever_adds_and_says_for_whom(store):
    add(store, "a")
    holding = spawn(
        "with store.arriving():\n"
        "    print('in', flush=True)\n    sys.stdin.readline() if False else __import__('time').sleep(1)",
        store.root,
    )
    assert holding.stdout is not None
    assert holding.stdout.readline() == "in\n"
    told: list[str] = []

    gc(store, tell=told.append)

    assert holding.wait(60) == 0
    (line,) = told
    assert f"process {holding.pid} (python" in line


def test_gc_while_four_processes_add_and_take_back_loses_nothing(store, tmp_path):
    """Every process adds the same texts and takes half of them back: objects come and go under one another."""
    code = """
for n in range(25):
    record = add(store, f"{sys.argv[3]}{n}", f"text {n}")
    if n % 2:
        retract(store, record)
print("done")
"""
    adding = [spawn(code, store.root, letter) for letter in "wxyz"]
    rounds = 0
    while any(process.poll() is None for process in adding):
        gc(store, grace=0)
        rounds += 1
    for process in adding:
        out, err = process.communicate()
        assert (out, process.returncode) == ("done\n", 0), err

    assert rounds > 0
    records = store.query({"asset": "qc_report"})
    assert len(records) == 4 * 13
    for record in records:
        store.objects.verify(record.cid)
    assert fsck(store, full=True).problems == []


def test_gc_during_a_fetch_takes_neither_what_arrived_nor_what_is_arriving(store, tmp_path):
    record = add(store, "a", "x" * 5_000_000)
    (tmp_path / "mirror").write_text("x" * 5_000_000)
    store.objects.remove(record.cid)
    done: list[int] = []

    def progress(arrived, total):
        if not done:
            done.append(arrived)
            assert gc(store, grace=0).removed == []

    fetch_object(record.cid, [source_of(str(tmp_path / "mirror"))], store.objects, progress=progress)

    assert done
    assert gc(store, grace=0).removed == []
    assert store.read(record.cid).stat().st_size == 5_000_000


def test_old_quarantine_and_old_parts_go(store, monkeypatch):
    add(store, "a")
    (store.root / "quarantine").mkdir()
    (store.root / "quarantine" / "q-1").write_text("damaged")
    (store.root / "tmp" / "bafy.part").write_text("half")

    assert names(gc(store)) == []
    assert [found.kind for found in gc(store, grace=-1).removed] == ["quarantine", "leftover"]
    assert list((store.root / "tmp").iterdir()) == []
