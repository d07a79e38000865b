"""A store under crashes at every step, kill -9, writers at once, a read-only mount, a foreign user and a full disk."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from stargazer.assets import record_id
from stargazer.assets.provenance import Execution, Import
from stargazer.storage.store import Store, open_store

PRELUDE = """
import json, os, signal, sys
from pathlib import Path
from stargazer.assets.catalogue import QcReport, Reference
from stargazer.assets.errors import StargazerError, StorageError
from stargazer.assets.provenance import Execution
from stargazer.storage.changes import amend, retract
from stargazer.storage.store import Addition, open_store

store = open_store(Path(sys.argv[1]))

def add(name, size=1):
    path = Path(sys.argv[2]) / f"{name}.txt"
    path.write_text(name * size)
    return store.add([Addition(path=path, asset=QcReport(kind="added", sample=name))])[0]

def commit(name, size=1):
    outputs = []
    for role in ("one", "two"):
        path = store.objects.work / f"{name}-{role}.txt"
        path.write_text(f"{name} {role}" * size)
        outputs.append((role, QcReport(path=path, kind=role, sample=name)))
    return store.commit(Execution(task="make", run_key=name), outputs)
"""


def start(code: str, *arguments: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(code: str, *arguments: object, prefix: tuple[str, ...] = ()) -> str:
    process = start(code, *arguments, prefix=prefix)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def assert_sound(store: Store) -> dict[str, list[str]]:
    """Records, provenance, edges and memo agree, and all bytes are right; the kinds of each sample are returned."""
    with store.index.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        memo = dict(connection.execute("SELECT run_key, document FROM attempts ORDER BY number").fetchall())
        edges = set(connection.execute("SELECT cid, role, provenance_cid FROM edges").fetchall())
    records = {record.id: record for record in store.query({})}
    kinds: dict[str, list[str]] = {}
    executions: dict[str, str] = {}
    for record in records.values():
        store.read_here(record.cid)
        if record.keyvalues["asset"] != "provenance":
            assert (record.cid, "output", record.keyvalues["provenance_cid"]) in edges
            kinds.setdefault(record.keyvalues["sample"], []).append(record.keyvalues["kind"])
            continue
        document = store.document(record.cid)
        assert isinstance(document, Execution | Import)
        if isinstance(document, Execution):
            executions[document.run_key] = record.cid
        for entry in document.outputs if isinstance(document, Execution) else document.files:
            assert record_id(entry.cid, entry.keyvalues) in records
            assert (entry.cid, "output", record.cid) in edges
    assert {cid for _, _, cid in edges} <= {record.cid for record in records.values()}
    assert memo == executions
    assert all(sorted(found) in (["added"], ["one", "two"]) for found in kinds.values())
    return kinds


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


CRASH_AT_EVERY_STEP = """
def steps(function, name, last):
    # Counts what the process asks of the system, and every statement of SQL; dies before the one numbered `last`.
    count = 0
    def step(*_):
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
    with store.index.reading() as connection:
        connection.set_trace_callback(step)
    sys.addaudithook(lambda event, _: step() if event.startswith(("os.", "open", "fcntl.")) else None)
    function(name)
    return count

def child(function, name, last):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, str(steps(function, name, last)).encode())
        os._exit(0)
    os.close(writer)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    answer = os.read(reader, 100)
    os.close(reader)
    return status, answer

report = {}
for function in (add, commit):
    name = function.__name__
    function(f"{name}-before")
    status, count = child(function, f"{name}-whole", 0)
    assert status == 0
    report[name] = []
    for last in range(1, int(count) + 1):
        status, _ = child(function, f"{name}-{last}", last)
        report[name].append([f"{name}-{last}", status])
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """A store in which additions and commits died at each of their steps, a copy of it, and which of them died."""
    folder = tmp_path_factory.mktemp("crashed")
    (folder / "source").mkdir()
    report = json.loads(run(CRASH_AT_EVERY_STEP, folder / "store", folder / "source"))
    shutil.copytree(folder / "store", folder / "copy")  # while nobody has its index open
    return folder / "store", folder / "copy", report


def test_a_crash_at_any_step_leaves_all_or_nothing(crashed):
    root, _, report = crashed

    kinds = assert_sound(open_store(root))

    assert {"add-before", "add-whole", "commit-before", "commit-whole"} <= set(kinds)
    for name, crashes in report.items():
        assert sum(status == -signal.SIGKILL for _, status in crashes) >= 20, (name, crashes)
        there = [sample in kinds for sample, _ in crashes]
        assert sum(there) < len(there) / 2
        for (sample, status), found in zip(crashes, there, strict=True):
            assert found or status, f"{sample} was acknowledged and is gone"


