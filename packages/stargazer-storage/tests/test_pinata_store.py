"""A store and its account: local first, one identity on both sides, nothing lost or doubled whatever fails."""

from __future__ import annotations

import asyncio
import threading
import warnings

import attrs
import pytest
from stargazer.assets import Alignment, Asset, ConfigurationError, IpFile, Reference, StorageError
from stargazer.assets.provenance import Entry, Execution
from stargazer.storage import bundles
from stargazer.storage.bundles import find_bundle
from stargazer.storage.changes import amend, retract, supersede, trust
from stargazer.storage.cid import compute_cid
from stargazer.storage.client import LocalStorageClient
from stargazer.storage.lineage import why
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.pinata.remote import account_of, pull, push
from stargazer.storage.pinata.upload import Upload
from stargazer.storage.store import Addition, open_store

from .pinata_store import make_store
from .upkeep_store import lose_index

pytestmark = pytest.mark.filterwarnings("ignore")

FASTA = b">chr1\nACGTACGTNN\n"


def add(store, content: bytes = FASTA, name: str = "GRCh38.fa", build: str = "GRCh38", **options) -> IpFile:
    path = store.root.parent / f"{store.root.name}-{name}"
    path.write_bytes(content)
    (record,) = store.add([Addition(path, Reference(build=build), name=name, **options)])
    return record


def run(store, source: IpFile, content: bytes = b"BAM", key: str = "key") -> Alignment:
    """What a task makes of a reference."""
    path = store.objects.work / f"made-{threading.get_ident()}.bam"
    path.write_bytes(content)
    pairs = dict(source.keyvalues)
    made_by = pairs.pop("provenance_cid", "")
    made = Alignment(sample="NA12878", reference_cid=source.cid, path=path)
    execution = Execution(
        task="align",
        run_key=key,
        inputs=[Entry(role="reference", cid=source.cid, keyvalues=pairs, provenance_cid=made_by)],
        started="2026-11-23T10:00:00Z",
        finished="2026-11-23T10:00:01Z",
        result=0,
    )
    store.commit(execution, [("alignment", made)])
    return made


def kinds(pinata) -> list[str]:
    return sorted(file["keyvalues"]["asset"] for file in pinata.files)


def test_asking_for_superseded_ones_passes_over_nothing_that_only_the_account_has(here, there):
    found = add(here)

    for value, expected in (("false", [found.id]), ("true", [])):
        records = there.query({"asset": "reference", "superseded": value})
        assert [record.id for record in records] == expected


def listed(store, **filters) -> list[str]:
    store.remote.listing.forget()
    return [record.id for record in store.query(filters)]


def test_what_is_added_is_there_with_its_provenance_under_the_same_cid(here, pinata):
    record = add(here)

    assert kinds(pinata) == ["provenance", "reference"]
    (file,) = [file for file in pinata.files if file["keyvalues"]["asset"] == "reference"]
    assert file["cid"] == record.cid
    assert file["keyvalues"] == dict(record.keyvalues)
    assert file["network"] == "private"
    assert here.outbox.waiting() == []


def test_provenance_goes_last(here, pinata):
    add(here)

    uploads = [e.headers for e in pinata.matching("POST /v3/files$")]
    assert len(uploads) == 2
    assert [file["keyvalues"]["asset"] for file in pinata.files] == ["reference", "provenance"]


def test_another_machine_finds_it_and_reads_verified_bytes(here, there, pinata):
    record = add(here)

    (found,) = there.query({"asset": "reference", "build": "GRCh38"})
    path = there.read(found.cid)

    assert (found.id, found.cid, found.path) == (record.id, record.cid, None)
    assert path.read_bytes() == FASTA
    assert compute_cid(path) == record.cid


def test_what_is_here_is_never_downloaded_nor_asked_for(here, pinata):
    record = add(here)
    before = len(pinata.requests)

    assert here.read(record.cid).read_bytes() == FASTA
    assert len(pinata.requests) == before


