"""`stargazer add --in-place`: the store points at the user's file, leaves it alone, and notices its changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import main
from stargazer.storage import get_client

READS = b"@read/1\nACGTACGT\n+\nIIIIIIII\n"


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A FASTQ file of the user's, which is added by a relative name."""
    folder = tmp_path / "archive ü"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = folder / "NA12878_R1.fq"
    path.write_bytes(READS)
    path.chmod(0o640)
    return path


def added(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    status = main(["add", *words, "sample=NA12878", "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    records: list[dict[str, Any]] = json.loads(captured.out)
    return records


def state(path: Path) -> tuple[int, ...]:
    """What a change of a file would change; reading it does not."""
    found = path.stat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def test_a_file_added_in_place_is_neither_copied_nor_changed(reads, capsys):
    before = state(reads)

    (record,) = added(capsys, "--in-place", reads.name)

    objects = get_client().store.objects
    assert state(reads) == before
    assert os.readlink(objects.path(record["cid"])) == str(reads)
    assert get_client().store.read(record["cid"]).read_bytes() == READS
    assert added(capsys, "--in-place", str(reads)) == [record]


def test_a_copy_takes_the_place_of_the_link(reads, capsys):
    (record,) = added(capsys, "--in-place", reads.name)
    assert added(capsys, reads.name)[0]["cid"] == record["cid"]
    reads.unlink()
    assert get_client().store.read(record["cid"]).read_bytes() == READS


def test_an_edited_original_is_named_when_it_is_read(reads, capsys):
    (record,) = added(capsys, "--in-place", reads.name)
    reads.write_bytes(READS.replace(b"A", b"T"))

    assert main(["get", record["cid"], "--to", "copies"]) == 1

    said = capsys.readouterr().err
    assert "archive" in said
    assert "NA12878_R1.fq" in said
    assert "changed" in said
    assert not list(Path("copies").glob("*.fq"))


def test_a_url_is_not_added_in_place(reads, capsys):
    with pytest.raises(SystemExit):
        main(["add", "--in-place", "https://example.org/x.fa", "--sha256", "0" * 64, "build=x"])
    assert "files of this machine" in capsys.readouterr().err
