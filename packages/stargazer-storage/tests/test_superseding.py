"""Superseded records: passed over by searches, never removed, and back when that was a mistake."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from stargazer.assets import AssetNotFoundError, InvalidAssetError
from stargazer.assets.catalogue import Reference
from stargazer.assets.provenance import Supersession
from stargazer.storage.changes import amend, reinstate, retract, supersede
from stargazer.storage.client import LocalStorageClient
from stargazer.storage.ledger import claims
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.maintenance._gc import gc
from stargazer.storage.store import Addition, Store, open_store

from .upkeep_store import add, lose_index


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def reports(store: Store, **pairs: str) -> list[str]:
    """The ids of the reports that a search finds."""
    return [record.id for record in store.query({"asset": "qc_report", **pairs})]


def test_searches_pass_the_old_record_over_unless_asked(store):
    old, new = add(store, "old"), add(store, "new")

    supersede(store, old, new, "wrong chemistry")

    assert reports(store) == [new.id]
    assert reports(store, superseded="false") == [new.id]
    assert reports(store, superseded="true") == [old.id]
    assert reports(store, cid=old.cid) == [old.id]
    assert store.get(old.id) is not None
    assert claims.successor_of(store.index, old.id) == new.id
    assert claims.successor_of(store.index, new.id) == ""


def test_the_client_finds_one_asset_again(store):
    old, new = add(store, "x", text="old"), add(store, "x", text="new")
    client = LocalStorageClient(store.root)
    supersede(store, old, new)

    (found,) = asyncio.run(client.query_files({"asset": "qc_report", "sample": "x"}))
    assert found.cid == new.cid


def test_it_is_written_down_with_who_and_why(store):
    old, new = add(store, "old"), add(store, "new")
    supersede(store, old, new, "wrong chemistry")

    (cid,) = store.documents(old.cid, "superseded")
    document = store.document(cid)
    assert isinstance(document, Supersession)
    assert (document.record, document.cid) == (old.id, old.cid)
    assert (document.successor, document.successor_cid) == (new.id, new.cid)
    assert document.reason == "wrong chemistry"
    assert document.account
    assert store.documents(new.cid, "superseding") == [cid]


def test_nothing_is_removed(store):
    old, new = add(store, "old"), add(store, "new")
    supersede(store, old, new)

    gc(store, grace=0)

    assert store.read(old.cid).read_text() == "old"


def test_it_can_be_taken_back_and_said_anew(store):
    old, new, newest = add(store, "old"), add(store, "new"), add(store, "newest")
    supersede(store, old, new)
    supersede(store, old, newest)
    assert claims.successor_of(store.index, old.id) == newest.id

    reinstate(store, old)
    assert reports(store) == [old.id, new.id, newest.id]
    with pytest.raises(InvalidAssetError, match="not superseded"):
        reinstate(store, old)

    supersede(store, old, new)
    assert claims.successor_of(store.index, old.id) == new.id


def test_what_it_is_amended_into_is_superseded_too(store):
    old, new = add(store, "old"), add(store, "new")
    supersede(store, old, new)

    amended = amend(store, old, {"kind": "better"})

    assert reports(store) == [new.id]
    assert claims.successor_of(store.index, amended.id) == new.id
    reinstate(store, amended)
    assert reports(store) == [amended.id, new.id]


def test_other_records_of_the_same_bytes_stay(store):
    old, twin, new = add(store, "old", text="same"), add(store, "twin", text="same"), add(store, "new")
    assert old.cid == twin.cid

    supersede(store, old, new)

    assert reports(store) == [twin.id, new.id]


def test_adding_the_same_again_does_not_bring_it_back(store):
    old, new = add(store, "old"), add(store, "new")
    supersede(store, old, new)
    retract(store, old)

    add(store, "old")

    assert reports(store) == [new.id]


def test_what_makes_no_sense_is_refused_and_writes_nothing(store, tmp_path):
    old, new, third = add(store, "old"), add(store, "new"), add(store, "third")
    path = tmp_path / "r.fa"
    path.write_text(">1\nACGT\n")
    (reference,) = store.add([Addition(path=path, asset=Reference(build="x"))])
    (provenance,) = store.query({"cid": old.keyvalues["provenance_cid"]})
    gone = add(store, "gone")
    retract(store, gone)
    supersede(store, old, new)
    count = len(store.query({"asset": "provenance"}))

    for wrong, right, said in (
        (new, new, "two records"),
        (new, reference, "two of a type"),
        (provenance, provenance, "is not superseded"),
        (third, old, "superseded itself"),
        (new, old, "superseded itself"),
    ):
        with pytest.raises(InvalidAssetError, match=said):
            supersede(store, wrong, right)
    with pytest.raises(AssetNotFoundError):
        supersede(store, gone, new)
    with pytest.raises(AssetNotFoundError):
        supersede(store, new, gone)
    assert len(store.query({"asset": "provenance"})) == count


def test_it_holds_after_the_index_was_lost(store):
    old, new, mistaken = add(store, "old"), add(store, "new"), add(store, "mistaken")
    supersede(store, old, new)
    supersede(store, mistaken, new)
    reinstate(store, mistaken)
    before = reports(store), reports(store, superseded="true"), claims.successor_of(store.index, old.id)
    lose_index(store)

    assert fsck(store).ok
    assert (
        reports(store),
        reports(store, superseded="true"),
        claims.successor_of(store.index, old.id),
    ) == before
    assert fsck(store, full=True).problems == []


def test_an_index_without_tables_of_supersessions_is_made_again_and_takes_them(store):
    old, new = add(store, "old"), add(store, "new")
    with store.index.transaction() as connection:
        for table in ("superseded", "amended", "runs", "files", "reads", "makes", "tools"):
            connection.execute(f"DROP TABLE {table}")
    store.index.close()
    store = open_store(store.root)
    assert [problem.kind for problem in fsck(store).problems] == ["index"]

    supersede(store, old, new)

    assert reports(store) == [new.id]


def test_several_that_say_so_at_once_leave_one_answer(store):
    """Each knows of those before it, or none of them does: one supersession stands, and one undo is enough."""
    old, *others = (add(store, name) for name in "abcdef")
    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(lambda new: supersede(open_store(store.root), old, new), others))

    assert claims.successor_of(store.index, old.id) in {record.id for record in others}
    assert reports(store, superseded="true") == [old.id]
    reinstate(store, old)
    assert reports(store) == [record.id for record in (old, *others)]
    assert fsck(store).problems == []
