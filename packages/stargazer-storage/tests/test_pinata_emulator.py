"""The test equipment itself: the Pinata account on loopback, asked with plain requests."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from .emulator import Mirror
from .emulator.account import LEAF, unixfs
from .ipfs_gateway import IpfsGateway
from .pinata_emulator import DOMAIN, PinataEmulator, PinataProcess

Upload = Callable[..., dict[str, Any]]
TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def http(pinata: PinataEmulator) -> requests.Session:
    """A session that is let in."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {pinata.jwt}"
    return session


@pytest.fixture
def upload(pinata: PinataEmulator, http: requests.Session) -> Upload:
    def post(content: bytes = b"reads", name: str = "NA12878.bam", **fields: Any) -> dict[str, Any]:
        if "keyvalues" in fields:
            fields["keyvalues"] = json.dumps(fields["keyvalues"])
        files = {"file": (name, content)}
        answer = http.post(
            f"{pinata.uploads}/v3/files", files=files, data={"network": "public", **fields}, timeout=30
        )
        answer.raise_for_status()
        return dict(answer.json()["data"])

    return post


def listing(pinata: PinataEmulator, http: requests.Session, network: str = "public", **params: str) -> Any:
    answer = http.get(f"{pinata.api}/v3/files/{network}", params=params, timeout=30)
    answer.raise_for_status()
    return answer.json()["data"]["files"]


def metadata(**fields: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in fields.items())


def create(pinata: Any, http: requests.Session, size: int, **fields: str) -> str:
    headers = {**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata(filename="a.bam", **fields)}
    answer = http.post(f"{pinata.uploads}/v3/files", headers=headers, timeout=30)
    assert answer.status_code == 201
    return answer.headers["Location"]


def patch(http: requests.Session, url: str, offset: int, content: bytes) -> requests.Response:
    return http.patch(url, data=content, headers={**PATCH, "Upload-Offset": str(offset)}, timeout=30)


def offset_of(http: requests.Session, url: str) -> int:
    return int(http.head(url, headers=TUS, timeout=30).headers["Upload-Offset"])


# --- what Pinata does


def test_only_the_jwt_is_let_in(pinata: PinataEmulator, http: requests.Session) -> None:
    url = f"{pinata.api}/data/testAuthentication"

    assert http.get(url, timeout=30).status_code == 200
    assert requests.get(url, timeout=30).status_code == 401
    assert requests.get(url, headers={"Authorization": "Bearer other"}, timeout=30).status_code == 401
    assert requests.post(f"{pinata.uploads}/v3/files", files={"file": b"x"}, timeout=30).status_code == 401


def test_the_account_names_its_gateway(pinata: PinataEmulator, http: requests.Session) -> None:
    answer = http.get(f"{pinata.api}/v3/ipfs/gateways", timeout=30).json()

    assert [row["domain"] for row in answer["data"]["rows"]] == [DOMAIN]


def test_an_upload_is_answered_as_documented(pinata: PinataEmulator, upload: Upload) -> None:
    data = upload(b"reads", "NA12878 é.bam", keyvalues={"asset": "alignment"})

    assert data.pop("created_at").endswith("Z")
    assert len(data.pop("id")) == 36
    assert data == {
        "name": "NA12878 é.bam",
        "cid": "bafkreibvm3hsh3fw7aznm7iuhhqmwpif5n7uvvycy32hrkuw6gmbf4morq",
        "size": 5,
        "number_of_files": 1,
        "mime_type": "application/octet-stream",
        "group_id": None,
        "keyvalues": {"asset": "alignment"},
        "vectorized": False,
        "network": "public",
        "is_duplicate": False,
    }
    assert pinata.received("^POST /v3/files$") > 5


