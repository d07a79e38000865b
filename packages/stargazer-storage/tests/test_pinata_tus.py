"""Resumable uploads: a cut connection, process or server costs next to nothing, and there is one record in the end."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.cid import compute_cid
from stargazer.storage.pinata import Patience, PinataApi, PinataFile, Refused, Unavailable
from stargazer.storage.pinata.api import origin
from stargazer.storage.pinata.upload import Upload, upload_id, upload_url

from .pinata_emulator import JWT, PinataEmulator, PinataProcess
from .tus_server import CuttingProxy, TusServer

MIB = 1 << 20
SIZE = 10 * MIB + 7


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sample.bam"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small files take several chunks."""
    monkeypatch.setattr("stargazer.storage.pinata.upload.TUS_ABOVE", MIB)
    monkeypatch.setattr("stargazer.storage.pinata.upload.CHUNK", 4 * MIB)
    monkeypatch.setattr("stargazer.storage.pinata.upload._SMALLEST", MIB)


@pytest.fixture
def upload(api: PinataApi, path: Path) -> Callable[..., PinataFile]:
    def upload(**change: Any) -> PinataFile:
        order = {
            "cid": compute_cid(path),
            "name": path.name,
            "keyvalues": {"asset": "alignment", "sample": "é"},
            "public": False,
        }
        return Upload(api, path, **{**order, **change}).run()

    return upload


def test_a_large_file_arrives_in_chunks(
    upload: Callable[..., PinataFile], path: Path, pinata: PinataEmulator
) -> None:
    urls: list[str] = []

    file = upload(on_url=urls.append, public=True)

    assert pinata.content(file.cid) == path.read_bytes()
    assert (file.name, file.keyvalues, file.public) == (
        "sample.bam",
        {"asset": "alignment", "sample": "é"},
        True,
    )
    assert [exchange.received for exchange in pinata.matching("PATCH")] == [4 * MIB, 4 * MIB, 2 * MIB + 7]
    assert upload_id(urls[0]) == file.id


