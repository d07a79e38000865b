"""Store.add: all or nothing, links between files, what is new, and every way a file can be bad."""

from __future__ import annotations

import gzip
import os
import re
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from stargazer.assets import FormatError, InvalidAssetError, StorageError
from stargazer.assets.catalogue import R1, R2, ProvenanceDocument, QcReport, Reference
from stargazer.assets.provenance import Import
from stargazer.storage.changes import amend
from stargazer.storage.cid import compute_cid
from stargazer.storage.maintenance import fsck
from stargazer.storage.store import Addition, Store, open_store

from .upkeep_store import lose_index

FASTQ = "@read1\nACGT\n+\nIIII\n"


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def write(path: Path, text: str = FASTQ) -> Path:
    path.write_text(text)
    return path


def reads(path: Path, **fields: str) -> Addition:
    return Addition(path=path, asset=R1(**{"sample": "NA12878", **fields}))


def state(store: Store) -> tuple[set[str], list[Path]]:
    """The ids of all records, and all files but those of the index."""
    files = [path for path in store.root.rglob("*") if path.is_file() and path.parent != store.root]
    return {record.id for record in store.query({})}, sorted(files)


def document(store: Store, cid: str) -> Import:
    (provenance_cid,) = store.documents(cid)
    found = store.document(provenance_cid)
    assert isinstance(found, Import)
    return found


def test_records_come_in_the_order_given(store, tmp_path):
    paths = [write(tmp_path / f"{name}.fq", f"@{name}\nA\n+\nI\n") for name in "cab"]

    records = store.add([reads(path, lane=path.stem) for path in paths])

    assert [record.name for record in records] == ["c.fq", "a.fq", "b.fq"]
    assert [record.cid for record in records] == [compute_cid(path) for path in paths]


def test_one_command_is_one_provenance_document(store, tmp_path):
    paths = [write(tmp_path / f"{name}.fq", f"@{name}\nA\n+\nI\n") for name in "ab"]

    first, second = store.add([reads(path) for path in paths], command="add")

    assert first.keyvalues["provenance_cid"] == second.keyvalues["provenance_cid"]
    found = document(store, first.cid)
    assert [(entry.cid, entry.origin) for entry in found.files] == [(first.cid, "a.fq"), (second.cid, "b.fq")]
    assert found.files[0].keyvalues == {"asset": "r1", "sample": "NA12878", "platform": "ILLUMINA"}
    assert (found.command, found.at[-1]) == ("add", "Z")


def test_links_between_files_of_one_command_become_cids(store, tmp_path):
    first, second = write(tmp_path / "1.fq"), write(tmp_path / "2.fq", FASTQ.replace("ACGT", "TTTT"))
    r1 = R1(sample="NA12878")
    r2 = R2(sample="NA12878", r1_cid=r1)

    mate, forward = store.add([Addition(path=second, asset=r2), Addition(path=first, asset=r1)])

    assert mate.keyvalues["r1_cid"] == forward.cid == compute_cid(first)


def test_a_link_to_what_is_not_stored_is_refused_before_anything_is_copied(store, tmp_path):
    r2 = R2(sample="NA12878", r1_cid=R1(sample="NA12878"))

    with pytest.raises(InvalidAssetError, match=r"r1_cid.*not stored"):
        store.add([reads(write(tmp_path / "1.fq")), Addition(path=write(tmp_path / "2.fq"), asset=r2)])

    assert state(store) == (set(), [])


def test_a_second_time_is_no_new_record_and_no_new_provenance(store, tmp_path):
    path = write(tmp_path / "a.fq")
    first = store.add([reads(path)])
    before = state(store)

    assert store.add([reads(path)]) == first
    assert state(store) == before
    assert len(store.documents(first[0].cid)) == 1


def test_only_what_is_new_is_in_the_provenance(store, tmp_path):
    old, new = write(tmp_path / "old.fq"), write(tmp_path / "new.fq", FASTQ * 2)
    store.add([reads(old)])

    _, record = store.add([reads(old), reads(new)])

    assert [entry.cid for entry in document(store, record.cid).files] == [record.cid]


