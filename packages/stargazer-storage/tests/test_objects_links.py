"""Objects kept as verified, linked in place, scanned and put into quarantine; odd mounts under a store."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage import objects
from stargazer.storage.cid import LEAF_SIZE, PROFILES, compute_cid
from stargazer.storage.objects import Objects, StoredObject, Stray

SIZE = LEAF_SIZE + 77


@pytest.fixture
def store(tmp_path):
    return Objects(tmp_path / "a store")


@pytest.fixture
def original(tmp_path):
    return made(tmp_path, "user's file")


def made(folder: Path, name: str, size: int = SIZE, byte: bytes = b"u") -> Path:
    path = folder / name
    path.write_bytes(byte * size)
    return path


def state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


# keeping


def test_a_verified_file_is_kept_read_only_without_hashing(store, monkeypatch):
    path = made(store.work, "finished")
    cid = compute_cid(path)
    for name in ("compute_cid_like", "hash_in_place", "copy_and_hash"):
        monkeypatch.setattr(f"stargazer.storage.objects.{name}", None)

    kept = store.keep(path, cid)

    assert (kept, kept.cid, kept.size) == (store.stat(cid), cid, SIZE)
    assert stat.S_IMODE(store.path(cid).stat().st_mode) == 0o444
    assert not path.exists()


def test_a_present_object_stays_and_a_removed_one_is_replaced_at_once(store):
    first = store.adopt(made(store.work, "first"))
    assert store.keep(made(store.work, "again"), first.cid) == first
    assert list(store.work.iterdir()) == []

    store.path(first.cid).chmod(0o644)
    store.path(first.cid).write_bytes(b"x" * SIZE)  # damage of the same size
    store.remove(first.cid)
    kept = store.keep(made(store.work, "sound"), first.cid)
    assert store.verify(first.cid) == kept != first


def test_what_is_no_finished_file_is_not_kept(store, tmp_path, original):
    cid = compute_cid(original)
    (store.work / "link").symlink_to(original)
    (store.work / "folder").mkdir()
    for name, words in [
        ("link", "not a regular file"),
        ("folder", "not a regular file"),
        ("missing", "no such file"),
    ]:
        with pytest.raises(StorageError, match=words):
            store.keep(store.work / name, cid)
    assert store.stat(cid) is None
    with pytest.raises(StorageError, match="is not a CID"):
        store.keep(made(store.work, "file"), "../escape")


def test_an_object_of_another_layout_verifies(store):
    path = made(store.work, "foreign", 3 * PROFILES[-1].leaf_size + 1)
    cid = compute_cid(path, PROFILES[-1])

    kept = store.keep(path, cid)

    assert store.verify(cid) == kept
    assert list(store.scan()) == [kept]
    store.path(cid).chmod(0o644)
    with store.path(cid).open("r+b") as file:
        file.write(b"damage")
    with pytest.raises(IntegrityError):
        store.verify(cid)
    store.remove(cid)
    assert list(store.path(cid).parent.iterdir()) == []


# linking


def test_a_linked_file_is_an_object_and_stays_as_it_was(store, tmp_path, original):
    before = state(original)
    (tmp_path / "another name").symlink_to(original)

    linked = store.link(tmp_path / "another name")

    assert state(original) == before
    assert (linked.cid, linked.size, linked.inode) == (compute_cid(original), SIZE, original.stat().st_ino)
    assert os.readlink(store.path(linked.cid)) == str(original)
    assert (store.is_link(linked.cid), store.original(linked.cid)) == (True, original)
    assert store.stat(linked.cid) == store.verify(linked.cid) == linked
    assert store.path(linked.cid).read_bytes() == original.read_bytes()
    assert list(store.scan()) == [linked]
    assert store.link(original) == linked


@pytest.mark.parametrize(
    "name", ["with space", "quote'\"", "new\nline", "ünï 日本", "-rf", os.fsdecode(b"no \xff utf-8")]
)
def test_odd_names_are_linked(store, tmp_path, name):
    assert store.verify(store.link(made(tmp_path, name)).cid).size == SIZE


def test_an_edited_original_is_noticed_and_named(store, original):
    linked = store.link(original)
    with original.open("r+b") as file:
        file.write(b"edited")

    assert store.stat(linked.cid) != linked  # the cheap check
    with pytest.raises(IntegrityError, match=r"user's file\" was added in place .* has changed since"):
        store.verify(linked.cid)
    assert store.link(original).cid != linked.cid


def test_an_original_that_is_gone_is_named(store, original):
    linked = store.link(original)
    original.unlink()

    assert store.stat(linked.cid) is None
    assert store.is_link(linked.cid)
    with pytest.raises(StorageError, match=r"linked to, .*user's file\", is gone"):
        store.verify(linked.cid)
    (stray,) = store.scan()
    assert isinstance(stray, Stray)
    assert stray.path == store.path(linked.cid)
    assert "no such file" in stray.why


@pytest.mark.parametrize("action", ["remove", "quarantine"])
def test_taking_a_link_out_leaves_the_users_file(store, original, action):
    linked, before = store.link(original), state(original)
    answer = getattr(store, action)(linked.cid)

    assert answer in (None, original)
    assert state(original) == before
    assert (store.stat(linked.cid), store.is_link(linked.cid)) == (None, False)


def test_bytes_of_our_own_are_better_than_a_link(store, original):
    linked = store.link(original)
    own = store.add(original)
    assert (own.cid, store.is_link(own.cid)) == (linked.cid, False)
    assert store.link(original) == own
    assert not store.is_link(own.cid)

    store.path(own.cid).chmod(0o644)
    store.path(own.cid).write_bytes(b"x" * SIZE)  # damaged, and of the same size
    assert store.link(original) == linked
    assert store.verify(linked.cid) == linked


def test_what_is_no_file_of_the_users_is_not_linked(store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    inside = made(store.work, "inside")
    for path, words in [
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path, "not a regular file|folder|directory|lies in the store"),
        (tmp_path / "missing", "no such file"),
        (inside, "lies in the store itself"),
    ]:
        with pytest.raises(StorageError, match=words):
            store.link(path)
    assert list(store.scan()) == []


def test_a_file_that_changes_while_it_is_linked_is_refused(store, original, monkeypatch):
    def meddle(path: Path) -> str:
        cid = compute_cid(path)
        with path.open("ab") as file:
            file.write(b"more")
        return cid

    monkeypatch.setattr(objects, "compute_cid", meddle)
    with pytest.raises(StorageError, match="changed while it was read"):
        store.link(original)
    assert list(store.scan()) == []


def test_a_change_in_the_same_tick_as_the_last_write_shows(store, original):
    """A file that was written just now is linked only once a second write would have another time."""
    for number in range(5):
        original.write_bytes(b"%d" % number * SIZE)
        linked = store.link(original)
        original.write_bytes(b"X" * SIZE)
        assert store.stat(linked.cid) != linked


def test_a_time_in_the_future_neither_hinders_nor_delays(store, original):
    os.utime(original, ns=(2**62, 2**62))
    assert store.verify(store.link(original).cid).mtime_ns == original.stat().st_mtime_ns


def test_a_filesystem_without_symbolic_links_is_named(store, original, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(StorageError, match=r"without symbolic links: .* without --in-place"):
        store.link(original)


# scanning, quarantine


def test_a_scan_finds_every_object_and_every_stray(store, tmp_path):
    kept = [store.add(made(tmp_path, f"n{n}", 100 + n)) for n in range(40)]
    cid = kept[0].cid
    folder = store.root / "objects"
    strays = {
        folder / "note.txt": "among the folders",
        store.path(cid).parent / "note.txt": "no CID",
        folder / "zz" / cid: "belongs in",
        store.path(cid).parent / ".new-0123": "no CID",
    }
    (folder / "zz").mkdir()
    for path in strays:
        path.write_text("x")
    gone = store.path(kept[2].cid)
    gone.unlink()
    gone.mkdir()

    found = list(store.scan())

    assert {one for one in found if isinstance(one, StoredObject)} == {*kept[:2], *kept[3:]}
    reasons = {one.path: one.why for one in found if isinstance(one, Stray)}
    assert set(reasons) == {*strays, gone}
    assert all(words in reasons[path] for path, words in strays.items())
    assert "no regular file" in reasons[gone]


def test_a_scan_of_nothing_makes_nothing(store):
    assert list(store.scan()) == []
    assert not store.root.exists()


def test_a_scan_while_objects_come_and_go(store, tmp_path):
    sources = [made(tmp_path, f"n{n}", 100 + n) for n in range(30)]
    stays = store.add(made(tmp_path, "stays"))
    stop, failures = threading.Event(), []

    def come_and_go() -> None:
        try:
            while not stop.is_set():
                for one in store.add_many(sources):
                    store.remove(one.cid)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(100):
            assert stays in set(store.scan())
    finally:
        stop.set()
        thread.join()
    assert failures == []


def test_damaged_bytes_go_into_quarantine_each_time(store, original):
    paths = []
    for damage in (b"first", b"second"):
        cid = store.add(original).cid
        store.path(cid).chmod(0o644)
        store.path(cid).write_bytes(damage)
        paths.append(store.quarantine(cid))
        assert store.stat(cid) is None

    assert [path.name for path in paths] == [f"{cid}-1", f"{cid}-2"]
    assert [path.read_bytes() for path in paths] == [b"first", b"second"]
    assert {path.parent for path in paths} == {store.root / "quarantine"}
    assert store.verify(store.add(original).cid)
    store.remove(cid)
    with pytest.raises(StorageError, match="no such file"):
        store.quarantine(cid)


# odd mounts


ODD_MOUNTS = """
mount -t tmpfs none "$1/objects" && mkdir "$1/work" && mount --bind "$1/work" "$1/work" && "$2" -c 'import os, sys
from pathlib import Path
from stargazer.storage.objects import Objects
store = Objects(sys.argv[1])
source = Path(sys.argv[2])
kept = [store.add(source), *store.add_many([source] * 3)]
finished = store.work / "finished"
finished.write_bytes(b"f" * 1_000_000)
kept.append(store.adopt(finished))
other = Path(sys.argv[2] + " 2")
other.write_bytes(b"o" * 1000)
kept.append(store.link(other))
damaged = store.path(kept[0].cid)
assert store.quarantine(kept[0].cid).read_bytes() == source.read_bytes()
kept.append(store.add(source))
assert {store.verify(one.cid).cid for one in kept} == {one.cid for one in store.scan()}
assert not list((store.root / "tmp").iterdir()) and not finished.exists()
assert all(path.stat().st_mode & 0o777 == 0o444 for path in damaged.parent.iterdir())
print("sound")
' "$1" "$3"
"""


def test_objects_and_workspaces_behind_mounts_of_their_own(store, original):
    (store.root / "objects").mkdir(parents=True)
    command = ["unshare", "--mount", "--map-root-user", "sh", "-ec", ODD_MOUNTS, "sh"]
    try:
        finished = subprocess.run(
            [*command, str(store.root), sys.executable, str(original)], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("NOT TESTED: no unshare(1) to mount anything with")
    if "unshare" in finished.stderr or "mount:" in finished.stderr:
        pytest.skip(f"NOT TESTED: nothing can be mounted here: {finished.stderr.strip()}")
    assert (finished.stderr, finished.stdout) == ("", "sound\n")
