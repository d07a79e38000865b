"""Capsules: bundles that carry what is needed to compute their files again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from stargazer.assets import Asset, AssetNotFoundError, FormatError
from stargazer.assets.catalogue import Alignment, AlignmentIndex
from stargazer.assets.provenance import Execution, ToolUse
from stargazer.storage import bundles
from stargazer.storage.bundles import (
    Environment,
    Made,
    differences,
    environment_here,
    find_bundle,
    requirements,
)
from stargazer.storage.bundles.manifest import dump, parse
from stargazer.storage.changes import retract
from stargazer.storage.lineage._why import executions_of, why_each
from stargazer.storage.store import Store, now, open_store

from .lineage_store import entry_of, imported, made


class History(NamedTuple):
    """raw -> aligned (with an index beside it) -> counted; and a file that has nothing to do with it."""

    store: Store
    raw: Asset
    aligned: Asset
    index: Asset
    counted: Asset
    other: Asset


@pytest.fixture
def history(tmp_path: Path) -> History:
    store = open_store(tmp_path / "store")
    raw, other = imported(store, "raw"), imported(store, "other")
    aligned = Alignment(path=_written(store, "bam"), sample="s")
    store.commit(
        Execution(task="lab.align", inputs=[entry_of("reads", raw)], run_key="k1", finished=now()),
        [("result", aligned)],
    )
    index = AlignmentIndex(path=_written(store, "bai"), alignment_cid=aligned)
    store.commit(
        Execution(task="lab.index", inputs=[entry_of("alignment", aligned)], run_key="k2", finished=now()),
        [("result", index)],
    )
    tools = [ToolUse(name="counter", version="2.0", source="PATH")]
    counted = made(store, "lab.count", "count", {"alignment": aligned}, tools=tools, run_key="k3")
    return History(store, raw, aligned, index, counted, other)


def _written(store: Store, text: str) -> Path:
    path = store.objects.work / text
    path.write_text(text)
    return path


def capsule(history: History, folder: Path, **options: bool) -> Made:
    records = history.store.query({"cid": history.counted.cid or ""})
    return bundles.make(history.store, "counts", records, folder, lineage=True, **options)


def test_it_carries_imports_and_companions_and_not_what_is_made_on_the_way(
    history: History, tmp_path: Path
) -> None:
    manifest = capsule(history, tmp_path / "out").manifest

    assert {entry.cid for entry in manifest.files} == {
        history.counted.cid,
        history.raw.cid,
        history.index.cid,
    }
    assert not (tmp_path / "out" / str(history.aligned.cid)).exists()


def test_what_is_made_on_the_way_comes_too_where_that_is_asked(history: History, tmp_path: Path) -> None:
    manifest = capsule(history, tmp_path / "out", intermediates=True).manifest

    assert {entry.cid for entry in manifest.files} >= {history.aligned.cid, history.raw.cid}
    assert history.other.cid not in {entry.cid for entry in manifest.files}


def test_whoever_fetches_it_knows_the_same_executions(history: History, tmp_path: Path) -> None:
    made_at = capsule(history, tmp_path / "out").path.parent
    yours = open_store(tmp_path / "yours")

    done = bundles.fetch(yours, find_bundle(str(made_at), yours.root), records_only=True)

    assert done.failed == []
    found = executions_of(yours, done.records)
    assert found == executions_of(history.store, done.records)
    assert sorted(execution.task for execution in found.values()) == [
        "lab.align", "lab.count", "lab.index",
    ]  # fmt: skip


def test_of_several_meanings_of_the_same_bytes_the_one_asked_for_is_followed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    for name in ("first", "second"):
        given = imported(store, name)
        made(store, f"lab.{name}", "the same", {"given": given}, finished="2026-11-29T12:00:00Z")
    for record in store.query({"asset": "qc_report", "kind": "made"}):
        (execution,) = executions_of(store, [record]).values()
        assert execution.task == record.keyvalues["sample"]
    records = store.query({"asset": "qc_report", "kind": "made"})
    steps = why_each(store, records)
    assert [step.entry.keyvalues["sample"] for step in steps] == ["lab.first", "lab.second"]


def test_it_locks_the_environment(history: History, tmp_path: Path) -> None:
    made_at = capsule(history, tmp_path / "out")
    environment = parse(made_at.path.read_bytes(), remote=True).environment

    counted = history.store.query({"cid": history.counted.cid or ""})
    assert environment == environment_here(executions_of(history.store, counted).values())
    assert environment is not None
    assert environment.tools == ("counter 2.0 (PATH)",)
    assert any(package.startswith("attrs==") for package in environment.packages)
    assert dump(parse(dump(made_at.manifest), remote=True)) == dump(made_at.manifest)


def test_a_bundle_without_lineage_has_none(history: History, tmp_path: Path) -> None:
    records = history.store.query({"cid": history.counted.cid or ""})
    assert bundles.make(history.store, "plain", records, tmp_path / "out").manifest.environment is None


def test_an_import_that_was_taken_back_is_an_error_that_says_so(history: History, tmp_path: Path) -> None:
    (record,) = history.store.query({"cid": history.raw.cid or ""})
    retract(history.store, record)

    with pytest.raises(AssetNotFoundError, match=r"raw .* its record was taken back: add it again"):
        capsule(history, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_lineage_with_a_gap_is_an_error_that_says_where(history: History, tmp_path: Path) -> None:
    for cid in history.store.documents(history.raw.cid or ""):
        history.store.ledger.remove(cid)

    with pytest.raises(AssetNotFoundError, match="came to be is not known here"):
        capsule(history, tmp_path / "out")


THEN = Environment(python="3.11.7", platform="Linux x86_64", packages=("attrs==26.1.0", "Foo_Bar==1.0"))


def test_what_is_not_the_same_is_said_by_package() -> None:
    now = Environment(python="3.12.1", platform="Linux x86_64", packages=("attrs==25.1.0", "extra==1"))

    assert differences(THEN, now) == [
        "Python: 3.11.7 then, 3.12.1 now",
        "attrs: 26.1.0 then, 25.1.0 now",
        "foo-bar: 1.0 then, not installed now",
    ]
    assert differences(THEN, THEN) == []
    assert differences(environment_here(), environment_here()) == []


def test_requirements_are_what_pip_takes() -> None:
    assert requirements(THEN) == "# Python 3.11.7, Linux x86_64\nattrs==26.1.0\nFoo_Bar==1.0\n"


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"python": 3},
        {"packages": "attrs==1"},
        {"packages": ["attrs==1; echo"]},
        {"packages": ["-r https://example.org/x"]},
        {"packages": ["attrs @ file:///x"]},
        {"tools": ["a\nb==1"]},
        {"surprise": 1},
        {"packages": ["a==1"] * 10_001},
    ],
    ids=repr,
)
def test_an_environment_that_is_none_is_refused(history: History, tmp_path: Path, wrong: object) -> None:
    body = json.loads(dump(capsule(history, tmp_path / "out").manifest))
    with pytest.raises(FormatError, match="environment"):
        parse(json.dumps({**body, "environment": wrong}).encode(), remote=True)
