"""A store shared by two users: what either makes, the other can use, whatever their umasks."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from stargazer.storage.files import make_folder, make_folders, open_shared, share_file
from stargazer.storage.index.records import Index
from stargazer.storage.objects import Objects

ALICE, BOB, GROUP = 64_101, 64_102, 64_200

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: only root can be two users; run these tests as root"
)

AS_USER = """
import os, sys
from pathlib import Path
b"x".decode("unicode_escape")  # whatever Python imports late, it may read now
import importlib, pkgutil
import stargazer.assets.catalogue, stargazer.assets.provenance, stargazer.storage
for module in pkgutil.walk_packages(stargazer.storage.__path__, "stargazer.storage."):
    importlib.import_module(module.name)
import cattrs, requests
from stargazer.assets.catalogue import QcReport
from stargazer.storage import lineage
from stargazer.storage.changes import amend
from stargazer.storage.store import Addition, Store, open_store
from stargazer.storage.files import make_folders, open_shared
from stargazer.storage.maintenance._gc import gc
from tinydb import where
root, name, uid, group = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.umask(int(sys.argv[5], 8))
os.setgroups([group] if group else [])
os.setgid(uid)
os.setuid(uid)
store = open_store(root)
def add(name, text=None):
    path = root.parent / f"{name}.txt"
    path.write_text(text or name)
    return store.add([Addition(path=path, asset=QcReport(kind="added", sample=name))])[0]
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user reaches, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="stargazer-shared-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["group", "everybody"])
def shared(request, folder) -> tuple[Path, int]:
    """The root of a store shared with a group or with everybody, and that group."""
    root = folder / "store"
    root.mkdir()
    if request.param == "everybody":
        root.chmod(0o757)
        return root, 0
    os.chown(root, ALICE, GROUP)
    root.chmod(0o2770)
    return root, GROUP


def start(code: str, root: Path, name: str, uid: int, group: int, umask: int) -> subprocess.Popen[str]:
    arguments = [str(root), name, str(uid), str(group), f"{umask:o}"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(root.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", AS_USER + code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def run(code: str, root: Path, name: str, uid: int, group: int, umask: int) -> str:
    process = start(code, root, name, uid, group, umask)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


IN_TURN = """
record = add(name)
add(f"{name}-again")
assert len(store.query({})) == int(os.environ["EXPECTED"]), store.query({})
for record in store.query({"asset": "qc_report"}):
    assert store.read(record.cid).read_text().startswith(record.keyvalues["sample"])
amend(store, record, {"kind": "amended by " + name})
with store.index.transaction() as connection:
    assert {p.name for p in root.iterdir() if "-wal" in p.name}
    connection.execute("CREATE TABLE IF NOT EXISTS odd(x)")
os.close(open_shared(root / "own.lock", root))
"""


@needs_root
def test_two_users_take_turns(shared, monkeypatch):
    root, group = shared
    for number, (name, uid, umask) in enumerate(
        [("alice", ALICE, 0o077), ("bob", BOB, 0o022), ("alice2", ALICE, 0o077), ("bob2", BOB, 0o027)]
    ):
        monkeypatch.setenv("EXPECTED", str(5 * number + 4))
        run(IN_TURN, root, name, uid, group, umask)

    write = stat.S_IWGRP if group else stat.S_IWOTH
    made = (
        [path for path in root.rglob("*") if path.is_dir()]
        + list(root.glob("*.lock"))
        + list(root.glob("index*"))
    )
    assert len(made) > 8
    assert [path for path in made if not path.stat().st_mode & write] == []
    if group:
        assert {path.stat().st_gid for path in made} == {GROUP}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root / "objects").glob("*/baf*")} == {0o444}


AT_ONCE = """
for number in range(25):
    add(f"{name}-{number}")
    add(f"both-{name}-{number}", f"both-{number}")  # the same bytes from both
print(len(store.query({"asset": "qc_report"})))
"""


@needs_root
def test_two_users_at_once_in_a_new_store(shared):
    root, group = shared
    users = [("alice", ALICE, 0o077), ("bob", BOB, 0o022)]
    processes = [start(AT_ONCE, root, name, uid, group, umask) for name, uid, umask in users]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err

    check = "print(len(store.query({'asset': 'qc_report'}))); [store.read(r.cid) for r in store.query({})]"
    assert run(check, root, "bob", BOB, group, 0o077) == "100\n"


SLOW = """
import time
from stargazer.storage import files
def slow(file, root):
    time.sleep(0.3)
    share(file, root)
share, files.share_file = files.share_file, slow
"""


@needs_root
def test_a_folder_that_another_user_is_just_making_is_waited_for(shared):
    root, group = shared
    users = [("alice", ALICE, 0o077), ("bob", BOB, 0o077)]
    processes = [start(SLOW + "add(name)", root, name, uid, group, umask) for name, uid, umask in users]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert not list(root.rglob("*.new-*"))


