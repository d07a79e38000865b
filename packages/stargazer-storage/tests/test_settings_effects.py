"""Each variable of storage by what it does: to files on disk, and to requests at a Pinata account on loopback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stargazer.assets import ConfigurationError, Reference, StargazerError
from stargazer.storage import get_client
from stargazer.storage.client import LocalStorageClient, PinataClient
from stargazer.storage.settings import Settings
from stargazer.storage.store import Addition

FASTA = b">chr1\nACGTACGTNN\n"


@pytest.fixture
def account(pinata, monkeypatch):
    """A Pinata account that the settings name."""
    for name, value in (
        ("PINATA_JWT", pinata.jwt),
        ("PINATA_API", pinata.api),
        ("PINATA_UPLOADS", pinata.uploads),
        ("PINATA_GATEWAY", pinata.gateway),
    ):
        monkeypatch.setenv(name, value)
    return pinata


@pytest.fixture
def add(tmp_path):
    def add(**options):
        path = tmp_path / "x.fa"
        path.write_bytes(FASTA)
        return get_client().store.add([Addition(path, Reference(build="x"), **options)])[0]

    return add


def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on it is another machine, with another store."""
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "elsewhere"))


def test_stargazer_home_is_where_the_file_and_the_store_are(tmp_path, monkeypatch, add):
    monkeypatch.delenv("STARGAZER_LOCAL")
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.toml").write_text("cores = 1\n")

    record = add()

    assert Settings.load().cores == 1
    assert list((tmp_path / "other" / "local" / "objects").rglob(record.cid))


def test_stargazer_local_is_the_store(tmp_path, monkeypatch, add):
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "store"))

    record = add()

    assert list((tmp_path / "store" / "objects").rglob(record.cid))
    assert (tmp_path / "store" / "index.sqlite").exists()


def test_stargazer_index_is_where_the_index_lies(tmp_path, monkeypatch, add):
    monkeypatch.setenv("STARGAZER_INDEX", str(tmp_path / "index"))

    add()

    assert list((tmp_path / "index").glob("*.sqlite"))
    assert not list(Path(os.environ["STARGAZER_LOCAL"]).glob("index.sqlite*"))


def test_stargazer_mode_makes_storage_pinata_or_an_error(tmp_path, monkeypatch, account):
    monkeypatch.setenv("STARGAZER_MODE", "cloud")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="endpoint"):
        get_client()

    (tmp_path / ".flyte").mkdir()
    (tmp_path / ".flyte" / "config.yaml").write_text("admin: {endpoint: dns:///flyte.example.org}\n")
    assert type(get_client()) is PinataClient
    monkeypatch.setenv("PINATA_JWT", "")
    with pytest.raises(ConfigurationError, match="PINATA_JWT"):
        get_client()
    monkeypatch.setenv("STARGAZER_MODE", "local")
    assert type(get_client()) is LocalStorageClient


def test_pinata_jwt_sends_files_to_the_account_and_without_it_nothing_is_sent(monkeypatch, account, add):
    monkeypatch.setenv("PINATA_JWT", "")
    add()
    assert account.requests == []

    monkeypatch.setenv("PINATA_JWT", account.jwt)
    monkeypatch.setenv("STARGAZER_LOCAL", os.environ["STARGAZER_LOCAL"] + "-2")
    record = add()
    assert record.cid in [file["cid"] for file in account.files]


def test_pinata_visibility_is_that_of_what_is_added(monkeypatch, account, add):
    add()
    assert {file["network"] for file in account.files} == {"private"}

    monkeypatch.setenv("PINATA_VISIBILITY", "public")
    monkeypatch.setenv("STARGAZER_LOCAL", os.environ["STARGAZER_LOCAL"] + "-2")
    record = add()
    assert "public" in {file["network"] for file in account.files if file["cid"] == record.cid}


def test_pinata_api_and_pinata_uploads_are_where_requests_go(account, add):
    add()
    get_client().store.query({"asset": "reference"})

    assert {"api", "uploads"} <= {exchange.server for exchange in account.requests}
    assert {exchange.server for exchange in account.matching("POST /v3/files")} == {"uploads"}
    assert {exchange.server for exchange in account.matching("GET /v3/files/")} == {"api"}


def test_pinata_gateway_is_where_public_files_come_from(tmp_path, monkeypatch, account, add):
    record = add(public=True)
    elsewhere(tmp_path, monkeypatch)

    assert get_client().store.read(record.cid).read_bytes() == FASTA
    assert {exchange.server for exchange in account.matching(f"/ipfs/{record.cid}")} == {"gateway"}


def test_pinata_gateway_token_opens_the_gateway_and_goes_nowhere_else(tmp_path, monkeypatch, account, add):
    account.rules.gateway_token = "very-secret-token"
    record = add(public=True)
    elsewhere(tmp_path, monkeypatch)
    monkeypatch.setenv("PINATA_GATEWAY_TOKEN", "another")
    with pytest.raises(StargazerError) as error:
        get_client().store.read(record.cid)
    assert "another" not in str(error.value)

    monkeypatch.setenv("PINATA_GATEWAY_TOKEN", "very-secret-token")
    assert get_client().store.read(record.cid).read_bytes() == FASTA
    told = {exchange.server for exchange in account.requests if "very-secret-token" in str(exchange)}
    assert told == {"gateway"}
