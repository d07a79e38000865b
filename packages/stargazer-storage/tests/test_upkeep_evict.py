"""evict: bytes go and records stay, only where the bytes can be had again, and all of them or none."""

from __future__ import annotations

import fcntl
import os
import types

import pytest
from stargazer.assets import StorageError
from stargazer.assets.provenance import Entry, Execution, dump
from stargazer.storage import recompute
from stargazer.storage.changes import trust
from stargazer.storage.ledger.documents import now
from stargazer.storage.maintenance._evict import evict
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.store import open_store

from .upkeep_store import add, commit, lose_index


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The names of tasks that are installed."""
    names = {"summarise"}
    monkeypatch.setattr(
        recompute, "_recomputers", lambda: [types.SimpleNamespace(can_run=names.__contains__)]
    )
    return names


@pytest.fixture
def mirrored(store, tmp_path):
    """An import with a mirror."""
    record = add(store, "mirrored")
    (tmp_path / "mirror.txt").write_text("mirrored")
    store.add_mirrors({record.cid: [(tmp_path / "mirror.txt").as_uri()]})
    return record


def test_what_a_mirror_has_is_dropped_and_comes_back_when_it_is_read(store, mirrored):
    before = store.query({})

    report = evict(store, [mirrored])

    assert [(found.cid, found.size) for found in report.evicted] == [(mirrored.cid, 8)]
    assert "mirror.txt" in report.evicted[0].again
    assert report.freed == 8
    assert store.objects.stat(mirrored.cid) is None
    assert store.query({}) == before
    assert fsck(store, full=True).problems == []
    assert store.read(mirrored.cid).read_text() == "mirrored"


def test_a_mirror_that_does_not_answer_is_none(store, mirrored, tmp_path):
    (tmp_path / "mirror.txt").unlink()

    (refused,) = evict(store, [mirrored]).refused

    assert refused.why == "it was imported, and no mirror of it gives it now"
    assert store.objects.stat(mirrored.cid) is not None


def test_what_a_task_made_can_be_made_again(store):
    read = add(store, "read")
    made = commit(store, "made", read)

    (dropped,) = evict(store, [made]).evicted

    assert dropped.again == "summarise computes it again when it is needed"
    assert store.objects.stat(made.cid) is None


@pytest.mark.parametrize("text", ["MIRRORED", "mirrore", "mirrored!", ""])
def test_a_mirror_that_gives_other_bytes_is_none(store, mirrored, tmp_path, text):
    (tmp_path / "mirror.txt").write_text(text)

    assert evict(store, [mirrored]).refused
    assert store.objects.stat(mirrored.cid) is not None


def test_a_mirror_is_asked_for_both_ends_of_a_large_file(store, tmp_path):
    record = add(store, "large", "line\n" * 100_000)
    mirror = tmp_path / "mirror.txt"
    store.add_mirrors({record.cid: [mirror.as_uri()]})

    mirror.write_text("line\n" * 99_999 + "LINE\n")
    assert evict(store, [record]).refused
    mirror.write_text("line\n" * 100_000)
    assert evict(store, [record]).freed == 500_000


def test_what_is_not_installed_is_not_counted_on(store, installed):
    made = commit(store, "made", add(store, "read"))
    installed.clear()

    (refused,) = evict(store, [made]).refused

    assert refused.why == "summarise, which made it, is not installed here"


def test_what_somebody_else_says_is_not_counted_on_unless_it_is_trusted(store):
    record, read = add(store, "mine"), add(store, "read")
    entry = Entry(role="report", cid=record.cid, keyvalues=record.keyvalues)
    source = Entry(role="report", cid=read.cid, keyvalues=read.keyvalues)
    claimed = Execution(task="summarise", run_key="theirs", inputs=[source], outputs=[entry], finished=now())
    path = store.objects.new_temporary()
    path.write_bytes(dump(claimed))
    cid = store.ledger.foreign.adopt(path).cid
    store.replay([cid])

    (refused,) = evict(store, [record]).refused
    assert refused.why.startswith("somebody else says that summarise made it")
    trust(store, [cid])
    assert evict(store, [record]).evicted


def test_an_import_without_a_mirror_is_refused_and_nothing_is_dropped(store, mirrored):
    plain = add(store, "plain")

    report = evict(store, [mirrored, plain])

    assert [found.cid for found in report.refused] == [plain.cid]
    assert report.evicted == []
    assert store.objects.stat(mirrored.cid) is not None


def test_a_result_goes_with_what_it_was_made_from_only_if_that_can_be_had_again(store, mirrored):
    plain = add(store, "plain")
    from_plain, from_mirrored = commit(store, "one", plain), commit(store, "two", mirrored)
    twice = commit(store, "three", from_mirrored)

    refused = evict(store, [plain, from_plain]).refused
    assert {found.cid for found in refused} == {plain.cid, from_plain.cid}

    dropped = evict(store, [mirrored, from_mirrored, twice]).evicted
    assert {found.cid for found in dropped} == {mirrored.cid, from_mirrored.cid, twice.cid}


def test_what_is_forced_out_is_gone_on_purpose(store):
    record = add(store, "plain")

    report = evict(store, [record], force=True)

    assert [found.again for found in report.evicted] == [""]
    assert fsck(store).problems == []
    with pytest.raises(StorageError, match=record.cid):
        store.read(record.cid)


def test_provenance_stays_even_when_forced(store):
    add(store, "a")
    (document,) = store.query({"asset": "provenance"})

    (refused,) = evict(store, [document], force=True).refused

    assert not refused.forcible
    assert store.ledger.is_own(document.cid)


def test_a_file_with_the_bytes_of_a_document_goes_and_the_document_stays(store):
    add(store, "a")
    (document,) = store.query({"asset": "provenance"})
    record = add(store, "copy", text=store.read(document.cid).read_text())
    assert record.cid == document.cid

    assert evict(store, [record], force=True).evicted

    assert store.objects.stat(record.cid) is None
    assert store.ledger.is_own(document.cid)


def test_what_a_running_task_reads_stays_even_when_forced(store, mirrored):
    folder = store.objects.work / "task-00ff"
    folder.mkdir()
    (folder / "in").symlink_to(store.objects.path(mirrored.cid))
    held = os.open(folder.with_suffix(".lock"), os.O_CREAT | os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)

    assert evict(store, [mirrored], force=True).refused[0].why == "a running task reads it"
    os.close(held)
    assert evict(store, [mirrored]).freed == 8


def test_of_a_file_added_in_place_the_link_goes_and_the_file_stays(store, tmp_path):
    record = add(store, "here")
    (tmp_path / "original.txt").write_text("here")
    store.objects.remove(record.cid)
    store.objects.link(tmp_path / "original.txt")
    store.add_mirrors({record.cid: [(tmp_path / "original.txt").as_uri()]})

    report = evict(store, [record])

    assert report.freed == 0
    assert not store.objects.is_link(record.cid)
    assert (tmp_path / "original.txt").read_text() == "here"


def test_a_dry_run_judges_the_same_and_drops_nothing(store, mirrored):
    listed = evict(store, [mirrored], dry_run=True)

    assert store.objects.stat(mirrored.cid) is not None
    assert evict(store, [mirrored]).evicted == listed.evicted


def test_evicting_twice_is_no_error(store, mirrored):
    evict(store, [mirrored])

    assert evict(store, [mirrored]).absent == 1


def test_what_was_dropped_on_purpose_is_known_after_the_index_was_lost(store, mirrored):
    evict(store, [mirrored])
    lose_index(store)

    assert [problem.kind for problem in fsck(store).problems] == ["index"]
    assert fsck(store).problems == []
    assert store.read(mirrored.cid).read_text() == "mirrored"


def test_bytes_that_came_back_and_were_lost_are_lost_not_evicted(store, mirrored, tmp_path):
    evict(store, [mirrored])
    add(store, "mirrored")
    fsck(store)
    store.objects.remove(mirrored.cid)
    (tmp_path / "mirror.txt").unlink()

    (problem,) = fsck(store).problems
    assert (problem.kind, problem.what, problem.fixed) == ("missing", mirrored.cid, False)
