"""Sources and HTTP: what a URL means, what it is called, and where redirects may lead."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from stargazer.assets import InvalidAssetError
from stargazer.storage.download import sources
from stargazer.storage.download.http import SourceError, open_url, refusal, without_secrets
from stargazer.storage.download.sources import Gateway, LocalFile, Mirror, Source, source_of

from .download_host import Host, status

CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
OLD = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"https://ipfs.io/ipfs/{CID}", Gateway("https://ipfs.io")),
        (f"https://ipfs.io/ipfs/{OLD}/", Gateway("https://ipfs.io")),
        (f"https://example.org/deep/ipfs/{CID}", Gateway("https://example.org/deep")),
        (
            f"https://x.mypinata.cloud/ipfs/{CID}?pinataGatewayToken=t",
            Gateway("https://x.mypinata.cloud", "t"),
        ),
        (f"https://ipfs.io/ipfs/{CID}/a.bam", Mirror(f"https://ipfs.io/ipfs/{CID}/a.bam")),
        (f"https://{CID}.ipfs.dweb.link/", Mirror(f"https://{CID}.ipfs.dweb.link/")),
        ("http://example.org/a.bam?sig=1", Mirror("http://example.org/a.bam?sig=1")),
        ("HTTPS://example.org/a.bam", Mirror("HTTPS://example.org/a.bam")),
        ("file:///data/my%20genome.fa", LocalFile(Path("/data/my genome.fa"))),
        ("/data/a.fa", LocalFile(Path("/data/a.fa"))),
        ("data/a:b.fa", LocalFile(Path("data/a:b.fa"))),
    ],
)
def test_what_a_url_means(url: str, expected: Source) -> None:
    assert source_of(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "ftp://example.org/a", "s3://bucket/key", "file://elsewhere/a", "http://", "https://[::1/a", "a\0b",
     "http://example.org:99999/a", "http://example.org/a b", "http://example.org/a\r\nX: y"],
)  # fmt: skip
def test_what_no_source_is(url: str) -> None:
    with pytest.raises(InvalidAssetError):
        source_of(url)


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("gateway.pinata.cloud", "https://gateway.pinata.cloud"),
        ("https://gateway.pinata.cloud/", "https://gateway.pinata.cloud"),
        ("https://gateway.pinata.cloud/ipfs/", "https://gateway.pinata.cloud"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://me:hush@example.org/x?hush", "https://example.org/x"),
    ],
)
def test_a_gateway_is_called_by_its_address(base: str, name: str) -> None:
    assert Gateway(base, "hush").name == name
    assert "hush" not in repr(Gateway(base, "hush"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:hush@example.org:1/a.bam?X-Signature=hush#hush", "https://example.org:1/a.bam"),
        ("https://example.org/a;jsessionid=hush/b", "https://example.org/a"),
        ("https://example.org/eyJhbGciOiJIUzI1NiJ9.eyJh.hush/a.bam", "https://example.org/.../a.bam"),
    ],
)
def test_secrets_are_left_out_of_names(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert Mirror(url).name == shown


@pytest.mark.parametrize(
    ("there", "fine"),
    [
        ("https://gateway.example/other", True),
        (f"https://{CID}.ipfs.gateway.example/", True),
        ("https://example/", False),
        ("https://evilgateway.example/", False),
        ("https://gateway.example.evil.org/", False),
        ("https://gateway.example:8443/", False),
    ],
)
def test_a_gateway_stays_on_its_site(there: str, fine: bool) -> None:
    first = urlsplit("https://gateway.example/ipfs/x")
    assert (refusal(first, first, urlsplit(there), same=True) == "") is fine


def test_a_gateway_may_turn_to_encryption() -> None:
    first = urlsplit("http://gateway.example/x")
    assert refusal(first, first, urlsplit("https://gateway.example/x"), same=True) == ""


@pytest.mark.parametrize(
    "there", ["127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "[::1]", "[fd00::1]"]
)
def test_nobody_public_leads_into_a_private_network(there: str) -> None:
    public, private = urlsplit("https://93.184.216.34/a"), urlsplit(f"https://{there}/a")
    loopback = urlsplit("http://127.0.0.1/a")
    assert refusal(public, public, private, same=False) == "an address of a private network"
    assert refusal(loopback, loopback, private, same=False) == ""
    assert refusal(private, private, public, same=False) == ""


def test_encryption_is_not_given_up() -> None:
    first, here = urlsplit("https://93.184.216.34/a"), urlsplit("https://93.184.216.34/b")
    assert refusal(first, here, urlsplit("http://93.184.216.34/c"), same=False) == "without encryption"


def test_the_token_goes_to_the_gateway_alone() -> None:
    gateway = Host(b"reads")
    first = Host(b"", status(302, Location=f"{gateway.url}/ipfs/{CID}"))
    try:
        with Gateway(gateway.url, "hush").open(CID, 0) as body:
            assert b"".join(body.pieces) == b"reads"
        assert gateway.headers[0]["x-pinata-gateway-token"] == "hush"
        with open_url(f"{first.url}/a", headers={"x-pinata-gateway-token": "hush"}) as body:
            assert b"".join(body.pieces) == b"reads"
        assert "x-pinata-gateway-token" in first.headers[0]
        assert "x-pinata-gateway-token" not in gateway.headers[1]
    finally:
        first.close()
        gateway.close()


@pytest.mark.parametrize(("scheme", "sent"), [("http", {}), ("https", {"x-pinata-gateway-token": "hush"})])
def test_the_token_is_not_sent_unencrypted(
    monkeypatch: pytest.MonkeyPatch, scheme: str, sent: dict[str, str]
) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(sources, "open_url", lambda url, *, headers, **_: asked.append(headers))

    Gateway(f"{scheme}://example.org", "hush").open(CID, 0)

    assert asked == [sent]


def test_cookies_are_not_kept_and_compression_not_asked_for() -> None:
    host = Host(b"reads", script=[status(200, b"x", Set_Cookie="id=1")])
    try:
        for _ in range(2):
            with open_url(f"{host.url}/a") as body:
                assert list(body.pieces)
        assert all("Cookie" not in headers for headers in host.headers)
        assert all(headers["Accept-Encoding"] == "identity" for headers in host.headers)
    finally:
        host.close()


def test_a_gzip_file_that_is_called_compressed_comes_as_it_is() -> None:
    host = Host(b"", status(200, b"\x1f\x8bxyz", Content_Encoding="x-gzip"))
    try:
        with open_url(f"{host.url}/a.vcf.gz") as body:
            assert b"".join(body.pieces) == b"\x1f\x8bxyz"
        with pytest.raises(SourceError, match="compressed"), open_url(f"{host.url}/a.vcf"):
            pass
    finally:
        host.close()


@pytest.mark.parametrize(("offset", "rest"), [(0, b"reads"), (2, b"ads"), (5, b"")])
def test_a_local_file_from_an_offset(tmp_path: Path, offset: int, rest: bytes) -> None:
    (tmp_path / "a").write_bytes(b"reads")
    with LocalFile(tmp_path / "a").open(CID, offset) as body:
        assert (body.start, body.size, b"".join(body.pieces)) == (offset, 5, rest)


def test_a_folder_and_a_pipe_are_no_local_files(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "nothing"):
        with pytest.raises(SourceError), LocalFile(tmp_path / name).open(CID, 0):
            pass