def test_public_is_said_for_each_file(here, there, pinata):
    private, public = add(here), add(here, b">chr2\nA\n", "b.fa", "b", public=True)

    there.remote.listing.forget()
    assert [record.cid for record in there.query({"asset": "reference"}, public=True)] == [public.cid]
    assert [record.cid for record in there.query({"asset": "reference"}, public=False)] == [private.cid]
    assert {record.cid for record in here.query({"asset": "reference"})} == {private.cid, public.cid}
    assert there.read(public.cid).exists()
    assert pinata.matching(f"GET /ipfs/{public.cid}")


def test_adding_again_as_public_publishes_the_same_record(here, pinata):
    first = add(here)
    again = add(here, public=True)

    networks = sorted(file["network"] for file in pinata.files if file["cid"] == first.cid)
    assert networks == ["private", "public"]
    assert again.id == first.id
    assert again.public


def test_provenance_is_private_even_if_files_are_public(tmp_path, pinata):
    store = make_store(tmp_path / "s", pinata, public=True)
    add(store)

    assert {(file["keyvalues"]["asset"], file["network"]) for file in pinata.files} == {
        ("reference", "public"),
        ("provenance", "private"),
    }


def test_nothing_fails_because_the_service_is_down_and_push_completes_it(here, there, pinata):
    pinata.stop()
    record = add(here)
    made = run(here, record)
    here.hand_over([made.record])
    assert here.query({"asset": "reference"})[0].id == record.id
    assert {item.rank for item in here.outbox.waiting()} == {0, 1}
    assert kinds(pinata) == []

    pinata.start()
    sent = push(here)

    assert sent.left == []
    assert kinds(pinata) == ["alignment", "provenance", "provenance", "reference"]
    assert listed(there, asset="alignment") == [made.record.id]


def test_an_outage_in_the_middle_loses_and_doubles_nothing(here, pinata):
    pinata.fault("POST /v3/files$", lost=True)  # done, but the answer never came
    record = add(here)
    assert here.outbox.waiting()

    sent = push(here)

    assert sent.left == []
    assert kinds(pinata) == ["provenance", "reference"]
    assert pinata.content(record.cid) == FASTA


def test_a_refused_upload_keeps_no_other(here, pinata):
    pinata.fault("POST /v3/files$", status=403, times=1)
    first = add(here)
    assert [item.error for item in here.outbox.waiting() if item.record == first.id] != [""]

    add(here, b">chr2\nA\n", "b.fa", "b")  # sends everything that waits

    assert here.outbox.waiting() == []
    assert kinds(pinata) == ["provenance", "provenance", "reference", "reference"]


def test_provenance_waits_for_files_that_could_not_be_sent(here, there, pinata):
    pinata.fault("POST /v3/files$", status=403, times=1)
    add(here)

    assert kinds(pinata) == []
    assert listed(there) == []


def test_a_file_whose_provenance_is_still_on_its_way_is_passed_over(here, there, pinata):
    pinata.fault("POST /v3/files$", status=503, nth=2, times=None)
    record = add(here)

    assert kinds(pinata) == ["reference"]
    assert listed(there, asset="reference") == []
    pinata.faults.clear()
    push(here)
    assert listed(there, asset="reference") == [record.id]


def test_intermediates_stay_and_results_go(here, pinata):
    source = add(here)
    made = run(here, source)
    assert kinds(pinata) == ["provenance", "reference"]

    here.hand_over([made.record])

    assert kinds(pinata) == ["alignment", "provenance", "provenance", "reference"]
    intermediate = run(here, source, b"other", key="other")
    here.remote.send(here)
    assert kinds(pinata).count("alignment") == 1
    assert kinds(pinata).count("provenance") == 3
    assert intermediate.cid not in {file["cid"] for file in pinata.files}


def test_in_the_cloud_a_task_ends_only_when_its_results_are_up(tmp_path, pinata):
    store = make_store(tmp_path / "cloud", pinata, sends_results=True)
    source = add(store)
    made = run(store, source)
    assert made.cid in {file["cid"] for file in pinata.files}

    pinata.stop()
    with pytest.raises(StorageError, match="its results are not on Pinata"):
        run(store, source, b"other", key="other")


def test_the_memo_of_another_machine_answers(here, there, pinata):
    source = add(here)
    made = run(here, source)
    here.hand_over([made.record])

    cid, execution = there.remembered("key")

    assert cid == made.provenance_cid
    assert [entry.cid for entry in execution.outputs] == [made.cid]
    assert there.objects.stat(made.cid) is None
    assert there.read(made.cid).read_bytes() == b"BAM"
    assert there.remembered("another") is None


