"""The file of an index: damaged, deleted or replaced while it is open, newer, moved aside, on a network."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from stargazer.assets import StorageError
from stargazer.storage.index import location as location_module
from stargazer.storage.index.location import index_path, network_filesystem
from stargazer.storage.index.records import Index
from stargazer.storage.index.schema import IndexDamaged, set_aside
from tinydb import where


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "index.sqlite"


def filled(path: Path, records: int = 300) -> list[dict[str, object]]:
    """The documents of a new index, closed so that all of it is in one file."""
    documents: list[dict[str, object]] = [
        {"id": str(n), "cid": f"cid-{n}", "keyvalues": {"sample": f"s{n}", "asset": "reads"}}
        for n in range(records)
    ]
    with Index(path) as index:
        index.insert_multiple(documents)
    return documents


def everything(path: Path) -> list[object]:
    """What an index answers when all of it is asked for."""
    with Index(path) as index:
        found = [dict(document) for document in index.all()]
        assert [dict(document) for document in index] == found
        for number in range(0, 300, 30):
            index.search(where("keyvalues")["sample"] == f"s{number}")
        with index.reading() as connection:
            connection.execute("SELECT * FROM mirrors").fetchall()
        index.upsert({"id": "new"}, where("id") == "new")
        return found


# --- damage


@pytest.mark.parametrize("left", [0, 1, 50, 99, 100, 4095, 4096, 5000, 0.3, 0.5, 0.9, -4096, -1])
def test_a_truncated_index_says_to_run_fsck(path, left):
    filled(path)
    size = path.stat().st_size
    os.truncate(path, int(left * size) if isinstance(left, float) else left % size if left < 0 else left)
    with pytest.raises(IndexDamaged, match=r"index\.sqlite' is damaged \(.*\): run `stargazer fsck`"):
        everything(path)


def test_flipped_bits_are_named_or_change_no_structure(path):
    """Whatever is flipped: damage that says fsck, or documents of which a value differs; nothing else is raised."""
    documents, draw = filled(path), random.Random(5)
    sound = path.read_bytes()
    named = 0
    for _ in range(150):
        content = bytearray(sound)
        position = draw.choice(
            [draw.randrange(len(content)), draw.randrange(200), 4096 * draw.randrange(len(content) // 4096)]
        )
        content[position] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        for side in ("-wal", "-shm"):
            Path(f"{path}{side}").unlink(missing_ok=True)
        try:
            found = everything(path)
        except IndexDamaged as error:
            assert "stargazer fsck" in str(error)  # noqa: PT017
            named += 1
        except StorageError as error:
            assert position < 100, error  # noqa: PT017  # the header: a newer version, another kind of file
        else:
            assert all(type(document) is dict for document in found)
            assert len(found) == len(documents)
    assert named > 20


@pytest.mark.parametrize("body", ["", "{", "[]", "1", '{"a": 1},{"b": 2}', '{"a": 1}]', "null", b"\xff\xfe"])
def test_a_document_that_is_none_is_damage(path, body):
    filled(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE docs SET body=CAST(? AS TEXT) WHERE id=2", (body,))
    connection.close()
    with Index(path) as index:
        for ask in (
            lambda: index.all(),
            lambda: list(index),
            lambda: index.get(doc_id=2),
            lambda: index.search(where("id") == "1"),
            lambda: index.update({"x": 1}, doc_ids=[2]),
            lambda: index.remove(doc_ids=[2]),
        ):
            with pytest.raises(IndexDamaged, match="stargazer fsck"):
                ask()
        assert index.get(doc_id=1)["id"] == "0"
        assert index.insert({"id": "still written"}) == 4


def test_an_index_without_its_tables_is_damaged(path):
    for table in ("docs", "terms", "tables", "mirrors"):
        filled(path, 3)
        with sqlite3.connect(path) as connection:
            connection.execute(f"DROP TABLE {table}")
        connection.close()
        with pytest.raises(IndexDamaged, match=rf"no such table: {table}"):
            everything(path)
        path.unlink()


def test_a_damaged_index_is_moved_aside_and_a_new_one_made(path):
    filled(path)
    os.truncate(path, 5000)
    with pytest.raises(IndexDamaged):
        everything(path)

    quarantine = path.parent / "quarantine"
    assert set_aside(path, quarantine) == quarantine / f"{path.name}-1"
    assert everything(path) == []
    assert (quarantine / f"{path.name}-1").stat().st_size == 5000
    os.truncate(path, 0)
    assert set_aside(path, quarantine) == quarantine / f"{path.name}-2"
    assert set_aside(path, quarantine) is None


# --- deleted or replaced while it is open

OTHER = """
import os, shutil, sys
from pathlib import Path
from stargazer.storage.index.records import Index
from stargazer.storage.index.schema import set_aside
from tinydb import where
path, action = sys.argv[1:]
if action == "delete":
    os.unlink(path)
