"""The test equipment itself: a test that puts a secret, or a path of the machine, into provenance fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from stargazer.assets.provenance import Entry, Execution, Import, dump

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


@pytest.fixture
def equipment(pytestconfig: pytest.Config) -> ModuleType:
    """The module that every test stands on."""
    found = [plugin for plugin in pytestconfig.pluginmanager.get_plugins() if hasattr(plugin, "private_in")]
    assert isinstance(found[0], ModuleType)
    return found[0]


def document(origin: str) -> bytes:
    return dump(Import(files=[Entry(cid=CID, keyvalues={"asset": "r1", "sample": "S"}, origin=origin)]))


def put(store: Path, data: bytes, name: str = CID) -> Path:
    path = store / "ledger" / "own" / name[-3:-1] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


INNER = """
import os, subprocess, sys
from pathlib import Path
import pytest
from stargazer.assets.provenance import Entry, Import, dump

def write(folder, origin):
    path = folder / "store" / "ledger" / "foreign" / "ab" / "{cid}"
    path.parent.mkdir(parents=True)
    entry = Entry(cid="{cid}", keyvalues={{}}, origin=origin)
    path.write_bytes(dump(Import(files=[entry])))

def test_clean(tmp_path):
    write(tmp_path, "x_R1.fq")

def test_path(tmp_path):
    write(tmp_path, str(tmp_path / "x_R1.fq"))

def test_value_of_a_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("PINATA_JWT", "opensesame")
    write(tmp_path, "opensesame")

@pytest.mark.planted_secret
def test_planted(tmp_path):
    write(tmp_path, os.path.expanduser("~/x_R1.fq"))

@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")

def test_of_a_shared_folder(shared):
    write(shared, "https://example.org/x?token=abc")

def test_last(shared): ...
"""


def test_a_test_whose_store_holds_a_secret_fails_and_no_other(tmp_path: Path, equipment: ModuleType) -> None:
    """What several tests share is looked through after the last of them."""
    (tmp_path / "conftest.py").write_text(Path(str(equipment.__file__)).read_text())
    (tmp_path / "test_inner.py").write_text(INNER.format(cid=CID))
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stdout
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("ERROR ")]
    names = ["test_path", "test_value_of_a_setting", "test_last"]
    assert failed == [f"test_inner.py::{name}" for name in names], done.stdout
    assert "a look for secrets and local paths in 5 provenance documents" in done.stdout
    assert "holds the path of pytest's folder" in done.stdout
    assert "or mark the test planted_secret" in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "/home/me/checkout/x.fq",
        "/höme/x.fq",
        "Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
        "https://example.org/x?X-Amz-Signature=1",
        "https://example.org/x?Signature=1",
        "https://example.org/x?a=1&token=1",
        "very-secret",
    ],
)
def test_secrets_and_paths_are_noticed_in_any_kind_of_document(text: str, equipment: ModuleType) -> None:
    private = {"the checkout's path": "/home/me/checkout", "the home's path": "/höme"}
    for data in (document(text), dump(Execution(task="align", commands=[["bwa", text]]))):
        assert equipment.private_in(data, private)


@pytest.mark.parametrize(
    "text", ["x_R1.fq", "https://example.org/home/x.fq", CID, "a secret of nature", "tokens"]
)
def test_what_is_fit_for_anybody_is_not_noticed(text: str, equipment: ModuleType) -> None:
    assert not equipment.private_in(document(text), {"the home's path": "/root/me", "nothing": "/"})


def test_documents_are_told_from_other_files_and_read_once(tmp_path: Path, equipment: ModuleType) -> None:
    wanted = put(tmp_path / "deep" / "store", document("x"))
    put(tmp_path / "deep" / "store", b'{"no": "provenance"}', "bafkreiother")
    put(tmp_path / "deep" / "store", b"@read\nA\n+\nI\n", "bafkreireads")
    (tmp_path / "loose.json").write_bytes(document("x"))
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "store").symlink_to(tmp_path / "deep" / "store")
    seen: set[str] = set()

    assert [path for path, _ in equipment.documents_below([tmp_path], seen)] == [str(wanted)]
    assert list(equipment.documents_below([tmp_path, tmp_path / "missing"], seen)) == []
