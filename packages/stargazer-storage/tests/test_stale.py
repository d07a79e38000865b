"""Stale: of a file, a tool or a task, exactly what depends on it is found, and after the index was lost as well."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stargazer.assets import AssetNotFoundError, IpFile
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Entry, Execution, ToolUse
from stargazer.storage.ledger.documents import now
from stargazer.storage.lineage._stale import Stale, stale
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.store import Store, open_store

from .upkeep_store import add, lose_index


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def run(store: Store, name: str, *inputs: IpFile, task: str = "t", tool: str = "", text: str = "") -> IpFile:
    """What a task made of these files."""
    path = store.objects.work / f"{os.getpid()}-{name}.txt"
    path.write_text(text or f"made {name}")
    entries = [Entry(role="report", cid=item.cid, keyvalues=item.keyvalues) for item in inputs]
    tools = [ToolUse(name=tool.partition("@")[0], version=tool.partition("@")[2])] if tool else []
    report = QcReport(path=path, kind="made", sample=name)
    store.commit(Execution(task=task, inputs=entries, tools=tools, finished=now()), [("report", report)])
    assert report.record is not None
    return report.record


def names(store: Store, found: Stale) -> list[str]:
    """The samples of the files that were made, oldest first."""
    cids = dict.fromkeys(cid for run in found.runs for cid in run.outputs)
    return [record.keyvalues["sample"] for cid in cids for record in store.query({"cid": cid})]


def test_exactly_the_descendants_of_a_file_are_found(store):
    old, other = add(store, "old"), add(store, "other")
    first = run(store, "first", old)
    second = run(store, "second", first, other)
    run(store, "apart", other)

    found = stale(store, old.cid)

    assert names(store, found) == ["first", "second"]
    assert found.ends == [second.cid]
    assert names(store, stale(store, other.cid)) == ["second", "apart"]
    assert stale(store, second.cid).runs == []


def test_of_an_execution_it_is_the_execution_too(store):
    first = run(store, "first", add(store, "a"))
    run(store, "second", first)

    (provenance,) = store.documents(first.cid)
    assert names(store, stale(store, provenance)) == ["first", "second"]


def test_of_a_tool_it_is_every_execution_with_that_version_and_what_follows(store):
    a, b = add(store, "a"), add(store, "b")
    old, new = run(store, "old", a, tool="bwa@0.7.17"), run(store, "new", b, tool="bwa@0.7.18")
    run(store, "after-old", old)
    run(store, "after-new", new)

    assert names(store, stale(store, "bwa@0.7.17")) == ["old", "after-old"]
    assert names(store, stale(store, "bwa")) == ["old", "new", "after-old", "after-new"]
    with pytest.raises(AssetNotFoundError, match=r"bwa@0\.7\.16.*known: bwa@0\.7\.17, bwa@0\.7\.18"):
        stale(store, "bwa@0.7.16")


def test_of_a_task_its_last_name_will_do(store):
    a = add(store, "a")
    run(store, "after", run(store, "aligned", a, task="stargazer.tasks.mapping.align"), task="lab.summarise")

    for name in ("align", "stargazer.tasks.mapping.align"):
        found = stale(store, name)
        assert (found.what, names(store, found)) == ("stargazer.tasks.mapping.align", ["aligned", "after"])
        assert found.tasks == {"stargazer.tasks.mapping.align": 1, "lab.summarise": 1}
    with pytest.raises(AssetNotFoundError, match=r"alig.*known:.*align"):
        stale(store, "alig")


def test_a_name_that_two_tasks_share_must_be_said_in_full(store):
    a = add(store, "a")
    run(store, "x", a, task="one.align")
    run(store, "y", a, task="two.align")

    with pytest.raises(AssetNotFoundError, match=r"several tasks: one\.align, two\.align"):
        stale(store, "align")


def test_a_cid_that_nobody_knows_is_an_error(store):
    add(store, "a")
    with pytest.raises(AssetNotFoundError, match="nothing is known of"):
        stale(store, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")


def test_a_file_that_is_handed_on_is_no_circle(store):
    a = add(store, "a", text="same")
    run(store, "handed on", a, text="same")
    run(store, "again", a, text="same")

    assert len(stale(store, a.cid).runs) == 2


def test_the_same_after_the_index_was_lost(store):
    a = add(store, "a")
    run(store, "second", run(store, "first", a, tool="bwa@1"))
    asked = [a.cid, "bwa@1", "t"]
    before = [stale(store, what) for what in asked]
    lose_index(store)
    fsck(store)

    assert [stale(store, what) for what in asked] == before


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_as_a_plain_walk_says(tmp_path_factory, seed):
    store = open_store(tmp_path_factory.mktemp("store") / "store")
    chooser = random.Random(seed)
    files = [add(store, name) for name in "ab"]
    after: dict[str, set[str]] = {record.cid: set() for record in files}
    for number in range(8):
        inputs = chooser.sample(files, k=chooser.randint(1, 2))
        made = run(store, str(number), *inputs)
        after[made.cid] = set()
        for cid, found in after.items():
            if any(item.cid == cid or item.cid in found for item in inputs):
                found.add(made.cid)
        files.append(made)

    for cid, expected in after.items():
        assert {made for run in stale(store, cid).runs for made in run.outputs} == expected