OPEN = """
if name == "alice":
    add(name)
print(len(store.query({"asset": "qc_report"})), flush=True)
sys.stdin.readline()
add(f"{name}-again")
"""


@needs_root
def test_who_opened_an_index_before_its_log_had_its_permissions_writes_it_all_the_same(shared):
    root, group = shared
    alice = start(OPEN, root, "alice", ALICE, group, 0o077)
    assert alice.stdout is not None
    assert alice.stdout.readline() == "1\n"
    beside = [root / f"index.sqlite{suffix}" for suffix in ("-wal", "-shm")]
    for path in beside:
        path.chmod(0o644)  # as SQLite makes them, before it gives them the index's permissions
    bob = start(OPEN, root, "bob", BOB, group, 0o022)
    assert bob.stdout is not None
    assert bob.stdout.readline() == "1\n"
    for path in beside:
        path.chmod(0o666)
    for process in (bob, alice):
        _, err = process.communicate("\n", timeout=60)
        assert process.returncode == 0, err


KILLED = """
with store.index.transaction() as connection:
    store.index.table("records").insert({"id": name})
os.kill(os.getpid(), 9)
"""


@needs_root
def test_what_a_killed_user_leaves_open_the_other_goes_on_with(shared):
    root, group = shared
    killed = start(KILLED, root, "alice", ALICE, group, 0o077)
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    assert (root / "index.sqlite-wal").exists()

    check = "with store.index.transaction(): print(len(store.index.table('records')))"
    assert run(check, root, "bob", BOB, group, 0o077) == "1\n"


UNPACK = """
add(name)
folder = root / "unpacked" / store.query({})[0].cid
make_folders(folder)
(folder / "part").touch(mode=0o444)
folder.chmod(0o555)
"""
COLLECT = "print([found.kind for found in gc(store, grace=-1).removed])"


@needs_root
def test_gc_leaves_what_only_the_other_user_can_remove(shared):
    root, group = shared
    run(UNPACK, root, "alice", ALICE, group, 0o077)

    assert run(COLLECT, root, "bob", BOB, group, 0o022) == "[]\n"
    assert run(COLLECT, root, "alice", ALICE, group, 0o022) == "['unpacked']\n"


@needs_root
def test_a_store_that_is_not_shared_stays_its_owners(folder):
    root = folder / "store"
    run("add(name)", root, "alice", ALICE, 0, 0o022)
    process = start("add(name)", root, "bob", BOB, 0, 0o022)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "StorageError" in err
    assert "permission" in err.lower()
    assert not [path for path in root.rglob("*") if path.stat().st_mode & 0o022]


# one user: the permissions alone


@pytest.mark.parametrize(
    ("root_mode", "folder_mode", "file_mode"),
    [(0o755, 0o700, 0o600), (0o700, 0o700, 0o600), (0o2770, 0o2770, 0o660), (0o775, 0o770, 0o660),
     (0o757, 0o707, 0o606), (0o2777, 0o2777, 0o666)],
)  # fmt: skip
@pytest.mark.parametrize("umask", [0o077])
def test_what_is_made_takes_the_permissions_of_a_shared_root(
    folder, root_mode, folder_mode, file_mode, umask
):
    root = folder / "root"
    root.mkdir()
    root.chmod(root_mode)
    before = os.umask(umask)
    try:
        assert make_folder(root / "sub", root)
        assert not make_folder(root / "sub", root)
        os.close(open_shared(root / "lock", root))
        (root / "file").touch()
        share_file(root / "file", root)
        store = Objects(root)
        store.adopt(_file(store.work))
        with Index(root / "index.sqlite") as index:
            index.insert({"id": "x"})
            sides = {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.glob("index*")}
    finally:
        os.umask(before)

    assert {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_dir()} == {folder_mode}
    assert {stat.S_IMODE((root / name).stat().st_mode) for name in ("lock", "file")} == {file_mode}
    assert sides == dict.fromkeys(
        ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "index.sqlite.lock"], file_mode
    )
    assert not list(root.rglob(".new*"))


def test_missing_folders_take_the_permissions_of_where_they_are_made(folder):
    root = folder / "root"
    root.mkdir()
    root.chmod(0o2770)
    before = os.umask(0o077)
    try:
        make_folders(root / "a" / "b")
        make_folders(root / "a" / "b")
    finally:
        os.umask(before)

    assert {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")} == {0o2770}


def test_a_file_in_the_place_of_a_folder_is_an_error(folder):
    for mode in (0o755, 0o2775):
        folder.chmod(mode)
        (folder / "taken").touch()
        with pytest.raises(OSError, match="taken"):
            make_folder(folder / "taken", folder)
    assert [path.name for path in folder.iterdir()] == ["taken"]


def _file(folder: Path) -> Path:
    path = folder / "finished"
    path.write_bytes(b"x")
    return path
