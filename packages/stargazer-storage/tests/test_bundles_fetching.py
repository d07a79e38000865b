"""Bundles made, moved and fetched: the same records arrive, and nothing of what is wrong."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import (
    R1,
    R2,
    FormatError,
    IntegrityError,
    InvalidAssetError,
    IpFile,
    Reference,
    ReferenceIndex,
    StorageError,
)
from stargazer.assets.provenance import Entry, Execution, Import, Retraction, dump
from stargazer.storage import bundles
from stargazer.storage.bundles import BuiltinBundle, Fetched, News, find_bundle, known_bundles
from stargazer.storage.bundles.find import ENTRY_POINT_GROUP, Lock
from stargazer.storage.bundles.manifest import LARGEST, parse
from stargazer.storage.changes import amend, retract
from stargazer.storage.cid import compute_cid
from stargazer.storage.maintenance import fsck
from stargazer.storage.store import Addition, Store
from stargazer.storage.threads import Interrupted, each, pause

from .upkeep_store import lose_index

READS = "@r/{0}\nACGT\n+\nIIII\n"


@pytest.fixture
def records(mine: Store, tmp_path: Path) -> list[IpFile]:
    """A reference with its index, and a pair of reads."""
    names = {
        "g.fa": ">c\nACGT\n",
        "g.fa.fai": "c\t4\t3\t4\t5\n",
        "1.fq": READS.format(1),
        "2.fq": READS.format(2),
    }
    for name, text in names.items():
        (tmp_path / name).write_text(text)
    reference, r1 = Reference(build="b"), R1(sample="S")
    assets = [reference, ReferenceIndex(reference_cid=reference), r1, R2(sample="S", r1_cid=r1)]
    return mine.add([Addition(tmp_path / name, asset) for name, asset in zip(names, assets, strict=True)])


@pytest.fixture
def folder(mine: Store, records: list[IpFile], tmp_path: Path) -> Path:
    """A bundle of all of them."""
    return bundles.make(mine, "small", records, tmp_path / "out").path.parent


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The test's folder over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(store: Store, place: Path | str, **options: Any) -> Fetched:
    return bundles.fetch(store, find_bundle(str(place), store.root), **options)


def state(store: Store) -> set[str]:
    """The ids of all records, provenance included."""
    return {record.id for record in store.query({}) if not is_note(store, record)}


def is_note(store: Store, record: IpFile) -> bool:
    """Whether a record is the store's own note of what came of the checks of others' files."""
    return record.name == "check.json"


def objects(store: Store) -> set[str]:
    return {path.name for path in (store.root / "objects").rglob("ba*")}


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the manifest of a bundle by hand."""
    (path,) = folder.glob("*.bundle.json")
    body = json.loads(path.read_bytes())
    change(body)
    path.write_text(json.dumps(body))
    return path


def test_a_folder_arrives_with_the_same_records_and_provenance(
    folder: Path, mine: Store, yours: Store, records: list[IpFile]
) -> None:
    done = fetch(yours, folder)

    assert done.failed == []
    assert done.moved == sum(record.size for record in records)
    assert state(yours) == state(mine)
    assert {record.id for record in done.records} == {record.id for record in records}
    assert all(
        yours.read(record.cid).read_bytes() == mine.read(record.cid).read_bytes() for record in records
    )
    assert [yours.documents(record.cid) for record in records] == [
        mine.documents(record.cid) for record in records
    ]


def test_a_second_fetch_moves_nothing_and_adds_nothing(folder: Path, yours: Store) -> None:
    first = fetch(yours, folder)
    before = state(yours)

    again = fetch(yours, "small")  # by name, from what the store remembers

    assert (again.moved, again.failed, again.records, state(yours)) == (0, [], first.records, before)


