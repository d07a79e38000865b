"""Uploads to Pinata in one request: what arrives is what was here, under its CID, once."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.cid import compute_cid
from stargazer.storage.pinata import PinataApi, PinataFile, Refused, Unavailable
from stargazer.storage.pinata.upload import Upload

from .pinata_emulator import PinataEmulator

KIB = 1024
OTHER = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "reads.txt"
    path.write_bytes(os.urandom(3 * 1024 * KIB + 1))
    return path


@pytest.fixture
def upload(api: PinataApi, path: Path) -> Callable[..., PinataFile]:
    """Upload the file at `path`, private, with some metadata unless told otherwise."""

    def upload(**change: Any) -> PinataFile:
        order = {
            "cid": change.get("cid") or compute_cid(path),
            "name": path.name,
            "keyvalues": {"asset": "r1", "sample": "é"},
            "public": False,
        }
        return Upload(api, path, **{**order, **change}).run()

    return upload


@pytest.mark.parametrize("size", [0, 1, 256 * KIB, 256 * KIB + 1, 2 * 1024 * KIB])
def test_what_arrives_is_what_was_here(
    size: int, upload: Callable[..., PinataFile], path: Path, pinata: PinataEmulator
) -> None:
    path.write_bytes(os.urandom(size))

    file = upload()

    assert file.cid == compute_cid(path)
    assert pinata.content(file.cid) == path.read_bytes()
    assert (file.size, file.name, file.keyvalues, file.public) == (
        size,
        "reads.txt",
        {"asset": "r1", "sample": "é"},
        False,
    )


@pytest.mark.parametrize(
    "name",
    ["é 𝄞.txt", 'quo"te', "back\\slash", "semi;colon", "..", "-rf", "a/b/c", "%22", "--boundary", "n" * 255],
)
def test_odd_names_arrive_as_they_are(
    name: str, upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    assert upload(name=name).name == name
    assert pinata.files[0]["name"] == name


@pytest.mark.parametrize("name", ["a\r\nX-Evil: 1", "a\nb", "\0", "\udcff", "a\x7f"])
def test_names_that_pinata_does_not_take_arrive_escaped(
    name: str, upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    escaped = name.encode("unicode_escape").decode()

    assert upload(name=name).name == escaped
    assert pinata.files[0]["name"] == escaped


@pytest.mark.parametrize("public", [False, True])
def test_the_network_is_always_said(
    public: bool, upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    assert upload(public=public).public is public
    assert pinata.files[0]["network"] == ("public" if public else "private")


def test_no_keyvalues_is_no_keyvalues(upload: Callable[..., PinataFile]) -> None:
    assert upload(keyvalues={}).keyvalues == {}


def test_a_file_too_large_is_refused_before_a_byte_is_sent(
    api: PinataApi, tmp_path: Path, pinata: PinataEmulator
) -> None:
    huge = tmp_path / "huge.bam"
    with huge.open("wb") as out:
        out.truncate(25_000_000_001)

    with pytest.raises(StorageError, match=r"'huge\.bam' has 25,000,000,001 bytes"):
        Upload(api, huge, cid=OTHER, name=huge.name, keyvalues={}, public=False).run()

    assert pinata.requests == []


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "unreadable"])
def test_what_is_no_file_is_said(kind: str, upload: Callable[..., PinataFile], path: Path) -> None:
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "unreadable":
        path.symlink_to(path)

    with pytest.raises(StorageError, match=r"reads\.txt"):
        upload(cid=OTHER)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429},
        {"cut_request": 1_000_000},
        {"cut_request": 0},
        {"html": True},
        {"status": 500, "body": "<html>"},
    ],
)
def test_an_attempt_that_fails_is_made_anew(
    fault: dict[str, Any], upload: Callable[..., PinataFile], path: Path, pinata: PinataEmulator
) -> None:
    pinata.fault("POST", times=2, **fault)

    file = upload()

    assert pinata.content(file.cid) == path.read_bytes()
    assert len(pinata.files) == 1


@pytest.mark.parametrize("fault", [{"lost": True}, {"cut_answer": 20}])
def test_a_lost_answer_makes_no_second_record(
    fault: dict[str, Any], upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    pinata.fault("POST", **fault)

    file = upload()

    assert [record["id"] for record in pinata.files] == [file.id]
    assert len(pinata.matching("POST")) == 1


def test_a_lost_answer_is_not_mistaken_for_another_record_of_the_same_bytes(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    first = upload(keyvalues={"asset": "r2"})
    pinata.fault("POST", lost=True)

    second = upload()

    assert second.id != first.id
    assert len(pinata.files) == 2


def test_patience_with_an_upload_ends(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, slept: list[float]
) -> None:
    pinata.fault("POST", status=503, times=None)

    with pytest.raises(Unavailable, match=r"take the upload of .*reads\.txt.* 503"):
        upload()

    assert pinata.files == []
    assert sum(slept) < 200


@pytest.mark.parametrize("status", [400, 401, 402, 403, 413])
def test_a_refusal_is_final(status: int, upload: Callable[..., PinataFile], pinata: PinataEmulator) -> None:
    pinata.fault("POST", status=status)

    with pytest.raises(Refused, match=str(status)):
        upload()

    assert len(pinata.requests) == 1


def test_another_cid_is_an_error_and_is_not_kept(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    with pytest.raises(IntegrityError) as caught:
        upload(cid=OTHER)

    assert OTHER in str(caught.value)
    assert compute_cid(path) in str(caught.value)
    assert "was deleted" in str(caught.value)
    assert pinata.files == []


def test_a_wrong_upload_that_cannot_be_deleted_is_named(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    pinata.fault("DELETE", status=500, times=None)

    with pytest.raises(IntegrityError, match="could not be deleted"):
        upload(cid=OTHER)


def test_a_wrong_record_that_was_there_before_is_left(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    upload()
    pinata.account.duplicates = "existing"

    with pytest.raises(IntegrityError, match="was there before"):
        upload(cid=OTHER)

    assert len(pinata.files) == 1


def test_a_private_file_that_was_made_public_is_said_and_undone(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    pinata.fault("POST", patch={"network": "public"})

    with pytest.raises(Refused, match="was to be private, but Pinata made it public"):
        upload()


def test_a_pending_cid_is_waited_for(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    pinata.account.pending = 3

    assert upload().cid == compute_cid(path)
    assert len(pinata.matching("GET /v3/files/private/")) == 4


def test_a_cid_that_stays_pending_is_said(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, slept: list[float]
) -> None:
    pinata.account.pending = 10_000

    with pytest.raises(Unavailable, match="has not computed the CID"):
        upload()

    assert 600 <= sum(slept) < 700


def test_a_size_that_counts_blocks_is_no_error(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    pinata.account.dag_sizes = True

    assert upload().size > path.stat().st_size


def test_metadata_that_the_service_dropped_is_sent_again(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    pinata.fault("POST", patch={"keyvalues": None})

    assert upload().keyvalues == {"asset": "r1", "sample": "é"}
    assert len(pinata.matching("PUT")) == 1


def test_a_record_that_is_somebody_elses_is_not_overwritten(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    first = upload(keyvalues={"asset": "r2"})
    pinata.account.duplicates = "existing"

    with pytest.raises(Refused, match=f"already, as '{first.id}' with other metadata"):
        upload()

    assert pinata.files[0]["keyvalues"] == {"asset": "r2"}


def test_the_same_record_again_is_the_same(upload: Callable[..., PinataFile], pinata: PinataEmulator) -> None:
    first = upload()
    pinata.account.duplicates = "existing"

    assert upload() == first


def test_a_file_that_shrinks_meanwhile_is_noticed(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    with pytest.raises(StorageError, match="changed while it was uploaded"):
        upload(progress=lambda done, total: os.truncate(path, 10))

    assert pinata.files == []


def test_a_file_that_is_edited_meanwhile_is_noticed_and_not_kept(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    def edit(done: int, total: int | None) -> None:
        with path.open("r+b") as out:
            out.seek(-5, os.SEEK_END)
            out.write(b"other")

    with pytest.raises(StorageError, match=r"changed while it was uploaded.*was deleted"):
        upload(progress=edit)

    assert pinata.files == []


def test_a_file_that_is_replaced_meanwhile_is_uploaded_as_it_was(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path, tmp_path: Path
) -> None:
    content = path.read_bytes()

    def replace(done: int, total: int | None) -> None:
        (tmp_path / "new").write_bytes(b"other")
        os.replace(tmp_path / "new", path)

    file = upload(progress=replace)

    assert pinata.content(file.cid) == content


@pytest.mark.parametrize("error", [BrokenPipeError, StorageError, ValueError, KeyboardInterrupt])
def test_who_is_told_of_the_progress_may_fail(
    error: type[BaseException], upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    def fail(done: int, total: int | None) -> None:
        raise error("enough")

    with pytest.raises(error, match="enough"):
        upload(progress=fail)

    assert pinata.files == []
    assert len(pinata.matching("POST")) <= 1


def test_progress_ends_with_everything(upload: Callable[..., PinataFile], path: Path) -> None:
    told: list[tuple[int, int | None]] = []

    upload(progress=lambda done, total: told.append((done, total)))

    size = path.stat().st_size
    assert told[-1] == (size, size)
    assert told == sorted(told)


def test_memory_does_not_grow_with_the_file(
    upload: Callable[..., PinataFile], path: Path, api: PinataApi
) -> None:
    os.truncate(path, 60 << 20)
    cid = compute_cid(path)
    tracemalloc.start()
    try:
        upload(cid=cid)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