@pytest.mark.parametrize("size", [0, 1, 1000, LEAF - 1, LEAF, LEAF + 1, 3_000_000])
def test_the_bytes_of_an_upload_come_back(pinata: PinataEmulator, upload: Upload, size: int) -> None:
    content = (
        (b"\r\n--" + bytes(range(256)) * 4096)[:size]
        if size < LEAF
        else bytes(range(256)) * (size // 256 + 1)
    )
    content = content[:size]

    cid = upload(content)["cid"]

    assert requests.get(f"{pinata.gateway}/ipfs/{cid}", timeout=30).content == content


def test_a_chunked_body_and_a_name_of_its_own(pinata: PinataEmulator, http: requests.Session) -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="name"\r\n\r\nchosen.bam\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.bam"\r\n\r\nreads\r\n--B--\r\n'
    )
    pieces = (body[i : i + 7] for i in range(0, len(body), 7))

    answer = http.post(
        f"{pinata.uploads}/v3/files",
        data=pieces,
        headers={"Content-Type": "multipart/form-data; boundary=B"},
        timeout=30,
    )

    assert answer.json()["data"]["name"] == "chosen.bam"
    assert answer.json()["data"]["network"] == "private", "the default"
    assert pinata.content(answer.json()["data"]["cid"]) == b"reads"
    assert pinata.received() == len(body)


def test_listings_filter_order_and_page(
    pinata: PinataEmulator, http: requests.Session, upload: Upload
) -> None:
    ids = [
        upload(b"%d" % n, f"{n}.bam", keyvalues={"n": str(n), "even": str(n % 2 == 0)})["id"]
        for n in range(5)
    ]

    def found(**params: str) -> list[int]:
        return [ids.index(f["id"]) for f in listing(pinata, http, **params)]

    assert found() == [4, 3, 2, 1, 0]
    assert found(order="ASC") == [0, 1, 2, 3, 4]
    assert found(**{"keyvalues[even]": "True"}) == [4, 2, 0]
    assert found(**{"metadata[even]": "True", "metadata[n]": "2"}) == [2]
    assert found(name="3.bam") == [3]
    assert found(cid=pinata.files[1]["cid"]) == [1]
    assert listing(pinata, http, "private") == []
    pages, token = [], ""
    while token is not None:
        answer = http.get(
            f"{pinata.api}/v3/files/public", params={"limit": "2", "pageToken": token}, timeout=30
        ).json()["data"]
        pages.append([ids.index(f["id"]) for f in answer["files"]])
        token = answer["next_page_token"]
    assert pages == [[4, 3], [2, 1], [0]]
    pinata.set(ignored_filters=["keyvalues"])
    assert found(**{"keyvalues[even]": "True"}) == [4, 3, 2, 1, 0]


def test_the_page_after_a_full_last_page_is_empty(
    pinata: PinataEmulator, http: requests.Session, upload: Upload
) -> None:
    upload()
    params = {"limit": "1"}
    params["pageToken"] = http.get(f"{pinata.api}/v3/files/public", params=params, timeout=30).json()["data"][
        "next_page_token"
    ]

    answer = http.get(f"{pinata.api}/v3/files/public", params=params, timeout=30).json()["data"]

    assert answer == {"files": [], "next_page_token": None}


def test_keyvalues_are_merged_and_null_deletes(
    pinata: PinataEmulator, http: requests.Session, upload: Upload
) -> None:
    url = f"{pinata.api}/v3/files/public/{upload(keyvalues={'a': '1', 'b': '2'})['id']}"

    answer = http.put(url, json={"name": "new", "keyvalues": {"b": None, "c": "3"}}, timeout=30)

    assert answer.json()["data"]["keyvalues"] == {"a": "1", "c": "3"}
    assert http.get(url, timeout=30).json()["data"]["name"] == "new"
    assert http.put(url, json={"keyvalues": {str(n): "" for n in range(9)}}, timeout=30).status_code == 400
    assert http.put(url, json={"keyvalues": {"n": 1}}, timeout=30).status_code == 400
    assert http.put(url.replace("public", "private"), json={}, timeout=30).status_code == 404


