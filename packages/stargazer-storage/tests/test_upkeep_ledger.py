"""Upkeep of the ledger: documents that are damaged, lost, misplaced, unknown or in both folders; and what follows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from stargazer.assets import StorageError
from stargazer.assets.provenance import Entry, Execution, dump
from stargazer.storage.changes import amend, retract, supersede, trust
from stargazer.storage.cid import compute_cid
from stargazer.storage.ledger.documents import now
from stargazer.storage.maintenance._evict import evict
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.maintenance._gc import gc
from stargazer.storage.store import Store, open_store

from .upkeep_store import add, backdate, commit, damage, lose_index, spawn, state

KEY = "k" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def written(store: Store, document: Execution, folder: str) -> str:
    """A document in a folder of the ledger that has not taken effect; its CID."""
    path = store.objects.new_temporary()
    path.write_bytes(dump(document))
    return (store.ledger.own if folder == "own" else store.ledger.foreign).adopt(path).cid


def theirs(store: Store, *, replay: bool = True) -> str:
    """Somebody else's execution that says what it made of nothing; its CID."""
    made = Entry(role="report", cid=add(store, "made").cid, keyvalues={"asset": "qc_report", "kind": "x"})
    cid = written(store, Execution(task="lab.count", run_key=KEY, outputs=[made], finished=now()), "foreign")
    if replay:
        store.replay([cid])
    return cid


def the_document(store: Store) -> str:
    (record,) = store.query({"asset": "provenance", "kind": "import"})
    return record.cid


def found(report):
    return [(problem.kind, problem.what, problem.fixed) for problem in report.problems]


def both(store: Store, cid: str) -> None:
    """Let a document lie in both folders, as a process leaves it that was killed between link and unlink."""
    folder, other = store.ledger.own, store.ledger.foreign
    if folder.stat(cid) is None:
        folder, other = other, folder
    other.path(cid).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder.path(cid), other.path(cid))


# damaged and lost


def test_a_damaged_document_goes_to_quarantine_and_is_told_of(store):
    record = add(store, "a")
    cid = the_document(store)
    damage(store.ledger.own.path(cid))

    (problem,) = fsck(store).problems

    assert (problem.kind, problem.what, problem.fixed) == ("damaged", cid, False)
    assert problem.names == ["import.json"]
    assert [path.name for path in (store.root / "quarantine").iterdir()] == [f"{cid}-1"]
    assert [known.id for known in store.query({"asset": "qc_report"})] == [record.id]


@pytest.mark.parametrize("folder", ["own", "foreign"])
@pytest.mark.parametrize("spoil", [damage, Path.unlink], ids=["damaged", "lost"])
def test_one_that_a_mirror_has_comes_back_to_its_folder(store, tmp_path, folder, spoil):
    cid = theirs(store)
    if folder == "own":
        commit(store, "mine", add(store, "a"))
        cid = store.query({"asset": "provenance", "kind": "execution", "task": "summarise"})[0].cid
    place = store.ledger.own if folder == "own" else store.ledger.foreign
    shutil.copyfile(place.path(cid), tmp_path / "mirror.json")
    store.add_mirrors({cid: [(tmp_path / "mirror.json").as_uri()]})
    before = state(store)
    spoil(place.path(cid))

    ((_, what, fixed),) = found(fsck(store))

    assert (what, fixed) == (cid, True)
    assert place.verify(cid).cid == cid
    assert store.ledger.is_own(cid) == (folder == "own")
    assert fsck(store, full=True).problems == []
    assert state(store) == before


def test_a_lost_document_is_told_of_and_its_records_stay(store):
    record = add(store, "a")
    cid = the_document(store)
    store.ledger.remove(cid)

    for full in (False, True, True):
        assert found(fsck(store, full=full)) == [("missing", cid, False)]
    assert [known.id for known in store.query({"asset": "qc_report"})] == [record.id]


def test_a_file_with_the_same_bytes_makes_a_lost_document_good(store):
    add(store, "a")
    cid = the_document(store)
    assert add(store, "copy", text=store.read(cid).read_text()).cid == cid
    store.ledger.remove(cid)

    assert found(fsck(store)) == [("missing", cid, True)]
    assert store.ledger.is_own(cid)
    assert fsck(store, full=True).problems == []


def test_a_document_that_is_no_file_is_lost_even_if_a_file_has_its_bytes(store):
    add(store, "a")
    cid = the_document(store)
    add(store, "copy", text=store.read(cid).read_text())
    damage(store.ledger.own.path(cid), at=60)

    assert found(fsck(store, full=True)) == [("damaged", cid, True)]
    assert store.ledger.own.verify(cid)


# misplaced


@pytest.mark.parametrize("folder", ["own", "foreign"])
def test_a_misplaced_document_goes_to_its_place_in_its_folder(store, folder):
    cid = theirs(store) if folder == "foreign" else (add(store, "a"), the_document(store))[1]
    place = store.ledger.own if folder == "own" else store.ledger.foreign
    before = state(store)
    wrong = place.folder / "zz" / cid
    wrong.parent.mkdir()
    place.path(cid).rename(wrong)

    report = fsck(store)

    assert ("stray", f"ledger/{folder}/zz/{cid}", True) in found(report)
    assert place.verify(cid)
    assert fsck(store, full=True).problems == []
    assert state(store) == before


