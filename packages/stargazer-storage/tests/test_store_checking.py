"""Checks that distributions provide: which are called, what they can look at, what is written down of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from stargazer.assets import R1, R2, REGISTRY, Asset, FormatError, IpFile, asset
from stargazer.assets.provenance import Import, dump, parse
from stargazer.storage import statcache
from stargazer.storage.checks import Check, Lookup
from stargazer.storage.store import Addition, Store, open_store

READS = b"@read/1\nACGTACGT\n+\nIIIIIIII\n"
Install = Callable[[dict[str, Check]], None]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def write(path: Path, data: bytes = READS) -> Path:
    path.write_bytes(data)
    return path


def import_of(store: Store, cid: str) -> Import:
    document = store.document(store.documents(cid)[0])
    assert isinstance(document, Import)
    return document


def refuse(asset: Asset, path: Path, lookup: Lookup) -> None:
    raise FormatError(f"{path.name!r} is odd")


def test_the_checks_of_a_type_run_and_are_named_with_their_version(
    tmp_path: Path, store: Store, install: Install
) -> None:
    install(
        {
            "r1.good": lambda asset, path, lookup: None,
            "r1.idle": lambda asset, path, lookup: False,
            "r2": refuse,
        }
    )
    (record,) = store.add([Addition(write(tmp_path / "x.fq"), R1(sample="S"))])
    assert import_of(store, record.cid).checks == ["r1.good (labchecks 1.2)"]


def test_a_type_that_extends_another_is_checked_as_both(
    tmp_path: Path, store: Store, install: Install
) -> None:
    @asset("umi_r1")
    class UmiR1(R1):
        umi: str

    try:
        install({"r1": refuse})
        with pytest.raises(FormatError, match="is odd"):
            store.add([Addition(write(tmp_path / "x.fq"), UmiR1(sample="S", umi="8M"))])
    finally:
        del REGISTRY["umi_r1"]


def test_a_refused_file_leaves_nothing_and_all_others_out(
    tmp_path: Path, store: Store, install: Install
) -> None:
    install({"r2": refuse})
    r1 = R1(sample="S")
    items = [
        Addition(write(tmp_path / "1.fq"), r1),
        Addition(write(tmp_path / "2.fq", READS.replace(b"A", b"C")), R2(sample="S", r1_cid=r1)),
    ]
    with pytest.raises(FormatError, match=r"'2\.fq' is odd \(`stargazer add --force`"):
        store.add(items)
    assert store.query({}) == []
    assert not list((store.root / "objects").rglob("ba*"))


def test_a_forced_file_is_registered_with_the_reason(tmp_path: Path, store: Store, install: Install) -> None:
    install({"r1": refuse})
    (record,) = store.add([Addition(write(tmp_path / "x.fq"), R1(sample="S"), force=True)])
    document = import_of(store, record.cid)
    assert document.forced == ["'x.fq' is odd"]
    assert document.checks == ["r1 (labchecks 1.2)"]


def test_a_check_that_fails_itself_keeps_nothing_out(tmp_path: Path, store: Store, install: Install) -> None:
    install({"r1.bad": lambda asset, path, lookup: bool(1 // 0)})
    with pytest.warns(UserWarning, match="r1.bad .* could not look at 'x.fq': ZeroDivisionError"):
        (record,) = store.add([Addition(write(tmp_path / "x.fq"), R1(sample="S"))])
    assert import_of(store, record.cid).checks == []


def test_a_claim_that_could_not_be_compared_is_said_and_the_check_is_not_named(
    tmp_path: Path, store: Store, install: Install
) -> None:
    install({"r1.size": lambda asset, path, lookup: f"sample={asset.sample}: no ruler is installed"})  # type: ignore[attr-defined]
    paths = [write(tmp_path / f"{number}.fq", READS.replace(b"read", b"%d" % number)) for number in range(13)]
    with pytest.warns(UserWarning, match="without a check of") as caught:
        records = store.add([Addition(path, R1(sample=path.stem)) for path in paths])
    texts = [str(warning.message) for warning in caught]
    assert texts[0] == "'0.fq' is registered without a check of sample=0: no ruler is installed"
    assert texts[10:] == ["3 more like these could not be checked"]
    document = import_of(store, records[0].cid)
    assert document.checks == []
    assert document.forced == []


def test_a_check_finds_all_assets_of_a_type(tmp_path: Path, store: Store, install: Install) -> None:
    seen: list[list[str | None]] = []

    def look(asset: Asset, path: Path, lookup: Lookup) -> None:
        seen.append([known.asset.lane for known in lookup.find("r1", sample="S")])  # type: ignore[attr-defined]

    install({"r2": look})
    store.add([Addition(write(tmp_path / "1.fq"), R1(sample="S", lane="L1"))])
    store.add([Addition(write(tmp_path / "0.fq", READS * 3), R1(sample="T", lane="L3"))])
    r1 = R1(sample="S", lane="L2")
    mate = write(tmp_path / "2.fq", READS.replace(b"A", b"C"))
    store.add([Addition(write(tmp_path / "3.fq", READS * 2), r1), Addition(mate, R2(sample="S", r1_cid=r1))])
    assert seen == [["L2", "L1"]]


def test_a_check_finds_what_is_registered_together_and_what_the_store_has(
    tmp_path: Path, store: Store, install: Install
) -> None:
    seen: list[tuple[bytes | None, int]] = []

    def look(asset: Asset, path: Path, lookup: Lookup) -> None:
        known = lookup.target(asset, "r1_cid")
        assert known is not None
        assert known.path is not None
        mates = lookup.companions(known.asset, "r2", "r1_cid")
        seen.append((known.path.read_bytes(), len(mates)))

    install({"r2": look})
    r1 = R1(sample="S")
    mate = write(tmp_path / "2.fq", READS.replace(b"A", b"C"))
    store.add([Addition(write(tmp_path / "1.fq"), r1), Addition(mate, R2(sample="S", r1_cid=r1))])
    again = R2(sample="S", lane="L2", r1_cid=r1.cid)
    store.add([Addition(mate, again)])
    assert seen == [(READS, 1), (READS, 2)]


def test_bytes_that_are_not_here_are_not_brought(tmp_path: Path, store: Store, install: Install) -> None:
    found: list[Path | None] = []

    def look(asset: Asset, path: Path, lookup: Lookup) -> None:
        known = lookup.target(asset, "r1_cid")
        found.append(known.path if known else tmp_path)

    install({"r2": look})
    (first,) = store.add([Addition(write(tmp_path / "1.fq"), R1(sample="S"))])
    store.objects.remove(first.cid)
    store.add([Addition(write(tmp_path / "2.fq", READS * 2), R2(sample="S", r1_cid=first.cid))])
    assert found == [None]


def test_a_document_of_before_the_checks_reads_as_one_without() -> None:
    old = Import(files=[])
    assert "checks" not in json.loads(dump(old))
    assert parse(dump(old)) == old


@pytest.fixture
def asked(install: Install, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The names of files that a check was asked about, and of those that it is to refuse; no file is too young."""
    monkeypatch.setattr(statcache, "SETTLED", 0)
    said: dict[str, list[str]] = {"asked": [], "refused": []}

    def check(asset: Asset, path: Path, lookup: Lookup) -> None:
        said["asked"].append(path.name)
        if path.name in said["refused"]:
            raise FormatError(f"{path.name!r} is odd")

    install({"r1.odd": check})
    return said


