"""Under Flyte: a plain await and flyte.run give the same, and assets travel as what they are."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flyte
import pytest
from flyte.types import TypeEngine, TypeTransformerFailedError
from stargazer.assets import Asset, use_client
from stargazer.assets.catalogue import Alignment, AlignmentIndex, QcReport
from stargazer.storage import LocalStorageClient, get_client
from stargazer.tasks.execution import (
    AssetEnvironment,
    Event,
    WorkflowEnvironment,
    named_outputs,
    observe,
    refreshing,
    workspace,
)

env = AssetEnvironment(name="flying", resources=flyte.Resources(cpu=(1, 2), memory=("512Mi", "1Gi")))
flow = WorkflowEnvironment(name="flying_flow", depends_on=[env])


class Two(NamedTuple):
    alignment: Alignment
    index: AlignmentIndex


class Summary(NamedTuple):
    alignment: Alignment
    reports: list[QcReport]
    by_name: dict[str, QcReport]
    missing: QcReport | None
    depth: float


@env.task
async def aligned(sample: str) -> Two:
    for name in ("bam", "bai"):
        (workspace() / name).write_text(f"{name} of {sample}")
    made = Alignment(path=workspace() / "bam", sample=sample, reference_cid="bafkref")
    return Two(made, AlignmentIndex(path=workspace() / "bai", alignment_cid=made))


@env.task
async def report(alignment: Alignment, extra: QcReport | None = None) -> QcReport:
    texts = [
        given.path.read_text() for given in (alignment, extra) if given and given.path
    ]  # no assert: pytest edits it
    (workspace() / "report").write_text(f"report on {texts}")
    return QcReport(path=workspace() / "report", kind="report", sample=alignment.sample)


@env.task
async def joined(reports: list[QcReport], by_name: dict[str, QcReport]) -> QcReport:
    texts = [one.path.read_text() for one in [*reports, *by_name.values()] if one.path]
    (workspace() / "joined").write_text("\n".join(texts))
    return QcReport(path=workspace() / "joined", kind="joined")


@env.task
async def depth(alignment: Alignment) -> float:
    return 30.5


@env.task
async def pair(alignment: Alignment) -> tuple[float, str]:
    return 1.5, alignment.sample


@env.task
async def nothing(alignment: Alignment) -> None:
    return None


@flow.task
async def one_sample(sample: str) -> Summary:
    two = await aligned(sample)
    made = await report(alignment=two.alignment)
    more = await report(two.alignment, made)
    both = await joined([made, more], {"made": made})
    await nothing(two.alignment)
    assert type(two) is Two
    return Summary(two.alignment, [made, more, both], {"both": both}, None, await depth(two.alignment))


@flow.task
async def samples(names: list[str]) -> list[float]:
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(one_sample(name)) for name in names]
    results = [task.result() for task in running]
    assert all(type(result) is Summary for result in results)
    return [result.depth for result in results]


@flow.task
async def found(kind: str) -> QcReport:
    return await QcReport.one(kind=kind)


@flow.task
async def chosen(kind: Literal["bwa-mem3", "SNP", "snp"] = "bwa-mem3") -> str:
    return kind


def under_flyte(task: Any, **inputs: Any) -> Any:
    run = flyte.with_runcontext(mode="local").run(task, **inputs)
    return named_outputs(task, run.outputs())


def awaited(task: Any, **inputs: Any) -> Any:
    return asyncio.run(task(**inputs))


WAYS = [under_flyte, awaited]


@pytest.mark.parametrize(("first", "second"), [WAYS, WAYS[::-1]], ids=["flyte first", "plain first"])
def test_flyte_and_a_plain_await_give_the_same(first: Callable[..., Any], second: Callable[..., Any]) -> None:
    events: list[Event] = []
    one = first(one_sample, sample="s1")
    with observe(events.append):
        other = second(one_sample, sample="s1")
    assert [event.task for event in events if event.kind != "memo hit"] == []
    assert one == other
    assert type(one) is type(other) is Summary
    assert one.alignment.sample == "s1"


@pytest.mark.parametrize("way", WAYS)
def test_workflows_in_workflows_keep_their_names(way: Callable[..., Any]) -> None:
    assert way(samples, names=["a", "b", "a"]) == [30.5, 30.5, 30.5]


@pytest.mark.parametrize("way", WAYS)
def test_a_single_task_and_one_without_a_result(way: Callable[..., Any]) -> None:
    two = way(aligned, sample="x")
    assert type(two) is Two
    assert way(report, alignment=two.alignment).sample == "x"
    assert way(nothing, alignment=two.alignment) is None
    assert way(pair, alignment=two.alignment) == (1.5, "x")


@pytest.mark.parametrize("way", WAYS)
def test_choices_are_handed_on_as_they_are_spelt(way: Callable[..., Any]) -> None:
    spelt = [
        choice.name for choice in typing.cast(Any, chosen).interface.inputs["kind"][0]
    ]  # for its command
    assert spelt == ["bwa-mem3", "SNP", "snp"]
    assert [way(chosen), *(way(chosen, kind=kind) for kind in spelt)] == ["bwa-mem3", *spelt]
    with pytest.raises(Exception, match="BWA-MEM3"):
        way(chosen, kind="BWA-MEM3")


@pytest.mark.parametrize("way", WAYS)
def test_context_reaches_nested_tasks(way: Callable[..., Any], tmp_path: Path) -> None:
    events: list[Event] = []
    client = LocalStorageClient(tmp_path / "elsewhere")
    with use_client(client), observe(events.append):
        way(one_sample, sample="s")
        assert way(found, kind="joined").kind == "joined"
        with refreshing():
            way(aligned, sample="s")
    finished = [event.task for event in events if event.kind == "finished"]
    assert sorted(finished) == [
        "flying.aligned",
        "flying.aligned",
        "flying.depth",
        "flying.joined",
        "flying.nothing",
        "flying.report",
        "flying.report",
    ]
    assert len(client.store.query({"asset": "qc_report"})) == 3
    assert get_client().store.query({}) == []


def test_an_error_of_a_task_keeps_its_text_and_the_name_of_its_class() -> None:
    with pytest.raises(Exception, match="no qc_report kind=absent") as caught:
        under_flyte(found, kind="absent")
    assert getattr(caught.value, "code", "AssetNotFoundError") == "AssetNotFoundError"


# assets as literals

ALIGNMENT = Alignment(cid="bafkbam", path=Path("/somewhere/x.bam"), sample="s", reference_cid="bafkref")
INDEX = AlignmentIndex(cid="bafkbai", alignment_cid="bafkbam")


def travelled(value: Any, kind: Any, wanted: Any = None) -> Any:
    async def there_and_back() -> Any:
        literal = await TypeEngine.to_literal(value, kind, TypeEngine.to_literal_type(kind))
        assert b"/somewhere" not in literal.SerializeToString()
        return await TypeEngine.to_python_value(literal, wanted or kind)

    return asyncio.run(there_and_back())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (ALIGNMENT, Alignment),
        (ALIGNMENT, Asset),
        (ALIGNMENT, Alignment | None),
        (None, Alignment | None),
        (ALIGNMENT, AlignmentIndex | Alignment),
        ([ALIGNMENT, ALIGNMENT], list[Alignment]),
        ([], list[Alignment]),
        ({"a": ALIGNMENT}, dict[str, Alignment]),
        ([{"a": [ALIGNMENT]}], list[dict[str, list[Alignment]]]),
    ],
)
def test_an_asset_travels_without_its_path(value: Any, kind: Any) -> None:
    back = travelled(value, kind)
    assert back == value
    for asset in [back] if isinstance(back, Asset) else []:
        assert asset.path is None
        assert type(asset) is type(value)


def test_an_asset_of_an_unknown_type_travels_as_it_is() -> None:
    bare = Asset(cid="bafkx", extra={"asset": "of_another_lab", "score": "7"})
    with pytest.warns(UserWarning, match="of_another_lab"):
        back = travelled(bare, Asset)
    assert back == bare


@pytest.mark.parametrize("form", ["dict", "json"])
def test_a_record_is_taken_for_an_asset(form: str) -> None:
    record = {"asset_key": "alignment", "cid": "bafkbam", "keyvalues": ALIGNMENT.keyvalues}
    assert travelled(record if form == "dict" else json.dumps(record), Alignment) == ALIGNMENT


@pytest.mark.parametrize("kind", [Alignment, Asset, Alignment | None, QcReport | Alignment])
def test_a_cid_is_taken_for_the_asset_that_is_registered_by_it(kind: Any) -> None:
    made = awaited(aligned, sample="by_cid").alignment
    assert travelled(made.cid, kind) == made
    assert travelled([made.cid, made], list[kind]) == [made, made]


def test_a_cid_that_is_not_registered_as_what_is_wanted_is_refused() -> None:
    two = awaited(aligned, sample="by_cid")
    for cid in (two.index.cid, two.alignment.provenance_cid):
        with pytest.raises(TypeTransformerFailedError, match=f"no alignment cid={cid}; the store holds 1 "):
            travelled(cid, Alignment)


@pytest.mark.parametrize(
    ("value", "kind", "complaint"),
    [
        (INDEX, Alignment, "expected Alignment, got AlignmentIndex"),
        (INDEX, Alignment | QcReport, "AlignmentIndex"),
        (Alignment(sample="s", reference_cid="bafkref"), Alignment, "has no CID"),
        ({"asset_key": "alignment"}, Alignment, "as JSON .asset_key, cid and keyvalues.: 'cid'"),
        ({"asset_key": "nonsense", "cid": "x"}, Alignment, "unknown asset type 'nonsense'"),
        ({"asset_key": "alignment", "cid": "x", "keyvalues": {"odd": "1"}}, Alignment, "odd"),
        ("no json", Alignment, "expected the CID of a registered file, or a record"),
        ("[1]", Alignment, "expected the CID of a registered file, or a record"),
        (7, Alignment, "expected Alignment, got int"),
    ],
)
def test_what_is_no_such_asset_is_refused(value: Any, kind: Any, complaint: str) -> None:
    with pytest.raises((TypeTransformerFailedError, TypeError), match=complaint):
        travelled(value, kind)


def test_a_literal_of_one_class_is_not_taken_for_another() -> None:
    with pytest.raises(
        (TypeTransformerFailedError, TypeError), match="expected AlignmentIndex, got Alignment"
    ):
        travelled(ALIGNMENT, Alignment, AlignmentIndex)


def test_the_literal_type_tells_nothing_about_other_classes() -> None:
    kind = TypeEngine.to_literal_type(Alignment)
    assert TypeEngine.guess_python_type(kind) is Asset
    assert "qc_report" not in str(kind)
    assert typing.cast(Any, kind.metadata)["title"] == "Alignment"


# deployment

DEPLOYING = """
import flyte, importlib
from stargazer.tasks.execution import AssetEnvironment
flyte.init(endpoint="dns:///localhost:9", insecure=True, project="p", domain="d", org="o")
names = ["reference", "germline.alignment", "germline.variants"]
modules = [importlib.import_module(f"stargazer.tasks.{name}") for name in names]
from stargazer.tasks import environments
for name in environments.__all__:
    done = flyte.deploy(getattr(environments, name), dry_run=True, copy_style="none", version="0.1.0")
    done = done if isinstance(done, list) else [done]
    for deployment in done:
        for deployed in deployment.envs.values():
            for entity in deployed.deployed_entities:
                template = entity.deployed_task.task_template
                print("task", template.id.name, list(template.container.args)[-5:])
"""


@pytest.mark.slow
def test_the_tasks_can_be_deployed() -> None:
    done = subprocess.run([sys.executable, "-c", DEPLOYING], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("task ")]
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("htslib.flagstat" in line and "'instance', 'flagstat'" in line for line in lines), done.stdout
