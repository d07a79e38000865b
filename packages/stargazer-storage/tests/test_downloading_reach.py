"""URLs that somebody else chose: only the public internet is asked, on the very connection, after every redirect."""

from __future__ import annotations

import datetime
import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import InvalidAssetError, StorageError
from stargazer.storage.download.fetch import fetch_file
from stargazer.storage.download.http import SourceError, open_url
from stargazer.storage.download.reach import OutOfReach, Reach

from .download_host import Answer, Host, Request, status

CONTENT = b"@r\nACGT\n+\nIIII\n" * 1000
SUMS = {"sha256": hashlib.sha256(CONTENT).hexdigest()}


@pytest.fixture
def hosts() -> Iterator[Callable[..., Host]]:
    running: list[Host] = []

    def start(*script: Answer) -> Host:
        running.append(Host(CONTENT, script=list(script)))
        return running[-1]

    yield start
    for host in running:
        host.close()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Have names resolved to these addresses, one after the other; returns the names that were asked for."""

    def start(*addresses: str) -> list[str]:
        left, asked = list(addresses), []

        def getaddrinfo(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
            asked.append(host)
            found = host
            if host == "data.example.org":
                found = left.pop(0) if len(left) > 1 else left[0]
            kind = socket.AF_INET6 if ":" in found else socket.AF_INET
            return [(kind, socket.SOCK_STREAM, 6, "", (found, port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return start


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.8", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
     "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fec0::1",
     "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::127.0.0.1",
     "2002:7f00:1::1", "2001:0:1::1", "64:ff9b::7f00:1"],
)  # fmt: skip
def test_no_host_of_a_private_network_is_asked(answers: Callable[..., list[str]], address: str) -> None:
    answers(address)
    with pytest.raises(OutOfReach):
        Reach().addresses("data.example.org", 443)


@pytest.mark.parametrize("address", ["8.8.8.8", "193.62.193.80", "2606:4700::1111"])
def test_hosts_of_the_internet_are(answers: Callable[..., list[str]], address: str) -> None:
    answers(address)
    assert Reach().addresses("data.example.org", 443) == [address]


def test_one_private_address_of_several_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
    with pytest.raises(OutOfReach):
        Reach().addresses("data.example.org", 443)


@pytest.mark.parametrize(
    "url",
    ["http://data.example.org/a.fq", "https://me@data.example.org/a.fq", "https://me:hush@data.example.org/a.fq",
     "https://@data.example.org/a.fq", "file:///etc/passwd", "/etc/passwd", "ftp://data.example.org/a.fq"],
)  # fmt: skip
def test_only_plain_https_is_asked(tmp_path: Path, url: str) -> None:
    told: list[str] = []
    with (
        pytest.raises(InvalidAssetError, match="cannot be downloaded") as raised,
        fetch_file(url, SUMS, tmp_path, told.append, reach=Reach()),
    ):
        pass
    assert "hush" not in str(raised.value)
    assert told == []


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:{}/a", "https://localhost:{}/a", "https://127.1:{}/a", "https://2130706433:{}/a",
            "https://0x7f.1:{}/a", "https://[::ffff:127.0.0.1]:{}/a"],
)  # fmt: skip
def test_loopback_is_refused_before_a_connection(hosts: Callable[..., Host], url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        with (
            pytest.raises(SourceError, match="of a private network"),
            open_url(url.format(server.getsockname()[1]), reach=Reach()),
        ):
            pass
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_connection_goes_to_the_address_that_was_judged(
    hosts: Callable[..., Host], answers: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is looked at, and this machine when it is asked for again."""
    asked, connected = answers("203.0.114.7", "127.0.0.1"), []

    def connect(address: tuple[str, int], *args: Any, **options: Any) -> socket.socket:
        connected.append(address[0])
        raise OSError("no network in this test")

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    with (
        pytest.raises(SourceError, match="cannot be reached"),
        open_url("https://data.example.org/a", reach=Reach()),
    ):
        pass
    assert connected == ["203.0.114.7"]
    assert asked == ["data.example.org"]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of data.example.org with its key, which signs itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "data.example.org")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("data.example.org")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path / "certificate.pem"
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, form, plain))
    return path


def test_the_certificate_is_that_of_the_name_whatever_address_is_asked(
    hosts: Callable[..., Host],
    answers: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    certificate: Path,
) -> None:
    host = hosts()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    host._server.socket = context.wrap_socket(host._server.socket, server_side=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    answers("127.0.0.1")
    port = host._server.server_port

    def read(name: str) -> bytes:
        with open_url(f"https://{name}:{port}/a.fq", reach=Reach(loopback=True)) as body:
            return b"".join(body.pieces)

    with ThreadPoolExecutor(1) as thread:  # which has no connections yet
        assert thread.submit(read, "data.example.org").result() == CONTENT
        with pytest.raises(SourceError, match="no valid TLS certificate"):
            thread.submit(read, "127.0.0.1").result()
    assert host.headers[0]["Host"] == f"data.example.org:{port}"


def test_no_proxy_of_the_environment_is_used(
    hosts: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = hosts()
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    with (
        pytest.raises(SourceError, match="of a private network"),
        open_url("https://169.254.169.254/a", reach=Reach()),
    ):
        pass
    assert proxy.paths == []


def test_the_switch_for_tests_allows_this_machine_and_nothing_else(
    hosts: Callable[..., Host], tmp_path: Path
) -> None:
    reach = Reach(loopback=True)
    with fetch_file(f"{hosts().url}/a.fq", SUMS, tmp_path, lambda _: None, reach=reach) as path:
        assert path.read_bytes() == CONTENT
    with pytest.raises(InvalidAssetError), fetch_file("http://8.8.8.8/a", SUMS, tmp_path, print, reach=reach):
        pass
    with (
        pytest.raises(SourceError, match="of a private network"),
        open_url("https://10.0.0.1/a", reach=reach),
    ):
        pass


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("https://169.254.169.254/latest/meta-data", "private network"),
        ("http://169.254.169.254/latest/meta-data", "not encrypted"),
        ("https://me:hush@203.0.114.7/a", "credentials"),
        ("file:///etc/passwd", "no http or https"),
    ],
)
def test_redirects_are_judged_like_what_is_asked_first(
    hosts: Callable[..., Host], tmp_path: Path, location: str, reason: str
) -> None:
    host = hosts(status(302, Location=location))
    with (
        pytest.raises(StorageError, match=reason) as raised,
        fetch_file(f"{host.url}/a.fq", SUMS, tmp_path, lambda _: None, reach=Reach(loopback=True)),
    ):
        pass
    assert "hush" not in str(raised.value)
    assert len(host.paths) == 1


def test_too_large_a_file_is_refused_in_the_middle(hosts: Callable[..., Host], tmp_path: Path) -> None:
    def endless(request: Request) -> None:
        request.begin(200, None, Transfer_Encoding="chunked")
        for _ in range(10_000):
            request.send(b"10000\r\n" + b"A" * 65536 + b"\r\n")

    host = hosts(endless)
    with (
        pytest.raises(StorageError, match="sends more than the 1,000,000 bytes that are taken"),
        fetch_file(
            f"{host.url}/a.fq", SUMS, tmp_path, lambda _: None, most=1_000_000, reach=Reach(loopback=True)
        ),
    ):
        pass
    assert host.sent < 64 << 20
    assert [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()] in ([], [0])
