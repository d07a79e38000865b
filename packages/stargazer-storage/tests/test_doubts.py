"""An index that does not know what the store holds says so to whoever opens it, until fsck has looked."""

from __future__ import annotations

import os
import shutil
import warnings

import pytest
from stargazer.assets import StorageError
from stargazer.storage.files import is_there
from stargazer.storage.index.records import Index
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.store import check_format, open_store

from .upkeep_store import add, commit, lose_index


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def anew(store):
    """The same store as another process sees it."""
    store.index.close()
    return open_store(store.root)


def warned(store):
    """What is said when the index is opened."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store.query({})
    return [str(warning.message) for warning in caught]


def test_an_empty_store_is_quiet(store):
    assert store.doubt() == ""
    assert not store.root.exists()
    assert warned(store) == []
    assert warned(anew(store)) == []


def test_a_store_in_order_is_quiet(store):
    commit(store, "b", add(store, "a"))
    assert store.doubt() == ""
    assert warned(anew(store)) == []


def test_looking_at_a_lost_index_makes_none(store):
    add(store, "a")
    store = anew(store)
    lose_index(store)

    assert "run `stargazer fsck`" in store.doubt()
    assert not store.index_path.exists()


def test_a_lost_index_is_told_of_until_fsck_whatever_is_added(store):
    add(store, "a")
    store = anew(store)
    lose_index(store)

    for name in "bcd":
        (said,) = warned(store)
        assert "was lost or emptied" in said
        add(store, name)
        store = anew(store)
    fsck(store)

    store = anew(store)
    assert warned(store) == []
    assert len(store.query({"asset": "qc_report"})) == 4


def test_an_index_that_is_lost_while_it_is_open_is_told_of(store):
    add(store, "a")
    lose_index(store)

    add(store, "b")

    assert "fsck" in store.doubt()
    assert len(warned(anew(store))) == 1


def test_the_empty_index_of_another_store_is_told_of(store, tmp_path):
    add(store, "a")
    store = anew(store)
    lose_index(store)
    with open_store(tmp_path / "other").index as index:
        index.tables()
    shutil.copy(tmp_path / "other" / "index.sqlite", store.index_path)

    assert len(warned(store)) == 1
    add(store, "b")
    assert len(warned(anew(store))) == 1


def test_a_dry_run_of_fsck_takes_nothing_back(store):
    add(store, "a")
    store = anew(store)
    lose_index(store)

    fsck(store, repair=False)

    assert "fsck" in store.doubt()


def test_files_without_provenance_are_looked_at_once(store, tmp_path):
    """A process that was killed may leave some, and fsck can say no more of them."""
    check_format(store.root)
    (tmp_path / "a.txt").write_text("a")
    store.objects.add(tmp_path / "a.txt")
    assert len(warned(store)) == 1

    assert fsck(store).ok

    assert warned(anew(store)) == []


def test_the_first_files_of_somebody_who_is_at_work_are_no_loss(store, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with store.arriving() as arrived:
        arrived.objects.append(store.objects.add(tmp_path / "a.txt"))
        assert open_store(store.root).query({}) == []
    assert warned(anew(add(store, "b") and store)) == []


def test_files_that_are_on_their_way_with_a_bundle_are_no_loss(store, tmp_path):
    store.open_index()
    (tmp_path / "a.txt").write_text("a")
    store.objects.add(tmp_path / "a.txt")

    store = anew(store)
    assert warned(store) == []
    assert store.doubt() == ""


def test_an_index_that_knows_something_costs_no_look_at_the_files(store, monkeypatch):
    add(store, "a")
    store = anew(store)
    looked = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(path) or real(path))

    store.query({})
    add(store, "b")

    assert looked == []


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"a letter" * 1000])
def test_a_damaged_index_is_doubted_in_the_same_words_as_it_is_refused(store, content):
    add(store, "a")
    store = anew(store)
    store.index_path.write_bytes(content)

    with pytest.raises(StorageError, match="fsck") as refused:
        store.query({})
    assert store.doubt() == str(refused.value)


@pytest.mark.parametrize("length", [484, 500, 512, 600])
def test_a_path_that_is_too_long_for_sqlite_is_said_to_be(tmp_path, length):
    folder = tmp_path
    while (room := length - len(os.fsencode(folder / "index.sqlite"))) > 1:
        folder /= "d" * min(room - 1, 200)
    folder.mkdir(parents=True)

    with pytest.raises(StorageError, match=r"too long.*512 bytes.*STARGAZER_INDEX.*STARGAZER_LOCAL"):
        Index(folder / "index.sqlite").all()
    store = open_store(folder, index=tmp_path / "index")
    assert len({add(store, "a").cid}) == 1


def test_a_path_that_is_just_short_enough_is_taken(tmp_path):
    folder = tmp_path
    while (room := 483 - len(os.fsencode(folder / "index.sqlite"))) > 1:
        folder /= "d" * min(room - 1, 200)

    assert Index(folder / "index.sqlite").table("records").insert({"id": "r"}) == 1


def test_what_cannot_be_looked_at_is_not_taken_for_missing(tmp_path):
    assert is_there(tmp_path)
    assert not is_there(tmp_path / "nothing")
    (tmp_path / "file").touch()
    assert not is_there(tmp_path / "file" / "below")
    with pytest.raises(OSError, match="too long"):
        is_there(tmp_path / ("x" * 300))