def test_what_a_crash_left_does_not_hinder_a_second_try(crashed, source):
    _, root, report = crashed
    samples = [sample for crashes in report.values() for sample, _ in crashes]

    again = "for name in sys.argv[3:]: (add if name.startswith('add') else commit)(name)"
    run(again, root, source, *samples)

    assert set(samples) <= set(assert_sound(open_store(root)))


FOR_EVER = """
name, number = sys.argv[3], 0
while True:
    number += 1
    (commit if number % 2 else add)(f"{name}-{number}")
    print(f"{name}-{number}", flush=True)
"""


def test_kill_9_twenty_times_loses_nothing_acknowledged(tmp_path, source):
    store, seed = open_store(tmp_path / "store"), random.Random(20)
    acknowledged: list[str] = []
    for round_ in range(10):
        writers = [start(FOR_EVER, store.root, source, f"{round_}{letter}") for letter in "ab"]
        for writer in writers:
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline().strip() for _ in range(seed.randint(1, 8))]
        killer = threading.Timer(seed.uniform(0, 0.02), lambda killed=writers: [w.kill() for w in killed])
        killer.start()
        for writer in writers:
            acknowledged += writer.communicate(timeout=60)[0].split()
            assert writer.returncode == -signal.SIGKILL

    kinds = assert_sound(store)
    assert "" not in acknowledged
    assert [name for name in acknowledged if name not in kinds] == []


def test_four_processes_register_200_each_and_800_are_there(tmp_path, source):
    register = "for number in range(100): add(f'{sys.argv[3]}-{number}a'); commit(f'{sys.argv[3]}-{number}c')"
    writers = [start(register, tmp_path / "store", source, letter) for letter in "wxyz"]
    for writer in writers:
        _, err = writer.communicate(timeout=280)
        assert writer.returncode == 0, err

    kinds = assert_sound(open_store(tmp_path / "store"))
    assert set(kinds) == {f"{w}-{n}{how}" for w in "wxyz" for n in range(100) for how in "ac"}
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_the_same_file_from_four_processes_is_one_record(tmp_path, source):
    together = "for number in range(25): add(str(number))"
    folders = [source / letter for letter in "wxyz"]
    for folder in folders:
        folder.mkdir()
    writers = [start(together, tmp_path / "store", folder) for folder in folders]
    for writer in writers:
        _, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, err

    kinds = assert_sound(open_store(tmp_path / "store"))
    assert kinds == {str(number): ["added"] for number in range(25)}


def namespace() -> tuple[str, ...]:
    """A command that gives what it runs its own mounts, as root or as a user who may have a user namespace."""
    for options in (["--mount"], ["--map-root-user", "--mount"]):
        prefix = ("unshare", *options)
        probe = [*prefix, "sh", "-c", "mount -t tmpfs none /mnt"]
        if shutil.which("unshare") and subprocess.run(probe, capture_output=True).returncode == 0:
            return prefix
    pytest.skip("NOT TESTED: neither root nor user namespaces here, so no read-only mount and no full disk")


def mounted(command: str, *arguments: object) -> tuple[str, ...]:
    shell = f'{command} && shift {len(arguments)} && exec "$@"'
    return (*namespace(), "sh", "-ec", shell, "sh", *map(str, arguments))


READ_ONLY = """
from stargazer.storage.changes import amend, retract
from stargazer.storage.lineage import render, why
(record,) = store.query({"asset": "qc_report"})
print(store.read(record.cid).read_text())
assert store.get(record.id) == record
assert "imported from first.txt" in render(why(store, record.cid))
for attempt in (lambda: add("second"), lambda: amend(store, record, {"kind": "x"}), lambda: retract(store, record)):
    try:
        attempt()
    except StorageError as error:
        assert sys.argv[1] in str(error), error
        assert "written" in str(error), error
    else:
        raise AssertionError("written to a read-only store")
"""


def test_a_store_on_a_read_only_mount_is_read_and_refuses_to_be_written(tmp_path, source):
    root = tmp_path / "store"
    run("add('first')", root, source)
    before = sorted(root.rglob("*"))

    prefix = mounted('mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"', root)
    assert run(READ_ONLY, root, source, prefix=prefix) == "first\n"

    assert sorted(root.rglob("*")) == before