def test_what_is_registered_and_unchanged_is_not_checked_again(
    tmp_path: Path, store: Store, asked: dict[str, list[str]]
) -> None:
    def added(sample: str = "S", force: bool = False) -> list[IpFile]:
        return store.add([Addition(path, R1(sample=sample), force=force) for path in paths])

    paths = [write(tmp_path / f"{name}.fq", READS.replace(b"read", name.encode())) for name in "ab"]
    records = added()
    assert asked["asked"] == ["a.fq", "b.fq"]

    asked["refused"] = ["a.fq"]  # a newer version of the check: it speaks of what is registered from now on
    assert added() == added(force=True) == records
    assert asked["asked"] == ["a.fq", "b.fq"]

    with pytest.raises(FormatError, match=r"'a\.fq' is odd"):
        added(sample="T")
    paths[0].write_bytes(READS)
    with pytest.raises(FormatError, match=r"'a\.fq' is odd"):
        added()


def test_files_that_come_with_a_new_one_are_checked_with_it(
    tmp_path: Path, store: Store, asked: dict[str, list[str]]
) -> None:
    old, new = (
        write(tmp_path / f"{name}.fq", READS.replace(b"read", name.encode())) for name in ("old", "new")
    )
    store.add([Addition(old, R1(sample="S"))])
    asked["asked"].clear()

    store.add([Addition(old, R1(sample="S")), Addition(new, R1(sample="S"))])

    assert asked["asked"] == ["old.fq", "new.fq"]
