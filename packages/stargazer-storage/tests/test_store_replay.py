"""What there is follows from the provenance documents alone: in any order, on any machine, whatever the clock said."""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer.assets import InvalidAssetError, IpFile
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Execution
from stargazer.storage.changes import amend, reinstate, retract, supersede
from stargazer.storage.ledger import claims
from stargazer.storage.ledger.documents import now
from stargazer.storage.store import Addition, Store, open_store

KINDS = ("a", "b", "c")


def add(store: Store, text: str, kind: str) -> IpFile:
    path = store.root.parent / f"{text}.txt"
    path.write_text(text)
    return store.add([Addition(path=path, asset=QcReport(kind=kind))])[0]


def run(store: Store, text: str, kind: str, key: str = "") -> None:
    path = store.objects.work / "out.txt"
    path.write_text(text)
    when = now()
    store.commit(
        Execution(task="t", run_key=key, started=when, finished=when), [("r", QcReport(kind=kind, path=path))]
    )


def state(store: Store) -> list[tuple[object, ...]]:
    """All that is known of files, but for the order in which it came to be known."""
    found = [
        (record.id, record.cid, record.name, record.size, record.created_at, sorted(record.keyvalues.items()),
         claims.successor_of(store.index, record.id))
        for superseded in ("false", "true")
        for record in store.query({"superseded": superseded})
    ]  # fmt: skip
    return sorted(found)


def documents(store: Store) -> list[str]:
    return [record.cid for record in store.query({"asset": "provenance"})]


def replayed(store: Store, folder: Path, cids: list[str], at_once: int = 1_000) -> Store:
    """Another store that knows nothing but these documents, read a few at a time."""
    other = open_store(folder)
    for cid in cids:
        own = store.ledger.is_own(cid)
        kept = (other.ledger.own if own else other.ledger.foreign).add(store.read(cid))
        assert kept.cid == cid
    for start in range(0, len(cids), at_once):
        other.replay(cids[start : start + at_once])
    return other


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "run", "amend", "retract", "supersede", "reinstate"]),
        st.sampled_from(["1", "2"]),
        st.sampled_from(KINDS),
    ),
    max_size=20,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, seed=st.integers(0, 1000))
def test_any_history_is_what_its_documents_say_in_any_order(tmp_path_factory, steps, seed):
    folder = tmp_path_factory.mktemp("history")
    store = open_store(folder / "store")
    chooser = random.Random(seed)
    for action, text, kind in steps:
        current = store.query({"asset": "qc_report"})
        records = [r for r in current if r.keyvalues["kind"] == kind]
        others = [r for r in current if r.keyvalues["kind"] != kind]
        hidden = store.query({"asset": "qc_report", "superseded": "true"})
        if action == "add":
            add(store, text, kind)
        elif action == "run":
            run(store, text, kind)
        elif records and action == "amend":
            amend(store, records[0], {"kind": chooser.choice(KINDS)})
        elif hidden and action == "reinstate":
            reinstate(store, chooser.choice(hidden))
        elif hidden and action == "amend":
            amend(store, hidden[0], {"kind": kind})
        elif records and others and action == "supersede":
            supersede(store, records[0], chooser.choice(others))
        elif records and action == "retract":
            retract(store, records[0])
    cids = documents(store)
    chooser.shuffle(cids)

    assert state(replayed(store, folder / "at-once", cids)) == state(store)
    assert state(replayed(store, folder / "one-by-one", cids, at_once=1)) == state(store)
    shutil.rmtree(folder)


def test_back_to_what_it_was_is_no_circle(tmp_path):
    store = open_store(tmp_path / "store")
    record = add(store, "1", "a")
    back = amend(store, amend(store, record, {"kind": "b"}), {"kind": "a"})
    assert back.id == record.id

    for number, order in enumerate((documents(store), documents(store)[::-1])):
        other = replayed(store, tmp_path / f"other{number}", order, at_once=1)
        assert [found.id for found in other.query({"asset": "qc_report"})] == [record.id]


def test_a_change_that_is_heard_of_after_the_next_one_leaves_nothing(tmp_path):
    store = open_store(tmp_path / "store")
    record = add(store, "1", "a")
    amend(store, amend(store, record, {"kind": "b"}), {"kind": "c"})

    for number, order in enumerate(itertools.permutations(documents(store))):
        other = replayed(store, tmp_path / f"other{number}", list(order), at_once=1)
        assert [found.keyvalues["kind"] for found in other.query({"asset": "qc_report"})] == ["c"]


def test_what_was_taken_back_stays_so_though_it_was_made_twice(tmp_path):
    store = open_store(tmp_path / "store")
    record = add(store, "1", "a")
    run(store, "1", "a")
    retract(store, record)
    assert store.query({"asset": "qc_report"}) == []

    assert replayed(store, tmp_path / "other", documents(store)).query({"asset": "qc_report"}) == []


def test_a_retraction_ends_only_what_it_knew_of(tmp_path):
    """Two machines with the same file: one takes it back, the other, which made it anew, keeps it."""
    first, second = open_store(tmp_path / "first"), open_store(tmp_path / "second")
    record = add(first, "1", "a")
    run(second, "1", "a")
    retract(first, record)

    merged = replayed(first, tmp_path / "merged", documents(first))
    for cid in documents(second):
        merged.ledger.own.add(second.read(cid))
        merged.replay([cid])

    assert [found.id for found in merged.query({"asset": "qc_report"})] == [record.id]
    assert merged.document(merged.query({"asset": "qc_report"})[0].keyvalues["provenance_cid"]).task == "t"


def test_a_document_takes_effect_once(tmp_path):
    store = open_store(tmp_path / "store")
    run(store, "1", "a")
    before = state(store)

    assert store.replay(documents(store)) == 0
    assert state(store) == before


def test_the_memo_answers_with_what_was_replayed_but_not_with_what_strangers_said(tmp_path):
    store = open_store(tmp_path / "store")
    run(store, "1", "a", key="key")
    mine = replayed(store, tmp_path / "mine", documents(store))
    assert mine.remembered("key")

    theirs = open_store(tmp_path / "theirs")
    for cid in documents(store):
        theirs.ledger.foreign.add(store.read(cid))
    theirs.replay(documents(store))
    assert theirs.query({"asset": "qc_report"})
    assert theirs.remembered("key") is None

    again = replayed(theirs, tmp_path / "again", documents(theirs)[::-1])  # as if the index had been lost
    assert again.query({"asset": "qc_report"})
    assert again.remembered("key") is None


def test_provenance_cannot_be_taken_back_or_changed(tmp_path):
    store = open_store(tmp_path / "store")
    add(store, "1", "a")
    (record,) = store.query({"asset": "provenance"})

    with pytest.raises(InvalidAssetError, match="is provenance"):
        retract(store, record)
    with pytest.raises(InvalidAssetError, match="is provenance"):
        amend(store, record, {"task": "x"})
