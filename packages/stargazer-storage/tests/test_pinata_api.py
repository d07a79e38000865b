"""Pinata's API without uploads: listings, changes, links, retries, and what must never be said."""

from __future__ import annotations

import datetime
import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from stargazer.assets import ConfigurationError, StargazerError
from stargazer.storage.cid import compute_cid
from stargazer.storage.download.http import Backoff, Pace, SourceError, is_safe, retry_after
from stargazer.storage.pinata import Patience, PinataApi, PinataFile, Refused, Unavailable
from stargazer.storage.pinata.api import origin
from stargazer.storage.pinata.upload import Upload

from .pinata_emulator import DOMAIN, JWT, PinataEmulator

SIGNED = "https://x.mypinata.cloud/files/bafy?X-Algorithm=PINATA1&X-Signature=5ec2e7"


@pytest.fixture
def add(api: PinataApi, tmp_path: Path) -> Callable[..., PinataFile]:
    """Upload a few bytes."""

    def add(content: bytes = b"ACGT", *, public: bool = False, **keyvalues: str) -> PinataFile:
        path = tmp_path / "file.txt"
        path.write_bytes(content)
        return Upload(
            api, path, cid=compute_cid(path), name=path.name, keyvalues=keyvalues, public=public
        ).run()

    return add


def ask(api: PinataApi) -> list[PinataFile]:
    """What any call does to be answered."""
    return list(api.files(public=False))


def test_a_key_that_is_not_taken_is_named_by_its_variable(pinata: PinataEmulator) -> None:
    stranger = PinataApi("other.token", api=pinata.api, uploads=pinata.uploads)

    with pytest.raises(Refused, match=r"401 Not Authorized\. Check PINATA_JWT") as caught:
        ask(stranger)

    assert caught.value.status == 401
    assert "other.token" not in str(caught.value)


@pytest.mark.parametrize("jwt", ["", "two words", "line\nbreak", "Schlüssel"])
def test_what_cannot_be_a_token_is_said_without_showing_it(jwt: str) -> None:
    with pytest.raises(ConfigurationError, match="PINATA_JWT") as caught:
        PinataApi(jwt)

    assert not jwt or jwt not in str(caught.value)


