"""Executions of others: known, told by `why`, and no answer of the memo until somebody says so."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from stargazer.assets import AssetNotFoundError
from stargazer.assets.catalogue import QcReport, Reference, ReferenceIndex
from stargazer.assets.provenance import Entry, Execution, Import, dump
from stargazer.storage import bundles
from stargazer.storage.bundles import find_bundle
from stargazer.storage.changes import amend, retract, supersede, trust
from stargazer.storage.ledger import memo
from stargazer.storage.lineage.nearest import find_nearest
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.store import Addition, Store, open_store

from .lineage_store import imported, made
from .upkeep_store import lose_index

KEY = "a" * 64


@pytest.fixture
def theirs(tmp_path: Path) -> Store:
    """Somebody else's store, in which `lab.count` was run on a file."""
    store = open_store(tmp_path / "theirs")
    given = imported(store, "raw")
    made(store, "lab.count", "3", {"given": given}, run_key=KEY, finished="2026-11-29T12:00:00Z")
    return store


@pytest.fixture
def bundle(theirs: Store, tmp_path: Path) -> Path:
    """The result as a bundle."""
    records = theirs.query({"asset": "qc_report", "kind": "made"})
    return bundles.make(theirs, "counts", records, tmp_path / "out").path.parent


def fetch(store: Store, bundle: Path, **options: bool) -> list[str]:
    done = bundles.fetch(store, find_bundle(str(bundle), store.root), **options)
    assert done.failed == []
    return done.trusted


def execution(store: Store) -> str:
    (record,) = store.query({"asset": "provenance", "kind": "execution"})
    return record.cid


def test_what_others_did_is_no_answer_until_it_is_trusted(mine: Store, bundle: Path) -> None:
    assert fetch(mine, bundle) == []
    assert mine.remembered(KEY) is None
    assert not mine.is_trusted(execution(mine))

    assert trust(mine, [execution(mine)]) == [execution(mine)]

    found = mine.remembered(KEY)
    assert found is not None
    assert found[0] == execution(mine)
    assert trust(mine, [execution(mine)]) == []  # it is already


def test_a_bundle_is_trusted_when_it_is_fetched_or_fetched_again(mine: Store, bundle: Path) -> None:
    fetch(mine, bundle)

    assert execution(mine) in fetch(mine, bundle, trust=True)
    assert mine.remembered(KEY) is not None


def test_records_without_bytes_are_enough(mine: Store, bundle: Path) -> None:
    fetch(mine, bundle, trust=True, records_only=True)

    assert mine.remembered(KEY) is not None
    assert [record.path for record in mine.query({"asset": "qc_report", "kind": "made"})] == [None]


def test_it_is_written_down_and_holds_after_the_index_was_lost(mine: Store, bundle: Path) -> None:
    fetch(mine, bundle, trust=True)
    (note,) = mine.documents(execution(mine), "trusted")
    document = mine.document(note)
    assert isinstance(document, Import)
    assert document.command == "bundle fetch counts --trust"
    lose_index(mine)

    assert fsck(mine).ok
    assert mine.remembered(KEY) is not None
    assert fsck(mine, full=True).problems == []


def test_without_it_that_holds_too(mine: Store, bundle: Path) -> None:
    fetch(mine, bundle)
    lose_index(mine)

    assert fsck(mine).ok
    assert mine.remembered(KEY) is None


def test_what_holds_does_not_depend_on_the_order_of_the_documents(
    mine: Store, bundle: Path, tmp_path: Path
) -> None:
    fetch(mine, bundle, trust=True)
    documents = [record.cid for record in mine.query({"asset": "provenance"})]
    for number, order in enumerate(itertools.permutations(documents)):
        store = open_store(tmp_path / str(number))
        for cid in order:
            folder = store.ledger.own if mine.ledger.is_own(cid) else store.ledger.foreign
            folder.add(mine.read(cid))
            store.replay([cid])

        assert store.remembered(KEY) is not None, order


