"""fsck on the index: whatever happens to it, the same questions get the same answers afterwards."""

from __future__ import annotations

import os
import random
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer.assets import StorageError
from stargazer.storage.changes import amend, retract
from stargazer.storage.index.schema import IndexDamaged
from stargazer.storage.lineage import render, why
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.store import open_store

from .upkeep_store import add, commit, damage, lose_index, spawn, state


@pytest.fixture
def store(tmp_path):
    """Three files added, one edited, one deleted, and one made of the others."""
    store = open_store(tmp_path / "store")
    first, second, third = (add(store, name) for name in "abc")
    amend(store, second, {"kind": "better"})
    retract(store, third)
    commit(store, "d", first, second)
    return store


def reopened(store):
    """Another process' view of the same store; the first one's index is closed, and so checkpointed."""
    store.index.close()
    return open_store(store.root)


def test_the_same_answers_after_the_index_was_deleted(store):
    before = state(store)
    lineages = {record.cid: render(why(store, record.cid)) for record in store.query({"asset": "qc_report"})}
    lose_index(store)

    report = fsck(store)

    assert [problem.fixed for problem in report.problems] == [True]
    assert state(store) == before == state(open_store(store.root))
    assert {cid: render(why(store, cid)) for cid in lineages} == lineages
    assert fsck(store).problems == []


def test_what_was_added_before_anybody_noticed_stays(store):
    before = state(store)
    lose_index(store)
    store = open_store(store.root)
    fourth = add(store, "e")

    assert "fsck" in store.doubt()

    report = fsck(store)

    assert store.doubt() == ""
    assert {problem.kind for problem in report.problems} == {"document"}
    retract(store, fourth)
    kept = [record for record in state(store)[0] if record[5]["asset"] == "qc_report"]
    assert kept == [record for record in before[0] if record[5]["asset"] == "qc_report"]
    assert fsck(store).problems == []


def cut_short(path):
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2 // 4096 * 4096 + 100)


def emptied(path):
    path.write_bytes(b"")


def no_index(path):
    path.write_text("this is a letter to my mother\n" * 200)


def first_page(path):
    damage(path, at=100)


@pytest.mark.parametrize("spoil", [cut_short, emptied, no_index, first_page])
def test_a_damaged_index_is_made_again_and_kept_in_quarantine(store, spoil):
    before = state(store)
    store = reopened(store)
    spoil(store.index_path)

    report = fsck(store)

    (problem,) = report.problems
    assert (problem.kind, problem.fixed) == ("index", True)
    assert state(store) == before
    assert [path.name for path in (store.root / "quarantine").glob("index.sqlite-1")] == ["index.sqlite-1"]
    assert fsck(store).problems == []


def a_folder(path):
    path.unlink()
    path.mkdir()
    (path / "letter.txt").write_text("to my mother")


def a_dead_link(path):
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def logs_alone(path):
    path.unlink()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).write_bytes(b"\x37\x7f\x06\x82" + bytes(4096))


def rows_removed(path):
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM terms")
        connection.execute("DELETE FROM docs")
    connection.close()


@pytest.mark.parametrize("spoil", [a_folder, a_dead_link, logs_alone, rows_removed])
def test_whatever_is_in_the_place_of_the_index_it_is_made_again(store, spoil):
    before = state(store)
    store = reopened(store)
    spoil(store.index_path)

    assert "fsck" in store.doubt()
    assert fsck(store).ok
    assert state(store) == before
    assert store.doubt() == ""
    assert fsck(store).problems == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_index_without_permissions_is_no_damaged_one(store):
    store = reopened(store)
    store.index_path.chmod(0)

    with pytest.raises(StorageError, match="no permission"):
        fsck(store)
    assert os.path.getsize(store.index_path) > 0


HEADER = 100  # bytes
SAMPLE = (0, 16, 18, 19, 28, 44, 47, 52, 59, 60, 61, 62, 63, 68, 71, 96)


def header_inverted(store, at):
    """fsck after one byte of the header was inverted: the same answers as before, and it can be written again."""
    before = state(store)
    store = reopened(store)
    content = bytearray(store.index_path.read_bytes())
    content[at] ^= 0xFF
    store.index_path.write_bytes(content)

    assert fsck(store).ok
    assert state(store) == before
    assert fsck(store).problems == []
    store.index.close()
    store = open_store(store.root)
    retract(store, add(store, "late"))
    assert store.doubt() == ""


@pytest.mark.parametrize("at", SAMPLE)
def test_a_damaged_byte_of_the_header_is_repaired(store, at):
    header_inverted(store, at)


@pytest.mark.long
@pytest.mark.parametrize("at", range(HEADER))
def test_every_damaged_byte_of_the_header_is_repaired(store, at):
    header_inverted(store, at)


