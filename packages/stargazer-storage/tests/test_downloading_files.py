"""Files by URL and a published checksum: verified before anybody sees them, continued where they stopped."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from stargazer.assets import IntegrityError, InvalidAssetError, StorageError
from stargazer.storage.download import fetch
from stargazer.storage.download.fetch import fetch_file
from stargazer.storage.download.http import Patience

from .download_host import Host, cut_after, status

CONTENT = random.Random(3).randbytes(3_000_000)
SUMS = {"sha256": hashlib.sha256(CONTENT).hexdigest()}
MD5 = {"md5": hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}


@pytest.fixture
def host() -> Iterator[Host]:
    started = Host(CONTENT)
    yield started
    started.close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PATIENCE", Patience(attempts=1))


def silent(text: str) -> None: ...


@pytest.mark.parametrize("sums", [SUMS, MD5, SUMS | MD5, {"sha256": SUMS["sha256"].upper()}])
def test_a_verified_file_under_its_own_name(host: Host, work: Path, sums: dict[str, str]) -> None:
    told: list[str] = []

    with fetch_file(f"{host.url}/my%20genome.fa?token=hush", sums, work, told.append) as path:
        assert path.name == "my genome.fa"
        assert path.read_bytes() == CONTENT

    assert told == [f"downloading {host.url}/my%20genome.fa"]
    assert list(work.iterdir()) == []


def test_a_local_url(tmp_path: Path, work: Path) -> None:
    (tmp_path / "a.fa").write_bytes(CONTENT)
    with fetch_file((tmp_path / "a.fa").as_uri(), SUMS, work, silent) as path:
        assert path.read_bytes() == CONTENT


def test_what_came_before_a_failure_is_not_asked_for_again(host: Host, work: Path) -> None:
    host.script = [cut_after(1_000_000), status(503)]

    with pytest.raises(StorageError, match="503"), fetch_file(f"{host.url}/a.fa", SUMS, work, silent):
        pass
    with fetch_file(f"{host.url}/a.fa", SUMS, work, silent) as path:
        assert path.read_bytes() == CONTENT

    assert host.starts == [0, 1_000_000, 1_000_000]
    assert list(work.iterdir()) == []


def test_other_bytes_are_refused(host: Host, work: Path) -> None:
    wrong = {"sha256": "0" * 64}
    with (
        pytest.raises(IntegrityError, match=f"sha256 is {SUMS['sha256']}, expected 0000"),
        fetch_file(f"{host.url}/a.fa", wrong, work, silent),
    ):
        pass
    assert list(work.iterdir()) == []


def test_another_size_than_the_certain_one_is_refused_at_once(host: Host, work: Path) -> None:
    with (
        pytest.raises(StorageError, match="offers 3,000,000 bytes, not the 5"),
        fetch_file(f"{host.url}/a.fa", SUMS, work, silent, size=5),
    ):
        pass
    assert list(work.iterdir()) == []


def test_every_checksum_counts(host: Host, work: Path) -> None:
    with (
        pytest.raises(IntegrityError, match="md5"),
        fetch_file(f"{host.url}/a.fa", SUMS | {"md5": "0" * 32}, work, silent),
    ):
        pass


def test_a_file_that_changed_between_two_attempts_is_started_over(host: Host, work: Path) -> None:
    host.content, host.script = bytes(len(CONTENT)), [cut_after(1_000_000), status(503)]
    with pytest.raises(StorageError), fetch_file(f"{host.url}/a.fa", SUMS, work, silent):
        pass
    host.content = CONTENT

    with fetch_file(f"{host.url}/a.fa", SUMS, work, silent) as path:
        assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("sums", [{}, {"sha256": "abc"}, {"sha1": "0" * 40}])
def test_without_a_checksum_nothing_is_downloaded(host: Host, work: Path, sums: dict[str, str]) -> None:
    with pytest.raises(InvalidAssetError), fetch_file(f"{host.url}/a.fa", sums, work, silent):
        pass
    assert host.starts == []


def test_an_error_in_the_block_is_the_callers(host: Host, work: Path) -> None:
    with pytest.raises(ZeroDivisionError), fetch_file(f"{host.url}/a.fa", SUMS, work, silent):
        raise ZeroDivisionError
    assert list(work.iterdir()) == []