def test_deleted_is_deleted_by_id(pinata: PinataEmulator, http: requests.Session, upload: Upload) -> None:
    first, second = upload(), upload()
    assert (first["is_duplicate"], second["is_duplicate"]) == (False, True)
    url = f"{pinata.api}/v3/files/public"

    assert http.delete(f"{url}/{first['cid']}", timeout=30).status_code == 404
    assert http.delete(f"{url}/{first['id']}", timeout=30).json() == {"data": None}

    assert [f["id"] for f in listing(pinata, http)] == [second["id"]]
    assert requests.get(f"{pinata.gateway}/ipfs/{first['cid']}", timeout=30).status_code == 200
    http.delete(f"{url}/{second['id']}", timeout=30)
    assert requests.get(f"{pinata.gateway}/ipfs/{first['cid']}", timeout=30).status_code == 403


def test_a_duplicate_may_be_answered_with_what_is_there(pinata: PinataEmulator, upload: Upload) -> None:
    pinata.set(duplicates="existing")
    first = upload(keyvalues={"a": "1"})

    second = upload(keyvalues={"b": "2"})

    assert second == {**first, "is_duplicate": True}
    assert len(pinata.files) == 1


def test_keyvalues_may_be_null_sizes_of_the_dag_and_cids_pending(
    pinata: PinataEmulator, http: requests.Session, upload: Upload
) -> None:
    pinata.set(pending=1, dag_sizes=True)

    data = upload(bytes(LEAF + 1))

    assert (data["cid"], data["keyvalues"]) == ("pending", None)
    assert data["size"] > LEAF + 1
    url = f"{pinata.api}/v3/files/public/{data['id']}"
    assert http.get(url, timeout=30).json()["data"]["cid"] == "pending"
    assert http.get(url, timeout=30).json()["data"]["cid"] == pinata.files[0]["cid"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"keyvalues": {str(n): "" for n in range(11)}}, 400),
        ({"keyvalues": {"n": 1}}, 400),
        ({"keyvalues": {"n": {"m": "1"}}}, 400),
        ({"keyvalues": ["a"]}, 400),
        ({"network": "open"}, 400),
    ],
)
def test_what_pinata_does_not_take(pinata: PinataEmulator, upload: Upload, fields: Any, status: int) -> None:
    with pytest.raises(requests.HTTPError) as caught:
        upload(**fields)

    assert caught.value.response.status_code == status
    assert "reason" in caught.value.response.json()["error"]
    assert pinata.files == []


def test_too_large_is_refused(pinata: PinataEmulator, http: requests.Session, upload: Upload) -> None:
    pinata.set(max_request=1000, max_file=10_000)

    with pytest.raises(requests.HTTPError, match="413"):
        upload(bytes(1001))
    headers = {**TUS, "Upload-Length": "10001"}
    assert http.post(f"{pinata.uploads}/v3/files", headers=headers, timeout=30).status_code == 413
    assert patch(http, create(pinata, http, 5000), 0, bytes(1001)).status_code == 413


def test_who_asks_too_often_waits(pinata: PinataEmulator, http: requests.Session) -> None:
    pinata.set(rate_limit=2, rate_window=0.2)
    url = f"{pinata.api}/data/testAuthentication"

    answers = [http.get(url, timeout=30) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["Retry-After"]) >= 1
    time.sleep(0.2)
    assert http.get(url, timeout=30).status_code == 200


# --- TUS


def test_tus_ends_with_the_cid(pinata: PinataEmulator, http: requests.Session) -> None:
    content = bytes(range(256)) * 2000
    url = create(pinata, http, len(content), network="public", filetype="a/b", keyvalues='{"a": "1"}')

    first = patch(http, url, 0, content[:300_000])
    last = patch(http, url, 300_000, content[300_000:])

    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "300000")
    assert "upload-cid" not in first.headers
    (record,) = pinata.files
    assert last.headers["upload-cid"] == record["cid"]
    assert pinata.content(record["cid"]) == content
    assert (record["network"], record["keyvalues"], record["mime_type"]) == ("public", {"a": "1"}, "a/b")
    assert url.endswith(record["id"])
    assert offset_of(http, url) == len(content)