def test_what_a_stranger_did_is_no_answer_on_another_machine_either_until_it_is_trusted(
    here, there, tmp_path
):
    stranger = open_store(tmp_path / "stranger")
    theirs = run(stranger, add(stranger), key="theirs")
    bundles.make(stranger, "calls", [theirs.record], tmp_path / "out")
    bundle = find_bundle(str(tmp_path / "out"), here.root)
    (record,) = bundles.fetch(here, bundle, records_only=True).records
    mine = run(here, record, b"from theirs", key="mine")
    here.hand_over([mine.record])

    assert there.remembered("mine") is not None
    assert there.remembered("theirs") is None
    there.remote.take_over(there, there.query({"cid": mine.cid}))
    assert there.remembered("theirs") is None
    document = record.keyvalues["provenance_cid"]
    assert not there.is_trusted(document)

    trust(here, [document])
    here.remote.send(here)
    there.remote.listing.forget()
    there.remote.take_over(there, there.query({"cid": mine.cid}))

    assert there.is_trusted(document)
    assert there.remembered("theirs") is not None


def test_what_a_stranger_did_is_no_answer_on_another_machine_of_the_account_until_it_is_trusted(
    here, there, tmp_path, pinata
):
    stranger = open_store(tmp_path / "stranger")
    theirs = run(stranger, add(stranger), key="theirs")
    bundles.make(stranger, "calls", [theirs.record], tmp_path / "out")
    (record,) = bundles.fetch(here, find_bundle(str(tmp_path / "out"), here.root), records_only=True).records
    here.hand_over([run(here, record, b"from theirs", key="mine").record])
    document = record.keyvalues["provenance_cid"]

    assert why(there, document)
    assert not there.ledger.is_own(document)
    for _ in range(2):
        assert there.remembered("theirs") is None
        assert there.remembered("mine") is not None
        lose_index(there)
        assert fsck(there).ok

    trust(there, [document])
    assert there.remembered("theirs") is not None


def test_why_is_answered_from_the_account(here, there):
    made = run(here, add(here))
    here.hand_over([made.record])

    step = why(there, made.cid)

    assert step.document.task == "align"
    assert step.inputs[0].document.command == "add"


def test_metadata_changed_here_is_changed_there_without_sending_bytes(here, there, pinata):
    record = add(here)
    sent = pinata.received("POST /v3/files$")
    changed = amend(here, record, {"build": "hg38"})

    assert listed(there, asset="reference") == [changed.id]
    assert there.query({"build": "hg38"})[0].keyvalues == changed.keyvalues
    assert pinata.received("POST /v3/files$") - sent < 2000  # the amendment itself
    assert kinds(pinata) == ["provenance", "provenance", "reference"]


def test_a_record_taken_back_here_is_removed_there_and_no_other(here, there, pinata):
    first = add(here)
    second = add(here, build="hg38")
    retract(here, first)

    assert listed(there, asset="reference") == [second.id]
    assert [file["keyvalues"]["build"] for file in pinata.files if "build" in file["keyvalues"]] == ["hg38"]


def test_what_is_taken_back_while_the_service_is_down_is_gone_here_at_once_and_there_later(
    here, there, pinata
):
    first, second = add(here), add(here, b">chr2\nA\n", "b.fa", "b")
    pinata.stop()
    retract(here, first)
    changed = amend(here, second, {"build": "c"})
    assert listed(here, asset="reference") == [changed.id]
    pinata.start()
    here.remote.listing.forget()
    assert listed(here, asset="reference") == [changed.id]  # though the account still lists the old ones

    push(here)

    assert listed(there, asset="reference") == [changed.id]


def test_stale_listings_bring_nothing_back(here, pinata):
    record = add(here)
    pinata.set(stale_deleted=5)
    retract(here, record)

    assert listed(here, asset="reference") == []


def test_another_machines_record_can_be_changed_and_removed(here, there, pinata):
    add(here)
    (found,) = there.query({"asset": "reference"})

    changed = amend(there, found, {"build": "hg38"})
    assert listed(there, asset="reference") == [changed.id]
    retract(there, changed)

    assert listed(there, asset="reference") == []
    assert "reference" not in kinds(pinata)


