"""Reading the local store: verified bytes, copies, queries in order, and what a bad record must not break."""

from __future__ import annotations

import datetime
import os
import shutil
import sys
from pathlib import Path

import pytest
from stargazer.assets import AssetNotFoundError, FormatError, IntegrityError, StorageError
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Amendment, Retraction
from stargazer.storage.changes import amend, retract
from stargazer.storage.index.schema import IndexDamaged
from stargazer.storage.ledger import documents
from stargazer.storage.store import Addition, Store, open_store


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def record(store, tmp_path):
    return add(store, tmp_path / "report.txt", "first report")


def add(store: Store, path: Path, text: str, **fields: str):
    path.write_text(text)
    return store.add([Addition(path=path, asset=QcReport(**{"kind": "notes", **fields}))])[0]


def edit(path: Path, text: str) -> None:
    """Change an object against its permissions, keeping its times."""
    before = path.stat()
    path.chmod(0o644)
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(0o444)


def test_an_edited_object_is_an_error_that_names_it(store, record):
    edit(store.read(record.cid), "FIRST REPORT")

    for reader in (store, open_store(store.root)):
        with pytest.raises(IntegrityError, match=record.cid):
            reader.read(record.cid)


def test_a_truncated_object_is_an_error_that_names_it(store, record):
    edit(store.read(record.cid), "")

    with pytest.raises(IntegrityError, match=record.cid):
        store.read(record.cid)


def test_a_damaged_object_is_not_exported(store, record, tmp_path):
    edit(store.read(record.cid), "FIRST REPORT")
    target = tmp_path / "out.txt"
    target.write_text("mine")

    with pytest.raises(IntegrityError, match=record.cid):
        store.export(record.cid, target)

    assert target.read_text() == "mine"


def test_a_touched_object_is_fine_and_remembered(store, record):
    path = store.read(record.cid)
    os.utime(path)

    assert store.read(record.cid) == path
    with store.index.reading() as connection:
        row = connection.execute("SELECT mtime_ns FROM objects WHERE cid = ?", (record.cid,)).fetchone()
    assert row == (path.stat().st_mtime_ns,)


def test_a_copied_store_is_verified_again_and_fine(store, record, tmp_path):
    shutil.copytree(store.root, tmp_path / "copy")
    copy = open_store(tmp_path / "copy")

    assert copy.read(record.cid).read_text() == "first report"
    assert copy.read(record.cid).is_relative_to(tmp_path / "copy")


def test_a_missing_object_is_a_clear_error(store, record):
    store.objects.remove(record.cid)

    with pytest.raises(StorageError, match=f"{record.cid}.*add the file again"):
        store.read(record.cid)
    assert store.query({"cid": record.cid})[0].path is None


@pytest.mark.parametrize("word", ["", "bafkrei", "../../etc/passwd", "Qm" + "a" * 44])
def test_what_is_no_cid_is_a_clear_error(store, word):
    with pytest.raises(StorageError, match="not a CID"):
        store.read(word)