def test_an_empty_tus_upload_is_done_at_once(pinata: PinataEmulator, http: requests.Session) -> None:
    url = create(pinata, http, 0)

    assert offset_of(http, url) == 0
    assert [f["size"] for f in pinata.files] == [0]


def test_what_tus_does_not_take(pinata: PinataEmulator, http: requests.Session) -> None:
    url = create(pinata, http, 10)

    assert patch(http, url, 5, b"12345").status_code == 409
    assert patch(http, url, 0, b"1" * 11).status_code == 413
    assert http.patch(url, data=b"1", headers=TUS, timeout=30).status_code == 415
    assert http.head(url, timeout=30).status_code == 412
    assert requests.head(url, headers=TUS, timeout=30).status_code == 401
    assert patch(http, url + "0", 0, b"").status_code == 404
    patch(http, url, 0, b"1" * 10)
    assert patch(http, url, 10, b"").status_code == 409
    pinata.expire_uploads()
    assert http.head(url, headers=TUS, timeout=30).status_code == 404


def test_a_cut_patch_keeps_what_arrived(pinata: PinataEmulator, http: requests.Session) -> None:
    content = bytes(range(256)) * 4000
    url = create(pinata, http, len(content))
    pinata.fault("^PATCH", cut_request=700_001)

    with pytest.raises(requests.ConnectionError):
        patch(http, url, 0, content)

    assert offset_of(http, url) == 700_001
    patch(http, url, 700_001, content[700_001:])
    assert pinata.content(pinata.files[0]["cid"]) == content
    assert pinata.received("^PATCH") == len(content), "not a byte twice"


def test_a_cut_patch_may_count_for_nothing(pinata: PinataEmulator, http: requests.Session) -> None:
    pinata.set(keeps_partial=False)
    url = create(pinata, http, 1000)
    patch(http, url, 0, bytes(100))
    pinata.fault("^PATCH", cut_request=500)

    with pytest.raises(requests.ConnectionError):
        patch(http, url, 100, bytes(900))

    assert offset_of(http, url) == 100


def test_the_id_of_an_upload_need_not_be_that_of_its_file(
    pinata: PinataEmulator, http: requests.Session
) -> None:
    pinata.set(upload_ids_differ=True)
    url = create(pinata, http, 5)

    assert patch(http, url, 0, b"reads").headers["upload-cid"] == pinata.files[0]["cid"]

    assert not url.endswith(pinata.files[0]["id"])
    assert offset_of(http, url) == 5


def test_a_lost_last_answer_leaves_a_finished_upload(pinata: PinataEmulator, http: requests.Session) -> None:
    url = create(pinata, http, 5)
    pinata.fault("^PATCH", lost=True)

    with pytest.raises(requests.ConnectionError):
        patch(http, url, 0, b"reads")

    assert offset_of(http, url) == 5
    id = url.rpartition("/")[2]
    assert http.get(f"{pinata.api}/v3/files/private/{id}", timeout=30).json()["data"]["size"] == 5


# --- the gateway


def test_the_gateway_serves_ranges(pinata: PinataEmulator, upload: Upload) -> None:
    cid = upload(b"0123456789")["cid"]
    url = f"{pinata.gateway}/ipfs/{cid}"

    def ask(**headers: str) -> tuple[int, bytes, str | None]:
        answer = requests.get(url, headers={k.replace("_", "-"): v for k, v in headers.items()}, timeout=30)
        return answer.status_code, answer.content, answer.headers.get("Content-Range")

    assert ask() == (200, b"0123456789", None)
    assert ask(Range="bytes=2-4") == (206, b"234", "bytes 2-4/10")
    assert ask(Range="bytes=7-") == (206, b"789", "bytes 7-9/10")
    assert ask(Range="bytes=7-99") == (206, b"789", "bytes 7-9/10")
    assert ask(Range="bytes=-3") == (206, b"789", "bytes 7-9/10")
    assert ask(Range="bytes=10-")[::2] == (416, "bytes */10")
    assert ask(Range="lines=1-2")[0] == 400
    assert ask(Range="bytes=2-4", If_Range=f'"{cid}"')[0] == 206
    assert ask(Range="bytes=2-4", If_Range='"other"') == (200, b"0123456789", None)
    assert ask(If_None_Match=f'"{cid}"') == (304, b"", None)
    head = requests.head(url, timeout=30)
    assert (head.headers["ETag"], head.headers["Content-Length"]) == (f'"{cid}"', "10")


