"""What a task may return, what is refused, and what is written down about it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import flyte
import pytest
from attrs import frozen
from stargazer.assets import (
    Asset,
    AssetNotFoundError,
    ConfigurationError,
    InvalidAssetError,
    StargazerError,
    ToolError,
    use_client,
)
from stargazer.assets.catalogue import Alignment, AlignmentIndex, QcReport, Reference
from stargazer.assets.provenance import Execution
from stargazer.storage import LocalStorageClient, Store, get_client
from stargazer.tasks.execution import AssetEnvironment, Event, WorkflowEnvironment, log_to, observe, workspace
from stargazer.tasks.tools import OnPath, ResolvedTool, Tool

env = AssetEnvironment(name="results")
flow = WorkflowEnvironment(name="results_flow", depends_on=[env])


@frozen
class Here:
    """A tool that is wherever Python is."""

    kind: str = "wheel"

    def find(self, name: str) -> ResolvedTool:
        script = (
            "import os, sys; open(sys.argv[1], 'w').write(sys.argv[2]); print('secret?', dict(os.environ))"
        )
        return ResolvedTool(
            name=name, version="1.2", source="wheel writer==1.2", argv=(sys.executable, "-c", script)
        )

    def describe(self) -> str:
        return "here"


writer = Tool("writer", (Here(),))


@env.task
async def step(text: str, before: QcReport | None) -> QcReport:
    name = "second" if before else "first"
    (workspace() / name).write_text(text)
    return QcReport(path=workspace() / name, kind=name)


@flow.task
async def two_steps(text: str) -> QcReport:
    return await step(text, await step(text, None))


class Two(NamedTuple):
    alignment: Alignment
    index: AlignmentIndex


def write(name: str, text: str = "text") -> Path:
    path = workspace() / name
    path.write_text(text)
    return path


def report(name: str = "report.json", text: str = "text") -> QcReport:
    return QcReport(path=write(name, text), kind=name)


@env.task
async def one(text: str = "text") -> QcReport:
    return report(text=text)


@env.task
async def named() -> Two:
    alignment = Alignment(path=write("a.bam", "bam"), sample="s", reference_cid="bafkref")
    return Two(alignment, AlignmentIndex(path=write("a.bai", "bai"), alignment_cid=alignment))


@env.task
async def several(count: int) -> list[QcReport]:
    return [report(f"{number}", str(number)) for number in range(count)]


@env.task
async def by_name() -> dict[str, QcReport]:
    return {"b": report("b", "b"), "a": report("a", "a")}


@env.task
async def perhaps(wanted: bool) -> QcReport | None:
    return report() if wanted else None


@env.task
async def nested() -> tuple[dict[str, list[Two]], int]:
    return {"all": [await body_of(named)()]}, 7


@env.task
async def perhaps_named(wanted: bool) -> Two | None:
    return await body_of(named)() if wanted else None


@env.task
async def scalars() -> dict[str, list[float] | str | None]:
    return {"asset": "x", "numbers": [1.5, 2.0], "none": None}


@env.task
async def nothing() -> None:
    write("ignored")


@env.task
async def handed_on(given: QcReport, extra: str = "") -> list[QcReport]:
    return [given, report(text="made of it " + given.path.read_text())]


@env.task
async def twice() -> tuple[QcReport, QcReport]:
    made = report()
    return made, made


def body_of(task: Any) -> Callable[..., Awaitable[Any]]:
    body: Callable[..., Awaitable[Any]] = task.func.__wrapped__
    return body


def store() -> Store:
    return get_client().store


def records() -> list[str]:
    return sorted(file.keyvalues["asset"] for file in store().query({}))


def run(task: Any, *args: Any, **kwargs: Any) -> tuple[Any, list[Event]]:
    """Run a task and return what it gave and what was told about it."""
    events: list[Event] = []

    async def call() -> Any:
        with observe(events.append):
            return await task(*args, **kwargs)

    return asyncio.run(call()), events


SHAPES = [
    (one, ()),
    (named, ()),
    (several, (3,)),
    (several, (0,)),
    (by_name, ()),
    (perhaps, (True,)),
    (perhaps, (False,)),
    (perhaps_named, (True,)),
    (perhaps_named, (False,)),
    (nested, ()),
    (scalars, ()),
    (nothing, ()),
    (twice, ()),
]


@pytest.mark.parametrize(("task", "args"), SHAPES, ids=lambda value: getattr(value, "name", str(value)))
def test_the_memo_gives_what_the_body_gave(task: Any, args: tuple[Any, ...]) -> None:
    first, events = run(task, *args)
    second, more = run(task, *args)
    assert [event.kind for event in events] == ["waiting", "started", "finished"]
    assert [event.kind for event in more] == ["memo hit"]
    assert second == first
    assert repr(second) == repr(first)  # paths and provenance too
    assert type(second) is type(first)


def test_results_are_stored_and_their_workspace_is_gone() -> None:
    made, _ = run(named)
    assert made.alignment.path.read_text() == "bam"
    assert made.alignment.path == store().objects.path(made.alignment.cid)
    assert made.index.alignment_cid == made.alignment.cid
    assert made.alignment.provenance_cid == made.index.provenance_cid
    assert not os.access(made.alignment.path, os.W_OK) or os.geteuid() == 0
    assert list(store().objects.work.iterdir()) == []
    assert list((store().root / "tmp").iterdir()) == []


@env.task
async def circle() -> Two:
    index = AlignmentIndex(path=write("a.bai", "bai"), alignment_cid="later")
    alignment = Alignment(path=write("a.bam", "bam"), sample="s", reference_cid="bafkref")
    index.alignment_cid = alignment
    return Two(alignment, index)


def test_a_result_may_link_to_one_that_comes_later_or_before() -> None:
    made, _ = run(circle)
    assert made.index.alignment_cid == made.alignment.cid


def test_an_input_handed_on_stays_the_record_it_was() -> None:
    given, _ = run(one)
    (again, made), _ = run(handed_on, given)
    (remembered, _), events = run(handed_on, given)
    assert again == given
    assert again.provenance_cid == given.provenance_cid
    assert again.path.read_text() == "text"  # of the store, not of the workspace
    assert remembered.path == again.path
    assert made.path.read_text() == "made of it text"
    assert events[-1].kind == "memo hit"
    assert records() == ["provenance", "provenance", "qc_report", "qc_report"]


def test_positions_names_and_defaults_make_the_same_call() -> None:
    given, _ = run(one)
    run(handed_on, given, "")
    for args, kwargs in [
        ((), {"given": given}),
        ((given,), {"extra": ""}),
        ((), {"extra": "", "given": given}),
    ]:
        assert run(handed_on, *args, **kwargs)[1][-1].kind == "memo hit"
    assert run(handed_on, given, "x")[1][-1].kind == "finished"


# what is refused


@env.task
async def without_path() -> list[QcReport]:
    return [report(), QcReport(kind="x")]


@env.task
async def missing() -> list[QcReport]:
    return [report(), QcReport(path=workspace() / "nowhere.json", kind="x")]


@env.task
async def empty() -> Two:
    made = await body_of(named)()
    made.index.path.write_text("")
    return Two(*made)


@env.task
async def outside(path: str) -> list[QcReport]:
    return [report(), QcReport(path=Path(path), kind="x")]


@env.task
async def linked_outside(path: str) -> QcReport:
    (workspace() / "link").symlink_to(path)
    return QcReport(path=workspace() / "link", kind="x")


@env.task
async def input_again(given: QcReport) -> QcReport:
    return given.evolve(path=given.path, kind="renamed")


@env.task
async def shared_file() -> list[QcReport]:
    return [report(), QcReport(path=workspace() / "report.json", kind="other")]


@env.task
async def folder() -> QcReport:
    made = workspace() / "folder"
    made.mkdir()
    (made / "file").write_text("x")
    return QcReport(path=made, kind="x")


@env.task
async def not_json() -> Any:
    report()
    return {1, 2}


@env.task
async def bad_field() -> list[Alignment]:
    alignment = Alignment(path=write("a.bam"), sample="s", reference_cid="bafkref")
    alignment.sample = 7  # type: ignore[assignment]
    return [alignment]


@env.task
async def link_to_nothing() -> AlignmentIndex:
    alignment = Alignment(path=write("a.bam"), sample="s", reference_cid="bafkref")
    return AlignmentIndex(path=write("a.bai"), alignment_cid=alignment)


@pytest.mark.parametrize(
    ("task", "error", "complaint"),
    [
        (without_path, InvalidAssetError, r"results\.without_path: the result 'result\[1\]' has no path"),
        (
            missing,
            ToolError,
            r"results\.missing \(result\[1\]\) wrote nothing: .*'nowhere\.json' does not exist",
        ),
        (empty, ToolError, r"results\.empty \(index\) wrote nothing: .*'a\.bai' is empty"),
        (shared_file, InvalidAssetError, r"'result\[0\]' and 'result\[1\]' are the same file 'report\.json'"),
        (folder, InvalidAssetError, r"is no file: 'folder'; pack\(folder, archive\)"),
        (
            not_json,
            InvalidAssetError,
            r"results\.not_json: the result: a set is neither an asset nor plain data",
        ),
        (bad_field, InvalidAssetError, "sample"),
        (link_to_nothing, InvalidAssetError, "points at a alignment that is not stored yet"),
    ],
)
def test_a_result_that_cannot_be_is_refused_and_nothing_registered(
    task: Any, error: type[StargazerError], complaint: str
) -> None:
    for _ in range(2):  # not remembered either
        with pytest.raises(error, match=complaint):
            run(task)
    assert records() == []
    assert list(store().objects.work.iterdir()) == []


@pytest.mark.parametrize("task", [outside, linked_outside])
def test_a_file_of_the_user_is_never_taken(task: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    mode = mine.stat().st_mode
    with pytest.raises(
        InvalidAssetError, match=r"outside of the task's workspace: .* copy it into workspace"
    ):
        run(task, str(mine))
    assert mine.read_text() == "mine"
    assert mine.stat().st_mode == mode
    assert records() == []


def test_the_file_of_an_input_is_not_moved_but_refused() -> None:
    given, _ = run(one)
    with pytest.raises(InvalidAssetError, match=r"is a link to a file outside .* return the input itself"):
        run(input_again, given)
    assert given.path.read_text() == "text"


@env.task
async def links_within() -> QcReport:
    write("real", "real")
    (workspace() / "latest").symlink_to("real")
    return QcReport(path=Path("latest"), kind="relative")  # and relative to the workspace


def test_a_link_within_the_workspace_and_a_relative_path_are_followed() -> None:
    made, _ = run(links_within)
    assert made.path.read_text() == "real"
    assert not made.path.is_symlink()


@env.task
async def same_bytes() -> list[QcReport]:
    return [report("a"), report("b")]


def test_equal_bytes_under_two_meanings_are_one_object_and_two_records() -> None:
    made, _ = run(same_bytes)
    assert made[0].cid == made[1].cid
    assert records() == ["provenance", "qc_report", "qc_report"]


# calls that cannot be


def test_an_input_without_cid_is_refused_by_its_name() -> None:
    with pytest.raises(AssetNotFoundError, match=r"results\.handed_on: given has no CID"):
        run(handed_on, QcReport(kind="x"))


@env.task
async def anything(value: Any) -> None:
    return None


def test_an_argument_that_is_not_json_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidAssetError, match="value: a PosixPath is neither an asset nor plain data"):
        run(anything, Path("x"))


def test_wrong_arguments_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="given"):
        run(handed_on)


def test_a_client_without_a_local_store_is_refused() -> None:
    class Elsewhere:
        views = Path("views")

    with use_client(Elsewhere()), pytest.raises(ConfigurationError, match=r"local store.*Elsewhere has none"):  # type: ignore[arg-type]
        run(one)


def test_a_task_is_an_async_function() -> None:
    with pytest.raises(ConfigurationError, match="blocking of 'results': a task is an async function"):

        @env.task
        def blocking() -> None: ...


@env.task
async def assembling() -> QcReport:
    return await QcReport.one(kind="x")


@env.task
async def calling() -> QcReport:
    return await one()  # type: ignore[no-any-return]


@flow.task
async def fine() -> QcReport:
    await one()
    return await QcReport.one(kind="report.json")


def test_a_task_takes_its_assets_and_a_workflow_finds_them() -> None:
    with pytest.raises(
        StargazerError, match=r"results\.assembling is a task: .* assemble them in a workflow"
    ):
        run(assembling)
    assert run(fine)[0].kind == "report.json"


def test_a_task_inside_a_task_would_wait_for_itself() -> None:
    with pytest.raises(ConfigurationError, match=r"results\.one is a task, and results\.calling too"):
        run(calling)


def test_workspace_belongs_to_a_running_task() -> None:
    with pytest.raises(RuntimeError, match="call it inside one"):
        workspace()


# what is written down


@env.task(tools=[writer])
async def documented(
    given: QcReport, reads: list[QcReport], mixed: dict[str, Any], depth: int = 3
) -> QcReport:
    await writer(workspace() / "out.txt", given.path.read_text())
    return QcReport(path=workspace() / "out.txt", kind="out")


def test_provenance_tells_all_but_secrets_and_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOME_TOKEN", "s3cret-in-environment")
    given, _ = run(one)
    with log_to(tmp_path / "logs"):
        made, events = run(documented, given, [given, given], {"label": "x", "report": given})
    document = store().document(made.provenance_cid)
    assert isinstance(document, Execution)
    assert document.task == "results.documented"
    assert document.commands == [["writer", "out.txt", "text"]]
    (tool,) = document.tools
    assert (tool.name, tool.version, tool.source) == ("writer", "1.2", "wheel writer==1.2")
    assert document.parameters == {
        "depth": 3,
        "mixed": {"label": "x", "report": {"asset": "mixed['report']"}},
    }
    roles = ["given", "reads[0]", "reads[1]", "mixed['report']"]
    assert [entry.role for entry in document.inputs] == roles
    assert document.inputs[0].keyvalues == {"asset": "qc_report", "kind": "report.json"}
    assert document.inputs[0].provenance_cid == given.provenance_cid
    (output,) = document.outputs
    assert (output.role, output.cid, output.keyvalues["kind"]) == ("result", made.cid, "out")
    assert document.code_digest
    assert document.run_key
    texts = [store().read(file.cid).read_text() for file in store().query({"asset": "provenance"})]
    assert len(texts) == 2
    for text in texts:
        for hidden in (
            "s3cret",
            str(store().root),
            os.environ["STARGAZER_HOME"],
            str(Path.home()),
            sys.executable,
        ):
            assert hidden not in text
    (log,) = (tmp_path / "logs").iterdir()
    assert "secret?" in log.read_text()
    assert "s3cret" not in log.read_text()
    assert events[-1].kind == "finished"


@env.task(tools=[Tool("absent", (OnPath("no-such-program"),))])
async def needs_absent() -> QcReport:
    return report()


def test_a_missing_tool_is_known_before_anything_starts() -> None:
    with pytest.raises(ToolError, match="absent was not found"):
        run(needs_absent)


class Custom(Exception):
    def __init__(self, code: int):
        super().__init__(f"code {code}")
        self.code = code


@env.task
async def failing() -> QcReport:
    report()
    raise Custom(3)


def test_an_exception_of_the_body_passes_through_and_is_told() -> None:
    events: list[Event] = []
    with observe(events.append), pytest.raises(Custom) as caught:
        asyncio.run(failing())
    assert caught.value.code == 3
    assert (events[-1].kind, events[-1].note) == ("failed", "code 3")
    assert records() == []


def test_an_observer_that_fails_fails_nothing() -> None:
    def broken(event: Event) -> None:
        raise BrokenPipeError("no terminal")

    with (
        observe(broken),
        pytest.warns(UserWarning, match=r"observer of results\.one failed: BrokenPipeError"),
    ):
        assert asyncio.run(one()).cid


def test_the_label_names_samples_and_lanes() -> None:
    made, _ = run(named)

    @env.task
    async def labelled(alignments: list[Alignment]) -> None: ...

    assert {event.label for event in run(labelled, [made.alignment, made.alignment])[1]} == {"s"}


def test_a_bare_asset_of_an_unknown_type_is_taken() -> None:
    given, _ = run(one)

    @env.task
    async def any_kind(file: Asset) -> str:
        return file.path.read_text()

    assert run(any_kind, Asset(cid=given.cid, extra={"asset": "unknown"}))[0] == "text"


def test_a_reference_of_other_fields_is_another_input() -> None:
    made, _ = run(one)

    @env.task
    async def build(reference: Reference) -> str:
        return reference.build

    assert run(build, Reference(cid=made.cid, build="a"))[0] == "a"
    assert run(build, Reference(cid=made.cid, build="b"))[0] == "b"


@pytest.mark.parametrize("way", ["awaited", "flyte.run"])
def test_only_what_the_outermost_call_returns_is_handed_over(tmp_path, way, monkeypatch):
    client, handed = LocalStorageClient(tmp_path / "store"), []
    monkeypatch.setattr(
        client.store, "hand_over", lambda records: handed.extend(each.keyvalues["kind"] for each in records)
    )

    with use_client(client):
        if way == "awaited":
            asyncio.run(two_steps("a"))
        else:
            flyte.with_runcontext(mode="local").run(two_steps, "a")
    assert handed == ["second"]

    with use_client(client):
        asyncio.run(step("b", None))
    assert handed[1:] == ["first"]