def test_the_address_is_told_before_the_first_byte(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    def stop(url: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(on_url=stop)

    assert not pinata.matching("PATCH")


def test_an_upload_cut_five_times_sends_at_most_5_percent_more(
    upload: Callable[..., PinataFile], path: Path, pinata: PinataEmulator
) -> None:
    for nth in range(1, 6):
        pinata.fault("PATCH", nth=nth, cut_request=nth * 100_000)

    file = upload()

    assert pinata.content(file.cid) == path.read_bytes()
    assert len([e for e in pinata.matching("PATCH") if e.status == 0]) == 5
    assert SIZE <= pinata.received("PATCH") <= 1.05 * SIZE
    assert len(pinata.files) == 1


@pytest.mark.parametrize("status", [409, 423, 429, 460, 500, 503])
def test_an_answer_that_passes_is_asked_about_before_more_is_sent(
    status: int, upload: Callable[..., PinataFile], path: Path, pinata: PinataEmulator
) -> None:
    pinata.fault("PATCH", nth=2, status=status)

    upload()

    methods = [exchange.method for exchange in pinata.requests]
    assert methods[: methods.index("HEAD") + 2] == ["POST", "PATCH", "PATCH", "HEAD", "PATCH"]


def test_a_cut_while_the_server_is_asked_is_no_harm(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    pinata.fault("PATCH", nth=2, cut_request=5)
    pinata.fault("HEAD", lost=True, times=3)
    pinata.fault("POST", status=503)

    upload()

    assert len(pinata.files) == 1


def test_patience_without_progress_ends_and_the_address_goes_on(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, slept: list[float]
) -> None:
    urls: list[str] = []
    fault = pinata.fault("PATCH", nth=2, times=None, cut_request=0)

    with pytest.raises(Unavailable, match=r"take the upload of .*sample\.bam"):
        upload(on_url=urls.append)
    assert sum(slept) < 200
    pinata.faults.remove(fault)

    upload(url=urls[0], on_url=urls.append)

    assert len(urls) == 1
    assert pinata.received("PATCH") == SIZE


def test_progress_renews_patience(upload: Callable[..., PinataFile], pinata: PinataEmulator) -> None:
    pinata.fault("PATCH", times=30, cut_request=300_000)

    upload()

    assert len(pinata.files) == 1


KILLED = """
import os, signal, sys
from stargazer.storage.pinata import PinataApi, upload
upload.TUS_ABOVE, upload.CHUNK = 1 << 20, 4 << 20
path, cid, api, up, jwt, url_file, at = sys.argv[1:]

def progress(done, total):
    if done >= int(at):
        os.kill(os.getpid(), signal.SIGKILL)

def remember(url):
    with open(url_file, "w") as out:
        out.write(url)

pinata = PinataApi(jwt, api=api, uploads=up)
upload.Upload(
    pinata, path, cid=cid, name="sample.bam", keyvalues={}, public=False, on_url=remember, progress=progress
).run()
"""


def test_a_new_process_goes_on_where_a_killed_one_was(
    api: PinataApi, path: Path, tmp_path: Path, pinata: PinataEmulator
) -> None:
    cid, url_file = compute_cid(path), tmp_path / "url"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, path, cid, pinata.api, pinata.uploads, JWT, url_file, str(6 * MIB)]
    )
    assert killed.returncode == -signal.SIGKILL
    pinata.end_uploads()  # a server that still reads what was sent refuses the next chunk, which counts all the same

    file = Upload(
        api,
        path,
        cid=cid,
        name=path.name,
        keyvalues={},
        public=False,
        url=url_file.read_text(),
        on_url=pytest.fail,
    ).run()

    assert pinata.content(file.cid) == path.read_bytes()
    assert pinata.received("PATCH") <= 1.05 * SIZE
    assert [record["id"] for record in pinata.files] == [file.id]


def test_a_server_that_is_killed_and_comes_back_is_gone_on_with(
    pinata_process: PinataProcess, path: Path
) -> None:
    api = PinataApi(JWT, api=pinata_process.api, uploads=pinata_process.uploads, sleep=lambda _: None)
    killed: list[int] = []

    def kill(done: int, total: int | None) -> None:
        if done > 5 * MIB and not killed:
            killed.append(done)
            pinata_process.restart()

    file = Upload(api, path, cid=compute_cid(path), name="x", keyvalues={}, public=False, progress=kill).run()

    assert killed
    assert pinata_process.content(file.cid) == path.read_bytes()


@pytest.mark.parametrize("by_id", [True, False])
def test_the_last_answer_may_be_lost(
    by_id: bool, upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    pinata.fault("PATCH", nth=3, lost=True)
    if not by_id:
        pinata.fault("GET /v3/files/private/", status=404, times=None)
        pinata.account.stale_new = 2

    file = upload()

    assert file.cid == compute_cid(path)
    assert pinata.received("PATCH") == SIZE
    assert len(pinata.files) == 1


def test_an_upload_that_was_complete_sends_nothing(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    urls: list[str] = []
    file = upload(on_url=urls.append)
    patches = len(pinata.matching("PATCH"))

    assert upload(url=urls[0], on_url=pytest.fail) == file
    assert len(pinata.matching("PATCH")) == patches


def test_an_upload_that_was_complete_and_forgotten_is_found_by_its_cid(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    urls: list[str] = []
    file = upload(on_url=urls.append)
    (pinata.account.folder / "uploads" / f"{file.id}.json").unlink()

    assert upload(url=urls[0], on_url=pytest.fail) == file
    assert pinata.received("PATCH") == SIZE


def test_a_complete_upload_that_is_not_shown_is_said(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, slept: list[float]
) -> None:
    pinata.fault("GET /v3/files/private/", status=404, times=None)
    pinata.account.stale_new = 1000

    with pytest.raises(Unavailable, match="was sent, but Pinata does not show it"):
        upload()

    assert 60 <= sum(slept) < 100


def test_an_upload_that_expired_begins_again(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    expired: list[int] = []
    urls: list[str] = []

    def expire(done: int, total: int | None) -> None:
        if done == 4 * MIB and not expired:
            expired.append(done)
            pinata.expire_uploads()

    file = upload(progress=expire, on_url=urls.append)

    assert pinata.content(file.cid) == path.read_bytes()
    assert len(urls) == 2


def test_a_server_that_keeps_forgetting_is_refused(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    pinata.fault("PATCH", status=404, times=None)

    with pytest.raises(Refused, match="404"):
        upload()

    assert len(pinata.matching("PATCH")) == 3


@pytest.fixture
def cut(upload: Callable[..., PinataFile], pinata: PinataEmulator) -> str:
    """The address of an upload that was cut after its first piece."""
    urls: list[str] = []
    pinata.fault("PATCH", nth=2, times=None, cut_request=0)
    with pytest.raises(Unavailable):
        upload(on_url=urls.append)
    pinata.faults.clear()
    return urls[0]


def test_the_address_of_another_file_is_not_gone_on_with(
    cut: str, upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    path.write_bytes(os.urandom(SIZE + 1))
    urls: list[str] = []

    file = upload(url=cut, on_url=urls.append)

    assert len(urls) == 1
    assert pinata.content(file.cid) == path.read_bytes()


def test_bytes_of_another_file_before_the_cut_are_noticed(
    cut: str, upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    path.write_bytes(os.urandom(SIZE))

    with pytest.raises(IntegrityError, match=f"{compute_cid(path)}.*was deleted"):
        upload(url=cut)

    assert pinata.files == []


def test_the_key_is_told_to_no_other_host(upload: Callable[..., PinataFile], pinata: PinataEmulator) -> None:
    upload(url=f"{pinata.gateway}/v3/files/1")
    pinata.fault("POST", headers={"Location": f"{pinata.gateway}/v3/files/1"})
    with pytest.raises(Refused, match="wants the upload sent to"):
        upload()

    assert not [exchange for exchange in pinata.requests if exchange.server == "gateway"]


def test_an_address_may_be_relative(upload: Callable[..., PinataFile], pinata: PinataEmulator) -> None:
    pinata.fault("POST", headers={"Location": "/v3/files/11111111-1111-1111-1111-111111111111"}, nth=1)

    upload()  # of which the server knows nothing, so it begins again

    assert pinata.matching("PATCH")[0].target == "/v3/files/11111111-1111-1111-1111-111111111111"


@pytest.mark.parametrize("location", ["http://uploads.example/v3/files/1", "//uploads.example/v3/files/1"])
def test_behind_a_proxy_an_address_stays_https(location: str) -> None:
    assert upload_url("https://uploads.example/v3/files", location) == "https://uploads.example/v3/files/1"


@pytest.mark.parametrize("offset", ["", "-1", "x", "99999999999", "²"])
def test_a_nonsensical_offset_is_asked_for_again(
    offset: str, upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    pinata.fault("PATCH", headers={"Upload-Offset": offset.encode("latin-1", "replace").decode("latin-1")})

    upload()

    assert pinata.received("PATCH") == SIZE


def test_a_pending_cid_is_waited_for(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    pinata.account.pending = 3

    assert upload().cid == compute_cid(path)


def test_metadata_that_the_service_dropped_is_sent_again(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    pinata.fault("GET /v3/files/private/", patch={"keyvalues": None})

    assert upload().keyvalues == {"asset": "alignment", "sample": "é"}
    assert len(pinata.matching("PUT")) == 1


def test_another_cid_is_an_error_and_is_not_kept(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    other = "bafybeigwtqm3zkiwxz5i6suvk3v2bmxuhtnwpiiltp4bnxmrbsa52fe6vy"

    with pytest.raises(IntegrityError, match=f"is {other} here"):
        upload(cid=other)

    assert pinata.files == []


def test_a_file_that_shrinks_meanwhile_is_noticed(
    upload: Callable[..., PinataFile], pinata: PinataEmulator, path: Path
) -> None:
    with pytest.raises(StorageError, match="changed while it was uploaded"):
        upload(progress=lambda done, total: os.truncate(path, 5 * MIB) if done >= 4 * MIB else None)

    assert pinata.files == []


def test_a_server_that_keeps_no_part_of_a_chunk_gets_smaller_ones(
    upload: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    pinata.fault("PATCH", cut_request=0, times=3)

    upload()

    sizes = [int(exchange.headers["content-length"]) for exchange in pinata.matching("PATCH")]
    assert sizes[:5] == [4 * MIB, 2 * MIB, MIB, MIB, MIB]


def digest(content: bytes) -> str:
    """Short enough to be shown when it differs."""
    return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"


def assert_arrived(upload: Upload, tus: TusServer) -> None:
    """Send a file to a server that has uploads but no account: there nothing can be looked up in the end."""
    with pytest.raises(Refused, match="did not list files"):
        upload.run()
    assert digest(tus.content(upload.url)) == digest(Path(upload.path).read_bytes())


def test_a_real_tus_server_gets_the_file_through_five_cuts(tus: TusServer, path: Path) -> None:
    with CuttingProxy(tus.port) as proxy:
        host = origin(proxy.url())
        service = PinataApi(JWT, api=host, uploads=host, patience=Patience())
        proxy.cut_after(*[1_500_000] * 5)

        assert_arrived(
            Upload(service, path, cid="", name="sample.bam", keyvalues={"a": "é"}, public=False), tus
        )
        # what it had read when the connection was cut is its own affair; the emulator's counter proves the 5 %
        assert proxy.forwarded < 1.5 * SIZE


def test_a_real_tus_server_that_is_killed_is_gone_on_with(tus: TusServer, path: Path) -> None:
    told: list[int] = []

    def kill(done: int, total: int | None) -> None:
        told.append(done)
        if told[-2:] == [
            4 * MIB,
            4 * MIB,
        ]:  # sent, and then acknowledged: this server writes a chunk down at its end
            tus.kill()
            tus.start()

    host = origin(tus.url)
    service = PinataApi(JWT, api=host, uploads=host, sleep=lambda _: None, patience=Patience())
    assert_arrived(
        Upload(service, path, cid="", name="sample.bam", keyvalues={"a": "é"}, public=False, progress=kill),
        tus,
    )
    assert tus.starts == 2


LARGE = """
import sys, tracemalloc
from stargazer.storage.pinata import PinataApi
from stargazer.storage.pinata.upload import Upload
path, cid, api, up, jwt = sys.argv[1:]
pinata = PinataApi(jwt, api=api, uploads=up)
list(pinata.files(public=False))
tracemalloc.start()
Upload(pinata, path, cid=cid, name="large", keyvalues={}, public=False).run()
print(tracemalloc.get_traced_memory()[1])
"""  # a process of its own: the emulator's memory is not the upload's


@pytest.mark.slow
def test_200_megabytes_cut_five_times_in_bounded_memory(tmp_path: Path, pinata: PinataEmulator) -> None:
    size = 200_000_000
    path = tmp_path / "large"
    with path.open("wb") as out:
        out.truncate(size)
        for place in range(0, size, 20_000_000):
            out.seek(place)
            out.write(os.urandom(1000))
    for nth in range(1, 6):
        pinata.fault("PATCH", nth=nth, cut_request=20_000_000)

    child = subprocess.run(
        [sys.executable, "-c", LARGE, path, compute_cid(path), pinata.api, pinata.uploads, JWT],
        check=True,
        capture_output=True,
        text=True,
    )

    assert int(child.stdout) < 8 * MIB
    assert size <= pinata.received("PATCH") <= 1.05 * size
    assert len(pinata.files) == 1