def test_the_gateway_serves_what_is_public_to_who_has_its_token(
    pinata: PinataEmulator, upload: Upload
) -> None:
    public, private = upload(b"1")["cid"], upload(b"2", network="private")["cid"]
    pinata.set(gateway_token="gateway-secret")

    def status(cid: str, token: str) -> int:
        headers = {"x-pinata-gateway-token": token}
        return requests.get(f"{pinata.gateway}/ipfs/{cid}", headers=headers, timeout=30).status_code

    assert status(public, "gateway-secret") == 200
    assert status(public, "") == 401
    assert status(private, "gateway-secret") == 403


def test_root_blocks_are_served_raw(pinata: PinataEmulator, upload: Upload) -> None:
    small, large = upload(b"reads")["cid"], upload(bytes(LEAF + 1))["cid"]

    def raw(cid: str) -> bytes:
        return requests.get(f"{pinata.gateway}/ipfs/{cid}?format=raw", timeout=30).content

    assert raw(small) == b"reads"
    assert len(raw(large)) < 200
    assert raw(large).endswith(b"\x20\x80\x80\x10\x20\x01"), "the sizes of its two leaves"


def test_private_files_need_a_signed_link(
    pinata: PinataEmulator, http: requests.Session, upload: Upload
) -> None:
    cid = upload(b"secret reads", network="private")["cid"]

    def link(url: str, expires: int = 60) -> requests.Response:
        order = {"url": url, "date": int(time.time()), "expires": expires, "method": "GET"}
        return http.post(f"{pinata.api}/v3/files/private/download_link", json=order, timeout=30)

    url = link(f"https://{DOMAIN}.mypinata.cloud/files/{cid}").json()["data"]

    assert url.startswith(f"{pinata.gateway}/files/{cid}?")
    assert requests.get(url, timeout=30).content == b"secret reads"
    assert requests.get(url, headers={"Range": "bytes=7-"}, timeout=30).content == b"reads"
    assert requests.head(url, timeout=30).status_code == 401, "the link is for GET"
    assert requests.get(url.replace("X-Expires=60", "X-Expires=6000"), timeout=30).status_code == 401
    assert requests.get(url.partition("?")[0], timeout=30).status_code == 401
    late = link(f"{pinata.gateway}/files/{cid}", expires=-1).json()["data"]
    assert requests.get(late, timeout=30).status_code == 401
    pinata.set(link_seconds=-1)
    assert requests.get(link(f"{pinata.gateway}/files/{cid}").json()["data"], timeout=30).status_code == 401
    assert link(f"https://elsewhere.example/files/{cid}").status_code == 400
    assert link(f"{pinata.gateway}/ipfs/{cid}").status_code == 400


def test_a_jwt_told_to_the_gateway_is_noticed(pinata: PinataEmulator, http: requests.Session) -> None:
    requests.get(f"{pinata.gateway}/ipfs/x", timeout=30)
    assert pinata.told(pinata.jwt, "gateway") == []

    http.get(f"{pinata.gateway}/ipfs/x", timeout=30)

    assert len(pinata.told(pinata.jwt, "gateway")) == 1


# --- faults


def test_a_fault_strikes_the_nth_matching_request(pinata: PinataEmulator, http: requests.Session) -> None:
    pinata.fault("^GET /data/", nth=2, times=2, status=503, headers={"Retry-After": "7"})
    other = http.get(f"{pinata.api}/v3/files/public", timeout=30)

    answers = [http.get(f"{pinata.api}/data/testAuthentication", timeout=30) for _ in range(4)]

    assert other.status_code == 200
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "7"


