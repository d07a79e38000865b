"""What a bundle brings is checked as what is added: held back with the reason, or forced and written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import R1, R2, Asset, FormatError, IpFile
from stargazer.assets.provenance import Import
from stargazer.storage import bundles
from stargazer.storage.bundles import Fetched, find_bundle
from stargazer.storage.checks import Check, Lookup
from stargazer.storage.maintenance.rebuild import rebuild
from stargazer.storage.store import Addition, Store, open_store

READS = "@r/{0}\nACGT\n+\nIIII\n"
Install = Callable[[dict[str, Check]], None]


@pytest.fixture
def records(mine: Store, tmp_path: Path) -> list[IpFile]:
    """A pair of reads, told of by one document."""
    for mate in "12":
        (tmp_path / f"{mate}.fq").write_text(READS.format(mate))
    r1 = R1(sample="S")
    assets = {"1.fq": r1, "2.fq": R2(sample="S", r1_cid=r1)}
    return mine.add([Addition(tmp_path / name, asset) for name, asset in assets.items()])


@pytest.fixture
def folder(mine: Store, records: list[IpFile], tmp_path: Path) -> Path:
    """A bundle of both, with their document."""
    return bundles.make(mine, "pair", records, tmp_path / "out").path.parent


@pytest.fixture
def untold(folder: Path) -> Path:
    """The same bundle without the document."""
    (path,) = folder.glob("*.bundle.json")
    body = json.loads(path.read_bytes())
    del body["provenance"]
    path.write_text(json.dumps(body))
    return folder


def fetch(store: Store, place: Path, **options: Any) -> Fetched:
    return bundles.fetch(store, find_bundle(str(place), store.root), **options)


def refuse(asset: Asset, path: Path, lookup: Lookup) -> None:
    raise FormatError(f"{path.name!r} is odd")


def approve(asset: Asset, path: Path, lookup: Lookup) -> None: ...


def names(store: Store) -> set[str]:
    """The files that are registered."""
    return {record.name for record in store.query({}) if record.keyvalues.get("asset") != "provenance"}


def imports(store: Store, cid: str, role: str = "output") -> list[Import]:
    """The imports that name a file, or that brought the document which does."""
    found = [store.document(document) for document in store.documents(cid, role)]
    return [document for document in found if isinstance(document, Import)]


def test_what_a_check_refuses_is_held_back_with_the_reason(
    folder: Path, yours: Store, install: Install, records: list[IpFile]
) -> None:
    install({"r2": refuse})

    done = fetch(yours, folder)

    assert [item.name for item in done.failed] == ["2.fq"]
    assert done.failed[0].reason.startswith("'2.fq' is odd (`stargazer bundle fetch --force`")
    assert [record.name for record in done.records] == ["1.fq"]
    assert names(yours) == {"1.fq"}


def test_a_document_that_tells_of_what_is_held_back_waits(
    folder: Path, mine: Store, yours: Store, install: Install, records: list[IpFile]
) -> None:
    """Given one document of both, R1 counts as imported from here while R2 is held back, and as theirs afterwards."""
    install({"r2": refuse})
    (theirs,) = mine.documents(records[0].cid)

    fetch(yours, folder)

    (own,) = imports(yours, records[0].cid)
    assert (own.command, own.checks, own.forced) == ("bundle fetch pair", [], [])
    assert not yours.is_registered(theirs)

    done = fetch(yours, folder, force=True)

    assert (done.failed, done.moved) == ([], 0)
    assert names(yours) == {"1.fq", "2.fq"}
    assert yours.is_registered(theirs)


@pytest.mark.parametrize("again", [False, True])
def test_what_is_forced_is_written_down_beside_the_documents_of_others(
    again: bool, folder: Path, mine: Store, yours: Store, install: Install, records: list[IpFile]
) -> None:
    """Also in an index that is made again of the documents."""
    install({"r1": approve, "r2": refuse})
    (theirs,) = mine.documents(records[0].cid)

    done = fetch(yours, folder, force=True)
    if again:
        rebuild(yours, lambda line: None)

    assert done.failed == []
    assert names(yours) == {"1.fq", "2.fq"}
    assert yours.is_foreign(theirs)
    (note,) = [
        document for record in yours.query({"kind": "check"}) if (document := yours.document(record.cid))
    ]
    assert isinstance(note, Import)
    assert note.forced == ["'2.fq' is odd"]
    assert note.checks == ["r1 (labchecks 1.2)", "r2 (labchecks 1.2)"]
    assert yours.documents(records[1].cid) == [theirs]


def test_the_import_of_what_no_document_tells_names_the_checks(
    untold: Path, yours: Store, install: Install, records: list[IpFile]
) -> None:
    install({"r1": approve, "r2.idle": lambda asset, path, lookup: False})

    assert fetch(yours, untold).failed == []

    (document,) = imports(yours, records[0].cid)
    assert (document.checks, document.forced) == (["r1 (labchecks 1.2)"], [])


def test_the_import_of_what_no_document_tells_says_what_was_forced(
    untold: Path, yours: Store, install: Install, records: list[IpFile]
) -> None:
    install({"r2": refuse})

    assert [item.name for item in fetch(yours, untold).failed] == ["2.fq"]
    assert fetch(yours, untold, force=True).failed == []

    (document,) = imports(yours, records[1].cid)
    assert (document.checks, document.forced) == (["r2 (labchecks 1.2)"], ["'2.fq' is odd"])
    assert [entry.name for entry in document.files] == ["2.fq"]


def test_what_is_registered_is_not_judged_again(folder: Path, yours: Store, install: Install) -> None:
    install({"r2": refuse})
    first = fetch(yours, folder, force=True)
    before = {record.id for record in yours.query({})}

    again = fetch(yours, folder)

    assert (again.failed, again.records) == ([], first.records)
    assert {record.id for record in yours.query({})} == before


def test_records_alone_are_judged_when_their_bytes_are_fetched(
    folder: Path, yours: Store, install: Install
) -> None:
    install({"r2": refuse})

    assert fetch(yours, folder, records_only=True).failed == []
    assert [item.name for item in fetch(yours, folder).failed] == ["2.fq"]


def test_a_check_compares_with_the_bundle_and_with_the_store(
    folder: Path, mine: Store, yours: Store, install: Install, tmp_path: Path, records: list[IpFile]
) -> None:
    seen: list[tuple[str, bytes, int]] = []

    def look(asset: Asset, path: Path, lookup: Lookup) -> None:
        known = lookup.target(asset, "r1_cid")
        assert known is not None
        assert known.path is not None
        mates = lookup.companions(known.asset, "r2", "r1_cid")
        seen.append((path.name, known.path.read_bytes(), len(mates)))

    install({"r2": look})
    fetch(yours, folder)
    (tmp_path / "3.fq").write_text(READS.format(3))
    later = mine.add([Addition(tmp_path / "3.fq", R2(sample="S", lane="L2", r1_cid=records[0].cid))])
    seen.clear()
    made = bundles.make(mine, "later", later, tmp_path / "later")
    fetch(yours, made.path, only={"asset": ["r2"]})

    reads = READS.format(1).encode()
    assert seen == [("3.fq", reads, 2)]
    seen.clear()
    fetch(open_store(tmp_path / "third"), folder)
    assert seen == [("2.fq", reads, 1)]


def test_a_link_by_name_is_followed(yours: Store, install: Install, untold: Path) -> None:
    def look(asset: Asset, path: Path, lookup: Lookup) -> None:
        known = lookup.target(asset, "r1_cid")
        raise FormatError(
            f"{path.name!r} is no mate of {known.path.name!r}" if known and known.path else "nothing"
        )

    install({"r2": look})
    (path,) = untold.glob("*.bundle.json")
    body = json.loads(path.read_bytes())
    for entry in body["files"]:
        if entry["keyvalues"].pop("r1_cid", ""):
            entry["links"] = {"r1_cid": "1.fq"}
    path.write_text(json.dumps(body))

    assert "'2.fq' is no mate of '1.fq'" in fetch(yours, untold).failed[0].reason


def test_a_check_that_fails_itself_keeps_nothing_out(folder: Path, yours: Store, install: Install) -> None:
    install({"r1.bad": lambda asset, path, lookup: bool(1 // 0)})
    with pytest.warns(UserWarning, match=r"r1\.bad .* could not look at '1\.fq': ZeroDivisionError"):
        assert fetch(yours, folder).failed == []
