"""What the object store promises: bytes by CID, read-only, whole or absent, kept once, errors in the user's words."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage import files
from stargazer.storage.cid import BLOCK_SIZE, compute_cid
from stargazer.storage.objects import Objects

SIZES = [0, 1, 200, 262_144, 262_145, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE + 77]
LARGE = 2 * BLOCK_SIZE + 5


@pytest.fixture
def store(tmp_path):
    return Objects(tmp_path / "a store")


def made(folder: Path, size: int, name: str = "source") -> Path:
    path = folder / name
    path.write_bytes((bytes(range(251)) * (size // 251 + 1))[:size])
    return path


def files_below(store: Objects) -> set[str]:
    return {path.name for path in store.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", SIZES)
def test_added_bytes_are_found_under_their_cid(store, tmp_path, size):
    source = made(tmp_path, size)
    kept = store.add(source)

    assert kept.cid == compute_cid(source)
    assert kept.size == size
    assert store.path(kept.cid) == store.root / "objects" / kept.cid[-3:-1] / kept.cid
    assert store.path(kept.cid).read_bytes() == source.read_bytes()
    assert store.stat(kept.cid) == store.verify(kept.cid) == kept
    assert files_below(store) == {kept.cid}
    assert source.stat().st_mode & stat.S_IWUSR  # the source is left as it was


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_kernel_refuses_to_copy_it_is_done_by_hand(store, tmp_path, monkeypatch, code):
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    source = made(tmp_path, LARGE)
    assert store.verify(store.add(source).cid).size == LARGE


def test_without_copy_file_range_files_are_copied_by_hand(store, tmp_path, monkeypatch):
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    assert store.verify(store.add(made(tmp_path, LARGE)).cid).size == LARGE


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_objects_are_read_only_for_everybody_whatever_the_umask(store, tmp_path, umask):
    source, work = made(tmp_path, 10), store.work
    finished = made(work, 11, "finished")
    before = os.umask(umask)
    try:
        kept = [store.add(source), store.adopt(finished)]
    finally:
        os.umask(before)
    assert [stat.S_IMODE(store.path(one.cid).stat().st_mode) for one in kept] == [0o444, 0o444]


def test_the_same_content_is_kept_once_and_its_first_file_stays(store, tmp_path):
    first = store.add(made(tmp_path, LARGE))
    again = store.add(made(tmp_path, LARGE, "other name"))
    adopted = store.adopt(made(store.work, LARGE))
    together = store.add_many([made(tmp_path, LARGE), made(tmp_path, LARGE, "third")])

    assert {first, again, adopted, *together} == {first}
    assert files_below(store) == {first.cid}


def test_an_object_cut_short_is_replaced_by_the_next_add(store, tmp_path):
    source = made(tmp_path, 1000)
    damaged = store.path(store.add(source).cid)
    damaged.chmod(0o644)
    damaged.write_bytes(b"cut short")

    assert store.verify(store.add(source).cid).size == 1000


def test_many_files_come_back_in_order(store, tmp_path):
    sources = [made(tmp_path, size, f"n{size}") for size in (300, 5, LARGE, 0, *range(1000, 1060))]
    kept = store.add_many(sources)
    assert [one.size for one in kept] == [source.stat().st_size for source in sources]
    assert [store.verify(one.cid) for one in kept] == kept
    assert store.add_many([]) == []


def test_one_bad_source_among_many_adds_none(store, tmp_path):
    with pytest.raises(StorageError, match="missing' cannot be read: no such file"):
        store.add_many([made(tmp_path, 10), tmp_path / "missing", made(tmp_path, 20, "third")])
    assert files_below(store) == set()


@pytest.mark.parametrize("name", ["with space", "quote'\"", "new\nline", "ünï 日本", "-rf", "a:b"])
def test_odd_names_are_names(store, tmp_path, name):
    assert store.add(made(tmp_path, 9, name)).size == 9
    assert store.adopt(made(store.work, 8, name)).size == 8


def test_sources_that_are_no_files_are_refused(store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for source, words in [("", "folder"), ("pipe", "not a regular file"), ("missing", "no such file")]:
        with pytest.raises(StorageError, match=words):
            store.add(tmp_path / source)
    assert files_below(store) == set()


@pytest.mark.parametrize("size", [1000, LARGE])
@pytest.mark.parametrize("change", ["shrink", "grow", "rewrite"])
def test_a_source_that_changes_meanwhile_is_an_error_that_names_it(
    store, tmp_path, monkeypatch, size, change
):
    source = made(tmp_path, size)
    copy = files._copy

    def meddle(reader, writer, length, advance):
        if change == "shrink":
            os.truncate(source, size - 1)
        elif change == "grow":
            with source.open("ab") as file:
                file.write(b"more")
        else:
            source.write_bytes(b"y" * size)
            os.utime(source, ns=(0, 0))
        copy(reader, writer, length, advance)

    monkeypatch.setattr(files, "_copy", meddle)
    with pytest.raises(StorageError, match=r"source' changed while it was read"):
        store.add(source)
    assert files_below(store) == set()


def test_adopting_moves_the_file_without_copying_it(store):
    finished = made(store.work, LARGE)
    inode, cid = finished.stat().st_ino, compute_cid(finished)

    kept = store.adopt(finished)
    assert (kept.cid, kept.inode) == (cid, inode)
    assert not finished.exists()
    assert store.verify(cid) == kept


def test_links_folders_and_missing_files_are_not_adopted(store):
    target = made(store.work, 10)
    (store.work / "link").symlink_to(target)
    for name, words in [("link", "symbolic link"), ("", "folder"), ("missing", "no such file")]:
        with pytest.raises(StorageError, match=words):
            store.adopt(store.work / name)
    assert target.stat().st_mode & stat.S_IWUSR


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no second filesystem at /dev/shm")
def test_a_file_on_another_filesystem_is_copied_when_adopted(store):
    source = Path("/dev/shm") / f"stargazer-test-{os.getpid()}"
    source.write_bytes(b"x" * 1000)
    try:
        assert store.verify(store.adopt(source).cid).size == 1000
        assert not source.exists()
        source.symlink_to("/dev/shm/elsewhere")
        with pytest.raises(StorageError, match="symbolic link"):
            store.adopt(source)
    finally:
        source.unlink(missing_ok=True)


def test_a_flipped_bit_is_found_and_named(store, tmp_path):
    kept = store.add(made(tmp_path, LARGE))
    path = store.path(kept.cid)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(LARGE // 2)
        file.write(b"\xff")
    with pytest.raises(IntegrityError, match=kept.cid):
        store.verify(kept.cid)
    assert store.stat(kept.cid) != kept  # the cheap check sees it too


def test_removing(store, tmp_path):
    kept = store.add(made(tmp_path, 10))
    store.remove(kept.cid)
    store.remove(kept.cid)
    assert store.stat(kept.cid) is None
    with pytest.raises(StorageError, match="not in the store"):
        store.verify(kept.cid)


@pytest.mark.parametrize(
    "text", ["", "../../etc/passwd", "bafkrei", "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"]
)
def test_what_is_no_cid_is_no_path(store, text):
    for method in (store.path, store.stat, store.verify, store.remove):
        with pytest.raises(StorageError, match="is not a CID"):
            method(text)


def test_looking_makes_nothing(store):
    assert store.stat("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku") is None
    assert not store.root.exists()


ADD = """
import sys
from stargazer.storage.objects import Objects
store = Objects(sys.argv[1])
for _ in range(5):
    print(store.add(sys.argv[2]).inode, *[one.inode for one in store.add_many(sys.argv[3:])])