def test_the_same_twice_in_one_command_is_one_record(store, tmp_path):
    one, two = write(tmp_path / "one.fq"), write(tmp_path / "two.fq")

    first, second = store.add([reads(one), reads(two)])

    assert first == second
    assert len(document(store, first.cid).files) == 1


def test_nothing_is_no_error(store):
    assert store.add([]) == []


def test_a_thousand_files_are_one_document(store, tmp_path):
    paths = [write(tmp_path / f"{n}.fq", f"@{n}\nA\n+\nI\n") for n in range(300)]

    records = store.add([reads(path, lane=path.stem) for path in paths])

    assert len({record.id for record in records}) == 300
    assert len({record.keyvalues["provenance_cid"] for record in records}) == 1
    assert store.objects.verify(records[299].cid)


def test_no_path_and_no_secret_of_an_origin_is_written_down(store, tmp_path):
    origins = {
        "": "0.fq",
        "/home/alice/private/patient.fq": "patient.fq",
        "https://user:pass@example.org:8443/r/x.fq.gz?X-Amz-Signature=1&t=2#f": "https://example.org:8443/r/x.fq.gz",
        "ftp://ftp.example.org/x.fq": "ftp://ftp.example.org/x.fq",
    }
    items = [
        Addition(path=write(tmp_path / f"{n}.fq", f"@{n}\nA\n+\nI\n"), asset=R1(sample="s"), origin=origin)
        for n, origin in enumerate(origins)
    ]

    records = store.add(items)

    found = document(store, records[0].cid)
    assert [entry.origin for entry in found.files] == list(origins.values())
    text = store.read(records[0].keyvalues["provenance_cid"]).read_text()
    for secret in (str(tmp_path), str(store.root), "alice", "pass", "Signature"):
        assert secret not in text


def test_a_name_that_is_no_text_is_escaped(store, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.fq"))
    write(path)

    (record,) = store.add([reads(path)])

    assert record.name == "caf\\xe9.fq"
    assert document(store, record.cid).files[0].origin == "caf\\xe9.fq"


def bad_file(folder: Path, kind: str) -> Path:
    path = folder / f"{kind} 'file'.fq"
    match kind:
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "dangling link":
            path.symlink_to(folder / "nowhere")
        case "link to itself":
            path.symlink_to(path)
        case "below a file":
            return write(folder / "file.fq") / "below.fq"
        case "not FASTQ":
            path.write_text("hello\nworld\n")
        case "truncated gzip":
            path.write_bytes(gzip.compress(FASTQ.encode() * 100)[:-10])
        case "name too long":
            return folder / ("n" * 256)
        case "name with a null":
            return folder / "a\0b"
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "empty",
        "folder",
        "pipe",
        "dangling link",
        "link to itself",
        "below a file",
        "not FASTQ",
        "truncated gzip",
        "name too long",
        "name with a null",
    ],
)
def test_one_bad_file_of_three_leaves_the_store_as_it_was(store, tmp_path, kind):
    store.add([reads(write(tmp_path / "before.fq", FASTQ * 3))])
    before = state(store)
    good = [write(tmp_path / "1.fq"), write(tmp_path / "2.fq", FASTQ * 2)]
    bad = bad_file(tmp_path, kind)

    with pytest.raises(FormatError) as error:
        store.add([*map(reads, good), reads(bad)])

    assert repr(str(bad)) in str(error.value) or repr(bad.name) in str(error.value)
    assert state(store) == before


def test_metadata_that_is_wrong_is_refused_before_anything_is_copied(store, tmp_path):
    wrong = R1(sample="NA12878")
    wrong.lane = 5  # type: ignore[assignment]

    with pytest.raises(InvalidAssetError, match="lane"):
        store.add([reads(write(tmp_path / "1.fq")), Addition(path=write(tmp_path / "2.fq"), asset=wrong)])

    assert not store.root.exists()
    assert state(store) == (set(), [])


def test_a_link_is_followed(store, tmp_path):
    write(tmp_path / "real.fq")
    (tmp_path / "link.fq").symlink_to("real.fq")

    (record,) = store.add([reads(tmp_path / "link.fq")])

    assert record.name == "link.fq"
    assert not store.read(record.cid).is_symlink()