def test_nobody_elses_word_makes_anything_trusted(mine: Store, theirs: Store, bundle: Path) -> None:
    fetch(mine, bundle)
    work = mine.objects.work / "note"
    work.write_bytes(dump(Import(files=[], trusted=[execution(mine)], command="trust me", at="2026")))
    note = mine.ledger.foreign.adopt(work).cid

    mine.replay([note])

    assert mine.remembered(KEY) is None
    assert not mine.is_trusted(execution(mine))
    lose_index(mine)
    assert fsck(mine).ok
    assert mine.remembered(KEY) is None


def test_whom_a_stranger_believes_is_not_heard(mine: Store, theirs: Store, tmp_path: Path) -> None:
    """An import of theirs comes with the file that it registered, and says whose executions to believe."""
    (raw,) = theirs.query({"asset": "qc_report", "kind": "raw"})
    pairs = {"asset": "qc_report", "kind": "raw", "sample": "again"}
    entry = Entry(cid=raw.cid, keyvalues=pairs, name="raw", size=raw.size)
    work = theirs.objects.work / "import"
    work.write_bytes(dump(Import(files=[entry], trusted=[execution(theirs)], at="2026-11-29T10:00:00Z")))
    theirs.replay([theirs.ledger.own.adopt(work).cid])
    records = theirs.query({"asset": "qc_report"})
    folder = bundles.make(theirs, "counts", records, tmp_path / "out").path.parent

    done = bundles.fetch(mine, find_bundle(str(folder), mine.root))

    reason = "it says whom to believe, which everybody says for himself"
    assert [failure.reason for failure in done.failed] == [reason]
    assert len(done.records) == 3
    assert mine.remembered(KEY) is None


@pytest.mark.parametrize("again", [False, True])
def test_a_fetch_that_was_killed_leaves_nothing_that_counts_as_our_own(
    mine: Store, bundle: Path, again: bool
) -> None:
    mine.query({})
    pid = os.fork()
    if pid == 0:
        Store.replay = lambda *_: os._exit(9)  # type: ignore[method-assign, assignment]
        fetch(mine, bundle)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert len(list(mine.objects.scan())) == 1  # the result
    assert [own for _, own in mine.ledger.scan()] == [False, False]

    if again:
        fetch(mine, bundle)
    else:
        lose_index(mine)
        assert fsck(mine).ok

    assert len(list(mine.objects.scan())) == 1
    assert [own for _, own in mine.ledger.scan()] == [False, False]
    assert memo.executions(mine.index, KEY) == [execution(mine)]
    assert mine.remembered(KEY) is None


def test_a_result_that_was_taken_back_stays_so_when_somebody_else_imports_it(
    mine: Store, theirs: Store, tmp_path: Path
) -> None:
    own = made(mine, "lab.count", "4", {"given": imported(mine, "raw")}, run_key=KEY)
    record = own.record
    assert record is not None
    retract(mine, record)
    pairs = {key: value for key, value in record.keyvalues.items() if key != "provenance_cid"}
    path = tmp_path / record.name
    path.write_bytes(mine.objects.path(record.cid).read_bytes())
    theirs.add([Addition(path=path, asset=QcReport.from_keyvalues(pairs))])
    records = theirs.query({"cid": record.cid})
    folder = bundles.make(theirs, "again", records, tmp_path / "again").path.parent

    fetch(mine, folder)

    assert [item.id for item in mine.query({"cid": record.cid})] == [record.id]
    assert mine.remembered(KEY) is None
    nearest = find_nearest(mine, Execution(task="lab.count", run_key=KEY))
    assert nearest is not None
    assert nearest.note == "its result 'report' was taken back"


def test_what_accompanies_a_file_by_our_own_word_comes_first(mine: Store, tmp_path: Path) -> None:
    theirs = open_store(tmp_path / "others")
    for number, store in enumerate([theirs, mine]):
        (tmp_path / "a.fa").write_text(">a\nACGT\n")
        (tmp_path / "a.fai").write_text(f"a\t4\t3\t4\t{5 + number}\n")
        reference = Reference(build="x")
        index = ReferenceIndex(reference_cid=reference)
        if store is mine:
            folder = bundles.make(theirs, "r", theirs.query({"build": "x"}), tmp_path / "r").path.parent
            fetch(mine, folder)
        store.add([Addition(tmp_path / "a.fa", reference), Addition(tmp_path / "a.fai", index, force=True)])

    found = mine.query({"asset": "reference_index", "reference_cid": reference.cid or ""})

    assert len(found) == 2
    assert found[0].cid == index.cid


