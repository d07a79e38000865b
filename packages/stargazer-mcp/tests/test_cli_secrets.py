"""What people give in URLs: users, passwords, queries and fragments are neither printed nor kept, whatever the verb."""

from __future__ import annotations

from pathlib import Path

import pytest
from stargazer.mcp.cli import main

SECRET = "CANARYSECRET"
SUM = "0" * 64
URLS = [
    f"http://me:{SECRET}@127.0.0.1:9/x.fa?token={SECRET}",
    f"https://127.0.0.1:9/x.fa?X-Amz-Signature={SECRET}#{SECRET}",
    f"HTTP://me:{SECRET}@[::1/x.fa",
    f"ftp://me:{SECRET}@127.0.0.1/x.fa?token={SECRET}",
    f"s3://{SECRET}@bucket/x.fa?X-Amz-Credential={SECRET}",
    f"gs://bucket/x.fa?key={SECRET}",
    f"file:///nothing/x.fa?token={SECRET}",
]


def commands(url: str) -> list[list[str]]:
    return [
        [url],
        ["add", url, "build=x"],
        ["add", url, "--sha256", SUM, "build=x"],
        ["add", url, "--in-place", "build=x"],
        ["add", "x.fa", f"build={url}"],
        ["get", url, "--to", "out"],
        ["get", "build=T", "--to", url],
        ["query", f"build={url}"],
        ["query", url],
        ["amend", "build=T", f"build={url}"],
        ["why", url],
        ["rm", url],
        ["stale", url],
        ["verify", url],
        ["evict", url],
        ["replay", url],
        ["run", url],
        ["run", "prepare_reference", f"build={url}"],
        ["run", "prepare_reference", "build=nowhere", "--outdir", url],
        ["bundle", "show", url],
        ["bundle", "fetch", url],
        ["bundle", "verify", url],
        ["bundle", "make", url, "build=T"],
    ]


def status_of(command: list[str]) -> object:
    """The exit status of a command."""
    try:
        return main(command)
    except SystemExit as stopped:
        return stopped.code


@pytest.mark.parametrize("url", URLS)
def test_no_verb_prints_or_keeps_what_is_secret_in_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "store"))
    (tmp_path / "x.fa").write_text(">chr1\nACGT\n")
    (tmp_path / "t.fa").write_text(">chr1\nACGTT\n")
    assert main(["add", "t.fa", "build=T"]) == 0

    for command in commands(url):
        assert status_of(command) in (0, 1, 2), command
        captured = capsys.readouterr()
        assert SECRET not in captured.out + captured.err, command

    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert list(tmp_path.rglob(f"*{SECRET}*")) == []
    assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("name", ["STARGAZER_LOCAL", "STARGAZER_HOME", "PINATA_GATEWAY", "STARGAZER_MODE"])
def test_no_setting_shows_what_is_secret_in_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, URLS[4])

    for verb in ("config", "doctor", "query"):
        main([verb])
        captured = capsys.readouterr()
        assert SECRET not in captured.out + captured.err

    assert [path.name for path in tmp_path.rglob(f"*{SECRET}*")] == []


def test_the_kept_traceback_shows_no_secret_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stargazer.mcp.cli import query

    def broken(words: object) -> int:
        raise RuntimeError(f"cannot ask {URLS[0]}")

    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STARGAZER_DEBUG", raising=False)
    monkeypatch.setattr(query, "query", broken)

    assert main(["query"]) == 1

    assert SECRET not in capsys.readouterr().err
    (kept,) = (tmp_path / "home" / "logs").glob("*-traceback.txt")
    assert "cannot ask" in kept.read_text()
    assert SECRET not in kept.read_text()


def test_metadata_that_is_a_plain_url_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.fa").write_text(">chr1\nACGT\n")

    assert main(["add", "x.fa", "build=https://example.org/builds/7"]) == 0
    assert "build=https://example.org/builds/7" in capsys.readouterr().out