def test_an_export_leaves_nothing_but_the_copy(store, record, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()

    store.export(record.cid, folder / ("x" * 255))

    assert os.listdir(folder) == ["x" * 255]


def test_an_export_onto_a_folder_is_a_clear_error(store, record, tmp_path):
    folder = tmp_path / "out"
    (folder / "inner").mkdir(parents=True)

    with pytest.raises(StorageError, match="inner"):
        store.export(record.cid, folder / "inner")

    assert os.listdir(folder) == ["inner"]


def test_a_document_that_is_none_is_a_clear_error(store, record):
    with pytest.raises(FormatError, match=record.cid):
        store.document(record.cid)


def test_records_are_oldest_first_although_the_clock_goes_backwards(store, tmp_path, monkeypatch):

    times = iter(range(1000, 0, -1))

    class Backwards(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(next(times), tz)

    monkeypatch.setattr(documents.datetime, "datetime", Backwards)
    for number in range(5):
        add(store, tmp_path / f"{number}.txt", f"report {number}")

    records = store.query({"asset": "qc_report"})

    assert [record.name for record in records] == [f"{number}.txt" for number in range(5)]
    assert [r.created_at for r in records] == sorted((r.created_at for r in records), reverse=True)


def test_an_amended_record_keeps_its_place(store, tmp_path):
    records = [add(store, tmp_path / f"{n}.txt", f"report {n}") for n in range(3)]

    amend(store, records[0], {"sample": "NA12878"})

    assert [r.name for r in store.query({"asset": "qc_report"})] == ["0.txt", "1.txt", "2.txt"]


def test_a_record_of_another_program_breaks_no_query(store, record):
    pending = {"id": "x", "cid": "pending", "name": "n", "size": 0, "created_at": "", "keyvalues": {}}
    store.index.table("records").insert(pending)

    assert [found.cid for found in store.query({})][-1] == "pending"
    assert store.query({"asset": "qc_report"}) == [record]


def test_ten_thousand_records_are_found_without_looking_at_each_file_for_long(store):
    """Not timed: a look-up of one record must not read the others, and all of them must come."""
    cids = [f"bafkrei{number:052d}" for number in range(10_000)]
    store.index.table("records").insert_multiple(
        {"id": cid, "cid": cid, "name": "n", "size": 1, "created_at": "", "keyvalues": {"asset": "r1"}}
        for cid in cids
    )

    assert [found.cid for found in store.query({"asset": "r1"})] == cids
    assert [found.cid for found in store.query({"cid": cids[5_000]})] == [cids[5_000]]


def test_an_amendment_names_the_record_and_what_made_it(store, record):
    changed = amend(store, record, {"kind": "flagstat", "sample": "NA12878"})

    (cid,) = store.documents(record.cid, "amended")
    document = store.document(cid)
    assert isinstance(document, Amendment)
    assert document.record == record.id != changed.id
    assert document.made_by == record.keyvalues["provenance_cid"] == changed.keyvalues["provenance_cid"]
    assert document.cid == record.cid
    assert document.keyvalues == {"asset": "qc_report", "kind": "flagstat", "sample": "NA12878"}


def test_a_retraction_names_the_record_and_what_made_it(store, record):
    retract(store, record)

    (cid,) = store.documents(record.cid, "retracted")
    document = store.document(cid)
    assert isinstance(document, Retraction)
    assert (document.record, document.cid) == (record.id, record.cid)
    assert document.made_by == record.keyvalues["provenance_cid"]
    assert store.query({"asset": "qc_report"}) == []
    assert store.read(record.cid).read_text() == "first report"


def test_an_amendment_that_says_nothing_new_is_not_written_down(store, record):
    assert amend(store, record, {"kind": "notes"}) == record
    assert store.documents(record.cid, "amended") == []


def test_a_change_of_a_record_that_somebody_else_changed_is_refused_and_leaves_nothing(store, record):
    other = open_store(store.root)
    amend(other, record, {"kind": "flagstat"})
    before = sorted(store.root.glob("objects/*/*"))

    for change in (lambda: amend(store, record, {"kind": "stats"}), lambda: retract(store, record)):
        with pytest.raises(AssetNotFoundError, match=record.id):
            change()

    assert sorted(store.root.glob("objects/*/*")) == before
    assert [found.keyvalues["kind"] for found in store.query({"asset": "qc_report"})] == ["flagstat"]


def test_an_object_that_is_as_it_was_is_not_read(store, record):
    opened: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    path = store.read(record.cid)
    assert str(path) not in opened

    os.utime(path)
    store.read(record.cid)
    watching = False
    assert str(path) in opened


def test_a_record_that_is_not_whole_is_damage_and_says_so(store, record):
    with store.index.transaction() as connection:
        connection.execute("UPDATE docs SET body = replace(body, '\"created_at\"', '\"created_bt\"')")

    with pytest.raises(IndexDamaged, match="stargazer fsck"):
        store.query({})


def test_what_records_have_under_a_key_is_looked_up(store, tmp_path):
    for name, sample in (
        ("a", "NA12878"),
        ("b", "NA12891"),
        ("c", "NA12891"),
        ("d", "Größe"),
    ):
        add(store, tmp_path / name, name, sample=sample)
    assert store.values("sample") == ["Größe", "NA12878", "NA12891"]
    assert store.values("sample", "NA128") == ["NA12878", "NA12891"]
    assert store.values("sample", "NA128", 1) == ["NA12878"]
    assert store.values("sample", "NA12878") == ["NA12878"]
    assert store.values("lane") == store.values("sample", "x") == []
    cid = store.query({"sample": "Größe"})[0].cid
    assert store.values("cid", cid[:30]) == [cid]
    amend(store, store.query({"sample": "Größe"})[0], {"sample": "NA12892"})
    assert store.values("sample") == ["NA12878", "NA12891", "NA12892"]
    assert store.values("cid", cid[:30]) == [cid]
