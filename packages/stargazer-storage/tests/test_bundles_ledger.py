"""Whose word a bundle's provenance is: always somebody else's, reviewed first, and whole after a kill at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import FormatError, IpFile
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Execution, Import, Retraction, dump
from stargazer.storage import bundles
from stargazer.storage.bundles import _fetch, find_bundle
from stargazer.storage.bundles.review import enders_first
from stargazer.storage.changes import amend, retract, trust
from stargazer.storage.cid import compute_cid
from stargazer.storage.ledger import memo
from stargazer.storage.ledger.documents import Ledger, now
from stargazer.storage.maintenance import fsck
from stargazer.storage.pinata.api import PinataApi
from stargazer.storage.pinata.remote import PinataRemote, pull, push
from stargazer.storage.store import Addition, Store, open_store

from .lineage_store import imported, made
from .upkeep_store import lose_index

KEY = "a" * 64


@pytest.fixture
def theirs(tmp_path: Path) -> Store:
    return open_store(tmp_path / "theirs")


@pytest.fixture
def ended(theirs: Store, tmp_path: Path) -> tuple[IpFile, IpFile]:
    """Of three files in one import: one that was amended twice, and one that was taken back."""
    for name in ("amended", "gone", "kept"):
        (tmp_path / name).write_text(name)
    first, gone, _ = theirs.add(
        [Addition(tmp_path / name, QcReport(kind="raw", sample=name)) for name in ("amended", "gone", "kept")]
    )
    amend(theirs, amend(theirs, first, {"sample": "better"}), {"sample": "best"})
    retract(theirs, gone)
    return first, gone


@pytest.fixture
def folder(theirs: Store, ended: tuple[IpFile, IpFile], tmp_path: Path) -> Path:
    """A bundle of what is left of them: an import, two amendments and a retraction."""
    records = theirs.query({"asset": "qc_report"})
    assert [record.keyvalues["sample"] for record in records] == ["best", "kept"]
    made = bundles.make(theirs, "changed", records, tmp_path / "out")
    assert len(made.manifest.provenance) == 4
    return made.path.parent


def fetch(store: Store, folder: Path, **options: Any) -> bundles.Fetched:
    return bundles.fetch(store, find_bundle(str(folder), store.root), **options)


def documents(store: Store, *, own: bool) -> set[str]:
    return {getattr(found, "cid", "") for found, is_own in store.ledger.scan() if is_own == own}


def samples(store: Store) -> set[str]:
    return {record.keyvalues["sample"] for record in store.query({"asset": "qc_report"})}


def killed(act: Callable[[], object]) -> bool:
    """Do something in a process of its own; whether it was killed on the way."""
    pid = os.fork()
    if pid == 0:
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


def test_a_bundle_never_writes_own(mine: Store, theirs: Store, folder: Path) -> None:
    before = documents(mine, own=True)

    assert fetch(mine, folder).failed == []

    assert documents(mine, own=True) == before
    assert documents(mine, own=False) == documents(theirs, own=True)


def test_what_comes_back_in_a_bundle_stays_ones_own(theirs: Store, folder: Path) -> None:
    own = documents(theirs, own=True)
    lose_index(theirs)
    assert fsck(theirs).ok

    assert fetch(theirs, folder, force=True).failed == []

    assert (documents(theirs, own=True), documents(theirs, own=False)) == (own, set())


def test_a_document_in_both_folders_counts_as_own(mine: Store, theirs: Store, tmp_path: Path) -> None:
    made(theirs, "lab.count", "3", {"given": imported(theirs, "raw")}, run_key=KEY)
    records = theirs.query({"asset": "qc_report", "kind": "made"})
    fetch(mine, bundles.make(theirs, "counts", records, tmp_path / "out").path.parent)
    (execution,) = memo.executions(mine.index, KEY)
    assert mine.remembered(KEY) is None

    mine.ledger.own.add(mine.ledger.foreign.path(execution))
    lose_index(mine)
    assert fsck(mine).ok

    assert mine.ledger.is_own(execution)
    assert not mine.is_foreign(execution)
    assert mine.remembered(KEY) is not None


def test_what_ends_a_claim_is_placed_before_what_it_ends(
    mine: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[str] = []
    keep = Ledger.keep

    def note(ledger: Ledger, path: Path, cid: str) -> Any:
        placed.append(cid)
        return keep(ledger, path, cid)

    monkeypatch.setattr(Ledger, "keep", note)
    fetch(mine, folder)

    assert len(placed) == 4
    found = {cid: mine.document(cid) for cid in placed}
    assert list(map(type, found.values()))[-1] is Import
    for cid, document in found.items():
        for ended in getattr(document, "replaces", []):
            assert placed.index(cid) < placed.index(ended)


@pytest.mark.parametrize("count", [1, 2, 50, 5000])
def test_a_long_line_of_amendments_is_put_in_order(count: int) -> None:
    documents = {
        f"{number}": Retraction(record="r", made_by="", cid="", replaces=[f"{number - 1}"])
        for number in range(count)
    }
    assert enders_first(documents) == [f"{number}" for number in reversed(range(count))]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("last", range(6))
def test_no_record_that_was_ended_is_back_after_a_kill(
    mine: Store, theirs: Store, ended: tuple[IpFile, IpFile], folder: Path, last: int, again: bool
) -> None:
    """Given a fetch that is killed before or after any document is placed, or before they take effect."""
    mine.open_index()
    count, keep, replay = 0, Ledger.keep, Store.replay

    def act() -> None:
        def step() -> None:
            nonlocal count
            if count == last:
                os._exit(9)
            count += 1

        def place(ledger: Ledger, path: Path, cid: str) -> Any:
            step()
            return keep(ledger, path, cid)

        def take_effect(store: Store, cids: Any) -> int:
            step()
            return replay(store, cids)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ledger, "keep", place)
            patch.setattr(Store, "replay", take_effect)
            fetch(mine, folder)

    assert killed(act) == (last < 5)

    assert documents(mine, own=True) == set()
    if not again:
        lose_index(mine)
        assert fsck(mine).ok
    assert not {record.id for record in ended} & {record.id for record in mine.query({})}
    assert fetch(mine, folder).failed == []
    assert samples(mine) == samples(theirs) == {"best", "kept"}
    lose_index(mine)
    assert fsck(mine).ok
    assert samples(mine) == samples(theirs)


def test_nothing_is_placed_before_it_was_reviewed(
    mine: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        assert documents(mine, own=False) == set()
        raise FormatError("nobody takes this")

    monkeypatch.setattr(_fetch, "accepted", refuse)

    done = fetch(mine, folder)

    assert {item.reason for item in done.failed} == {"nobody takes this"}
    assert documents(mine, own=False) == set()


def test_one_that_is_refused_is_not_in_the_ledger(mine: Store, theirs: Store, folder: Path) -> None:
    strange = Retraction(
        record="0" * 32, made_by="", cid=compute_cid(folder / "changed.bundle.json"), replaces=[], at=now()
    )
    (folder / "strange").write_bytes(dump(strange))
    cid = compute_cid(folder / "strange")
    (folder / "strange").rename(folder / cid)
    (path,) = folder.glob("*.bundle.json")
    body = json.loads(path.read_bytes())
    body["provenance"].append(cid)
    path.write_text(json.dumps(body))

    assert any("which is not in the bundle" in item.reason for item in fetch(mine, folder).failed)

    assert cid not in documents(mine, own=False) | documents(mine, own=True)


def test_checks_and_what_was_forced_are_one_document_of_the_store(
    mine: Store,
    theirs: Store,
    folder: Path,
    install: Callable[[dict[str, Callable[..., Any]]], None],
) -> None:
    """Also where some of the files are told of by others' documents, and some by none."""

    def odd(asset: Any, path: Path, lookup: Any) -> None:
        raise FormatError(f"{path.name!r} is odd")

    install({"qc_report": odd})
    (path,) = folder.glob("*.bundle.json")
    body = json.loads(path.read_bytes())
    (folder / "untold").write_text("untold")
    cid = compute_cid(folder / "untold")
    (folder / "untold").rename(folder / cid)
    pairs = {"asset": "qc_report", "kind": "raw", "sample": "untold"}
    body["files"].append({"name": "untold", "size": 6, "cid": cid, "keyvalues": pairs})
    path.write_text(json.dumps(body))

    assert fetch(mine, folder, force=True).failed == []

    (own,) = documents(mine, own=True)
    said = mine.document(own)
    assert isinstance(said, Import)
    assert [entry.name for entry in said.files] == ["untold"]
    assert sorted(said.forced) == ["'amended' is odd", "'kept' is odd", "'untold' is odd"]
    assert said.checks == ["qc_report (labchecks 1.2)"]
    assert documents(mine, own=False) == documents(theirs, own=True)


