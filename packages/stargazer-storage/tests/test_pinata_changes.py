"""Records that change while the service is down, slow, forgetful or busy: the account ends as the store is."""

from __future__ import annotations

import random
import threading

import pytest
from stargazer.assets import AssetNotFoundError, IpFile, Reference, StorageError, record_id
from stargazer.storage.changes import amend, retract
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.pinata.remote import pull, push
from stargazer.storage.store import Addition

from .pinata_store import make_store

pytestmark = pytest.mark.filterwarnings("ignore")

FASTA = b">chr1\nACGTACGTNN\n"


def add(store, build: str, content: bytes = FASTA, name: str = "GRCh38.fa", **options) -> IpFile:
    path = store.root.parent / f"{store.root.name}-{threading.get_ident()}-{name}"
    path.write_bytes(content)
    (record,) = store.add([Addition(path, Reference(build=build), name=name, **options)])
    return record


def on_account(pinata) -> list[tuple[str, str, str]]:
    """Network, record id and provenance of every file that is no provenance."""
    return sorted(
        (file["network"], record_id(file["cid"], file["keyvalues"]), file["keyvalues"]["provenance_cid"])
        for file in pinata.files
        if file["keyvalues"]["asset"] != "provenance"
    )


def here_as_private(store) -> list[tuple[str, str, str]]:
    return sorted(
        ("private", record.id, record.keyvalues["provenance_cid"])
        for record in store.query_here({"asset": "reference"})
    )


def assert_agree(store, pinata, *others) -> None:
    """Everything is sent, each record once, as it is here; other machines find just that."""
    assert push(store).left == []
    assert store.outbox.waiting() == []
    assert on_account(pinata) == here_as_private(store)
    documents = [file["cid"] for file in pinata.files if file["keyvalues"]["asset"] == "provenance"]
    assert sorted(documents) == sorted(record.cid for record in store.query_here({"asset": "provenance"}))
    for other in others:
        other.remote.listing.forget()
        found = other.query({"asset": "reference"})
        pulled = pull(other, found)
        assert pulled.failed == {}
        other.remote.listing.forget()
        assert sorted(record.id for record in other.query({"asset": "reference"})) == sorted(
            record.id for record in store.query_here({"asset": "reference"})
        )


def test_what_came_as_a_strangers_word_is_our_own_once_the_account_says_so(here, there):
    record = add(here, "a")
    push(here)
    cid = record.keyvalues["provenance_cid"]
    there.ledger.foreign.add(here.read(cid))  # as a bundle brings it
    there.replay([cid])
    assert there.is_foreign(cid)

    pull(there, there.query({"asset": "reference"}))

    assert not there.is_foreign(cid)
    assert there.ledger.is_own(cid)
    assert there.ledger.foreign.stat(cid) is None


def test_amended_three_times_while_the_service_is_down(here, there, pinata):
    record = add(here, "a", b">1\n" + 100_000 * b"A")
    pinata.stop()
    for build in "bcd":
        record = amend(here, record, {"build": build})
    pinata.start()
    sent = pinata.received("POST /v3/files$")

    assert_agree(here, pinata, there)
    assert [file["keyvalues"].get("build") for file in pinata.files if "build" in file["keyvalues"]] == ["d"]
    assert pinata.received("POST /v3/files$") - sent < 10_000  # three amendments, no reference


def test_never_sent_and_amended_three_times(here, there, pinata):
    pinata.stop()
    record = add(here, "a")
    for build in "bcd":
        record = amend(here, record, {"build": build})
    pinata.start()

    assert_agree(here, pinata, there)


def test_amended_there_and_back_while_the_service_is_down(here, there, pinata):
    record = add(here, "a")
    pinata.stop()
    amend(here, amend(here, record, {"build": "b"}), {"build": "a"})
    pinata.start()

    assert_agree(here, pinata, there)


def test_amended_and_added_again_while_the_service_is_down(here, there, pinata):
    record = add(here, "a")
    pinata.stop()
    amend(here, record, {"build": "b"})
    add(here, "a")
    pinata.start()

    assert_agree(here, pinata, there)