def test_a_listing_has_every_page_in_order(
    api: PinataApi, add: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    ids = [add(b"%d" % number, number=str(number)).id for number in range(7)]
    pinata.rules.page_limit = 3

    assert [file.id for file in api.files(public=False)] == ids
    assert len(pinata.matching("GET /v3/files/private")) == 3


@pytest.mark.parametrize("ignored", [set(), {"keyvalues", "metadata", "cid"}])
def test_a_listing_is_what_was_asked_also_when_the_service_ignores_filters(
    ignored: set[str], api: PinataApi, add: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    wanted = add(b"1", asset="r1", sample="a b&c=d")
    add(b"1", asset="r2", sample="a b&c=d")
    add(b"2", asset="r1")
    add(b"3")
    pinata.rules.ignored_filters = ignored

    found = api.files(public=False, keyvalues={"asset": "r1", "sample": "a b&c=d"}, cid=wanted.cid)

    assert list(found) == [wanted]


def test_the_networks_are_apart(api: PinataApi, add: Callable[..., PinataFile]) -> None:
    private, public = add(b"1"), add(b"1", public=True)

    assert list(api.files(public=False)) == [private]
    assert list(api.files(public=True)) == [public]
    assert public.public
    assert api.file(private.id, public=True) is None


def test_a_listing_leaves_out_what_is_pending_or_malformed(
    api: PinataApi, add: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    file = add()
    rows = [
        None,
        {"id": "1"},
        {"id": "2", "cid": "pending"},
        {"id": file.id, "cid": file.cid, "keyvalues": {"n": 3}, "size": None},
    ]
    pinata.fault("GET /v3/files/private", patch={"files": rows})

    (found,) = api.files(public=False)

    assert (found.id, found.keyvalues, found.size) == (file.id, {"n": "3"}, 0)


def test_a_listing_that_repeats_a_page_ends(api: PinataApi, pinata: PinataEmulator) -> None:
    pinata.fault("GET /v3/files/private", times=None, patch={"next_page_token": "WyIiLCAiIl0="})

    with pytest.raises(Unavailable, match="repeats a page"):
        list(api.files(public=False))


def test_an_update_merges_and_none_deletes(api: PinataApi, add: Callable[..., PinataFile]) -> None:
    file = add(asset="r1", sample="s")

    changed = api.update(file.id, public=False, keyvalues={"sample": None, "lane": "2"})

    assert changed.keyvalues == {"asset": "r1", "lane": "2"}
    assert api.file(file.id, public=False) == changed


def test_deleting_twice_is_fine(api: PinataApi, add: Callable[..., PinataFile]) -> None:
    file = add()

    api.delete(file.id, public=False)
    api.delete(file.id, public=False)

    assert list(api.files(public=False)) == []


def test_a_deletion_whose_answer_is_lost_is_done(
    api: PinataApi, add: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    file = add()
    pinata.fault("DELETE", lost=True)

    api.delete(file.id, public=False)

    assert pinata.files == []


def test_an_id_is_only_ever_one_part_of_a_path(api: PinataApi, pinata: PinataEmulator) -> None:
    assert api.file("../../data/testAuthentication?x=", public=False) is None
    assert pinata.requests[-1].target.startswith("/v3/files/private/..%2F..%2Fdata")


def test_a_signed_link_gives_the_bytes_without_the_key(
    api: PinataApi, add: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    file = add(b"secret reads")

    link = api.private_link(f"{pinata.gateway}/files/{file.cid}")

    assert requests.get(link, timeout=10).content == b"secret reads"
    assert not pinata.told(JWT, "gateway")


def test_the_gateway_is_the_accounts_own(api: PinataApi, pinata: PinataEmulator) -> None:
    assert api.gateway() == f"{DOMAIN}.mypinata.cloud"
    pinata.fault("GET /v3/gateways", status=404)
    assert api.gateway() == f"{DOMAIN}.mypinata.cloud"


def test_an_account_without_a_gateway_is_told_what_to_do(api: PinataApi, pinata: PinataEmulator) -> None:
    pinata.fault("gateways", patch={"rows": []})

    with pytest.raises(Refused, match="PINATA_GATEWAY"):
        api.gateway()


@pytest.mark.parametrize("status", [408, 409, 423, 425, 429, 500, 502, 503, 504, 520])
def test_what_passes_is_tried_again(
    status: int, api: PinataApi, pinata: PinataEmulator, slept: list[float]
) -> None:
    pinata.fault("GET /v3/files", status=status, times=2)

    ask(api)

    assert len(pinata.matching("GET /v3/files")) == 3
    assert 0.25 <= slept[0] <= 60


@pytest.mark.parametrize("status", [400, 402, 403, 404, 413, 422])
def test_what_does_not_pass_is_not_tried_again(status: int, api: PinataApi, pinata: PinataEmulator) -> None:
    pinata.fault("GET /v3/files", status=status, body='{"error": {"reason": "NO", "details": "not today"}}')

    with pytest.raises(Refused, match=f"did not list files: {status} not today"):
        ask(api)

    assert len(pinata.requests) == 1


@pytest.mark.parametrize(
    "fault", [{"cut_answer": 10}, {"lost": True}, {"html": True}, {"body": "[1]"}, {"lie": 9}]
)
def test_a_damaged_answer_is_asked_for_again(
    fault: dict[str, Any], api: PinataApi, add: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    file = add()
    pinata.fault("GET", **fault)

    assert list(api.files(public=False)) == [file]


def test_patience_ends(api: PinataApi, pinata: PinataEmulator, slept: list[float]) -> None:
    pinata.fault("GET /v3/files", status=503, times=None)

    with pytest.raises(Unavailable, match=r"cannot list files now: 503 .*tried 7 times.*later"):
        ask(api)

    assert len(slept) == 6
    assert sum(slept) < 180


def test_nothing_listening_is_unavailable(slept: list[float]) -> None:
    api = PinataApi(JWT, api="http://127.0.0.1:9", uploads="http://127.0.0.1:9", sleep=slept.append)

    with pytest.raises(Unavailable, match="is there a network"):
        ask(api)


def test_retry_after_is_honoured_and_capped(
    api: PinataApi, pinata: PinataEmulator, slept: list[float]
) -> None:
    date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    for text in ("7", f"{date:%a, %d %b %Y %H:%M:%S} GMT", "86400"):
        pinata.fault("GET /v3/files", status=503, headers={"Retry-After": text})
        pinata.faults[-1].nth = 1
        ask(api)

    assert 7 <= slept[0] < 8
    assert 27 <= slept[1] < 31
    assert slept[2] == 60


def test_after_a_429_everybody_slows_down_for_a_while(
    api: PinataApi, pinata: PinataEmulator, slept: list[float]
) -> None:
    pinata.fault("GET /v3/files", status=429, headers={"Retry-After": "5"})
    ask(api)
    assert api.pace.interval > 0
    for _ in range(100):
        ask(api)
    assert api.pace.interval == 0
    assert len(pinata.requests) == 102


def test_a_rate_limit_is_kept_to(pinata: PinataEmulator) -> None:
    pinata.rules.rate_limit, pinata.rules.rate_window = 5, 0.5
    api = PinataApi(JWT, api=pinata.api, uploads=pinata.uploads)

    for _ in range(7):
        ask(api)


def test_the_key_goes_nowhere_else(api: PinataApi, pinata: PinataEmulator) -> None:
    pinata.fault("GET", redirect=f"{pinata.gateway}{{target}}")

    with pytest.raises(Refused, match=r"a redirect to http://127\.0\.0\.1"):
        ask(api)
    with pytest.raises(Refused, match="only, not for"):
        api.once("look", "GET", f"{pinata.gateway}/ipfs/x")

    assert not [exchange for exchange in pinata.requests if exchange.server == "gateway"]


@pytest.mark.parametrize(
    "url",
    ["http://api.pinata.cloud", "ftp://x", "api.pinata.cloud", "", "http://127.0.0.1.evil.org", "https://"],
)
def test_the_key_goes_nowhere_in_clear(url: str) -> None:
    with pytest.raises(ConfigurationError, match="no address to tell a key"):
        PinataApi(JWT, api=url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Uploads.Pinata.cloud:443/v3/files", "https://uploads.pinata.cloud"),
        ("http://localhost:8080/x?y", "http://localhost:8080"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://user:word@host/", "https://host"),
        ("/v3/files", ""),
        ("http://[", ""),
        ("http://host:port", ""),
    ],
)
def test_the_origin_of_a_url(url: str, expected: str) -> None:
    assert origin(url) == expected
    assert is_safe(url) is bool(expected)


def test_an_answer_that_drips_is_given_up(
    api: PinataApi, pinata: PinataEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargazer.storage.download.http.SPEED_SECONDS", 0.2)
    pinata.fault("GET /v3/files", drip=0.05)

    ask(api)

    assert len(pinata.requests) == 2


def test_an_answer_without_end_is_given_up(
    api: PinataApi, pinata: PinataEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargazer.storage.pinata.api._ANSWER_BYTES", 10_000)
    pinata.fault("GET /v3/files", body="x" * 200_000)

    ask(api)

    assert len(pinata.requests) == 2


def test_threads_share_one_account(
    api: PinataApi, add: Callable[..., PinataFile], pinata: PinataEmulator
) -> None:
    file = add()
    pinata.fault("GET", nth=5, times=3, status=429)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: list(api.files(public=False)), range(40)))

    assert found == [[file]] * 40


def test_a_netrc_does_not_replace_the_key(
    api: PinataApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    ask(api)


def said(error: BaseException, variables: bool) -> str:
    """Everything that anybody could print of an error, the variables of its frames included if so."""
    text = [str(error), repr(error), *getattr(error, "__notes__", []), repr(vars(error))]
    text += traceback.TracebackException.from_exception(error, capture_locals=variables).format()
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
        text += [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    return "\n".join(text)


@pytest.mark.parametrize("call", ["files", "file", "update", "delete", "link", "gateway", "upload", "tus"])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400, "body": f"your token {JWT} and {SIGNED} are wrong"},
        {"status": 401, "body": f'{{"error": {{"details": "Authorization: Bearer {JWT}"}}}}'},
        {"status": 503, "body": f'{{"message": "{JWT} {SIGNED}"}}'},
        {"status": 200, "body": f"{JWT} {SIGNED}"},
        {"redirect": f"{SIGNED}&jwt={JWT}"},
        {"lost": True},
        {"cut_answer": 5},
        {"html": True},
        {"patch": {"id": None, "files": 3, "rows": 3, "reason": JWT}},
    ],
)
def test_no_secret_is_in_any_error_or_log(
    call: str,
    fault: dict[str, Any],
    api: PinataApi,
    pinata: PinataEmulator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "x"
    path.write_bytes(b"x")
    if call == "tus":
        monkeypatch.setattr("stargazer.storage.pinata.upload.TUS_ABOVE", 0)
    calls: dict[str, Callable[[], object]] = {
        "files": lambda: ask(api),
        "file": lambda: api.file("1", public=False),
        "update": lambda: api.update("1", public=False, keyvalues={"a": "b"}),
        "delete": lambda: api.delete("1", public=False),
        "link": lambda: api.private_link(f"{pinata.gateway}/files/x"),
        "gateway": api.gateway,
        "upload": Upload(api, path, cid="bafy", name="x", keyvalues={}, public=False).run,
        "tus": Upload(api, path, cid="bafy", name="x", keyvalues={}, public=False).run,
    }
    answered = "POST /v3/files$" if call == "upload" else r"GET /v3/(files/private\?|gateways)"
    pinata.fault(answered if "patch" in fault else "", times=None, **fault)

    text = ""
    try:
        calls[call]()
    except StargazerError as error:
        text = said(error, variables=JWT not in str(fault))

    text += caplog.text + repr(api) + repr(vars(api))
    assert JWT not in text
    assert JWT.split(".")[1] not in text
    assert "5ec2e7" not in text


@given(st.text(), st.text(), st.sampled_from([JWT, "opaque-key", SIGNED]))
def test_what_the_service_says_is_shown_without_secrets(before: str, after: str, secret: str) -> None:
    service = PinataApi(
        "opaque-key", api="https://a", uploads="https://b", sleep=lambda _: None, patience=Patience()
    )

    shown = service.clean(f"{before} {secret} {after}")

    assert not any(part in shown for part in ("opaque-key", JWT, "5ec2e7"))
    assert shown.isprintable()
    assert len(shown) <= 303


def test_retry_after_is_seconds_or_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.UTC)
    monkeypatch.setattr("time.time", now.timestamp)

    assert retry_after(" 120 ") == 120
    assert retry_after("Mon, 23 Nov 2026 12:01:00 GMT") == 60
    assert retry_after("Mon, 23 Nov 2026 11:00:00 GMT") == 0
    assert retry_after("Monday, 23-Nov-26 12:01:00 GMT") == 60
    for nonsense in ("", "soon", "-5", "1.5", "²", "Mon, 99 Nov 2026"):
        assert retry_after(nonsense) is None


def test_back_off_doubles_with_jitter_and_ends() -> None:
    waits: list[float] = []
    backoff = Backoff("try", Patience(attempts=100, seconds=50, longest=16), waits.append)

    def never_ends() -> None:
        while True:
            backoff.again(SourceError("why"))

    with pytest.raises(Unavailable, match="why"):
        never_ends()

    assert all(min(16, 0.25 * 2**n) <= wait <= min(16, 0.5 * 2**n) for n, wait in enumerate(waits))
    assert 34 <= sum(waits) <= 50


def test_progress_renews_patience() -> None:
    backoff = Backoff("try", Patience(attempts=2), lambda _: None)

    for _ in range(5):
        backoff.again(SourceError("why"))
        backoff.progressed()


def test_a_pace_gives_each_thread_a_turn() -> None:
    waits: list[float] = []
    pace = Pace(waits.append)
    pace.wait()
    pace.slower(3)
    pace.slower(3)

    for _ in range(3):
        pace.wait()

    assert [round(wait, 1) for wait in waits] == [3.0, 3.5, 4.0]
