"""The stat cache: an unchanged file is not read again, and a changed one always is."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from stargazer.assets.catalogue import QcReport
from stargazer.storage import statcache
from stargazer.storage.cid import compute_cid
from stargazer.storage.store import Addition, Store, open_store

SETTLED = statcache.SETTLED / 1e9 + 0.1  # seconds

_watched: list[str] = []
_opened: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _watched and os.fspath(arguments[0]) in _watched:  # type: ignore[call-overload]
        _opened.append(os.fspath(arguments[0]))  # type: ignore[call-overload]


sys.addaudithook(_watch)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def add(store: Store, path: Path) -> str:
    return store.add([Addition(path=path, asset=QcReport(kind="notes"))])[0].cid


def times_opened(store: Store, path: Path) -> int:
    """How often this process opens a file while it is added, as the interpreter itself tells."""
    _opened.clear()
    _watched[:] = [str(path)]
    try:
        add(store, path)
    finally:
        _watched.clear()
    return len(_opened)


@pytest.fixture(scope="module")
def spares(tmp_path_factory):
    """Files that changed longer ago than their times are coarse."""
    folder = tmp_path_factory.mktemp("settled")
    paths = [folder / f"{number}.txt" for number in range(10)]
    for path in paths:
        path.write_text("first")
    time.sleep(SETTLED)
    return paths


@pytest.fixture
def settled(spares):
    return spares.pop()


def test_an_unchanged_file_is_not_opened_again(store, settled):
    assert times_opened(store, settled) == 1
    assert times_opened(store, settled) == 0
    assert times_opened(open_store(store.root), settled) == 0


def test_a_link_to_it_is_known_too(store, settled, tmp_path):
    add(store, settled)
    (tmp_path / "link").symlink_to(settled)

    assert times_opened(store, tmp_path / "link") == 0


def test_a_changed_file_is_read_even_if_size_and_time_are_the_same(store, settled):
    add(store, settled)
    before = settled.stat()
    settled.write_text("other")
    os.utime(settled, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert settled.stat().st_size == before.st_size
    assert settled.stat().st_mtime_ns == before.st_mtime_ns
    time.sleep(SETTLED)  # else it would be read because it just changed
    assert add(store, settled) == compute_cid(settled)


def test_a_file_put_in_its_place_is_read(store, settled, tmp_path):
    add(store, settled)
    other = tmp_path / "other"
    other.write_text("other")
    before = settled.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(settled)

    assert add(store, settled) == compute_cid(settled)


def test_a_file_that_just_changed_is_not_trusted(store, tmp_path):
    path = tmp_path / "notes.txt"
    for text in ("aaaa", "bbbb", "cccc", "dddd"):
        path.write_text(text)
        assert add(store, path) == compute_cid(path)

    assert times_opened(store, path) == 1


def test_a_time_in_the_future_is_not_trusted(store, settled):
    later = time.time_ns() + 3600 * 10**9
    os.utime(settled, ns=(later, later))
    add(store, settled)

    assert times_opened(store, settled) == 1


@pytest.mark.parametrize("hours", [-30_000, -1, 1])
def test_a_clock_that_is_set_otherwise_does_not_matter(store, settled, monkeypatch, hours):
    cid = add(store, settled)
    clock = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock() + hours * 3600 * 10**9)
    monkeypatch.setattr(time, "time", lambda: clock() / 1e9 + hours * 3600)

    assert add(store, settled) == cid
    settled.write_text("other")
    assert add(store, settled) == compute_cid(settled) != cid
    settled.write_text("again")
    assert store.read(store.objects.link(settled).cid).read_text() == "again"
    assert [record.cid for record in store.query({})].count(cid) == 1


def test_a_file_whose_object_is_gone_is_read(store, settled):
    cid = add(store, settled)
    store.objects.remove(cid)

    assert times_opened(store, settled) == 1
    assert store.read(cid).read_text() == "first"


def test_another_process_knows_it_too(store, settled):
    add(store, settled)

    child = os.fork()
    if child == 0:
        os._exit(times_opened(open_store(store.root), settled))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