@pytest.mark.parametrize("version", [0, 3, 6, 10, 34, 130, 254, 65281, 16711681, -16777215, 2**31 - 1])
def test_a_damaged_version_is_none_of_a_newer_stargazer(store, version):
    before = state(store)
    store = reopened(store)
    with sqlite3.connect(store.index_path) as connection:
        connection.execute(f"PRAGMA user_version={version}")
    connection.close()

    with pytest.raises(IndexDamaged, match="tables are those of format 2"):
        state(store)
    assert fsck(store).ok
    assert state(store) == before


@pytest.mark.parametrize("version", [3, 4, 7])
def test_a_newer_version_with_other_tables_is_a_newer_one(store, version):
    store = reopened(store)
    with sqlite3.connect(store.index_path) as connection:
        connection.execute(f"PRAGMA user_version={version}")
        connection.execute("ALTER TABLE docs ADD COLUMN signature TEXT")
    connection.close()

    with pytest.raises(StorageError, match="newer Stargazer"):
        fsck(store)


@pytest.mark.parametrize("seed", range(25))
def test_bits_flipped_anywhere_in_the_index_are_noticed_or_do_no_harm(store, seed):
    before = state(store)
    store = reopened(store)
    where = random.Random(seed)
    for _ in range(3):
        damage(store.index_path, at=where.randrange(store.index_path.stat().st_size))

    fsck(store, full=True)

    assert state(store) == before
    assert fsck(store, full=True).problems == []


def test_a_bit_flipped_within_a_record_is_noticed_by_a_quick_run(store):
    before = state(store)
    store = reopened(store)
    at = store.index_path.read_bytes().index(b'"better"')
    damage(store.index_path, at=at + 3)

    assert [problem.kind for problem in fsck(store).problems] == ["index"]
    assert state(store) == before


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_torn_log_is_made_good(tmp_path, share):
    store = open_store(tmp_path / "store")
    code = "add(store, 'a'); add(store, 'b'); amend(store, add(store, 'c'), {'kind': 'x'}); import os; os._exit(0)"
    assert spawn(code, store.root).wait() == 0
    (log,) = store.root.glob("index.sqlite-wal")
    with open(log, "r+b") as file:
        file.truncate(int(log.stat().st_size * share))

    fsck(store)

    assert {record.keyvalues["sample"] for record in store.query({"asset": "qc_report"})} == {"a", "b", "c"}
    assert fsck(store).problems == []


def test_an_index_of_a_newer_version_is_left_alone(store):
    store = reopened(store)
    with sqlite3.connect(store.index_path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    before = store.index_path.read_bytes()

    with pytest.raises(StorageError, match="newer"):
        fsck(store)
    assert store.index_path.read_bytes() == before


def test_without_repair_a_damaged_index_stays(store):
    store = reopened(store)
    cut_short(store.index_path)
    before = store.index_path.read_bytes()

    report = fsck(store, repair=False)

    assert not report.ok
    assert store.index_path.read_bytes() == before


def test_a_damaged_document_does_not_keep_the_others_from_taking_effect(store):
    (imported, *_) = store.query({"asset": "provenance", "kind": "import"})
    damage(store.ledger.own.path(imported.cid), at=60)
    lose_index(store)

    report = fsck(store)

    assert (report.problems[0].kind, report.problems[0].fixed) == ("index", True)
    assert {record.keyvalues["sample"] for record in store.query({"asset": "qc_report"})} == {"b", "d"}


def test_other_processes_go_on_with_the_new_index(store):
    """One that has the old index open sees the new one, and nothing that it then writes is lost."""
    other = spawn(
        "store.query({}); print('open', flush=True)\nsys.stdin.readline()\nadd(store, 'late')"
        if False
        else "import time; store.query({}); print('open', flush=True); time.sleep(1.5); add(store, 'late')",
        store.root,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    before = store.query({"asset": "qc_report"})
    lose_index(store)

    fsck(store)
    _, err = other.communicate()

    assert other.returncode == 0, err
    records = open_store(store.root).query({"asset": "qc_report"})
    assert len(records) == len(before) + 1
    assert fsck(store, full=True).problems == []


names = st.sampled_from("abcdef")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), names, names),
        st.tuples(st.just("commit"), names, names),
        st.tuples(st.just("amend"), st.integers(0, 9), names),
        st.tuples(st.just("retract"), st.integers(0, 9), names),
    ),
    max_size=14,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(history=steps)
def test_any_history_is_told_again_by_its_documents(tmp_path_factory, history):
    store = open_store(tmp_path_factory.mktemp("history") / "store")
    for step, which, name in history:
        records = store.query({"asset": "qc_report"})
        if step == "add":
            add(store, which, text=name)
        elif step == "commit":
            commit(store, which, *records[:2], text=name)
        elif records and step == "amend":
            amend(store, records[which % len(records)], {"kind": name})
        elif records:
            retract(store, records[which % len(records)])
    before = state(store)

    lose_index(store)
    fsck(store)

    assert state(store) == before
    assert fsck(store, full=True).problems == []