def test_deleted_and_added_again_while_the_service_is_down(here, there, pinata):
    record = add(here, "a")
    pinata.stop()
    retract(here, record)
    add(here, "a")
    pinata.start()

    assert_agree(here, pinata, there)


def test_deleted_and_added_again_with_the_service_up(here, there, pinata):
    retract(here, add(here, "a"))
    add(here, "a")

    assert_agree(here, pinata, there)


def test_two_meanings_of_the_same_bytes_change_apart(here, there, pinata):
    first, second = add(here, "a"), add(here, "b")
    pinata.stop()
    amend(here, first, {"build": "c"})
    retract(here, second)
    pinata.start()

    assert_agree(here, pinata, there)


def test_two_meanings_become_one(here, there, pinata):
    first, second = add(here, "a"), add(here, "b")
    assert amend(here, first, {"build": "b"}).id == second.id

    assert_agree(here, pinata, there)


def test_two_machines_add_the_same_and_one_takes_it_back(here, there, pinata):
    retract(here, add(here, "a"))
    add(there, "a")
    add(here, "a")
    push(here)
    here.remote.listing.forget()
    assert len(here.query({"asset": "reference"})) == 1


@pytest.mark.parametrize(
    "oddity",
    [
        {},
        {"pending": 2},
        {"dag_sizes": True},
        {"upload_ids_differ": True},
        {"stale_new": 1},
        {"stale_deleted": 3},
        {"ignored_filters": ["keyvalues", "cid"], "page_limit": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("tus", [False, True], ids=["multipart", "tus"])
def test_any_sequence_of_changes_and_outages(here, there, pinata, monkeypatch, oddity, tus):
    """Seeded: adds, amendments, deletions, lost answers, refusals and outages in any order."""
    if tus:
        monkeypatch.setattr("stargazer.storage.pinata.upload.TUS_ABOVE", 0)
    pinata.set(**oddity)
    chosen = random.Random(f"{oddity} {tus}")
    up = True
    for _ in range(40):
        records = here.query_here({"asset": "reference"})
        match chosen.choice(["add", "add", "amend", "amend", "retract", "switch", "lost", "busy", "push"]):
            case "add":
                add(here, chosen.choice("abc"), b">chr1\n%s\n" % chosen.choice([b"A", b"C"]))
            case "amend" if records:
                amend(here, chosen.choice(records), {"build": chosen.choice("abcd")})
            case "retract" if records:
                retract(here, chosen.choice(records))
            case "switch":
                pinata.stop() if up else pinata.start()
                up = not up
            case "lost" if not oddity.keys() & {"stale_new", "pending"}:  # nobody could know of it
                pinata.fault("POST|PUT|DELETE|PATCH", lost=True, nth=chosen.randint(1, 3))
            case "busy":
                pinata.fault("POST|PUT|DELETE|PATCH", status=503, nth=chosen.randint(1, 3))
            case "push":
                push(here)
    if not up:
        pinata.start()
    pinata.faults.clear()

    assert_agree(here, pinata)


def test_amended_and_deleted_while_a_push_is_running(here, there, pinata):
    pinata.stop()
    records = [add(here, f"b{n}", b">%d\nA\n" % n) for n in range(8)]
    pinata.start()
    pinata.fault("POST /v3/files$", delay=0.2, times=None)
    pushing = threading.Thread(target=push, args=[make_store(here.root, pinata)])
    pushing.start()
    while len(pinata.files) < 2:
        pass
    again = make_store(here.root, pinata)
    for number, record in enumerate(records):
        if number % 2:
            amend(again, record, {"build": f"c{number}"})
        else:
            retract(again, record)
    pushing.join()
    pinata.faults.clear()

    assert_agree(here, pinata, there)


def test_one_that_was_taken_back_cannot_be_changed(here, pinata):
    record = add(here, "a")
    retract(here, record)
    with pytest.raises(AssetNotFoundError):
        amend(here, record, {"build": "b"})


def test_one_that_was_taken_back_on_another_machine_and_is_listed_still_cannot_be_changed(
    here, there, pinata
):
    record = add(here, "a")
    pinata.set(stale_deleted=5)
    retract(here, record)

    with pytest.raises(AssetNotFoundError):
        amend(there, record, {"build": "b"})


def test_nothing_private_becomes_public_because_it_was_changed(here, pinata):
    record = add(here, "a")
    pinata.stop()
    record = amend(here, amend(here, record, {"build": "b"}), {"build": "a"})
    retract(here, record)
    add(here, "a")
    pinata.start()

    push(here)

    assert {file["network"] for file in pinata.files} == {"private"}


def test_what_is_on_both_networks_changes_on_both(here, pinata):
    add(here, "a")
    record = add(here, "a", public=True)
    pinata.stop()
    changed = amend(here, record, {"build": "b"})
    pinata.start()
    push(here)
    assert [(network, id) for network, id, _ in on_account(pinata)] == [
        ("private", changed.id),
        ("public", changed.id),
    ]

    retract(here, changed)
    assert on_account(pinata) == []


def test_what_was_sent_twice_is_removed_wholly(here, pinata):
    pinata.set(stale_new=1)
    pinata.fault("POST /v3/files$", lost=True)
    record = add(here, "a")
    push(here)
    assert len(on_account(pinata)) == 2  # done, not answered, not listed: nobody could know

    retract(here, record)

    assert on_account(pinata) == []


def test_what_another_machine_added_too_stays_its_own(here, there, pinata):
    mine = add(here, "a")
    theirs = add(there, "a")
    assert mine.id == theirs.id
    retract(here, mine)

    assert [made_by for _, _, made_by in on_account(pinata)] == [theirs.keyvalues["provenance_cid"]]


def test_what_somebody_removed_from_the_account_by_hand_is_followed(here, pinata):
    record = add(here, "a")
    for file in pinata.files:
        here.remote.api.delete(file["id"], public=False)

    retract(here, amend(here, record, {"build": "b"}))

    assert here.outbox.waiting() == []
    assert on_account(pinata) == []


def test_a_refused_token_is_asked_once(here, pinata):
    pinata.stop()
    for number in range(10):
        add(here, f"b{number}", b">%d\nA\n" % number)
    pinata.start()
    pinata.fault("", status=401, times=None)
    before = len(pinata.requests)

    sent = push(here)

    assert len(sent.left) == 20
    assert "401" in sent.left[0].error or "token" in sent.left[0].error
    assert len(pinata.requests) - before <= 4  # as many as go at once


def test_a_change_that_was_written_down_but_not_enqueued_is_sent_after_fsck(here, there, pinata, monkeypatch):
    record = add(here, "a")

    def killed(*_, **__):
        raise KeyboardInterrupt  # after the document became durable, before the index knew

    monkeypatch.setattr("stargazer.storage.store.Store.apply", killed)
    monkeypatch.setattr("stargazer.storage.objects.Objects.remove", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        retract(here, record)
    monkeypatch.undo()
    again = make_store(here.root, pinata)
    fsck(again)

    assert_agree(again, pinata, there)
    assert on_account(pinata) == []


def test_no_provenance_is_made_up_because_the_true_one_cannot_be_had_now(here, there, pinata):
    record = add(here, "a")
    found = there.query({"asset": "reference"})
    made_by = record.keyvalues["provenance_cid"]
    fault = pinata.fault(f"GET /files/{made_by}", status=503, times=None)

    pulled = pull(there, found)

    assert list(pulled.failed) == [record.cid]
    assert pulled.records == []
    with pytest.raises(StorageError, match=made_by):
        amend(there, record, {"build": "b"})
    pinata.faults.remove(fault)
    assert [taken.keyvalues for taken in pull(there, found).records] == [record.keyvalues]
    assert [document.cid for document in there.query_here({"asset": "provenance"})] == [made_by]
