"""Settings: every variable by its effect, the file beneath it, malformed values, and secrets that stay secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stargazer.assets import ConfigurationError
from stargazer.storage.settings import VARIABLES, Settings, available_cores, available_memory

GIB = 1 << 30


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def load(home: Path, **variables: str) -> Settings:
    return Settings.load({"STARGAZER_HOME": str(home), **variables})


def configure(home: Path, text: str | bytes) -> None:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_bytes(text.encode() if isinstance(text, str) else text)


def test_without_anything_set_all_is_local_and_private(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    settings = Settings.load({})

    assert settings.home == tmp_path / ".stargazer"
    assert settings.local == tmp_path / ".stargazer" / "local"
    assert (settings.mode, settings.pinata_jwt) == ("local", "")
    assert (settings.pinata_visibility, settings.pinata_gateway) == ("private", "gateway.pinata.cloud")
    assert settings.cores == available_cores()
    assert settings.memory == available_memory() * 9 // 10


EFFECTS = [
    ("STARGAZER_MODE", "local", "mode", "local"),
    ("STARGAZER_LOCAL", "/data/store", "local", Path("/data/store")),
    ("STARGAZER_INDEX", "/fast/index", "index", Path("/fast/index")),
    ("STARGAZER_CORES", "3", "cores", 3),
    ("STARGAZER_MEMORY", "8G", "memory", 8 * GIB),
    ("PINATA_JWT", "token", "pinata_jwt", "token"),
    ("PINATA_GATEWAY", "mine.mypinata.cloud", "pinata_gateway", "mine.mypinata.cloud"),
    ("PINATA_GATEWAY_TOKEN", "gateway-token", "pinata_gateway_token", "gateway-token"),
    ("PINATA_VISIBILITY", "public", "pinata_visibility", "public"),
    ("PINATA_API", "http://127.0.0.1:8080/api/", "pinata_api", "http://127.0.0.1:8080/api"),
    ("PINATA_UPLOADS", "https://uploads.example.org", "pinata_uploads", "https://uploads.example.org"),
    ("STARGAZER_MAVEN", "https://maven.example.org/central/", "maven", "https://maven.example.org/central"),
]


@pytest.mark.parametrize(("variable", "value", "name", "expected"), EFFECTS)
def test_every_variable_has_its_effect(home, variable, value, name, expected):
    assert getattr(load(home, **{variable: value}), name) == expected


def test_every_variable_is_tested_here():
    assert {effect[0] for effect in EFFECTS} | {"STARGAZER_HOME"} == set(VARIABLES.values())


@pytest.mark.parametrize(("variable", "value", "name", "expected"), EFFECTS)
def test_the_file_holds_the_same(home, variable, value, name, expected):
    configure(home, f'{name} = "{value}"\n')

    assert getattr(load(home), name) == expected


def test_numbers_in_the_file_are_numbers(home):
    configure(home, f"cores = 3\nmemory = {2 * GIB}\n")

    assert (load(home).cores, load(home).memory) == (3, 2 * GIB)


def test_a_variable_wins_over_the_file(home):
    configure(home, 'local = "/from/file"\ncores = 3\n')

    settings = load(home, STARGAZER_LOCAL="/from/variable")

    assert (settings.local, settings.cores) == (Path("/from/variable"), 3)


def test_an_empty_variable_counts_as_unset(home):
    configure(home, 'mode = "local"\ncores = 3\n')

    settings = load(home, STARGAZER_MODE="", STARGAZER_CORES="", PINATA_JWT="")

    assert (settings.mode, settings.cores, settings.pinata_jwt) == ("local", 3, "")


def test_the_process_s_variables_are_the_default(monkeypatch):
    monkeypatch.setenv("STARGAZER_CORES", "5")

    assert Settings.load().cores == 5


def test_a_tilde_is_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    settings = Settings.load({"STARGAZER_HOME": "~/sg", "STARGAZER_LOCAL": "~/store"})

    assert (settings.home, settings.local) == (tmp_path / "sg", tmp_path / "store")


def test_a_relative_folder_is_meant_from_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert Settings.load({"STARGAZER_HOME": "sg"}).local == tmp_path / "sg" / "local"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024),
        ("1K", 1 << 10),
        ("1.5g", 3 << 29),
        ("2GB", 2 * GIB),
        ("2GiB", 2 * GIB),
        (" 4 G ", 4 * GIB),
        ("1T", 1 << 40),
    ],
)
def test_sizes_are_written_as_people_write_them(home, text, size):
    assert load(home, STARGAZER_MEMORY=text).memory == size


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STARGAZER_MODE", "clowd"),
        ("STARGAZER_MODE", "Local"),
        ("PINATA_VISIBILITY", "secret"),
        ("STARGAZER_LOCAL", "~no-such-user-here/x"),
        *[("STARGAZER_CORES", value) for value in ("0", "-1", "two", "1.5", "1_0", "٣", "9" * 5000)],
        *[
            ("STARGAZER_MEMORY", value)
            for value in ("0", "-1G", "lots", "inf", "nan", "1e9", "G", "8X", "٣G")
        ],
    ],
)
def test_a_malformed_variable_is_named_with_its_value(home, variable, value):
    with pytest.raises(ConfigurationError, match=f"^{variable} is ") as error:
        load(home, **{variable: value})

    assert repr(value) in str(error.value)


def test_a_home_that_cannot_be_is_named():
    with pytest.raises(ConfigurationError, match="STARGAZER_HOME"):
        Settings.load({"STARGAZER_HOME": "~no-such-user-here/x"})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cores = true", "cores"),
        ("cores = 1.5", "cores"),
        ("memory = true", "memory"),
        ("memory = []", "memory"),
        ("local = 5", "local"),
        ('mode = "cluod"', "cluod"),
        ("mode = 1", "mode"),
        ("pinata_gateway = {}", "pinata_gateway"),
        ("colour = 1", "colour"),
        ('home = "/elsewhere"', "STARGAZER_HOME"),
        ("mode =", "not TOML"),
        (b"mode = '\xff'", "UTF-8"),
    ],
)
def test_a_malformed_file_is_named_with_its_key(home, text, named):
    configure(home, text)

    with pytest.raises(ConfigurationError, match=named) as error:
        load(home)

    assert "config.toml" in str(error.value)


def test_a_file_that_cannot_be_read_is_named(home):
    (home / "config.toml").mkdir(parents=True)

    with pytest.raises(ConfigurationError, match=r"config\.toml"):
        load(home)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("mine.mypinata.cloud", "https://mine.mypinata.cloud"),
        ("https://mine.mypinata.cloud/", "https://mine.mypinata.cloud"),
        ("localhost:8080", "https://localhost:8080"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://ipfs.lan", "http://ipfs.lan"),
    ],
)
def test_a_gateway_is_a_host_or_its_url(home, value, url):
    assert load(home, PINATA_GATEWAY=value).gateway_url == url


@pytest.mark.parametrize(
    "value",
    ["https://mine.mypinata.cloud/ipfs", "mine.mypinata.cloud/ipfs/", "ftp://mine.cloud", "https://", "a b", "x:y",
     "https://mine.cloud:99999", "mine.cloud\r\nX: y", "-", "https://[::1", "file:///etc/passwd", "ex\u00e4mple.org"],
)  # fmt: skip
def test_a_gateway_that_is_none_is_named_with_its_value(home, value):
    with pytest.raises(ConfigurationError, match=r"^PINATA_GATEWAY is ") as error:
        load(home, PINATA_GATEWAY=value)

    assert repr(value) in str(error.value)


@pytest.mark.parametrize("variable", ["PINATA_GATEWAY", "PINATA_API", "PINATA_UPLOADS"])
@pytest.mark.parametrize(
    "value",
    ["https://user:very-secret@mine.cloud", "https://very-secret@mine.cloud", "https://mine.cloud?token=very-secret",
     "https://mine.cloud/#very-secret", "https://mine.cloud/?pinataGatewayToken=very-secret"],
)  # fmt: skip
def test_credentials_in_an_address_are_refused_and_not_shown(home, variable, value):
    with pytest.raises(ConfigurationError, match=f"^{variable} is .*PINATA_GATEWAY_TOKEN") as error:
        load(home, **{variable: value})

    assert "very-secret" not in str(error.value)


@pytest.mark.parametrize("variable", ["PINATA_API", "PINATA_UPLOADS"])
@pytest.mark.parametrize(
    "value", ["http://api.pinata.cloud", "HTTP://127.0.0.1.example.org", "api.pinata.cloud", "https://"]
)
def test_a_service_gets_the_token_by_https_or_on_this_machine(home, variable, value):
    with pytest.raises(ConfigurationError, match=f"^{variable} is "):
        load(home, **{variable: value})


def test_a_service_may_be_behind_a_path(home):
    assert (
        load(home, PINATA_API="https://proxy.example.org/pinata/").pinata_api
        == "https://proxy.example.org/pinata"
    )


@pytest.mark.parametrize(
    "value",
    ["http://mirror.lan:8081/maven", "https://user:very-secret@mirror.example.org/m", "file:///data/maven mirror",
     "http://user:very-secret@127.0.0.1:8081"],
)  # fmt: skip
def test_a_maven_repository_is_a_url_and_its_password_is_not_shown(home, value):
    settings = load(home, STARGAZER_MAVEN=value)

    assert settings.maven == value
    assert "very-secret" not in settings.shown("maven") + repr(settings)


@pytest.mark.parametrize(
    "value",
    ["mirror.lan/maven", "ftp://mirror.lan", "/data/maven", "file://host/maven", "https://", "https://a b/", "https://[::1",
     "https://u:very-secret@mirror.lan:99999", "https://mirror.lan/?token=very-secret", "http://u:very-secret@mirror.lan"],
)  # fmt: skip
def test_a_maven_repository_that_is_none_is_refused_and_its_password_not_shown(home, value):
    with pytest.raises(ConfigurationError, match=r"^STARGAZER_MAVEN is ") as error:
        load(home, STARGAZER_MAVEN=value)

    assert "very-secret" not in str(error.value)


def test_a_gateway_gets_its_token_by_https_or_on_this_machine(home):
    with pytest.raises(ConfigurationError, match="in the clear") as error:
        load(home, PINATA_GATEWAY="http://ipfs.lan", PINATA_GATEWAY_TOKEN="very-secret")

    assert "very-secret" not in str(error.value)
    assert (
        load(home, PINATA_GATEWAY="http://localhost:1", PINATA_GATEWAY_TOKEN="t").pinata_gateway_token == "t"
    )


@pytest.mark.parametrize("variable", ["PINATA_JWT", "PINATA_GATEWAY_TOKEN"])
def test_a_token_is_one_word_and_not_shown_if_it_is_none(home, variable):
    assert getattr(load(home, **{variable: " token\n"}), variable.lower()) == "token"

    for value in ("very secret", "very\nsecret", "very-secr\u00e9t", "   "):
        with pytest.raises(ConfigurationError, match=f"^{variable} is no token") as error:
            load(home, **{variable: value})
        assert "secr" not in str(error.value)


def test_it_is_known_where_each_setting_comes_from(home):
    configure(home, "cores = 3\n")

    origins = load(home, PINATA_JWT="token").origins

    assert set(origins) == set(VARIABLES)
    assert (origins["pinata_jwt"], origins["local"]) == ("PINATA_JWT", "default")
    assert "config.toml" in origins["cores"]


def test_secrets_are_in_no_text(home):
    configure(home, "pinata_jwt = 12345678987654321")
    with pytest.raises(ConfigurationError, match="pinata_jwt") as error:
        load(home)
    assert "12345678987654321" not in str(error.value)

    settings = load(home, PINATA_JWT="a-very-secret-token", PINATA_GATEWAY_TOKEN="a-very-secret-token-too")

    for text in (repr(settings), str(settings), f"{settings}"):
        assert "a-very-secret-token" not in text
        assert text.count("'***'") == 2


def test_settings_cannot_be_changed_and_can_be_keys(home):
    settings = load(home)

    with pytest.raises(AttributeError):
        settings.cores = 1
    assert {settings: 1}[load(home)] == 1


def test_a_containers_limit_counts(tmp_path):
    (tmp_path / "memory.max").write_text(f"{64 << 20}\n")

    assert available_memory(tmp_path) == 64 << 20


@pytest.mark.parametrize("limit", ["max\n", "", "9223372036854771712\n"])
def test_no_limit_is_the_machine(tmp_path, limit):
    (tmp_path / "memory.max").write_text(limit)

    assert available_memory(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