def test_a_misplaced_one_that_the_index_does_not_know_takes_effect_at_once(store):
    cid = theirs(store, replay=False)
    wrong = store.ledger.foreign.folder / "zz" / cid
    wrong.parent.mkdir()
    store.ledger.foreign.path(cid).rename(wrong)

    assert found(fsck(store)) == [
        ("stray", f"ledger/foreign/zz/{cid}", True),
        ("document", cid, True),
    ]
    assert store.is_foreign(cid)
    assert fsck(store, full=True).problems == []


def test_other_files_among_the_documents_go_to_quarantine(store):
    add(store, "a")
    (store.ledger.own.folder / "notes.txt").write_text("x")
    store.ledger.foreign.folder.mkdir(exist_ok=True)
    (store.ledger.foreign.folder / "zz").write_text("x")

    assert found(fsck(store)) == [
        ("stray", "ledger/own/notes.txt", True),
        ("stray", "ledger/foreign/zz", True),
    ]
    assert fsck(store).problems == []


def test_what_is_no_document_is_told_of_left_and_keeps_gc_from_guessing(store, tmp_path):
    add(store, "a")
    (tmp_path / "letter").write_text("to my mother")
    cid = store.ledger.own.add(tmp_path / "letter").cid

    for _ in range(2):
        (problem,) = fsck(store).problems
        assert (problem.kind, problem.what, problem.fixed) == ("document", cid, False)
        assert problem.todo
    with pytest.raises(StorageError, match="does not know 1 provenance document"):
        gc(store)
    store.ledger.remove(cid)
    assert fsck(store).problems == []


# in both folders


@pytest.mark.parametrize("spoiled", ["", "own", "foreign"])
@pytest.mark.parametrize("full", [False, True])
def test_a_document_of_both_folders_is_the_stores_own(store, spoiled, full):
    commit(store, "b", add(store, "a"))
    cid = the_document(store)
    before = state(store)
    both(store, cid)
    if spoiled:
        damage((store.ledger.own if spoiled == "own" else store.ledger.foreign).path(cid))

    assert [problem.fixed for problem in fsck(store, repair=False, full=full).problems] == [False] * (
        2 if spoiled == "own" else 1
    )
    report = fsck(store, full=full)

    (problem,) = [problem for problem in report.problems if problem.kind == "document"]
    assert (problem.what, problem.done, problem.fixed) == (cid, "removed from ledger/foreign", True)
    assert report.ok
    assert store.ledger.own.verify(cid)
    assert store.ledger.foreign.stat(cid) is None
    assert state(store) == before
    assert fsck(store, full=True).problems == []


def test_of_others_until_it_was_adopted_it_is_believed_then(store):
    """Killed between link and unlink, before the index was told."""
    cid = theirs(store)
    assert store.remembered(KEY) is None
    both(store, cid)

    assert found(fsck(store)) == [("document", cid, True), ("document", cid, True)]

    assert store.remembered(KEY) is not None
    assert store.ledger.foreign.stat(cid) is None
    assert fsck(store, full=True).problems == []


def test_while_somebody_is_at_work_it_stays_in_both(store):
    add(store, "a")
    cid = the_document(store)
    both(store, cid)
    with store.arriving():
        assert fsck(store).problems == []
    assert found(fsck(store)) == [("document", cid, True)]


# unknown to the index


@pytest.mark.parametrize("folder", ["own", "foreign"])
def test_a_document_that_did_not_take_effect_does_and_counts_as_its_folder_says(store, folder):
    """Written, and killed before the index was told."""
    made = add(store, "made")
    output = Entry(role="report", cid=made.cid, keyvalues={"asset": "qc_report", "kind": "x"})
    cid = written(store, Execution(task="lab.count", run_key=KEY, outputs=[output], finished=now()), folder)
    with pytest.raises(StorageError, match="does not know 1 provenance document"):
        gc(store)

    assert found(fsck(store, repair=False)) == [("document", cid, False)]
    assert found(fsck(store)) == [("document", cid, True)]

    assert (store.remembered(KEY) is not None) == (folder == "own")
    assert store.is_foreign(cid) == (folder == "foreign")
    assert gc(store).removed == []
    assert fsck(store, full=True).problems == []


def test_one_that_lies_among_our_own_and_is_known_as_anothers_becomes_our_own(store):
    cid = theirs(store)
    store.ledger.adopt(cid)
    with pytest.raises(StorageError, match="does not know 1 provenance document"):
        gc(store)

    assert found(fsck(store)) == [("document", cid, True)]

    assert not store.is_foreign(cid)
    assert store.remembered(KEY) is not None
    assert gc(store).removed == []


def test_whose_word_it_is_follows_from_the_folder_after_the_index_was_lost(store):
    cid = theirs(store)
    trusted = theirs(store)
    before = state(store)
    lose_index(store)

    assert fsck(store).ok
    assert store.is_foreign(cid)
    assert store.remembered(KEY) is None
    assert state(store) == before
    trust(store, [trusted])
    lose_index(store)
    assert fsck(store).ok
    assert store.remembered(KEY) is not None