def test_a_record_follows_our_own_word_whatever_the_clocks_of_others_say(
    mine: Store, theirs: Store, tmp_path: Path
) -> None:
    (before,) = mine.query({"cid": imported(mine, "raw").cid or ""})
    pairs = {"asset": "qc_report", "kind": "raw", "sample": "raw"}
    entry = Entry(cid=before.cid, keyvalues=pairs, name="another name", size=1)
    older = dump(Import(files=[entry], at="1999-01-01T00:00:00Z"))
    work = mine.objects.work / "older"
    work.write_bytes(older)
    cid = mine.ledger.foreign.adopt(work).cid

    mine.replay([cid])

    assert mine.here(before.id) == before
    lose_index(mine)
    assert fsck(mine).ok
    assert mine.here(before.id) == before


@pytest.mark.parametrize("trusted", [False, True])
def test_which_of_several_answers_does_not_depend_on_which_came_first(
    mine: Store, tmp_path: Path, trusted: bool
) -> None:
    given = imported(mine, "raw")
    for hour in (14, 12, 13):
        made(
            mine, "lab.count", str(hour), {"given": given}, run_key=KEY, finished=f"2026-11-29T{hour}:00:00Z"
        )
    yours = open_store(tmp_path / "yours")
    for record in mine.query({"asset": "qc_report", "kind": "made"}):
        folder = tmp_path / record.cid
        fetch(yours, bundles.make(mine, "one", [record], folder).path.parent, trust=trusted)

    for store in (mine, yours):
        found = store.remembered(KEY)
        lose_index(store)
        assert fsck(store).ok
        assert store.remembered(KEY) == found
        expected = "2026-11-29T14" if store is mine else "2026-11-29T12"
        assert (found[1].finished[:13] if found else "") == (expected if trusted or store is mine else "")


def test_no_amendment_of_somebody_else_hides_a_record_that_is_here(mine: Store, tmp_path: Path) -> None:
    old, new = imported(mine, "old"), imported(mine, "new")
    records = {record.cid: record for record in mine.query({"asset": "qc_report"})}
    pairs = {"asset": "qc_report", "kind": "raw", "sample": "old"}
    better = pairs | {"sample": "better"}
    (tmp_path / "old").write_text("old")
    supersede(mine, records[old.cid or ""], records[new.cid or ""])
    theirs = open_store(tmp_path / "others")
    added = theirs.add([Addition(tmp_path / "old", QcReport.from_keyvalues(pairs))])[0]
    amended = amend(theirs, added, better)
    (mine_too,) = mine.add([Addition(tmp_path / "old", QcReport.from_keyvalues(better))])
    assert mine_too.id == amended.id
    before = mine.query({"asset": "qc_report"})

    fetch(mine, bundles.make(theirs, "r", [amended], tmp_path / "r").path.parent)

    assert mine_too in before
    assert mine.query({"asset": "qc_report"}) == before


def test_what_this_store_did_itself_comes_before_what_it_trusts(mine: Store, bundle: Path) -> None:
    fetch(mine, bundle, trust=True)
    given = imported(mine, "raw")
    own = made(mine, "lab.count", "4", {"given": given}, run_key=KEY, finished="2026-11-29T09:00:00Z")

    for _ in range(2):
        found = mine.remembered(KEY)
        assert found is not None
        assert found[0] == own.provenance_cid
        lose_index(mine)
        assert fsck(mine).ok


def test_what_is_not_known_here_cannot_be_trusted(mine: Store, theirs: Store) -> None:
    with pytest.raises(AssetNotFoundError, match="no execution"):
        trust(mine, [execution(theirs)])