elif action == "delete all":
    for name in os.listdir(os.path.dirname(path)):
        os.unlink(os.path.join(os.path.dirname(path), name))
elif action == "delete folder":
    shutil.rmtree(os.path.dirname(path))
elif action == "set aside":
    assert set_aside(Path(path), Path(path).parent / "quarantine")
elif action == "replace":
    with Index(path + ".other") as other:
        other.insert_multiple({"id": f"other-{n}"} for n in range(100))
    os.replace(path + ".other", path)
    sys.exit()
with Index(path) as index:
    assert len(index) == 0
    index.insert({"id": "theirs"})
"""


@pytest.mark.parametrize("action", ["delete", "delete all", "delete folder", "set aside", "replace"])
@pytest.mark.parametrize("first", ["read", "write"])
def test_a_file_that_another_process_replaced_is_noticed_at_the_next_operation(path, action, first):
    theirs = [f"other-{n}" for n in range(100)] if action == "replace" else ["theirs"]
    with Index(path) as index, Index(path) as idle:
        index.insert_multiple({"id": f"ours-{n}", "keyvalues": {"x": "y" * 100}} for n in range(500))
        assert len(idle) == 500
        assert Path(f"{path}-wal").stat().st_size > 0
        subprocess.run([sys.executable, "-c", OTHER, str(path), action], check=True)

        if first == "write":
            assert index.insert({"id": "after"}) == len(theirs) + 1
            theirs = [*theirs, "after"]
        for one in (index, idle, index):
            assert [document["id"] for document in one] == theirs
        with index.transaction() as connection:
            connection.execute("INSERT INTO mirrors VALUES('p', 'c')")
        index.insert({"id": "last"})
    with Index(path) as again, again.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert [document["id"] for document in again] == [*theirs, "last"]


def test_an_index_whose_folder_was_removed_is_begun_again(path):
    with Index(path) as index, Index(path) as idle:
        index.insert({"id": "old"})
        assert len(idle) == 1
        shutil.rmtree(path.parent)
        index.insert({"id": "new"})
        assert [document["id"] for one in (idle, index) for document in one] == ["new", "new"]


WRITE_FOR_EVER = """
import sys
from stargazer.storage.index.records import Index
index, number = Index(sys.argv[1]), 0
while True:
    index.insert({"id": str(number)})
    number += 1
    print(number, flush=True)
"""


def test_a_writer_goes_on_in_each_new_index(path):
    """Moved aside again and again under a writer: every index is sound, and together they hold all it wrote."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    asides = []
    try:
        for _ in range(15):
            for _ in range(3):
                acknowledged = int(child.stdout.readline())
            asides.append(set_aside(path, path.parent / "quarantine"))
    finally:
        child.kill()
        acknowledged = max([acknowledged, *map(int, child.stdout.read().split("\n")[:-1])])
        child.wait()
        child.stdout.close()

    numbers: list[int] = []
    for one in filter(None, [*asides, path if path.exists() else None]):
        with Index(one) as index, index.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            numbers += [int(document["id"]) for document in index]
    assert sorted(numbers) == list(range(len(numbers)))
    assert len(numbers) - acknowledged in (0, 1)


def test_what_a_killed_maker_left_is_no_index(path):
    path.parent.mkdir()
    Path(f"{path}.new").write_bytes(b"half made")
    Path(f"{path}-wal").write_bytes(b"of an older one" * 1000)
    assert everything(path) == []
    assert not Path(f"{path}.new").exists()


# --- where it lies


def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *points: tuple[bytes, str]) -> None:
    """The kernel's table of mounts, with these points."""
    lines = [b"/dev/sda / ext4 rw 0 0"]
    for point, kind in points:
        escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in point)
        lines.append(b"source " + escaped + f" {kind} rw 0 0".encode())
    (tmp_path / "mounts").write_bytes(b"\n".join(lines) + b"\n")
    monkeypatch.setattr(location_module, "_MOUNTS", str(tmp_path / "mounts"))


