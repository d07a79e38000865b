"""What is computed anew when that is asked: all, one task, or a task and everything that reads its results."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from typing import Any

import pytest
from stargazer.assets import InvalidAssetError
from stargazer.assets.catalogue import QcReport, Reference, ReferenceIndex
from stargazer.storage import get_client
from stargazer.tasks.execution import (
    AssetEnvironment,
    Event,
    WorkflowEnvironment,
    observe,
    refreshing,
    workspace,
)

env = AssetEnvironment(name="fresh")
flow_env = WorkflowEnvironment(name="fresh-flow", depends_on=[env])
_noise = itertools.count()


def report(text: str, kind: str) -> QcReport:
    path = workspace() / "out"
    path.write_text(text)
    return QcReport(path=path, kind=kind)


@env.task
async def first() -> QcReport:
    return report("first", "first")


@env.task
async def unstable(given: QcReport) -> QcReport:
    return report(f"{given.path.read_text()} {next(_noise)}", "unstable")


@env.task
async def second(given: QcReport) -> QcReport:
    return report(given.path.read_text() + " second", "second")


@env.task
async def third(given: QcReport) -> QcReport:
    return report(given.path.read_text() + " third", "third")


@flow_env.task
async def flow() -> QcReport:
    made: QcReport = await third(await second(await first()))
    return made


def computed(*tasks: str, work: Any = flow, remembering: bool = False, below: bool = False) -> Counter[str]:
    """The tasks that a run computes, and how often."""
    events: list[Event] = []

    async def main() -> None:
        with observe(events.append), contextlib.ExitStack() as stack:
            if not remembering:
                stack.enter_context(refreshing(*tasks, below=below))
            await work()

    asyncio.run(main())
    return Counter(event.task.rpartition(".")[2] for event in events if event.kind == "finished")


@env.task
async def sequence() -> Reference:
    path = workspace() / "a.fa"
    path.write_text(">a\nACGT\n")
    return Reference(path=path, build="tiny")


@env.task
async def offsets(reference: Reference) -> ReferenceIndex:
    path = workspace() / "a.fai"
    path.write_text("a\t4\t3\t4\t5\n")
    return ReferenceIndex(path=path, reference_cid=reference)


@env.task
async def length(reference: Reference) -> QcReport:
    index = reference.path.with_name(reference.path.name + ".fai")
    return report(index.read_text().split("\t")[1], "length")


@flow_env.task
async def indexed() -> QcReport:
    reference = await sequence()
    await offsets(reference)
    made: QcReport = await length(reference)
    return made


@pytest.fixture(autouse=True)
def _done_before() -> None:
    assert computed(remembering=True) == Counter(["first", "second", "third"])
    assert computed(remembering=True) == Counter()


def test_all_of_a_run() -> None:
    assert computed() == Counter(["first", "second", "third"])


def test_one_task_and_not_what_reads_the_same_bytes_of_it() -> None:
    assert computed("second") == Counter(["second"])
    assert computed("fresh.second") == Counter(["second"])
    assert computed(remembering=True) == Counter()


def test_one_task_and_everything_below_it() -> None:
    assert computed("second", below=True) == Counter(["second", "third"])
    assert computed("first", below=True) == Counter(["first", "second", "third"])
    assert computed("third", below=True) == Counter(["third"])


def test_what_reads_a_file_reads_its_index_too() -> None:
    asyncio.run(indexed())
    assert computed("offsets", work=indexed) == {"offsets": 1}
    assert computed("offsets", below=True, work=indexed) == {"offsets": 1, "length": 1}


def test_what_reads_other_bytes_than_before_is_computed_in_any_case() -> None:
    async def work() -> None:
        await second(await unstable(await first()))

    computed(work=work, remembering=True)
    assert computed(work=work, remembering=True) == Counter()
    assert computed("unstable", work=work) == Counter(["unstable", "second"])


def test_provenance_says_that_it_was_forced_and_of_what() -> None:
    computed("second")
    store = get_client().store
    documents = [
        store.document(record.cid) for record in store.query({"asset": "provenance", "kind": "execution"})
    ]
    forced = [document.task for document in documents if getattr(document, "forced", False)]
    assert forced == ["fresh.second"]


def test_a_task_that_is_not_there_is_an_error_that_says_what_is_near() -> None:
    with pytest.raises(InvalidAssetError, match="no task 'secnd'; did you mean 'second'"):
        computed("secnd")


def test_two_equal_calls_at_once_are_computed_anew_once() -> None:
    async def work() -> None:
        await asyncio.gather(first(), first())

    assert computed(work=work) == Counter(["first"])