def test_a_cut_answer(pinata: PinataEmulator, upload: Upload) -> None:
    cid = upload(bytes(1_000_000))["cid"]
    pinata.fault("^GET /ipfs/", cut_answer=300_001)

    with pytest.raises(requests.RequestException):
        requests.get(f"{pinata.gateway}/ipfs/{cid}", timeout=30)

    assert pinata.sent("^GET /ipfs/") == 300_001


def test_a_corrupt_byte_is_the_same_in_a_range(pinata: PinataEmulator, upload: Upload) -> None:
    cid = upload(b"0123456789")["cid"]
    pinata.fault("^GET /ipfs/", times=None, corrupt=7)

    whole = requests.get(f"{pinata.gateway}/ipfs/{cid}", timeout=30).content
    rest = requests.get(f"{pinata.gateway}/ipfs/{cid}", headers={"Range": "bytes=5-"}, timeout=30).content

    assert (whole, rest) == (b"0123456689", b"56689")


def test_a_lost_answer_comes_after_the_work(pinata: PinataEmulator, upload: Upload) -> None:
    pinata.fault("^POST", lost=True)

    with pytest.raises(requests.ConnectionError):
        upload()

    assert len(pinata.files) == 1
    assert pinata.matching("^POST")[0].status == 0


def test_a_cut_upload_leaves_nothing(pinata: PinataEmulator, upload: Upload) -> None:
    pinata.fault("^POST", cut_request=100_000)

    with pytest.raises(requests.ConnectionError):
        upload(bytes(1_000_000))

    assert pinata.files == []
    assert not any((pinata.account.folder / "tmp").iterdir())


def test_new_files_are_listed_late_and_deleted_ones_still(
    pinata: PinataEmulator, http: requests.Session, upload: Upload
) -> None:
    pinata.set(stale_new=2, stale_deleted=1)

    id = upload()["id"]

    assert [len(listing(pinata, http)) for _ in range(3)] == [0, 0, 1]
    url = f"{pinata.api}/v3/files/public/{id}"
    assert http.get(url, timeout=30).status_code == 200
    http.delete(url, timeout=30)
    assert http.get(url, timeout=30).status_code == 404
    assert [len(listing(pinata, http)) for _ in range(2)] == [1, 0]


def test_a_slow_answer_drips(pinata: PinataEmulator, upload: Upload) -> None:
    cid = upload(b"0123456789")["cid"]
    pinata.fault("^GET /ipfs/", drip=60.0, drip_after=4)

    with pytest.raises(requests.ConnectionError, match="timed out"):
        requests.get(f"{pinata.gateway}/ipfs/{cid}", timeout=0.2)

    assert pinata.sent("^GET /ipfs/") == 4


def test_a_server_that_stops_listening_or_answering(pinata: PinataEmulator, http: requests.Session) -> None:
    url = create(pinata, http, 50_000_000)
    pinata.fault("^PATCH", stall_request=1000)
    pinata.fault("^GET /data/", delay=60.0)

    with pytest.raises(requests.RequestException):
        http.patch(url, data=bytes(50_000_000), headers={**PATCH, "Upload-Offset": "0"}, timeout=0.2)
    with pytest.raises(requests.ReadTimeout):
        http.get(f"{pinata.api}/data/testAuthentication", timeout=0.2)

    assert pinata.received("^PATCH") == 1000


def test_web_pages_redirects_and_lies(pinata: PinataEmulator, upload: Upload) -> None:
    cid = upload(b"0123456789")["cid"]
    url = f"{pinata.gateway}/ipfs/{cid}"
    pinata.fault("^GET /ipfs/", nth=1, html=True)
    pinata.fault("^GET /ipfs/", nth=2, redirect="http://127.0.0.1:9{target}")
    pinata.fault("^GET /ipfs/", nth=3, lie=5)
    pinata.fault("^GET /ipfs/", nth=4, lie=-5)
    pinata.fault("^HEAD /ipfs/", lie=5)

    page, redirect = (requests.get(url, allow_redirects=False, timeout=30) for _ in range(2))

    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert (redirect.status_code, redirect.headers["Location"]) == (302, f"http://127.0.0.1:9/ipfs/{cid}")
    with pytest.raises(requests.RequestException):
        requests.get(url, timeout=30)
    assert requests.get(url, timeout=30).content == b"01234"
    assert requests.head(url, timeout=30).headers["Content-Length"] == "15"