def test_a_file_that_grows_while_it_is_added_is_refused(store, tmp_path):
    path = tmp_path / "growing.fa"
    path.write_bytes(b">c\n" + b"ACGTACGTACGTACG\n" * (6 << 16))
    growing = threading.Event()

    def grow() -> None:
        with open(path, "ab", buffering=0) as file:
            while not growing.is_set():
                file.write(b"ACGTACGTACGTACG\n")
                time.sleep(0.0005)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(StorageError, match=r"growing\.fa.*changed"):
            store.add([Addition(path=path, asset=Reference(build="x"))])
    finally:
        growing.set()
        writer.join()

    assert state(store) == (set(), [])


def test_a_store_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    store = open_store(tmp_path / "file" / "store")

    with pytest.raises(StorageError, match=r"file/store"):
        store.add([reads(write(tmp_path / "a.fq"))])


def test_adding_heals_a_damaged_object(store, tmp_path):
    path = write(tmp_path / "a.fq")
    (record,) = store.add([reads(path)])
    target = store.objects.path(record.cid)
    target.chmod(0o644)
    target.write_text(FASTQ.replace("ACGT", "TTTT"))

    store.add([reads(path)])

    assert store.read(record.cid).read_text() == FASTQ


def test_threads_may_add_the_same_and_different_files_at_once(store, tmp_path):
    paths = [write(tmp_path / f"{n}.fq", f"@{n % 5}\nA\n+\nI\n") for n in range(20)]
    threads = [threading.Thread(target=store.add, args=([reads(path)],)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(store.query({"asset": "r1"})) == 5
    assert list((store.root / "tmp").iterdir()) == []


def test_a_file_that_looks_like_provenance_is_just_a_file(store, tmp_path):
    """What it says is not heard, also not by an index that is made again."""
    (record,) = store.add([reads(write(tmp_path / "a.fq"))])
    genuine = store.read(record.keyvalues["provenance_cid"]).read_bytes()
    forged = tmp_path / "forged.txt"
    forged.write_bytes(genuine.replace(b"NA12878", b"NA12879"))

    (added,) = store.add([Addition(path=forged, asset=QcReport(kind="x"))])
    before = store.query({})
    lose_index(store)

    assert fsck(store).ok
    assert store.query({}) == before
    assert store.query({"sample": "NA12879"}) == []
    assert store.read(added.cid).read_bytes() == forged.read_bytes()


def test_nobody_adds_provenance(store, tmp_path):
    (record,) = store.add([reads(write(tmp_path / "a.fq"))])
    copy = tmp_path / "document.json"
    copy.write_bytes(store.read(record.keyvalues["provenance_cid"]).read_bytes())

    with pytest.raises(InvalidAssetError, match="provenance is written by the store alone"):
        store.add([Addition(path=copy, asset=ProvenanceDocument(kind="import"))])
    with pytest.raises(InvalidAssetError, match="provenance is written by the store alone"):
        amend(
            store,
            record,
            {key: None for key in record.keyvalues if key != "provenance_cid"}
            | {"asset": "provenance", "kind": "import"},
        )


def test_one_new_file_takes_at_most_six_selects(store, tmp_path, monkeypatch):
    said: list[str] = []
    connect = sqlite3.connect

    def traced(*args, **named):
        connection = connect(*args, **named)
        connection.set_trace_callback(said.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    first, second = (write(tmp_path / name, f"{name}\n") for name in ("first.txt", "second.txt"))
    for path in (first, second):  # long ago: the stat cache is asked for a file that may be known
        os.utime(path, (1e9, 1e9))
    monkeypatch.setattr("stargazer.storage.statcache.SETTLED", 0)
    store.add([Addition(path=first, asset=QcReport(kind="counts", sample="NA12878"))])
    said.clear()

    (record,) = store.add([Addition(path=second, asset=QcReport(kind="counts", sample="NA12878"))])

    selects = [
        " ".join(text.split()) for text in said if re.match(r"\s*(SELECT|WITH)\b", text, re.IGNORECASE)
    ]
    assert any("INSERT INTO docs" in text for text in said)
    assert len(selects) <= 6, "\n".join(selects)
    assert record.cid == compute_cid(second)