def test_a_store_of_somebody_else_is_read_and_refuses_to_be_written():
    """As another user where we are root, without permissions where we are not."""
    with tempfile.TemporaryDirectory() as folder:
        root, source = Path(folder) / "store", Path(folder) / "source"
        source.mkdir()
        source.chmod(0o777)
        Path(folder).chmod(0o755)
        run("add('first')", root, source)
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        for path in folders:
            path.chmod(0o555)
        as_nobody = """
from stargazer.storage.lineage import render, why
theirs, store = store, open_store(Path(sys.argv[2], "own"))
print(render(why(store, add("warm").cid)), file=sys.stderr)  # whatever Python imports late, it may read now
b"x".decode("unicode_escape")
store = theirs
Path(sys.argv[2], "second.txt").touch()
Path(sys.argv[2], "second.txt").chmod(0o666)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""
        try:
            assert run(as_nobody + READ_ONLY, root, source) == "first\n"
        finally:
            for path in folders:
                path.chmod(0o755)


FULL = """
root = Path(sys.argv[1])
root.mkdir()
big = root.parent / "filler"

def state():
    ids = sorted(record.id for record in store.query({}))
    files = sorted(str(p) for p in Path(sys.argv[1]).rglob("*") if p.is_file() and p.parent != store.root and p != big)
    return ids, files

def fill(leave):
    left = os.statvfs(sys.argv[1])
    with open(big, "wb") as file:
        file.write(bytes(max(0, left.f_bavail * left.f_frsize - leave)))

add("before")
work = store.objects.work
refused = {"add": 0, "commit": 0}
for function in (add, commit):
    accepted = False
    for leave in range(0, 400_000, 4096):
        before = state()
        fill(leave)
        name = f"{function.__name__}{leave}"
        try:
            function(name, 300)
            accepted = True
        except StorageError as error:
            assert "full" in str(error), error
            refused[function.__name__] += 1
        except OSError:  # our own file did not fit
            pass
        for path in work.iterdir():
            path.unlink()
        big.unlink()
        if accepted:
            break
        after = state()
        assert after == before, (leave, set(after[1]) ^ set(before[1]))
    assert accepted
assert min(refused.values()) > 2, refused
add("after")
commit("after-commit")
assert not list((store.root / "tmp").iterdir())
print(sum(refused.values()))
"""


CHECK_READ_ONLY = """
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.maintenance._gc import gc
report = fsck(store, full=True)
print(report.problems, gc(store, dry_run=True).removed)
"""


def test_a_store_on_a_read_only_mount_is_checked(tmp_path, source):
    root = tmp_path / "store"
    run("add('first')", root, source)

    prefix = mounted('mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"', root)
    assert run(CHECK_READ_ONLY, root, source, prefix=prefix) == "[] []\n"


LAST_PAGE = """
import os
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.maintenance._gc import gc
add("first")
root = store.root
small = root.parent
left = root / "tmp" / "999999999-abc"  # of a process that is gone
left.write_bytes(bytes(100_000))
store.index.close()
ballast = open(small / "ballast", "wb", buffering=0)
def fill(size=1 << 20):
    try:
        while size >= 4096:
            ballast.write(bytes(size))
    except OSError:
        fill(size // 2)
fill()
try:
    open_store(root).query({})
except StorageError as error:
    assert "the disk is full" in str(error), error
else:
    raise AssertionError("there was room")
last = open_store(root)
assert [found.kind for found in gc(last).removed] == ["leftover"]
assert len(last.query({"asset": "qc_report"})) == 1
last.index.close()
for name in os.listdir(root):
    if name.startswith("index.sqlite"):
        os.unlink(root / name)
for pages in range(40):  # an index is made whole or not at all, wherever the disk ends
    fill()
    ballast.truncate(os.fstat(ballast.fileno()).st_size - 4096 * pages)
    ballast.seek(0, 2)
    try:
        open_store(root).query({})
    except StorageError as error:
        assert "damaged" not in str(error), error
ballast.truncate(0)
fsck(open_store(root))
print(len(open_store(root).query({"asset": "qc_report"})))
"""


def test_a_disk_without_a_page_left(tmp_path, source):
    mount = tmp_path / "small"
    mount.mkdir()
    prefix = mounted('mount -t tmpfs -o size=2m none "$1"', mount)

    assert run(LAST_PAGE, mount / "store", source, prefix=prefix) == "1\n"


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path, source):
    mount = tmp_path / "small"
    mount.mkdir()
    check = """
store.objects.verify(store.query({"sample": "before"})[0].cid)
assert len(store.query({"sample": "after"})) == 1
assert len(store.query({"sample": "after-commit"})) == 2
"""
    prefix = mounted('mount -t tmpfs -o size=2m none "$1"', mount)

    assert int(run(FULL + check, mount / "store", source, prefix=prefix)) > 0
