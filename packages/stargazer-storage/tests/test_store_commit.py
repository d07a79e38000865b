"""Store.commit: outputs, provenance, edges and memo at once; and the memo that only knows what is there."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from stargazer.assets import Asset, InvalidAssetError, StorageError
from stargazer.assets.catalogue import Alignment, DuplicateMetrics, QcReport, Reference
from stargazer.assets.provenance import Entry, Execution
from stargazer.storage.changes import amend, retract
from stargazer.storage.cid import compute_cid
from stargazer.storage.store import Addition, Store, now, open_store

BAM = gzip.compress(b"BAM\x01") + bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def reference(store, tmp_path):
    (tmp_path / "ref.fa").write_text(">c\nACGT\n")
    (record,) = store.add([Addition(path=tmp_path / "ref.fa", asset=Reference(build="x"))])
    return Asset.from_record(record)


def result(store: Store, text: str, **fields: object) -> QcReport:
    path = store.objects.work / f"{abs(hash(text))}.txt"
    path.write_text(text)
    return QcReport(path=path, **{"kind": "flagstat", **fields})


def execution(*inputs: Asset, key: str = "key", task: str = "flagstat") -> Execution:
    entries = [Entry(role=f"in{n}", cid=a.cid or "", keyvalues=a.keyvalues) for n, a in enumerate(inputs)]
    return Execution(task=task, run_key=key, inputs=entries, finished=now())


def state(store: Store) -> tuple[list[str], list[str]]:
    objects = [path.name for path in store.root.glob("objects/*/*")]
    return [record.id for record in store.query({})], sorted(objects)


def test_results_are_moved_in_with_their_provenance(store, reference):
    report = result(store, "10 reads", sample="NA12878")
    work = report.path

    done = store.commit(execution(reference), [("report", report)])

    assert not work.exists()
    assert report.path == store.objects.path(report.cid)
    assert report.path.read_text() == "10 reads"
    (record,) = store.query({"asset": "qc_report"})
    assert report.record == record
    (provenance_cid,) = store.documents(report.cid)
    assert report.provenance_cid == record.keyvalues["provenance_cid"] == provenance_cid
    assert store.document(provenance_cid) == done
    assert store.documents(reference.cid, "input") == [provenance_cid]
    (provenance,) = store.query({"asset": "provenance", "kind": "execution"})
    assert provenance.keyvalues == {
        "asset": "provenance", "kind": "execution", "task": "flagstat", "run_key": "key",
    }  # fmt: skip


def test_outputs_are_named_in_full(store):
    report = result(store, "10 reads", sample="NA12878")

    (entry,) = store.commit(execution(), [("report", report)]).outputs

    assert entry == Entry(
        role="report", cid=report.cid, name="qc_report.txt", size=8,
        keyvalues={"asset": "qc_report", "kind": "flagstat", "sample": "NA12878"},
    )  # fmt: skip


def test_links_between_results_become_cids(store):
    bam = Alignment(path=store.objects.work / "x.bam", sample="NA12878")
    bam.path.write_bytes(BAM)
    metrics = DuplicateMetrics(path=store.objects.work / "m.txt", alignment_cid=bam, sample="NA12878")
    metrics.path.write_text("## METRICS\n")

    store.commit(execution(), [("metrics", metrics), ("bam", bam)])

    assert metrics.alignment_cid == bam.cid
    assert store.query({"asset": "duplicate_metrics"})[0].keyvalues["alignment_cid"] == bam.cid


def test_a_computation_again_adds_no_record_and_keeps_the_first_provenance(store):
    first, second = result(store, "same"), None
    store.commit(execution(key="a"), [("report", first)])
    second = result(store, "same")

    store.commit(execution(key="b"), [("report", second)])

    assert second.record == first.record
    assert second.provenance_cid == first.provenance_cid
    assert len(store.documents(first.cid)) == 2
    assert {store.remembered(key)[0] for key in "ab"} == set(store.documents(first.cid))


def test_a_result_may_be_an_input_handed_on(store, reference):
    done = store.commit(execution(reference), [("reference", reference)])

    assert [entry.cid for entry in done.outputs] == [reference.cid]
    assert done.outputs[0].name == "ref.fa"
    assert len(store.query({"asset": "reference"})) == 1
    assert store.remembered("key")[1] == done


def test_an_input_handed_on_with_another_meaning_is_a_record_of_its_own(store, reference):
    other = attrs.evolve(reference, build="y", record=None, provenance_cid=None)

    store.commit(execution(reference), [("reference", other)])

    assert [r.keyvalues["build"] for r in store.query({"cid": reference.cid})] == ["x", "y"]
    assert store.remembered("key")


def test_one_result_under_two_names_is_one_record(store):
    report = result(store, "twice")

    done = store.commit(execution(), [("a", report), ("b", report)])

    assert [entry.role for entry in done.outputs] == ["a", "b"]
    assert len(store.query({"asset": "qc_report"})) == 1


def test_one_file_may_be_two_assets(store):
    report = result(store, "twice")
    other = attrs.evolve(report, kind="stats")

    store.commit(execution(), [("a", report), ("b", other)])

    assert report.cid == other.cid == compute_cid(report.path)
    assert len(store.query({"asset": "qc_report"})) == 2


def test_no_results_are_provenance_all_the_same(store):
    assert store.commit(execution(), []).outputs == []
    assert store.remembered("key")


@pytest.mark.parametrize("wrong", ["no path", "no file", "bad metadata", "foreign link"])
def test_one_wrong_result_leaves_the_store_as_it_was(store, wrong):
    good, bad = result(store, "good"), result(store, "bad")
    match wrong:
        case "no path":
            bad.path = None
        case "no file":
            bad.path.unlink()
        case "bad metadata":
            bad.sample = 5  # type: ignore[assignment]
        case "foreign link":
            bad.alignment_cid = Alignment(sample="elsewhere")

    with pytest.raises((InvalidAssetError, StorageError)):
        store.commit(execution(), [("good", good), ("bad", bad)])

    assert state(store) == ([], [])
    assert store.remembered("key") is None


def test_without_a_key_nothing_is_remembered(store):
    store.commit(execution(key=""), [("report", result(store, "x"))])

    assert store.remembered("") is None


def test_a_result_is_remembered_only_while_all_its_records_are_there(store):
    one, two = result(store, "one"), result(store, "two")
    done = store.commit(execution(), [("one", one), ("two", two)])
    assert store.remembered("key") == (one.provenance_cid, done)

    retract(store, two.record)

    assert store.remembered("key") is None


def test_a_result_without_its_bytes_is_remembered(store):
    report = result(store, "x")
    store.commit(execution(), [("report", report)])
    store.objects.remove(report.cid)

    assert store.remembered("key")


def test_a_result_without_its_provenance_is_not_remembered(store):
    report = result(store, "x")
    store.commit(execution(), [("report", report)])
    store.ledger.remove(report.provenance_cid)

    assert store.remembered("key") is None


def test_an_amended_result_is_not_remembered(store):
    report = result(store, "x")
    store.commit(execution(), [("report", report)])

    amend(store, report.record, {"sample": "NA12878"})

    assert store.remembered("key") is None


def test_the_last_computation_is_the_one_remembered(store):
    store.commit(execution(), [("report", result(store, "old"))])
    new = result(store, "new")
    store.commit(execution(), [("report", new)])

    assert store.remembered("key")[0] == new.provenance_cid


def test_another_process_remembers(store):
    store.commit(execution(), [("report", result(store, "x"))])

    assert open_store(store.root).remembered("key") == store.remembered("key")
    assert open_store(store.root).remembered("other") is None


COMMIT = """
import sys
from pathlib import Path
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Execution
from stargazer.storage.store import open_store

store = open_store(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    results = []
    for name in ("one", "two"):
        path = store.objects.work / f"{name}{number}"
        path.write_text(path.name)
        results.append((name, QcReport(path=path, kind=name)))
    store.commit(Execution(task="t", run_key=str(number)), results)
"""


@pytest.mark.debian("strace")
def test_an_execution_with_two_results_is_durable_after_ten_syncs_of_the_disk(tmp_path: Path) -> None:
    def syncs(executions: int) -> int:
        log = tmp_path / f"log{executions}"
        traced = ["strace", "-f", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs", "-o", str(log)]
        store = tmp_path / f"store{executions}"
        subprocess.run([*traced, sys.executable, "-c", COMMIT, str(store), str(executions)], check=True)
        return sum("sync" in line for line in log.read_text().splitlines())

    assert 4 <= syncs(3) - syncs(2) <= 10