def test_a_file_that_looks_like_provenance_is_just_a_file(store, tmp_path):
    claim = Entry(cid=add(store, "a").cid, keyvalues={"asset": "qc_report", "kind": "claimed"})
    text = dump(Execution(task="lab.count", run_key=KEY, outputs=[claim], finished=now())).decode()
    record = add(store, "guise", text=text)
    before = state(store)
    lose_index(store)

    assert fsck(store).ok
    assert state(store) == before
    assert fsck(store, full=True).problems == []
    retract(store, record)
    assert [item.name for item in gc(store, grace=-1).removed] == [record.cid]
    assert not store.is_registered(record.cid)


# gc and evict


def test_gc_and_evict_leave_documents(store):
    cid = theirs(store)
    record = add(store, "a")
    retract(store, record)
    documents = store.ledger.cids()
    assert len(documents) == 4
    for folder in (store.ledger.own, store.ledger.foreign):
        for path in folder.folder.glob("*/*"):
            backdate(path, days=100)

    gc(store, grace=-1)
    refused = evict(store, store.query({"asset": "provenance"}), force=True).refused

    assert {item.cid for item in refused} == documents
    assert store.ledger.cids() == documents
    assert cid in documents


# the index beside one that is made of the ledger


WRONG = {
    "a record's time": "UPDATE docs SET body = json_set(body, '$.created_at', '1999') WHERE seq = 1",
    "a record's name": "UPDATE docs SET body = json_set(body, '$.name', 'x') WHERE body LIKE '%\"b.txt\"%'",
    "a term": "UPDATE terms SET value = 'x' WHERE key = '.kind' AND value = 'better'",
    "a term too many": "INSERT INTO terms SELECT tid, '.kind', 'y', seq FROM docs LIMIT 1",
    "a term of nothing": "INSERT INTO terms SELECT tid, '.kind', 'y', 999 FROM docs LIMIT 1",
    "whose word": "UPDATE documents SET own = 1",
    "an ended claim": "UPDATE claims SET ended = 0 WHERE ended",
    "a claim's time": "UPDATE claims SET at = '2001' WHERE NOT ended",
    "a claim": "DELETE FROM claims WHERE ended",
    "an edge": "DELETE FROM edges WHERE role = 'input'",
    "a role": "UPDATE edges SET role = 'trusted' WHERE role = 'output'",
    "a supersession": "UPDATE superseded SET ended = 1",
    "an amendment": "DELETE FROM amended",
    "a run key": "UPDATE attempts SET run_key = 'other'",
    "an execution": "UPDATE runs SET task = 'other'",
    "an input": "DELETE FROM reads",
    "an output": "UPDATE makes SET file = file + 100",
    "a tool": "INSERT INTO tools VALUES('samtools', '1', 1)",
}


@pytest.mark.parametrize("sql", WRONG.values(), ids=WRONG)
def test_a_full_run_makes_an_index_again_that_says_what_the_ledger_does_not(store, sql):
    first, second, third = (add(store, name) for name in "abc")
    amend(store, second, {"kind": "better"})
    retract(store, third)
    supersede(store, add(store, "e"), first)
    commit(store, "d", first)
    theirs(store)
    before = state(store)
    assert fsck(store, full=True).problems == []
    with store.index.transaction() as connection:
        assert connection.execute(sql).rowcount > 0

    (dry,) = fsck(store, full=True, repair=False).problems
    assert (dry.kind, dry.fixed) == ("index", False)
    assert found(fsck(store, full=True)) == [("index", "index.sqlite", True)]

    assert state(store) == before
    assert fsck(store, full=True).problems == []
    assert list(store.objects.work.iterdir()) == []


def test_the_other_index_goes_when_its_maker_was_killed(store):
    add(store, "a")
    code = "import os\nfrom stargazer.storage.store import Store\nStore.replay = lambda *_: os._exit(9)\n"
    code += "from stargazer.storage.maintenance import fsck\nfsck(store, full=True)"
    assert spawn(code, store.root).wait() == 9
    assert list(store.objects.work.iterdir())

    assert fsck(store).ok
    assert list(store.objects.work.iterdir()) == []


def test_a_record_without_a_time_is_no_difference(store):
    """A stranger's document need not say when: its record is as old as the index then."""
    made = Entry(role="report", cid=add(store, "made").cid, keyvalues={"asset": "qc_report", "kind": "x"})
    store.replay([written(store, Execution(task="lab.count", run_key=KEY, outputs=[made]), "foreign")])

    assert fsck(store, full=True).problems == []


def test_a_quick_run_hashes_no_documents(store):
    for name in "abc":
        add(store, name)
    cid = the_documents(store)[0]

    assert fsck(store).hashed == 0
    store.ledger.own.path(cid).touch()
    assert fsck(store).hashed == 1
    assert compute_cid(store.ledger.own.path(cid)) == cid
    assert fsck(store).hashed == 0


def the_documents(store):
    return [record.cid for record in store.query({"asset": "provenance"})]
