"""fsck on objects: what is damaged, missing or misplaced is repaired, or said to be lost with what to do."""

from __future__ import annotations

import os
import shutil

import pytest
from stargazer.assets import IntegrityError
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.maintenance._verify import verify
from stargazer.storage.store import open_store

from .upkeep_store import add, commit, damage, decay, spawn

BIG = "x" * 3_000_000


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def mirror(store, record, folder):
    path = folder / f"mirror-{record.name}"
    shutil.copyfile(store.objects.path(record.cid), path)
    store.add_mirrors({record.cid: [path.as_uri()]})
    return path


def found(report):
    return [(problem.kind, problem.what, problem.fixed) for problem in report.problems]


def test_a_sound_store_is_sound(store):
    commit(store, "b", add(store, "a"))

    for full in (False, True):
        report = fsck(store, full=full)
        assert report.problems == []
        assert report.objects == 4
        assert report.hashed == (4 if full else 0)


def test_nothing_is_made_where_there_is_no_store(tmp_path):
    assert fsck(open_store(tmp_path / "none")).ok
    assert not (tmp_path / "none").exists()


def test_an_edited_object_is_noticed_at_the_next_read_and_by_a_quick_run(store):
    record = add(store, "a", BIG)
    damage(store.objects.path(record.cid), at=1_500_000)

    with pytest.raises(IntegrityError, match=record.cid):
        store.read(record.cid)
    assert found(fsck(store)) == [("damaged", record.cid, False)]


def test_decayed_media_are_found_by_a_full_run(store, tmp_path, monkeypatch):
    """The change time cannot be set back as a failing disk would leave it: what was verified is set to it instead."""
    record = add(store, "a", BIG)
    decay(store.objects.path(record.cid), at=2_999_999)
    with store.index.transaction() as connection:
        row = (store.objects.stat(record.cid).ctime_ns, record.cid)
        connection.execute("UPDATE objects SET ctime_ns = ? WHERE cid = ?", row)

    assert store.read(record.cid)
    assert fsck(store).problems == []
    with pytest.raises(IntegrityError, match="check the disk"):
        verify(store, record.cid)
    assert found(fsck(store, full=True)) == [("damaged", record.cid, False)]


@pytest.mark.parametrize(
    "spoil", [damage, decay, lambda path: path.unlink()], ids=["edited", "decayed", "removed"]
)
def test_with_a_mirror_it_is_repaired(store, tmp_path, spoil):
    record = add(store, "a", BIG)
    mirror(store, record, tmp_path)
    spoil(store.objects.path(record.cid))

    report = fsck(store, full=True)

    assert [fixed for _, _, fixed in found(report)] == [True]
    assert "fetched again" in report.problems[0].done
    assert store.read(record.cid).read_text() == BIG
    assert fsck(store, full=True).problems == []


def test_a_mirror_with_other_bytes_repairs_nothing(store, tmp_path):
    record = add(store, "a", BIG)
    mirror(store, record, tmp_path).write_text("y" * 3_000_000)
    damage(store.objects.path(record.cid))

    (problem,) = fsck(store).problems

    assert not problem.fixed
    assert record.cid in problem.todo
    assert store.objects.stat(record.cid) is None


def test_without_one_the_bytes_go_to_quarantine_and_the_record_stays(store):
    record = add(store, "a", BIG, origin="https://example.org/a.txt?key=secret")
    damage(store.objects.path(record.cid))

    (problem,) = fsck(store).problems

    assert problem.names == ["a.txt"]
    assert "https://example.org/a.txt" in problem.todo
    assert "secret" not in str(problem)
    assert [path.name for path in (store.root / "quarantine").iterdir()] == [f"{record.cid}-1"]
    assert [known.id for known in store.query({"asset": "qc_report"})] == [record.id]
    (again,) = fsck(store).problems
    assert (again.kind, again.what) == ("missing", record.cid)


def test_what_is_lost_names_the_task_that_makes_it(store):
    made = commit(store, "b", add(store, "a"))
    store.objects.remove(made.cid)

    (problem,) = fsck(store).problems

    assert problem.todo == "`stargazer get` it: summarise computes it again"