"""


def test_processes_and_threads_adding_the_same_content_keep_one_file_each(store, tmp_path):
    sources = [made(tmp_path, LARGE), *(made(tmp_path, 100 + n, f"small {n}") for n in range(20))]
    command = [sys.executable, "-c", ADD, str(store.root), *map(str, sources)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    seen: list[str] = []

    def add() -> None:
        for _ in range(5):
            seen.append(
                " ".join(str(one.inode) for one in [store.add(sources[0]), *store.add_many(sources[1:])])
            )

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for child in children:
        seen += child.communicate()[0].splitlines()

    assert len(seen) == 30
    assert len(set(seen)) == 1  # nobody saw a file that was replaced later
    assert len(files_below(store)) == len(sources)


def test_a_killed_add_leaves_no_object(store, tmp_path):
    source = made(tmp_path, 40 * BLOCK_SIZE)
    child = subprocess.Popen([sys.executable, "-c", ADD, str(store.root), str(source)])
    while not (store.root / "tmp").is_dir() or not list((store.root / "tmp").iterdir()):
        assert child.poll() is None
    child.kill()
    child.wait()
    assert not list((store.root / "objects").rglob("baf*")) or store.verify(compute_cid(source))


LIMITED = """
mount -t tmpfs -o size=4m none "$1" && "$2" -c 'import sys
from pathlib import Path
from stargazer.assets.errors import StorageError
from stargazer.storage.objects import Objects
store = Objects(sys.argv[1])
kept = store.add(sys.argv[2])
for number, size in enumerate((5, 9, 40)):
    source = Path(sys.argv[3]) / f"source {number}"
    source.write_bytes(b"x" * size * 1_000_000)
    try:
        store.add(source)
    except StorageError as error:
        print(error)