def test_a_url_is_fetched_with_relative_mirrors(
    folder: Path, web: str, mine: Store, yours: Store, records: list[IpFile]
) -> None:
    done = fetch(yours, f"{web}/out/small.bundle.json")

    assert done.failed == []
    assert state(yours) == state(mine)
    assert yours.mirrors(records[0].cid) == [f"{web}/out/{records[0].cid}"]
    assert [bundle.place for bundle in known_bundles(yours.root) if bundle.fetched] == [
        f"{web}/out/small.bundle.json"
    ]


def test_amended_and_retracted_records_arrive_as_they_are_now(
    mine: Store, yours: Store, records: list[IpFile], tmp_path: Path
) -> None:
    amended = amend(mine, records[2], {"lane": "L1"})
    retract(mine, records[3])
    made = bundles.make(mine, "now", [amended], tmp_path / "out")

    fetch(yours, made.path)

    assert state(yours) == state(mine)
    assert [dict(record.keyvalues) for record in yours.query({"asset": "r2"})] == []


def test_companions_travel_along(mine: Store, records: list[IpFile], tmp_path: Path) -> None:
    made = bundles.make(mine, "reference", records[:1], tmp_path / "out")
    assert [entry.name for entry in made.manifest.files] == ["g.fa", "g.fa.fai"]


def test_files_of_one_name_get_names_of_their_own(mine: Store, tmp_path: Path) -> None:
    found = []
    for number in (1, 2, 3):
        path = tmp_path / str(number) / "x.fq.gz"
        path.parent.mkdir()
        path.write_text(READS.format(number if number < 3 else 1))
        found += mine.add([Addition(path, R1(sample=f"S{number}"))])

    made = bundles.make(mine, "same", found, tmp_path / "out")

    names = [entry.name for entry in made.manifest.files]
    assert names[0] == "x.fq.gz"
    assert len(set(names)) == 3
    assert all(name.endswith(".fq.gz") for name in names)


def test_only_some_are_brought_and_the_others_when_they_are_needed(
    folder: Path, yours: Store, records: list[IpFile]
) -> None:
    done = fetch(yours, folder, only={"asset": ["r1", "r2"]})

    assert {record.keyvalues["asset"] for record in done.records} == {"r1", "r2"}
    assert yours.objects.stat(records[0].cid) is None
    assert yours.read(records[0].cid).read_text() == ">c\nACGT\n"


def test_records_alone_are_registered_and_their_bytes_come_later(
    folder: Path, mine: Store, yours: Store, records: list[IpFile]
) -> None:
    done = fetch(yours, folder, records_only=True)

    assert (done.moved, done.failed) == (0, [])
    assert state(yours) == state(mine)
    assert not objects(yours) & {record.cid for record in records}
    assert yours.read(records[2].cid).read_text() == READS.format(1)


def test_a_missing_and_a_damaged_file_fail_and_the_others_arrive(
    folder: Path, mine: Store, yours: Store, records: list[IpFile]
) -> None:
    missing, damaged = folder / records[0].cid, folder / records[2].cid
    kept = {path: path.read_bytes() for path in (missing, damaged)}
    missing.unlink()
    os.chmod(damaged, 0o644)
    damaged.write_bytes(kept[damaged].replace(b"ACGT", b"ACGA"))

    done = fetch(yours, folder)

    assert [item.name for item in done.failed] == ["g.fa", "1.fq"]
    assert {record.name for record in done.records} == {"g.fa.fai", "2.fq"}
    assert yours.query({"cid": records[0].cid}) == yours.query({"cid": records[2].cid}) == []
    assert not objects(yours) & {records[0].cid, records[2].cid}
    with pytest.raises(StorageError, match=r"(?s)2 of the bundle 'small'.*g\.fa: .*1\.fq: .*bafk"):
        done.check(find_bundle(str(folder), yours.root))

    for path, data in kept.items():
        path.write_bytes(data)
    assert fetch(yours, folder).failed == []
    assert {record.id for record in records} <= state(yours)
    assert mine.documents(records[0].cid)[0] in yours.documents(records[0].cid)