def test_adding_the_file_again_heals(store):
    record = add(store, "a")
    store.objects.remove(record.cid)
    assert not fsck(store).ok

    add(store, "a")

    assert fsck(store).problems == []


def test_without_repair_nothing_changes(store, tmp_path):
    first, second = add(store, "a"), add(store, "b")
    mirror(store, first, tmp_path)
    damage(store.objects.path(first.cid))
    store.objects.remove(second.cid)
    (store.root / "objects" / "stray").write_text("x")
    before = sorted((path, path.lstat().st_mtime_ns) for path in (store.root / "objects").rglob("*"))

    report = fsck(store, repair=False)

    assert sorted(found(report)) == sorted(
        [("stray", "objects/stray", False), ("damaged", first.cid, False), ("missing", second.cid, False)]
    )
    assert sorted((path, path.lstat().st_mtime_ns) for path in (store.root / "objects").rglob("*")) == before


def test_a_touched_object_that_is_right_is_right(store):
    record = add(store, "a")
    os.utime(store.objects.path(record.cid))

    assert fsck(store).hashed == 1
    assert fsck(store).hashed == 0


def test_strays_go_where_they_belong(store):
    record, damaged = add(store, "a"), add(store, "b")
    shard = store.root / "objects" / "zz"
    shard.mkdir()
    store.objects.path(record.cid).rename(shard / record.cid)
    (shard / damaged.cid).write_text("not b")
    (shard / ".DS_Store").write_text("x")
    (shard / "folder").mkdir()

    report = fsck(store)

    assert report.ok
    assert store.read(record.cid).read_text() == "a"
    assert sorted(path.name for path in (store.root / "quarantine").iterdir()) == [
        ".DS_Store-1",
        f"{damaged.cid}-1",
        "folder-1",
    ]
    assert fsck(store).problems == []


def added_in_place(store, folder):
    """A record whose file stays where it is, and that file."""
    record = add(store, "a")
    store.objects.remove(record.cid)
    original = folder / "original.txt"
    original.write_text("a")
    store.objects.link(original)
    return record, original


def test_a_file_added_in_place_that_was_edited_is_named_and_left_alone(store, tmp_path):
    _, original = added_in_place(store, tmp_path)
    fsck(store)
    original.write_text("b")

    for _ in range(2):
        (problem,) = fsck(store).problems
        assert not problem.fixed
        assert str(original) in problem.found + problem.todo
    assert original.read_text() == "b"
    original.write_text("a")
    assert fsck(store).problems == []


def test_a_file_added_in_place_that_is_gone_is_missing_until_it_is_back(store, tmp_path):
    record, original = added_in_place(store, tmp_path)
    original.rename(tmp_path / "moved.txt")

    for _ in range(2):
        assert found(fsck(store)) == [("missing", record.cid, False)]
    (tmp_path / "moved.txt").rename(original)
    assert fsck(store).problems == []


def test_names_that_play_tricks_do_not_leave_the_store(store, tmp_path):
    add(store, "a")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text("precious")
    (store.root / "objects" / "zz").symlink_to(outside)
    (store.root / "objects" / "a\nb").write_text("x")

    fsck(store, full=True)

    assert (outside / "precious.txt").read_text() == "precious"
    assert fsck(store, full=True).problems == []


def test_after_kill_9_no_temporary_file_is_left(store):
    code = "n = 0\nwhile True:\n    n += 1\n    add(store, f'x{n}', 'x' * 400_000 + str(n)); print(n, flush=True)"
    for _ in range(3):
        process = spawn(code, store.root)
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.communicate()

    assert fsck(store).ok
    assert [path for name in ("tmp", "work") for path in (store.root / name).glob("*")] == []


def test_beside_a_process_that_adds_it_finds_nothing(store):
    adding = spawn("for n in range(80): commit(store, f'y{n}', add(store, f'x{n}'))", store.root)
    reports = []
    while adding.poll() is None:
        reports.append(fsck(store, full=True))
    _, err = adding.communicate()

    assert adding.returncode == 0, err
    assert [problem for report in reports for problem in report.problems] == []
    assert len(store.query({"asset": "qc_report"})) == 160
