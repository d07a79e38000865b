"""The StorageClient contract: what every client keeps, whatever it stands on. A new client joins in the fixture."""

from __future__ import annotations

import asyncio
import os
import warnings
from pathlib import Path

import attrs
import pytest
from stargazer.assets import AssetNotFoundError, FormatError, InvalidAssetError, IpFile, StorageError
from stargazer.assets.client import StorageClient
from stargazer.storage.changes import supersede
from stargazer.storage.cid import compute_cid
from stargazer.storage.client import LocalStorageClient, PinataClient
from stargazer.storage.pinata.api import Patience
from stargazer.storage.search import find_page, find_records, type_counts
from stargazer.storage.settings import Settings

from .pinata_emulator import PinataEmulator

FASTA = b">chr1\nACGTACGTNN\n"
REFERENCE = {"asset": "reference", "build": "GRCh38"}
ODD_NAMES = [
    "with space.fa",
    'it\'s "quoted".fa',
    "two\nlines.fa",
    "größe-参照.fa",
    "-leading-dash.fa",
    "$(touch x);`y`.fa",
    "n" * 252 + ".fa",
]


@pytest.fixture(params=["local", "pinata", "pinata down"])
def client(request, tmp_path, monkeypatch):
    """Every client, Pinata's also with a service that cannot be reached: nothing here may depend on it."""
    if request.param == "local":
        yield LocalStorageClient(tmp_path / "store")
        return
    with PinataEmulator(tmp_path / "pinata") as pinata:
        set_account(monkeypatch, pinata)
        if request.param == "pinata down":
            pinata.stop()
            warnings.simplefilter("ignore")
        client = PinataClient(Settings.load())
        client.store.remote.api.patience = Patience(attempts=1)
        yield client


def set_account(monkeypatch, pinata) -> None:
    """Let the settings name an emulated account."""
    monkeypatch.setenv("PINATA_JWT", pinata.jwt)
    monkeypatch.setenv("PINATA_API", pinata.api)
    monkeypatch.setenv("PINATA_UPLOADS", pinata.uploads)
    monkeypatch.setenv("PINATA_GATEWAY", pinata.gateway)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "GRCh38.fa"
    path.write_bytes(FASTA)
    return path


def upload(client, path, keyvalues=REFERENCE, **options) -> IpFile:
    return asyncio.run(client.upload_file(path, keyvalues, **options))


def query(client, **keyvalues) -> list[IpFile]:
    return asyncio.run(client.query_files(keyvalues))


def download(client, ipfile, dest=None) -> Path:
    return asyncio.run(client.download_file(ipfile, dest)).path


def update(client, ipfile, **keyvalues) -> IpFile:
    return asyncio.run(client.update_file(ipfile, keyvalues))


def delete(client, ipfile) -> None:
    asyncio.run(client.delete_file(ipfile))


def plain(ipfile) -> dict[str, str]:
    return {key: value for key, value in ipfile.keyvalues.items() if key != "provenance_cid"}


def test_it_is_a_storage_client(client):
    assert isinstance(client, StorageClient)


def test_an_upload_is_a_record_of_its_bytes_and_metadata(client, source):
    record = upload(client, source)

    assert record.cid == compute_cid(source)
    assert (record.name, record.size, plain(record)) == ("GRCh38.fa", len(FASTA), REFERENCE)
    assert record.id
    assert record.created_at.endswith("Z")
    assert not record.public


def test_every_upload_says_how_it_came_to_be(client, source):
    record = upload(client, source)

    (provenance,) = query(client, cid=record.keyvalues["provenance_cid"])
    assert plain(provenance)["asset"] == "provenance"
    assert plain(provenance)["kind"] == "import"


def test_a_name_can_be_given(client, source):
    assert upload(client, source, name="hg38.fa").name == "hg38.fa"


def test_the_same_bytes_and_metadata_are_the_same_record(client, source, tmp_path):
    first = upload(client, source)
    copy = tmp_path / "copy.fa"
    copy.write_bytes(FASTA)

    second = upload(client, copy)

    assert second.id == first.id
    assert second.keyvalues == first.keyvalues
    assert [record.id for record in query(client, asset="reference")] == [first.id]
    assert len(query(client, asset="provenance")) == 1


def test_the_same_bytes_with_other_metadata_are_another_record(client, source):
    first, second = upload(client, source), upload(client, source, {**REFERENCE, "build": "hg38"})

    assert first.cid == second.cid
    assert first.id != second.id
    assert [plain(record)["build"] for record in query(client, cid=first.cid)] == ["GRCh38", "hg38"]


