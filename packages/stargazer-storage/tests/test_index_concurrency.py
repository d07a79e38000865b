"""An index under several processes, threads, forks and kill -9: what was acknowledged is there, and only that."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stargazer.assets import StorageError
from stargazer.storage.index import database
from stargazer.storage.index.records import Index, terms_of
from tinydb import where


def written_by(name: str):
    return where("keyvalues")["writer"] == name


INSERT_200 = """
index, name = Index(sys.argv[1]), sys.argv[2]
for number in range(200):
    index.insert({"id": f"{name}-{number}", "keyvalues": {"writer": name, "number": str(number)}})
"""
INSERT_FOR_EVER = """
index, name, number = Index(sys.argv[1]), sys.argv[2], 0
while True:
    index.insert_multiple({"keyvalues": {"writer": name, "number": str(number)}} for _ in range(3))
    number += 1
    print(number, flush=True)
"""
COUNT_100 = """
index = Index(sys.argv[1])
for number in range(100):
    index.upsert({"cid": f"cid-{number}"}, where("cid") == f"cid-{number}")
    index.update(increment("count"), where("id") == "counter")
"""
FIRST = """
print(Index(sys.argv[1]).insert({"id": "x"}))
"""


def start(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    imports = "import sys\nfrom stargazer.storage.index.records import Index\nfrom tinydb import where\n"
    imports += "from tinydb.operations import increment\n"
    command = [sys.executable, "-c", imports + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


def assert_sound(path: Path) -> None:
    """SQLite's own check passes, and the terms are exactly those of the documents."""
    with Index(path) as index, index.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        documents = connection.execute("SELECT tid, seq, body FROM docs").fetchall()
        wanted = {
            (tid, key, value, seq)
            for tid, seq, body in documents
            for key, value in terms_of(json.loads(body))
        }
        assert set(connection.execute("SELECT tid, key, value, seq FROM terms")) == wanted


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index.sqlite"


def test_four_processes_insert_200_each_and_800_are_there(path):
    children = [start(INSERT_200, path, name) for name in "abcd"]
    assert [child.wait() for child in children] == [0] * 4

    with Index(path) as index:
        assert {document["id"] for document in index} == {
            f"{name}-{n}" for name in "abcd" for n in range(200)
        }
        assert len({document.doc_id for document in index}) == 800
        assert [index.count(written_by(name)) for name in "abcd"] == [200] * 4
    assert_sound(path)


def test_a_writer_killed_20_times_loses_nothing_it_acknowledged(path):
    for name in map(str, range(20)):
        child = start(INSERT_FOR_EVER, path, name)
        assert child.stdout is not None
        acknowledged = int(child.stdout.readline())
        time.sleep(random.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        acknowledged = max(
            [acknowledged, *(int(line) for line in child.stdout.read().split("\n")[:-1] if line)]
        )
        child.wait()

        with Index(path) as index:
            numbers = [int(document["keyvalues"]["number"]) for document in index.search(written_by(name))]
            whole = (
                acknowledged if len(numbers) == 3 * acknowledged else acknowledged + 1
            )  # killed after its commit
            assert sorted(numbers) == sorted([*range(whole)] * 3)
            index.insert({"after": name})
    assert_sound(path)


def test_six_processes_make_the_same_new_index(path):
    children = [start(FIRST, path) for _ in range(6)]
    assert sorted(int(child.communicate()[0]) for child in children) == [1, 2, 3, 4, 5, 6]
    assert_sound(path)


def test_read_modify_write_of_several_processes_does_not_interleave(path):
    Index(path).insert({"id": "counter", "count": 0})
    children = [start(COUNT_100, path) for _ in range(3)]
    assert [child.wait() for child in children] == [0] * 3

    with Index(path) as index:
        assert index.get(where("id") == "counter")["count"] == 300
        assert index.count(where("cid").exists()) == 100


def test_threads_share_one_index(path):
    index, errors = Index(path), []

    def work(name: str) -> None:
        try:
            for number in range(50):
                with index.transaction():
                    index.insert({"keyvalues": {"writer": name, "number": str(number)}})
                    assert index.count(written_by(name)) == number + 1
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(index) == 200
    assert_sound(path)


def test_a_reader_sees_whole_transactions_only(path):
    index = Index(path)
    child = start(INSERT_FOR_EVER, path, "a")
    assert child.stdout is not None
    child.stdout.readline()
    try:
        for _ in range(100):
            assert len(index.all()) % 3 == 0
            assert index.count(written_by("a")) % 3 == 0
    finally:
        child.kill()
        child.communicate()


def in_child(action) -> str:
    """What `action` returns in a forked child, or the error it raises there."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = str(action())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return answer


def test_parent_and_forked_child_go_on_with_the_same_index(path):
    index = Index(path)
    index.insert({"id": "parent"})

    assert in_child(lambda: index.insert({"id": "child"})) == "2"
    assert index.insert({"id": "parent again"}) == 3
    assert [document["id"] for document in index] == ["parent", "child", "parent again"]
    assert_sound(path)


def test_what_a_child_inserts_survives_its_parent_closing(path):
    index = Index(path)
    index.insert({"id": "parent"})
    to_child, to_parent = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        index.insert({"id": "child-1"})
        os.write(to_parent[1], b"1")
        os.read(to_child[0], 1)
        index.insert({"id": "child-2"})
        os.write(to_parent[1], b"2")
        os.read(to_child[0], 1)
        os._exit(0)
    os.read(to_parent[0], 1)
    index.close()
    os.write(to_child[1], b"x")
    os.read(to_parent[0], 1)  # acknowledged

    count = start("print(len(Index(sys.argv[1])))", path).communicate()[0]
    os.write(to_child[1], b"x")
    os.waitpid(pid, 0)
    assert count.strip() == "3"


def test_forks_while_a_thread_writes_lose_nothing(path):
    index, stop, written = Index(path), threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            written.append(index.insert({"keyvalues": {"writer": "thread"}}))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        answers = [
            in_child(lambda: [index.insert({"keyvalues": {"writer": "child"}}) for _ in range(10)])
            for _ in range(5)
        ]
    finally:
        stop.set()
        thread.join()

    acknowledged = written + [doc_id for answer in answers for doc_id in json.loads(answer)]
    assert sorted(acknowledged) == sorted(document.doc_id for document in index)
    assert index.count(written_by("child")) == 50
    assert_sound(path)


def test_a_child_forked_inside_an_operation_is_refused(path):
    index = Index(path)
    with index.transaction():
        index.insert({"id": "parent"})
        answer = in_child(lambda: index.insert({"id": "child"}))
    assert answer.startswith("StorageError")
    assert "forked in the middle" in answer
    assert [document["id"] for document in index] == ["parent"]
    assert_sound(path)


def test_a_writer_that_never_ends_is_named_instead_of_waited_for(path, monkeypatch):
    holder, waiting = Index(path), Index(path)
    monkeypatch.setattr(database, "_TIMEOUT", 0.1)
    with holder.transaction(), pytest.raises(StorageError, match="held by another writer"):
        waiting.insert({"id": "x"})
    assert waiting.insert({"id": "x"}) == 1
