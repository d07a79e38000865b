"""The format of a store: one that another version wrote otherwise is refused by every verb, and left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from stargazer.assets import StorageError
from stargazer.storage.index.schema import FORMAT
from stargazer.storage.maintenance import evict, fsck, gc
from stargazer.storage.store import Store, open_store

from .upkeep_store import add, lose_index


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def older(store: Store) -> None:
    """Make it what a version without a ledger left."""
    add(store, "a")
    lose_index(store)
    (store.root / "format").unlink()
    (store.root / "ledger").rename(store.root.parent / "gone")


VERBS = {
    "query": lambda store: store.query({}),
    "add": lambda store: add(store, "b"),
    "read": lambda store: store.read("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
    "fsck": fsck,
    "gc": gc,
    "evict": lambda store: evict(store, []),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_store_of_an_older_format_is_refused_and_left_as_it_is(store: Store, verb: str) -> None:
    older(store)
    before = contents(store.root)

    with pytest.raises(StorageError, match=r"older Stargazer \(format 1, not 2\).*add its files again"):
        VERBS[verb](open_store(store.root))

    assert contents(store.root) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_store_of_a_newer_format_is_refused_and_left_as_it_is(store: Store, verb: str) -> None:
    add(store, "a")
    (store.root / "format").write_text(f"{FORMAT + 1}\n")
    before = contents(store.root)

    with pytest.raises(StorageError, match=r"newer Stargazer \(format 3, not 2\).*upgrade"):
        VERBS[verb](open_store(store.root))

    assert contents(store.root) == before


def test_a_new_store_is_marked_before_anything_is_in_it(store: Store) -> None:
    store.open_index()

    assert (store.root / "format").read_text() == "2\n"


def test_a_lost_mark_of_a_store_with_a_ledger_is_made_again(store: Store) -> None:
    add(store, "a")
    (store.root / "format").unlink()

    assert len(open_store(store.root).query({"asset": "qc_report"})) == 1
    assert (store.root / "format").read_text() == "2\n"