def test_a_query_is_an_and_of_pairs(client, tmp_path):
    for sample in ("NA12878", "NA12891"):
        for lane in ("L001", "L002"):
            path = tmp_path / f"{sample}_{lane}.fq"
            path.write_text(f"@{sample}{lane}\nA\n+\nI\n")
            upload(client, path, {"asset": "r1", "sample": sample, "lane": lane})

    assert [record.name for record in query(client, sample="NA12878", lane="L002")] == ["NA12878_L002.fq"]
    assert len(query(client, asset="r1")) == 4
    assert query(client, asset="r1", sample="NA12892") == []
    assert query(client, asset="r1", nonsense="1") == []


def test_no_pairs_mean_all_records(client, source):
    record = upload(client, source)

    assert {found.id for found in query(client)} > {record.id}


def test_a_query_by_cid_can_be_narrowed(client, source):
    record = upload(client, source)
    upload(client, source, {**REFERENCE, "build": "hg38"})

    assert [found.id for found in query(client, cid=record.cid, build="GRCh38")] == [record.id]


def test_records_come_oldest_first(client, tmp_path):
    for number in (3, 1, 2):
        path = tmp_path / f"{number}.fa"
        path.write_text(f">c{number}\nA\n")
        upload(client, path, {**REFERENCE, "build": str(number)})

    assert [plain(record)["build"] for record in query(client, asset="reference")] == ["3", "1", "2"]


@pytest.mark.parametrize("public", [None, False])
def test_private_is_what_is_found_without_asking(client, source, public):
    record = upload(client, source, public=public)

    assert [r.id for r in asyncio.run(client.query_files({"asset": "reference"}, public))] == [record.id]


def test_without_a_target_the_clients_own_read_only_file_is_given(client, source):
    path = download(client, upload(client, source))

    assert path.read_bytes() == FASTA
    assert path.stat().st_mode & 0o222 == 0


def test_a_download_to_a_file_is_a_copy_that_may_be_changed(client, source, tmp_path):
    record = upload(client, source)
    target = tmp_path / "mine.fa"

    assert download(client, record, target) == target
    target.write_bytes(b"changed")

    assert download(client, record).read_bytes() == FASTA


