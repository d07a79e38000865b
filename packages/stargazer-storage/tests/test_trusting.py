"""Executions of others: known, told by `why`, and no answer of the memo until somebody says so."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from stargazer.assets.errors import AssetNotFoundError
from stargazer.assets.provenance import Entry, Import, dump
from stargazer.storage.bundles.fetching import fetch_bundle
from stargazer.storage.bundles.finding import find_bundle
from stargazer.storage.bundles.making import make_bundle
from stargazer.storage.store import LocalStore
from stargazer.storage.upkeep.fsck import fsck

from .lineage_store import imported, made
from .upkeep_store import lose_index

KEY = "a" * 64


@pytest.fixture
def theirs(tmp_path: Path) -> LocalStore:
    """Somebody else's store, in which `lab.count` was run on a file."""
    store = LocalStore(tmp_path / "theirs")
    given = imported(store, "raw")
    made(store, "lab.count", "3", {"given": given}, run_key=KEY, finished="2026-11-29T12:00:00Z")
    return store


@pytest.fixture
def bundle(theirs: LocalStore, tmp_path: Path) -> Path:
    """The result as a bundle."""
    records = theirs.query({"asset": "qc_report", "kind": "made"})
    return make_bundle(theirs, "counts", records, tmp_path / "out").path.parent


@pytest.fixture
def mine(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "mine")


def fetch(store: LocalStore, bundle: Path, **options: bool) -> list[str]:
    done = fetch_bundle(store, find_bundle(str(bundle), store.root), **options)
    assert done.failed == []
    return done.trusted


def execution(store: LocalStore) -> str:
    (record,) = store.query({"asset": "provenance", "kind": "execution"})
    return record.cid


def test_what_others_did_is_no_answer_until_it_is_trusted(mine: LocalStore, bundle: Path) -> None:
    assert fetch(mine, bundle) == []
    assert mine.remembered(KEY) is None
    assert not mine.is_trusted(execution(mine))

    assert mine.trust([execution(mine)]) == [execution(mine)]

    found = mine.remembered(KEY)
    assert found is not None
    assert found[0] == execution(mine)
    assert mine.trust([execution(mine)]) == []  # it is already


def test_a_bundle_is_trusted_when_it_is_fetched_or_fetched_again(mine: LocalStore, bundle: Path) -> None:
    fetch(mine, bundle)

    assert execution(mine) in fetch(mine, bundle, trust=True)
    assert mine.remembered(KEY) is not None


def test_records_without_bytes_are_enough(mine: LocalStore, bundle: Path) -> None:
    fetch(mine, bundle, trust=True, records_only=True)

    assert mine.remembered(KEY) is not None
    assert [record.path for record in mine.query({"asset": "qc_report", "kind": "made"})] == [None]


def test_it_is_written_down_and_holds_after_the_index_was_lost(mine: LocalStore, bundle: Path) -> None:
    fetch(mine, bundle, trust=True)
    (note,) = mine.documents(execution(mine), "trusted")
    document = mine.document(note)
    assert isinstance(document, Import)
    assert document.command == "bundle fetch counts --trust"
    lose_index(mine)

    assert fsck(mine).ok
    assert mine.remembered(KEY) is not None
    assert fsck(mine, full=True).problems == []


def test_without_it_that_holds_too(mine: LocalStore, bundle: Path) -> None:
    fetch(mine, bundle)
    lose_index(mine)

    assert fsck(mine).ok
    assert mine.remembered(KEY) is None


def test_what_holds_does_not_depend_on_the_order_of_the_documents(
    mine: LocalStore, bundle: Path, tmp_path: Path
) -> None:
    fetch(mine, bundle, trust=True)
    documents = [record.cid for record in mine.query({"asset": "provenance"})]
    for number, order in enumerate(itertools.permutations(documents)):
        store = LocalStore(tmp_path / str(number))
        for cid in order:
            copy = store.objects.work / "copy"
            copy.write_bytes(mine.objects.path(cid).read_bytes())
            store.objects.adopt(copy)
            store.replay([cid])

        assert store.remembered(KEY) is not None, order


def test_nobody_elses_word_makes_anything_trusted(mine: LocalStore, theirs: LocalStore, bundle: Path) -> None:
    fetch(mine, bundle)
    work = mine.objects.work / "note"
    work.write_bytes(dump(Import(files=[], trusted=[execution(mine)], command="trust me", at="2026")))
    note = mine.objects.adopt(work).cid

    mine.replay([note], trusted=False)

    assert mine.remembered(KEY) is None
    assert not mine.is_trusted(execution(mine))
    lose_index(mine)
    assert fsck(mine).ok
    assert mine.remembered(KEY) is None


def test_what_is_trusted_of_a_stranger_is_executions_and_not_whom_they_trust(
    mine: LocalStore, theirs: LocalStore, tmp_path: Path
) -> None:
    """An import of theirs comes with the file that it registered, and says that another execution is trusted."""
    forged = tmp_path / "forged"
    made(
        LocalStore(forged),
        "lab.count",
        "forged",
        {"given": imported(LocalStore(forged), "raw")},
        run_key="b" * 64,
    )
    other = execution(LocalStore(forged))
    (raw,) = theirs.query({"asset": "qc_report", "kind": "raw"})
    pairs = {"asset": "qc_report", "kind": "raw", "sample": "again"}
    entry = Entry(cid=raw.cid, keyvalues=pairs, name="raw", size=raw.size)
    work = theirs.objects.work / "import"
    work.write_bytes(dump(Import(files=[entry], trusted=[other], at="2026-11-29T10:00:00Z")))
    theirs.replay([theirs.objects.adopt(work).cid])
    for number, store in enumerate([theirs, LocalStore(forged)]):
        records = store.query({"asset": "qc_report"})
        folder = make_bundle(store, f"bundle{number}", records, tmp_path / f"out{number}").path.parent
        fetch(mine, folder, trust=store is theirs)

    assert mine.remembered(KEY) is not None
    assert mine.remembered("b" * 64) is None
    lose_index(mine)
    assert fsck(mine).ok
    assert mine.remembered(KEY) is not None
    assert mine.remembered("b" * 64) is None


def test_what_this_store_did_itself_comes_before_what_it_trusts(mine: LocalStore, bundle: Path) -> None:
    fetch(mine, bundle, trust=True)
    given = imported(mine, "raw")
    own = made(mine, "lab.count", "4", {"given": given}, run_key=KEY, finished="2026-11-29T09:00:00Z")

    for _ in range(2):
        found = mine.remembered(KEY)
        assert found is not None
        assert found[0] == own.provenance_cid
        lose_index(mine)
        assert fsck(mine).ok


def test_what_is_not_known_here_cannot_be_trusted(mine: LocalStore, theirs: LocalStore) -> None:
    with pytest.raises(AssetNotFoundError, match="no execution"):
        mine.trust([execution(theirs)])
