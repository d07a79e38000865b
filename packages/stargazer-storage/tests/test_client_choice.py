"""get_client(): the client that the settings ask for, or a clear error; never a request."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading

import pytest
from stargazer.assets import ConfigurationError
from stargazer.assets.client import current_client
from stargazer.storage import get_client
from stargazer.storage.client import LocalStorageClient, PinataClient
from stargazer.storage.settings import Settings

TOKEN = "eyJ-a-very-secret-token"


def test_local_mode_gives_the_local_store(tmp_path, monkeypatch):
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "here"))

    client = get_client()

    assert isinstance(client, LocalStorageClient)
    assert client.store.root == tmp_path / "here"
    assert client.views.is_relative_to(tmp_path / "here")


def test_asking_makes_nothing_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "here"))

    get_client()

    assert list(tmp_path.iterdir()) == []


def test_the_same_store_has_the_same_client_and_another_another(tmp_path, monkeypatch):
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "a"))
    first = get_client()
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "b"))
    second = get_client()
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "a"))

    assert get_client() is first
    assert second is not first


def test_threads_that_ask_at_once_get_one_client_and_one_index(tmp_path, monkeypatch):
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "a"))
    found = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: found.append((get_client(), get_client().store.index)))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert len({(id(client), id(index)) for client, index in found}) == 1


def test_it_is_the_client_that_assets_find():
    assert current_client() is get_client()


def test_settings_can_be_given(tmp_path):
    settings = Settings.load({"STARGAZER_HOME": str(tmp_path)})

    assert get_client(settings).store.root == tmp_path / "local"


def test_an_index_elsewhere_is_another_client(tmp_path, monkeypatch):
    beside = get_client()
    monkeypatch.setenv("STARGAZER_INDEX", str(tmp_path / "index"))

    assert get_client() is not beside
    assert get_client() is get_client()


def test_the_index_is_where_it_is_asked_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "store"))
    monkeypatch.setenv("STARGAZER_INDEX", str(tmp_path / "index"))

    get_client().store.query({})

    assert list((tmp_path / "index").iterdir())
    assert not list((tmp_path / "store").glob("index.sqlite*"))


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    file = tmp_path / "project" / ".flyte" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("admin: {endpoint: dns:///flyte.example.org}\n")
    monkeypatch.chdir(tmp_path / "project")


@pytest.mark.parametrize("mode", ["cloud", ""])
def test_cloud_mode_without_a_token_is_a_clear_error(cloud, monkeypatch, mode):
    monkeypatch.setenv("STARGAZER_MODE", mode)

    with pytest.raises(
        ConfigurationError, match=r"PINATA_JWT is not set.*flyte\.example\.org.*STARGAZER_MODE=local"
    ):
        get_client()


def test_cloud_mode_without_an_endpoint_is_a_clear_error(monkeypatch):
    monkeypatch.setenv("STARGAZER_MODE", "cloud")
    monkeypatch.setenv("PINATA_JWT", TOKEN)

    with pytest.raises(ConfigurationError, match=r"\.flyte/config\.yaml") as error:
        get_client()

    assert TOKEN not in str(error.value)


@pytest.mark.parametrize("mode", ["local", "cloud"])
def test_a_token_gives_pinata_in_both_modes(cloud, monkeypatch, mode):
    monkeypatch.setenv("STARGAZER_MODE", mode)
    monkeypatch.setenv("PINATA_JWT", TOKEN)

    client = get_client()

    assert type(client) is PinataClient
    assert get_client() is client
    assert TOKEN not in repr(client)


def test_another_token_gets_another_client(monkeypatch):
    monkeypatch.setenv("PINATA_JWT", TOKEN)
    first = get_client()
    monkeypatch.setenv("PINATA_JWT", "another-token")

    assert get_client() is not first


def test_nothing_opens_a_socket(tmp_path, monkeypatch):
    opened = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
            opened.append((event, arguments))

    watching = True
    sys.addaudithook(watch)
    source = tmp_path / "x.fa"
    source.write_bytes(b">c\nA\n")
    asyncio.run(get_client().upload_file(source, {"asset": "reference", "build": "x"}, public=True))
    monkeypatch.setenv("PINATA_JWT", TOKEN)
    get_client()
    assert opened == []

    with socket.socket() as probe, pytest.raises(OSError, match=r"."):
        probe.connect(("127.0.0.1", 1))
    watching = False
    assert [event for event, _ in opened] == ["socket.connect"]