def test_a_download_into_a_folder_has_the_records_name(client, source, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()

    assert download(client, upload(client, source), folder) == folder / "GRCh38.fa"
    assert os.listdir(folder) == ["GRCh38.fa"]


def test_a_download_replaces_a_file(client, source, tmp_path):
    target = tmp_path / "old.fa"
    target.write_bytes(b"old and longer than what comes" * 10)

    assert download(client, upload(client, source), target).read_bytes() == FASTA


def test_a_download_that_cannot_be_written_names_its_target(client, source, tmp_path):
    record = upload(client, source)

    with pytest.raises(StorageError, match=r"no-such-folder"):
        download(client, record, tmp_path / "no-such-folder" / "x.fa")


def test_a_record_needs_no_more_than_its_cid_to_be_downloaded(client, source):
    record = upload(client, source)

    assert download(client, IpFile(cid=record.cid)).read_bytes() == FASTA


def test_missing_bytes_are_an_error_that_names_them(client, tmp_path):
    (tmp_path / "other").write_bytes(b"nowhere")
    cid = compute_cid(tmp_path / "other")

    with pytest.raises(StorageError, match=cid):
        download(client, IpFile(cid=cid))


@pytest.mark.parametrize("name", ["../escape.fa", "/etc/escape.fa", "a/b/escape.fa", "..", ".", "a/..", ""])
def test_a_records_name_does_not_choose_the_folder(client, source, tmp_path, name):
    record = attrs.evolve(upload(client, source), name=name)
    folder = tmp_path / "out"
    folder.mkdir()

    assert download(client, record, folder).parent == folder
    assert len(os.listdir(folder)) == 1


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_kept_and_come_back(client, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FASTA)
    folder = tmp_path / "out"
    folder.mkdir()

    record = upload(client, path)

    assert record.name == query(client, asset="reference")[0].name == name
    assert download(client, record, folder) == folder / name
    assert (folder / name).read_bytes() == FASTA


def test_an_update_merges_and_removes(client, tmp_path):
    path = tmp_path / "x.fq"
    path.write_text("@a\nA\n+\nI\n")
    record = upload(client, path, {"asset": "r1", "sample": "wrong", "lane": "L001"})

    changed = update(client, record, sample="NA12878", lane=None)

    assert plain(changed) == {"asset": "r1", "sample": "NA12878", "platform": "ILLUMINA"}
    assert (changed.cid, changed.name, changed.created_at) == (record.cid, record.name, record.created_at)
    assert changed.keyvalues["provenance_cid"] == record.keyvalues["provenance_cid"]
    assert [found.keyvalues for found in query(client, asset="r1")] == [changed.keyvalues]
    assert query(client, sample="wrong") == []


def test_an_update_leaves_other_records_of_the_same_bytes(client, source):
    first, second = upload(client, source), upload(client, source, {**REFERENCE, "build": "hg38"})

    update(client, first, build="GRCh37")

    builds = [plain(record)["build"] for record in query(client, asset="reference")]
    assert builds == ["GRCh37", "hg38"]
    assert second.id in {record.id for record in query(client, build="hg38")}


def test_an_update_to_what_another_record_says_makes_one_of_two(client, source):
    first, second = upload(client, source), upload(client, source, {**REFERENCE, "build": "hg38"})

    update(client, first, build="hg38")

    assert [record.id for record in query(client, asset="reference")] == [second.id]


@pytest.mark.parametrize(
    "changes", [{"bulid": "x"}, {"build": None}, {"asset": "nothing"}, {"provenance_cid": "x"}]
)
def test_an_update_that_the_type_does_not_take_changes_nothing(client, source, changes):
    record = upload(client, source)

    with pytest.raises(InvalidAssetError):
        update(client, record, **changes)

    assert [found.keyvalues for found in query(client, asset="reference")] == [record.keyvalues]


def test_a_deletion_removes_one_record_and_no_bytes(client, source):
    first, second = upload(client, source), upload(client, source, {**REFERENCE, "build": "hg38"})

    delete(client, first)

    assert [record.id for record in query(client, cid=first.cid)] == [second.id]
    assert download(client, second).read_bytes() == FASTA


def test_what_is_deleted_can_be_neither_deleted_nor_updated(client, source):
    record = upload(client, source)
    delete(client, record)

    with pytest.raises(AssetNotFoundError, match=record.id):
        delete(client, record)
    with pytest.raises(AssetNotFoundError, match=record.id):
        update(client, record, build="hg38")


def test_what_was_deleted_can_be_uploaded_again(client, source):
    record = upload(client, source)
    delete(client, record)

    assert upload(client, source).id == record.id
    assert len(query(client, asset="reference")) == 1


@pytest.mark.parametrize(
    ("keyvalues", "named"),
    [
        ({}, "asset type"),
        ({"asset": "referense"}, "referense"),
        ({"asset": "reference"}, "build"),
        ({**REFERENCE, "colour": "red"}, "colour"),
        ({**REFERENCE, "_cid": "x"}, "_cid"),
        ({"asset": "alignment", "sample": "x", "sorted_by": "hope"}, "sorted_by"),
    ],
)
def test_metadata_that_its_type_does_not_take_is_refused(client, source, keyvalues, named):
    with pytest.raises(InvalidAssetError, match=named):
        upload(client, source, keyvalues)

    assert query(client) == []


@pytest.mark.parametrize("content", [b"", b"this is no FASTA\n"])
def test_a_file_that_is_not_of_its_type_is_refused(client, tmp_path, content):
    path = tmp_path / "wrong.fa"
    path.write_bytes(content)

    with pytest.raises(FormatError, match=r"wrong\.fa"):
        upload(client, path)

    assert query(client) == []


def test_calls_at_once_do_not_disturb_one_another(client, tmp_path):
    paths = [tmp_path / f"{number}.fa" for number in range(20)]
    for path in paths:
        path.write_text(f">{path.stem}\nACGT\n")

    async def all_at_once():
        uploads = [client.upload_file(path, {**REFERENCE, "build": path.stem}) for path in paths]
        records = await asyncio.gather(*uploads)
        return await asyncio.gather(*(client.download_file(record) for record in records))

    files = asyncio.run(all_at_once())

    assert [file.path.read_bytes() for file in files] == [path.read_bytes() for path in paths]
    assert len(query(client, asset="reference")) == 20


def test_pages_have_the_records_that_a_query_has(client, tmp_path):
    names = ["b.fa", "a.fa", "c.fa", "d.fa"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(FASTA + b"A" * (10 - number))
        pairs = {"asset": "reference", "build": f"b{number % 2}"}
        asyncio.run(client.upload_file(tmp_path / name, pairs))
    store, named = client.store, {"asset": ["reference"]}

    def names_of(*args, **more):
        total, records = find_page(store, *args, **more)
        return total, [record.name for record in records]

    assert names_of(named, 3) == (4, ["d.fa", "c.fa", "a.fa"])
    assert names_of({}, 3, 3) == (4, ["b.fa"])
    assert names_of(named, 9, 4) == (4, [])
    assert names_of({"asset": ["reference"], "build": ["b1"]}, 1) == (2, ["d.fa"])
    assert names_of(named, 2, 1, order="name", descending=False) == (4, ["b.fa", "c.fa"])
    assert names_of(named, 2, order="size") == (4, ["b.fa", "a.fa"])
    assert names_of(named, 9, public=True) == (0, [])
    assert names_of(named, 9, public=False)[0] == 4
    assert type_counts(store) == {"reference": 4}
    old, new = find_records(store, named)[:2]
    supersede(store, old, new)
    assert names_of(named, 9)[0] == type_counts(store)["reference"] == len(find_records(store, named)) == 3
    amended = asyncio.run(client.update_file(old, {"build": "b7"}))
    assert amended.id not in {record.id for record in find_page(store, named, 9)[1]}
    assert names_of(named, 9)[0] == 3