def test_files_of_other_programs_in_the_account_are_no_records(here, pinata, tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(b"jpg")
    Upload(
        here.remote.api,
        path,
        cid=compute_cid(path),
        name="holiday.jpg",
        keyvalues={"album": "x"},
        public=False,
    ).run()

    assert listed(here) == []


def test_a_record_of_another_client_without_provenance_is_found_and_pulled(here, pinata, tmp_path):
    path = tmp_path / "x.fa"
    path.write_bytes(FASTA)
    pairs = {"asset": "reference", "build": "T2T"}
    Upload(here.remote.api, path, cid=compute_cid(path), name="x.fa", keyvalues=pairs, public=False).run()

    (found,) = here.query({"build": "T2T"})
    pulled = pull(here, [found])

    assert pulled.failed == {}
    assert here.read_here(found.cid).read_bytes() == FASTA
    pinata.stop()
    assert listed(here, build="T2T") == [found.id]


def test_pull_brings_records_provenance_companions_and_bytes_once(here, there, pinata):
    source = add(here)
    made = run(here, source)
    push(here, [made.record, source])

    there.remote.listing.forget()
    pulled = pull(there, there.query({"asset": "alignment"}))
    pinata.stop()

    assert pulled.fetched == [made.cid]
    assert there.read_here(made.cid).read_bytes() == b"BAM"
    assert there.here(made.record.id).keyvalues == made.record.keyvalues
    assert there.here(source.id).keyvalues == source.keyvalues
    assert why(there, made.cid).inputs[0].document.command == "add"
    assert there.remembered("key")


def test_pull_says_what_could_not_be_had_and_goes_on_later(here, there, pinata):
    first, second = add(here), add(here, b">chr2\nA\n", "b.fa", "b")
    pinata.fault(f"GET /files/{first.cid}", status=404, times=None)
    there.remote.listing.forget()

    pulled = pull(there, there.query({"asset": "reference"}))
    assert list(pulled.failed) == [first.cid]
    assert pulled.fetched == [second.cid]

    pinata.faults.clear()
    assert pull(there, there.query({"asset": "reference"})).fetched == [first.cid]


def test_what_was_amended_and_taken_back_there_is_so_after_a_pull(here, there):
    first, second, third = (add(here, b">%d\nA\n" % n, f"{n}.fa", f"b{n}") for n in (1, 2, 3))
    pull(there, there.query({"asset": "reference"}))
    changed = amend(here, second, {"build": "changed"})
    retract(here, third)

    there.remote.listing.forget()
    pull(there, there.query({"asset": "reference"}))
    there.remote.api.api = "http://127.0.0.1:1"  # from here on, alone
    there.remote.listing.forget()

    assert sorted(record.id for record in there.query({"asset": "reference"})) == sorted(
        [first.id, changed.id]
    )


def test_push_sends_what_was_registered_before_there_was_an_account(tmp_path, pinata):
    local = LocalStorageClient(tmp_path / "here").store
    record = add(local)
    made = run(local, record)

    store = make_store(tmp_path / "here", pinata)
    assert push(store).count == 0
    assert push(store, [store.here(made.record.id)]).left == []

    assert kinds(pinata) == ["alignment", "provenance", "provenance"]
    assert push(store, [store.here(made.record.id)]).left == []
    assert kinds(pinata) == ["alignment", "provenance", "provenance"]


def test_push_needs_an_account(tmp_path):
    with pytest.raises(ConfigurationError, match="PINATA_JWT"):
        account_of(LocalStorageClient(tmp_path / "here").store)


def test_two_processes_send_each_file_once(here, pinata, tmp_path):
    pinata.stop()
    for number in range(6):
        add(here, b">%d\nA\n" % number, f"{number}.fa", f"b{number}")
    pinata.start()
    again = make_store(here.root, pinata)

    threads = [threading.Thread(target=store.remote.send, args=[store]) for store in (here, again)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert kinds(pinata) == ["provenance"] * 6 + ["reference"] * 6
    assert here.outbox.waiting() == []


def test_the_service_that_keeps_one_record_for_the_same_bytes_is_noticed(here, pinata):
    pinata.set(duplicates="existing")
    add(here)
    add(here, build="hg38")

    (item,) = [item for item in here.outbox.waiting() if item.rank == 0]
    assert "hg38" not in str(pinata.files)
    assert item.error


def test_a_name_that_the_service_does_not_take_is_sent_escaped(here, there):
    record = add(here, name="two\nlines.fa")

    assert here.outbox.waiting() == []
    assert [found.id for found in there.query({"asset": "reference"})] == [record.id]


def test_the_token_is_told_to_the_service_alone_and_shown_to_nobody(here, there, pinata, caplog):
    record = add(here, public=True)
    there.read(record.cid)
    pinata.stop()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        add(here, b">2\nA\n", "2.fa", "2")
        here.remote.listing.forget()
        here.query({})
    texts = [str(warning.message) for warning in said] + [item.error for item in here.outbox.waiting()]

    assert said
    assert not any(
        pinata.jwt in text for text in [*texts, caplog.text, repr(here.remote.api), repr(vars(here))]
    )
    assert not pinata.told(pinata.jwt, "gateway")


def test_assets_fetch_across_machines(here, there, monkeypatch):
    record = add(here)

    async def fetch() -> Asset:
        from stargazer.storage.client import StoreClient

        found = await Reference.one(build="GRCh38", client=StoreClient(there))
        return await found.fetch(client=StoreClient(there))

    asset = asyncio.run(fetch())
    assert asset.cid == record.cid
    assert asset.path.read_bytes() == FASTA
    assert attrs.evolve(asset.record, path=None, public=False, created_at="").keyvalues == record.keyvalues


def test_a_small_account_is_asked_once_for_many_questions(here, pinata):
    add(here)
    before = len(pinata.matching("GET /v3/files"))
    here.remote.listing.forget()

    for number in range(50):
        here.query({"asset": "alignment_index", "alignment_cid": f"bafkrei{number}"})

    assert len(pinata.matching("GET /v3/files")) - before == 2


def test_a_large_account_is_asked_with_filters_and_paged_fully(here, there, pinata, monkeypatch):
    monkeypatch.setattr("stargazer.storage.pinata.remote.FEW", 3)
    pinata.set(page_limit=2, ignored_filters=["keyvalues"])
    records = [add(here, b">%d\nA\n" % n, f"{n}.fa", f"b{n}") for n in range(5)]

    assert sorted(listed(there, asset="reference")) == sorted(record.id for record in records)
    assert listed(there, asset="reference", build="b3") == [records[3].id]


def test_what_was_superseded_there_is_so_after_a_pull(here, there):
    old, new = add(here), add(here, b">chr1\nACGTACGTAA\n", "new.fa", "GRCh38")
    pull(there, there.query({"asset": "reference"}))
    supersede(here, old, new, reason="N replaced")

    there.remote.listing.forget()
    pull(there, there.query({"asset": "reference"}))

    assert listed(there, asset="reference") == [new.id]


def test_what_is_changed_while_there_is_no_token_is_told_when_there_is_one(here, there, pinata):
    first, second = add(here), add(here, b">chr2\nA\n", "b.fa", "b")
    local = LocalStorageClient(here.root).store
    retract(local, first)
    changed = amend(local, second, {"build": "c"})

    push(make_store(here.root, pinata))

    assert listed(there, asset="reference") == [changed.id]


def test_bytes_that_are_on_pinata_say_so_while_there_is_no_token(here, pinata):
    record = add(here)
    here.objects.remove(record.cid)

    with pytest.raises(StorageError, match=r"on Pinata.*PINATA_JWT"):
        LocalStorageClient(here.root).store.read(record.cid)


def test_what_is_known_from_provenance_alone_is_neither_missing_nor_pulled(here, there, pinata):
    source = add(here)
    made = run(here, source)
    here.hand_over([made.record])
    here.remote.api.delete(next(f["id"] for f in pinata.files if f["cid"] == source.cid), public=False)
    there.remote.listing.forget()

    for _ in range(2):
        assert pull(there, there.query({})).failed == {}
    assert fsck(there).ok
    assert there.objects.stat(source.cid) is None