def test_answers_may_claim_another_cid(
    pinata: PinataEmulator, http: requests.Session, upload: Upload
) -> None:
    pinata.fault("^POST /v3/files$", patch={"cid": "bafkreiwrong"})
    assert upload()["cid"] == "bafkreiwrong"
    url = create(pinata, http, 5)
    pinata.fault("^PATCH", headers={"upload-cid": "bafkreiwrong"})

    assert patch(http, url, 0, b"reads").headers["upload-cid"] == "bafkreiwrong"


# --- as a process


def test_a_killed_account_forgets_nothing_it_answered(pinata_process: PinataProcess, tmp_path: Path) -> None:
    pinata = pinata_process
    http = requests.Session()
    http.headers["Authorization"] = f"Bearer {pinata.jwt}"
    http.post(f"{pinata.uploads}/v3/files", files={"file": ("a.bam", b"reads")}, timeout=30)
    url = create(pinata, http, 10)
    patch(http, url, 0, b"01234")
    urls = (pinata.api, pinata.uploads, pinata.gateway)
    pinata.fault("^PATCH", status=500)

    pinata.restart()

    assert urls == (pinata.api, pinata.uploads, pinata.gateway)
    assert [f["name"] for f in pinata.files] == ["a.bam"]
    assert offset_of(http, url) == 5
    assert patch(http, url, 5, b"56789").status_code == 204
    assert pinata.received("^PATCH") == 5
    assert {pinata.content(f["cid"]) for f in pinata.files} == {b"reads", b"0123456789"}


def test_an_account_can_be_stopped_and_started_in_a_test(
    pinata: PinataEmulator, http: requests.Session
) -> None:
    url = f"{pinata.api}/data/testAuthentication"
    assert http.get(url, timeout=30).status_code == 200

    pinata.stop()

    with pytest.raises(requests.ConnectionError):
        http.get(url, timeout=30)
    pinata.start()
    assert http.get(url, timeout=30).status_code == 200


# --- the plain web server


def test_a_mirror_serves_its_folder_and_no_more(mirror: Mirror) -> None:
    (mirror.folder / "a folder").mkdir()
    (mirror.folder / "a folder/é.bam").write_bytes(b"0123456789")
    (mirror.folder.parent / "secret").write_bytes(b"secret")
    url = f"{mirror.url}/a folder/é.bam"
    mirror.fault("^GET", nth=3, cut_answer=3)

    assert requests.get(url, timeout=30).content == b"0123456789"
    part = requests.get(url, headers={"Range": "bytes=7-"}, timeout=30)
    assert (part.status_code, part.content) == (206, b"789")
    with pytest.raises(requests.RequestException):
        requests.get(url, timeout=30)
    assert requests.get(f"{mirror.url}/%2e%2e/secret", timeout=30).status_code == 404
    assert mirror.sent("%C3%A9") == 16


# --- the oracle of its CIDs


@pytest.mark.parametrize("size", [0, 1, LEAF - 1, LEAF, LEAF + 1, 174 * LEAF - 1, 174 * LEAF, 174 * LEAF + 1])
def test_its_cids_and_root_blocks_are_those_of_boxo(ipfsgw: IpfsGateway, tmp_path: Path, size: int) -> None:
    path, blocks = tmp_path / "file", tmp_path / "blocks"
    path.write_bytes((b"\x00\x01\x02" * (size // 3 + 1))[:size])

    cid, root, _ = unixfs(path)

    assert ipfsgw.add(path, store=blocks) == [cid]
    assert ipfsgw.block(blocks, cid).read_bytes() == (path.read_bytes() if root is None else root)
