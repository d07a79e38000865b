"""Why a call is not remembered: exactly what of its run key differs from the nearest earlier execution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from stargazer.assets import Asset
from stargazer.assets.provenance import Execution, ToolUse
from stargazer.storage.changes import retract
from stargazer.storage.lineage.nearest import Nearest, find_nearest
from stargazer.storage.store import Store, open_store

from .lineage_store import entry_of, imported, made

TOOL = ToolUse(name="samtools", version="1.24", source="wheel", script="aa")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture
def raw(store: Store) -> Asset:
    return imported(store, "raw")


@pytest.fixture
def call(store: Store, raw: Asset) -> Execution:
    """The very call that was made before."""
    fields: dict[str, Any] = {
        "run_key": "k1",
        "code_digest": "d1",
        "code": {"task": "1", "helper": "2"},
        "parameters": {"times": 3},
        "tools": [TOOL],
    }
    made(store, "lab.count", "3", {"given": raw}, **fields)
    return Execution(task="lab.count", inputs=[entry_of("given", raw)], **fields)


def nearest(store: Store, call: Execution, **changes: Any) -> Nearest:
    found = find_nearest(store, attrs.evolve(call, run_key="k2", **changes))
    assert found is not None
    return found


def kinds(found: Nearest) -> list[tuple[str, str, str, str]]:
    return [(item.kind, item.name, item.a, item.b) for item in found.divergences]


def test_one_parameter(store: Store, call: Execution) -> None:
    found = nearest(store, call, parameters={"times": 4})

    assert kinds(found) == [("parameter", "times", "3", "4")]
    assert found.explain().splitlines()[0] == "parameter times: 3 then, 4 now"


def test_one_helper_by_its_name(store: Store, call: Execution) -> None:
    found = nearest(store, call, code_digest="d2", code={"task": "1", "helper": "3"})

    assert [item.parts for item in found.divergences] == [["helper"]]
    assert found.explain().startswith("code of lab.count (helper): ")


def test_one_tool(store: Store, call: Execution) -> None:
    newer = attrs.evolve(TOOL, version="1.25")
    assert kinds(nearest(store, call, tools=[newer])) == [("tool", "samtools", "1.24", "1.25")]


def test_the_code_that_runs_a_tool(store: Store, call: Execution) -> None:
    other = attrs.evolve(TOOL, script="bb")
    assert kinds(nearest(store, call, tools=[other])) == [
        ("code", "what runs samtools", "code aa", "code bb")
    ]


def test_one_input(store: Store, call: Execution) -> None:
    other = imported(store, "other")
    found = nearest(store, call, inputs=[entry_of("given", other)])

    (divergence,) = found.divergences
    assert (divergence.kind, divergence.name) == ("input", "given")
    assert divergence.cids == (call.inputs[0].cid, other.cid)
    assert f"  now qc_report kind=raw sample=other {other.cid}" in found.explain().splitlines()


def test_the_order_of_a_list(store: Store, raw: Asset) -> None:
    lanes = [raw, imported(store, "another")]
    made(store, "lab.merge", "m", {"lanes[0]": lanes[0], "lanes[1]": lanes[1]}, run_key="k1")
    turned = [entry_of("lanes[0]", lanes[1]), entry_of("lanes[1]", lanes[0])]

    found = find_nearest(store, Execution(task="lab.merge", inputs=turned, run_key="k2"))

    assert found is not None
    ((kind, name, then, now),) = kinds(found)
    assert (kind, name) == ("parameter", "order of lanes")
    assert then.split(", ") == now.split(", ")[::-1]


def test_what_is_no_part_of_the_key_is_no_reason(store: Store, call: Execution) -> None:
    elsewhere = attrs.evolve(TOOL, source="PATH")
    found = nearest(store, call, tools=[elsewhere], platform="Darwin arm64", python="3.13.0")

    assert found.divergences == []
    assert found.explain().startswith("nothing that provenance tells differs")


def test_of_several_the_one_that_differs_least(store: Store, call: Execution, raw: Asset) -> None:
    close = attrs.asdict(call, recurse=False) | {"run_key": "k3", "parameters": {"times": 4}}
    for name in ("task", "inputs", "outputs", "commands"):
        close.pop(name)
    made(store, "lab.count", "4", {"given": raw}, **close)
    made(store, "lab.count", "5", {"given": imported(store, "late")}, run_key="k4", parameters={"times": 9})

    assert kinds(nearest(store, call, parameters={"times": 5}))[0][2:] in [("3", "5"), ("4", "5")]
    assert len(nearest(store, call, parameters={"times": 5}).divergences) == 1


def test_a_task_that_was_never_executed_has_none(store: Store, call: Execution) -> None:
    assert find_nearest(store, attrs.evolve(call, task="lab.other", run_key="k2")) is None


def test_a_result_that_was_taken_back(store: Store, call: Execution) -> None:
    (record,) = store.query({"kind": "made", "asset": "qc_report"})
    retract(store, record)

    found = find_nearest(store, call)

    assert found is not None
    assert found.note == "its result 'report' was taken back"


def test_what_others_did(store: Store, call: Execution, tmp_path: Path) -> None:
    other = open_store(tmp_path / "other")
    documents = [record.cid for record in store.query({"asset": "provenance"})]
    for cid in documents:
        other.ledger.foreign.add(store.read(cid))
    other.replay(documents)

    found = find_nearest(other, call)

    assert found is not None
    assert "not trusted" in found.note