def test_a_lie_about_the_size_is_an_error_of_that_entry(folder: Path, yours: Store) -> None:
    edit(folder, lambda body: body["files"][0].update(size=7))
    done = fetch(yours, folder)
    assert [item.name for item in done.failed] == ["g.fa"]
    assert "7" in done.failed[0].reason
    assert yours.query({"asset": "reference"}) == []


def test_a_lie_about_the_cid_is_an_error_of_that_entry(
    folder: Path, yours: Store, records: list[IpFile]
) -> None:
    os.replace(folder / records[3].cid, folder / records[2].cid)
    done = fetch(yours, folder)
    assert {item.name for item in done.failed} >= {"1.fq"}
    assert yours.objects.stat(records[2].cid) is None


def test_a_damaged_object_is_replaced(folder: Path, yours: Store, records: list[IpFile]) -> None:
    fetch(yours, folder)
    path = yours.objects.path(records[0].cid)
    os.chmod(path, 0o644)
    path.write_text(">c\nAAAA\n")

    done = fetch(yours, folder)

    assert done.failed == []
    assert path.read_text() == ">c\nACGT\n"


def test_what_does_not_fit_is_refused_before_anything_moves(folder: Path, yours: Store) -> None:
    edit(folder, lambda body: body["files"][0].update(size=1 << 49))
    with pytest.raises(StorageError, match="free"):
        fetch(yours, folder)
    assert objects(yours) == set()


def test_an_unknown_type_is_refused_before_anything_moves(folder: Path, yours: Store) -> None:
    edit(folder, lambda body: body["files"][0]["keyvalues"].update(asset="nothing"))
    with pytest.raises(InvalidAssetError, match=r"entry 'g\.fa'"):
        fetch(yours, folder)
    assert objects(yours) == set()


def test_a_file_that_is_not_of_its_type_is_not_registered(yours: Store, tmp_path: Path) -> None:
    (tmp_path / "x.fq").write_text("no reads\n")
    place = archive(tmp_path, "x.fq", "sha256", {"asset": "r1", "sample": "S"})
    done = fetch(yours, place)
    assert [item.name for item in done.failed] == ["x.fq"]
    assert state(yours) == set()


@pytest.mark.parametrize("profile", [{}, {"chunker": "size-1048576"}, {"leaves": "dag-pb", "version": 0}])
def test_a_real_gateway_is_a_mirror_in_any_published_layout(
    profile: dict[str, Any], ipfsgw: Any, yours: Store, tmp_path: Path
) -> None:
    path, blocks = tmp_path / "long.fq", tmp_path / "blocks"
    path.write_text(f"@long\n{'ACGT' * 100_000}\n+\n{'IIII' * 100_000}\n")
    (cid,) = ipfsgw.add(path, store=blocks, **profile)
    entry = {
        "name": "long.fq",
        "size": path.stat().st_size,
        "cid": cid,
        "keyvalues": {"asset": "r1", "sample": "S"},
    }
    body = {
        "stargazer": "bundle/1",
        "name": "g",
        "files": [entry],
        "mirrors": [f"{ipfsgw.serve(blocks)}/ipfs/{{cid}}"],
    }
    (tmp_path / "g.bundle.json").write_text(json.dumps(body))

    done = fetch(yours, tmp_path / "g.bundle.json")

    assert done.failed == []
    assert yours.read(done.records[0].cid).read_bytes() == path.read_bytes()
    again = bundles.make(yours, "again", done.records, tmp_path / "again")
    found = bundles.verify(find_bundle(str(again.path), yours.root), yours)
    assert {item.state for item in found} == {"good"}
    assert bundles.make(yours, "again", done.records, tmp_path / "again").copied == 0


# checksums and locks