files = [path.name for path in store.root.rglob("*") if path.is_file()]
print(store.verify(kept.cid) == kept, files == [kept.cid])
' "$1" "$3" "$4" && mount -o remount,ro "$1" && "$2" -c 'import sys
from stargazer.assets.errors import StorageError
from stargazer.storage.objects import Objects
store = Objects(sys.argv[1])
try:
    store.add(sys.argv[2])
except StorageError as error:
    print(error)' "$1" "$3"
"""


def test_a_full_and_a_read_only_disk_are_named_and_leave_the_store_as_it_was(tmp_path):
    for name in ("small disk", "large files"):
        (tmp_path / name).mkdir()
    source = made(tmp_path, 1000)
    arguments = [tmp_path / "small disk", sys.executable, source, tmp_path / "large files"]
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", LIMITED, "sh", *map(str, arguments)]
    try:
        finished = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare(1): a small disk cannot be mounted here")
    if "unshare" in finished.stderr or "mount:" in finished.stderr:
        pytest.skip(f"a small disk cannot be mounted here: {finished.stderr.strip()}")
    assert finished.stderr == ""
    *full, unchanged, read_only = finished.stdout.splitlines()
    assert len(full) == 3
    assert all("small disk' cannot add" in line and "disk is full" in line for line in full)
    assert unchanged == "True True"
    assert "read-only" in read_only


@pytest.mark.parametrize("spoilt", ["object", "shard"])
def test_what_lies_in_the_place_of_an_object_is_said_with_what_helps(tmp_path, spoilt):
    store = Objects(tmp_path / "store")
    source = tmp_path / "source"
    source.write_text("content")
    place = store.path(store.add(source).cid)
    place.unlink()
    if spoilt == "object":
        place.mkdir()
    else:
        place.parent.rmdir()
        place.parent.touch()

    with pytest.raises(StorageError, match="stargazer fsck"):
        store.add(source)
    assert not list((store.root / "tmp").iterdir())


def test_two_folders_of_one_store_keep_objects_apart(tmp_path):
    source = tmp_path / "a.txt"
    source.write_bytes(b"same bytes")
    root = tmp_path / "store"
    plain, own = Objects(root), Objects(root, "ledger/own")

    kept = own.add(source)

    assert own.path(kept.cid).is_relative_to(root / "ledger" / "own")
    assert list(own.scan()) == [own.verify(kept.cid)] == [kept]
    assert plain.stat(kept.cid) is None
    assert own.quarantine(kept.cid).parent == root / "quarantine"
    assert sorted(path.name for path in root.iterdir()) == ["ledger", "quarantine", "tmp"]