@pytest.mark.parametrize(
    "name",
    [
        b"with space",
        "ünï 日本".encode(),
        b"back\\slash",
        b"tab\there",
        b"new\nline",
        b"\\040",
        b"no \xff utf-8",
        b"#",
    ],
)
def test_mount_points_of_any_name_are_known(tmp_path, monkeypatch, name):
    point = os.path.join(os.fsencode(tmp_path), name)
    mounted(tmp_path, monkeypatch, (point, "nfs4"), (point + b"/local", "ext4"), (point + b"2", "xfs"))

    folder = Path(os.fsdecode(point))
    assert network_filesystem(folder) == "nfs4"
    assert network_filesystem(folder / "not made yet" / "index.sqlite") == "nfs4"
    assert network_filesystem(folder / "local" / "x") is None
    assert network_filesystem(f"{folder}2") is None
    assert network_filesystem(tmp_path) is None


def test_of_two_mounts_on_one_point_the_later_counts(tmp_path, monkeypatch):
    point = os.fsencode(tmp_path / "point")
    mounted(tmp_path, monkeypatch, (point, "autofs"), (point, "nfs"))
    assert network_filesystem(tmp_path / "point") == "nfs"


@pytest.fixture
def on_network(tmp_path, monkeypatch):
    """A store on a network filesystem, and a home and cache on local disks."""
    mounted(tmp_path, monkeypatch, (os.fsencode(tmp_path / "net"), "lustre"))
    monkeypatch.setattr(location_module, "_told", set())
    for variable, name in (("STARGAZER_HOME", "home"), ("XDG_CACHE_HOME", "cache"), ("HOME", "user")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    return tmp_path / "net" / "store"


def test_an_index_lies_in_its_store(tmp_path):
    assert index_path(tmp_path / "store") == tmp_path / "store" / "index.sqlite"


def test_a_configured_folder_holds_the_indexes_of_several_stores(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "store")
    one, other = (index_path(tmp_path / name, tmp_path / "indexes") for name in ("store", "other"))
    assert one.parent == other.parent == tmp_path / "indexes"
    assert one != other
    assert index_path(tmp_path / "link", tmp_path / "indexes") == one
    assert list(tmp_path.iterdir()) == [tmp_path / "link"]  # looking makes nothing


def test_the_index_of_a_store_on_a_network_is_on_a_local_disk_and_that_is_said_once(tmp_path, on_network):
    with pytest.warns(UserWarning, match=r"store' is on a network filesystem \(lustre\).*STARGAZER_INDEX"):
        path = index_path(on_network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert index_path(on_network) == path
    assert path.parent == tmp_path / "home"
    with Index(path) as index:
        assert index.insert({"id": "x"}) == 1
    with pytest.raises(StorageError, match=r"network filesystem \(lustre\).*local disk"):
        Index(on_network / "index.sqlite").all()


@pytest.mark.filterwarnings("ignore:The store")
def test_the_first_local_and_writable_folder_is_taken(tmp_path, on_network, monkeypatch):
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path / "net" / "home"))
    assert index_path(on_network).parent == tmp_path / "cache" / "stargazer"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert index_path(on_network).parent == tmp_path / "user" / ".cache" / "stargazer"
    (tmp_path / "user").write_text("a file is in its place")
    assert index_path(on_network).parent == Path(f"/var/tmp/stargazer-{os.getuid()}")
    monkeypatch.setattr(
        location_module, "_local_folders", lambda: iter([tmp_path / "net", tmp_path / "user" / "x"])
    )
    with pytest.raises(StorageError, match="set STARGAZER_INDEX"):
        index_path(on_network)


@pytest.mark.filterwarnings("ignore:The store")
def test_a_folder_that_somebody_else_prepared_is_not_taken(tmp_path, on_network, monkeypatch):
    prepared = Path(f"/var/tmp/stargazer-test-{os.getpid()}")
    prepared.symlink_to(tmp_path)
    try:
        monkeypatch.setattr(location_module, "_local_folders", lambda: iter([prepared]))
        with pytest.raises(StorageError, match="no local disk"):
            index_path(on_network)
    finally:
        prepared.unlink()


# --- read-only

AS_NOBODY = """
import os, sys
from stargazer.assets.errors import StorageError
from stargazer.storage.index.records import Index
b"x".decode("unicode_escape")  # whatever Python imports late, it may read now
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
index = Index(sys.argv[1])
print(len(index), index.get(doc_id=300)["id"])
try:
    index.insert({"id": "x"})
except StorageError as error:
    print("cannot be written" in str(error))
"""


def test_a_read_only_copy_answers_as_it_is():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filled(folder / "index.sqlite")
        (folder / "index.sqlite.lock").unlink()
        folder.chmod(0o555)
        try:
            found = subprocess.run(
                [sys.executable, "-c", AS_NOBODY, str(folder / "index.sqlite")],
                capture_output=True,
                text=True,
            )
        finally:
            folder.chmod(0o755)
    assert (found.stdout, found.stderr) == ("300 299\nTrue\n", "")