def test_what_was_forced_is_known_whenever_a_kill_comes(
    mine: Store, folder: Path, install: Callable[[dict[str, Callable[..., Any]]], None]
) -> None:
    """It is written before the documents that tell of the files, so that no index knows these without it."""

    def odd(asset: Any, path: Path, lookup: Any) -> None:
        raise FormatError(f"{path.name!r} is odd")

    install({"qc_report": odd})
    mine.open_index()

    def act() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ledger, "keep", lambda *_: os._exit(9))
            fetch(mine, folder, force=True)

    assert killed(act)
    (own,) = documents(mine, own=True)
    assert len(getattr(mine.ledger.read(own), "forced", [])) == 2
    assert documents(mine, own=False) == set()


def test_a_strangers_bundle_is_foreign_for_everybody_who_uses_the_account(
    tmp_path: Path, theirs: Store, pinata: Any
) -> None:
    """Given that A fetches a stranger's bundle and pushes it, the memo of B misses until B trusts it."""

    def member(name: str) -> Store:
        api = PinataApi(pinata.jwt, api=pinata.api, uploads=pinata.uploads)
        remote = PinataRemote(api, gateway=pinata.gateway)
        return open_store(tmp_path / name, remote=remote)

    made(theirs, "lab.count", "3", {"given": imported(theirs, "raw")}, run_key=KEY)
    records = theirs.query({"asset": "qc_report", "kind": "made"})
    folder = bundles.make(theirs, "counts", records, tmp_path / "out").path.parent
    a, b = member("a"), member("b")

    fetched = fetch(a, folder)
    assert fetched.failed == []
    push(a, fetched.records)
    there = b.query({"asset": "qc_report", "kind": "made"})
    assert [record.id for record in there] == [record.id for record in fetched.records]
    assert not pull(b, there).failed

    for store in (a, b):
        (execution,) = memo.executions(store.index, KEY)
        assert isinstance(store.document(execution), Execution)
        assert not store.ledger.is_own(execution)
        assert store.is_foreign(execution)
        assert store.remembered(KEY) is None
    lose_index(b)
    assert fsck(b).ok
    assert b.remembered(KEY) is None
    trust(b, memo.executions(b.index, KEY))
    assert b.remembered(KEY) is not None
    assert a.remembered(KEY) is None