def archive(folder: Path, name: str, kind: str, keyvalues: dict[str, str], **changes: Any) -> Path:
    """The manifest of one file that a public archive publishes with a checksum."""
    data = (folder / name).read_bytes()
    entry = {"name": name, "size": len(data), kind: hashlib.new(kind, data).hexdigest(), "mirrors": [name],
             "keyvalues": keyvalues, **changes}  # fmt: skip
    path = folder / "archive.bundle.json"
    files = json.loads(path.read_bytes())["files"] if path.exists() else []
    path.write_text(json.dumps({"stargazer": "bundle/1", "name": "archive", "files": [*files, entry]}))
    return path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A pair of reads with checksums, the mate linked by name."""
    for mate in "12":
        (tmp_path / f"{mate}.fq").write_text(READS.format(mate))
    archive(tmp_path, "2.fq", "md5", {"asset": "r2", "sample": "S"}, links={"r1_cid": "1.fq"})
    return archive(tmp_path, "1.fq", "sha256", {"asset": "r1", "sample": "S"})


@pytest.mark.parametrize("how", ["file", "url"])
def test_published_checksums_become_cids_and_are_locked(
    how: str, published: Path, web: str, yours: Store, tmp_path: Path
) -> None:
    place = str(published) if how == "file" else f"{web}/archive.bundle.json"

    done = fetch(yours, place)

    assert done.failed == []
    cids = {mate: compute_cid(tmp_path / f"{mate}.fq") for mate in "12"}
    assert {record.name: record.cid for record in done.records} == {"1.fq": cids["1"], "2.fq": cids["2"]}
    assert yours.query({"asset": "r2"})[0].keyvalues["r1_cid"] == cids["1"]
    document = yours.document(yours.documents(cids["1"])[0])
    assert isinstance(document, Import)
    assert (document.command, {entry.origin for entry in document.files}) == (
        "bundle fetch archive", {"1.fq", "2.fq"} if how == "file" else {f"{web}/1.fq", f"{web}/2.fq"},
    )  # fmt: skip
    (lock,) = (
        [tmp_path / "archive.bundle.lock"]
        if how == "file"
        else (yours.root / "bundles").glob("*.bundle.lock")
    )
    assert {name: item.cid for name, item in Lock(lock).read().items()} == {
        "1.fq": cids["1"],
        "2.fq": cids["2"],
    }
    assert fetch(yours, place).moved == 0


def test_wrong_checksums_register_nothing_and_leave_the_mate_behind(published: Path, yours: Store) -> None:
    edit(published.parent, lambda body: body["files"][1].update(sha256="00" * 32))
    done = fetch(yours, published)
    assert {item.name: item.reason.split()[0] for item in done.failed}.keys() == {"1.fq", "2.fq"}
    assert "linked to '1.fq'" in next(item.reason for item in done.failed if item.name == "2.fq")
    assert state(yours) == set()


def test_other_bytes_than_the_lock_says_are_an_error(published: Path, yours: Store, mine: Store) -> None:
    fetch(yours, published)
    (published.parent / "1.fq").write_text(READS.format(7))

    done = fetch(mine, published)

    assert [item.name for item in done.failed] == ["2.fq", "1.fq"]
    lines = {item.name: item.reason for item in done.failed}
    assert "other bytes" in lines["1.fq"]
    edit(published.parent, lambda body: body["files"][1].update(sha256="00" * 32))
    with pytest.raises(IntegrityError, match="another sha256"):
        fetch(mine, published)


def test_a_mirror_that_sends_more_than_its_size_is_cut_off(published: Path, web: str, yours: Store) -> None:
    edit(published.parent, lambda body: body["files"][1].update(size=3))
    done = fetch(yours, f"{web}/archive.bundle.json", only={"asset": ["r1"]})
    assert "not the 3 of the file" in done.failed[0].reason


def test_records_alone_need_a_cid(published: Path, yours: Store) -> None:
    done = fetch(yours, published, records_only=True)
    assert [item.name for item in done.failed] == ["2.fq", "1.fq"]
    assert "CID is not known" in done.failed[0].reason


# hostile provenance


def test_no_bundle_changes_what_was_here_before(
    folder: Path, mine: Store, yours: Store, records: list[IpFile], tmp_path: Path
) -> None:
    """Given a store that has the records, a bundle that carries their document and takes one back changes nothing."""
    fetch(yours, folder)
    before = state(yours)
    retract(mine, records[0])
    made = bundles.make(mine, "hostile", records[2:3], tmp_path / "hostile")
    assert len(made.manifest.provenance) == 2

    done = fetch(yours, made.path)

    assert done.failed == []
    assert before <= state(yours)
    assert not any(
        isinstance(yours.document(cid), Retraction) for cid in yours.documents(records[0].cid, "retracted")
    )


def test_a_document_that_ends_what_the_bundle_does_not_hold_is_refused(
    folder: Path, yours: Store, records: list[IpFile], tmp_path: Path
) -> None:
    strange = Retraction(
        record=records[0].id,
        made_by=records[1].cid,
        cid=records[0].cid,
        replaces=[records[1].cid],
        at="2026-11-29T12:00:00Z",
    )
    (tmp_path / "strange").write_bytes(dump(strange))
    cid = compute_cid(tmp_path / "strange")
    (tmp_path / "strange").rename(folder / cid)
    edit(folder, lambda body: body["provenance"].append(cid))

    done = fetch(yours, folder)

    assert any("which is not in the bundle" in item.reason for item in done.failed)
    assert len(done.records) == 4
    assert cid not in objects(yours)


@pytest.mark.parametrize("data", [b"", b"{}", b"no provenance"])
def test_what_is_no_provenance_document_is_not_kept(
    data: bytes, folder: Path, yours: Store, tmp_path: Path
) -> None:
    (tmp_path / "strange").write_bytes(data)
    cid = compute_cid(tmp_path / "strange")
    (tmp_path / "strange").rename(folder / cid)
    edit(folder, lambda body: body["provenance"].append(cid))

    done = fetch(yours, folder)

    assert [item.name for item in done.failed] == [f"provenance {cid}"]
    assert len(done.records) == 4
    assert cid not in objects(yours)


def test_a_file_of_a_bundle_that_looks_like_provenance_is_just_a_file(
    yours: Store, records: list[IpFile], tmp_path: Path
) -> None:
    strange = Retraction(record=records[0].id, made_by=records[1].cid, cid=records[0].cid)
    (tmp_path / "report.json").write_bytes(dump(strange))
    place = archive(tmp_path, "report.json", "sha256", {"asset": "qc_report", "kind": "summary"})

    done = fetch(yours, place)

    assert done.failed == []
    assert not yours.is_registered(done.records[0].cid)
    lose_index(yours)
    assert fsck(yours).ok
    assert [record.id for record in yours.query({"asset": "qc_report"})] == [done.records[0].id]


def test_bytes_that_are_brought_later_and_look_like_provenance_are_just_a_file(
    yours: Store, tmp_path: Path
) -> None:
    """A bundle that registers records alone is not to smuggle a memo entry in through their bytes."""
    result = Entry(role="bam", cid=compute_cid(_written(tmp_path / "x.bam", b"BAM")), size=3, name="x.bam",
                   keyvalues={"asset": "alignment", "sample": "S"})  # fmt: skip
    execution = Execution(task="align", run_key="key", outputs=[result], started="", finished="", result=0)
    strange = _written(tmp_path / "strange", dump(execution))
    cid, folder = compute_cid(strange), tmp_path / "beside"
    folder.mkdir()
    entry = {
        "name": "1.fq",
        "size": strange.stat().st_size,
        "cid": cid,
        "keyvalues": {"asset": "r1", "sample": "S"},
    }
    strange.rename(folder / cid)
    body = {"stargazer": "bundle/1", "name": "strange", "mirrors": ["{cid}"], "files": [entry]}
    (folder / "strange.bundle.json").write_text(json.dumps(body))

    assert len(fetch(yours, folder, records_only=True).records) == 1

    assert yours.read(cid) == yours.objects.path(cid)
    assert yours.remembered("key") is None
    lose_index(yours)
    assert fsck(yours).ok
    assert yours.remembered("key") is None


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# making, finding, verifying


def test_a_manifest_alone_needs_a_mirror_and_no_bytes(
    mine: Store, yours: Store, folder: Path, web: str, records: list[IpFile], tmp_path: Path
) -> None:
    with pytest.raises(InvalidAssetError, match="--mirror"):
        bundles.make(mine, "alone", records, tmp_path / "alone", manifest_only=True)
    made = bundles.make(
        mine, "alone", records, tmp_path / "alone", manifest_only=True, mirrors=[f"{web}/out/{{cid}}"]
    )

    assert [path.name for path in made.path.parent.iterdir()] == ["alone.bundle.json"]
    assert fetch(yours, made.path).failed == []
    assert state(yours) == state(mine)


def test_making_again_copies_what_is_missing_or_damaged(
    mine: Store, folder: Path, records: list[IpFile], tmp_path: Path
) -> None:
    assert bundles.make(mine, "small", records, folder).copied == 0
    damaged = folder / records[0].cid
    os.chmod(damaged, 0o644)
    damaged.write_text("x")
    assert bundles.make(mine, "small", records, folder).copied == records[0].size


@pytest.mark.parametrize(
    "mirror", ["https://me:secret@example.org/{cid}", "https://example.org/", "ftp://x/{cid}"]
)
def test_a_mirror_that_no_manifest_takes_is_refused(
    mirror: str, mine: Store, records: list[IpFile], tmp_path: Path
) -> None:
    with pytest.raises(FormatError):
        bundles.make(mine, "x", records, tmp_path / "x", mirrors=[mirror])
    assert not (tmp_path / "x").exists()


def test_verifying_reads_every_byte_and_downloads_nothing(
    folder: Path, yours: Store, records: list[IpFile]
) -> None:
    bundle = find_bundle(str(folder), yours.root)
    assert {item.state for item in bundles.verify(bundle, yours, in_store=True)} == {"missing"}
    fetch(yours, folder)
    assert {item.state for item in bundles.verify(bundle, yours, in_store=True)} == {"good"}
    (folder / records[0].cid).unlink()
    for path in (folder / records[1].cid, yours.objects.path(records[1].cid)):
        os.chmod(path, 0o644)
        path.write_text("c\t4\t3\t4\t6\n")

    in_folder = {item.name: item.state for item in bundles.verify(bundle, yours)}
    in_store = {item.name: item.state for item in bundles.verify(bundle, yours, in_store=True)}

    assert {name: state for name, state in in_folder.items() if state != "good"} == {
        "g.fa": "missing", "g.fa.fai": "damaged",
    }  # fmt: skip
    assert {name: state for name, state in in_store.items() if state != "good"} == {"g.fa.fai": "damaged"}


def test_a_manifest_behind_a_url_is_read_up_to_a_limit(web: str, tmp_path: Path) -> None:
    with open(tmp_path / "huge.bundle.json", "wb") as file:
        file.truncate(50 * LARGEST)
    with pytest.raises(FormatError, match="larger than 10,000,000 bytes"):
        find_bundle(f"{web}/huge.bundle.json", tmp_path)
    with pytest.raises(StorageError, match=r"nothing\.bundle\.json: answered 404"):
        find_bundle(f"{web}/nothing.bundle.json?token=secret", tmp_path)


def test_two_bundles_of_one_name_are_told_apart(
    mine: Store, yours: Store, records: list[IpFile], tmp_path: Path
) -> None:
    for place in ("one", "two"):
        fetch(yours, bundles.make(mine, "twice", records[2:3], tmp_path / place).path)
    with pytest.raises(
        InvalidAssetError, match=r"(?s)several bundles named 'twice'.*(one|two)/twice\.bundle\.json"
    ):
        find_bundle("twice", yours.root)


def builtin(monkeypatch: pytest.MonkeyPatch, manifest: Path, maker: Callable[[Path], object]) -> None:
    class Entry:
        name, value = "made", "test:made"

        def load(self) -> BuiltinBundle:
            return BuiltinBundle(manifest, maker, "made by a test")

    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group: [Entry()] if group == ENTRY_POINT_GROUP else [],
    )


def test_a_built_in_bundle_is_made_and_verified(
    folder: Path, yours: Store, mine: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = edit(folder, lambda body: (body.update(name="made"), body.pop("mirrors"), body.pop("provenance")))
    sound = True

    def make(into: Path) -> None:
        into.mkdir()
        for entry in parse(path.read_bytes(), remote=False).files:
            data = mine.read(entry.cid).read_bytes()
            (into / entry.name).write_bytes(data if sound or entry.name != "2.fq" else b"other bytes")

    builtin(monkeypatch, path, make)
    sound = False
    done = fetch(yours, "made")
    assert [item.name for item in done.failed] == ["2.fq"]
    assert "was made as bafk" in done.failed[0].reason

    sound = True
    assert fetch(yours, "made").failed == []
    (document,) = {cid for record in yours.query({"asset": "r2"}) for cid in yours.documents(record.cid)}
    assert yours.document(document).files[0].origin == "2.fq, made by a test"


# interruption


def test_news_comes_for_every_file(folder: Path, yours: Store) -> None:
    told: list[News] = []
    fetch(yours, folder, observer=told.append)
    fetch(yours, folder, observer=told.append)
    states = [(news.name, news.state) for news in told if news.state != "moving"]
    assert sorted(states) == sorted(
        (name, state) for name in ("g.fa", "g.fa.fai", "1.fq", "2.fq") for state in ("done", "here")
    )


def test_an_interrupt_stops_running_jobs_and_begins_no_others() -> None:
    begun: list[int] = []
    ended: list[int] = []

    def job(number: int) -> None:
        begun.append(number)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            pause(10)
        ended.append(number)

    with pytest.raises(KeyboardInterrupt):
        each(job, range(9), 1, "job")
    assert begun == ended == [0]


def test_what_is_unexpected_in_a_job_is_raised() -> None:
    def fail(number: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        each(fail, range(2), 2, "job")


def test_several_that_fetch_at_once_register_it_once(
    folder: Path, web: str, mine: Store, yours: Store
) -> None:
    code = (
        "import sys; from pathlib import Path; from stargazer.storage.store import open_store\n"
        "from stargazer.storage import bundles\n"
        "store = open_store(Path(sys.argv[1]))\n"
        "print(len(bundles.fetch(store, bundles.find_bundle(sys.argv[2], store.root)).records))\n"
    )
    command = [sys.executable, "-c", code, str(yours.root), f"{web}/out/small.bundle.json"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in running] == ["4\n", "4\n"]
    assert state(yours) == state(mine)


@pytest.mark.slow
def test_a_fetch_that_was_killed_goes_on_where_it_stopped(
    mine: Store, yours: Store, tmp_path: Path, web: str
) -> None:
    """Given kill -9 in the middle, no file is visible that is not whole, and the next fetch ends with all of them."""
    found = []
    for number in range(6):
        path = tmp_path / f"{number}.fq"
        path.write_text(f"@{number}\n{'ACGT' * 2_000_000}\n+\n{'IIII' * 2_000_000}\n")
        found += mine.add([Addition(path, R1(sample=f"S{number}"))])
    bundles.make(mine, "large", found, tmp_path / "out")
    url = f"{web}/out/large.bundle.json"
    code = (
        "import sys; from pathlib import Path; from stargazer.storage.store import open_store\n"
        "from stargazer.storage import bundles\n"
        "store = open_store(Path(sys.argv[1]))\n"
        "bundle = bundles.find_bundle(sys.argv[2], store.root)\n"
        "bundles.fetch(store, bundle, observer=lambda news: print(news, flush=True))\n"
    )
    for lines in (3, 12, 40):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(yours.root), url],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for cid in objects(yours):
            assert compute_cid(yours.objects.path(cid)) == cid
    time.sleep(0.1)

    done = fetch(yours, url)

    assert done.failed == []
    assert state(yours) == state(mine)
    assert list((yours.root / "tmp").glob("*.part")) == []
