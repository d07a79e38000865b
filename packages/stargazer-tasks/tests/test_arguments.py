"""Types are checked before anything starts: of tasks and workflows, under a plain await as under flyte.run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)

import flyte
import pytest
from stargazer.assets import Asset, InvalidAssetError, IpFile
from stargazer.assets.catalogue import R1, R2, Alignment, QcReport, Reference
from stargazer.storage import get_client
from stargazer.tasks.execution import AssetEnvironment, Event, WorkflowEnvironment, observe, workspace
from stargazer.tasks.execution.values import bound_arguments
from stargazer.tasks.germline.alignment import align_with_bwa_mem3, flagstat

if TYPE_CHECKING:
    from fractions import Fraction

env = AssetEnvironment(name="typed")
flow = WorkflowEnvironment(name="typed_flow", depends_on=[env])


class Strand(Enum):
    FORWARD = "+"
    REVERSE = "-"


class Other(Enum):
    FORWARD = "+"


class Mates(NamedTuple):
    r1: R1
    r2: R2


class Named(NamedTuple):
    sample: str
    depth: int


class Opens(Protocol):
    def open(self) -> None: ...


class Options(TypedDict):
    depth: int


class LongReads(Alignment):
    """A class of a user, without a key of its own."""


T = TypeVar("T")
Reads = TypeVar("Reads", R1, R2)
Bound = TypeVar("Bound", bound=Alignment)
SampleName = NewType("SampleName", str)


def stored(kind: type[Asset], name: str, **fields: Any) -> Any:
    record = IpFile(cid=f"bafk{name}", name=name)
    return kind(cid=record.cid, record=record, **fields)


R1_FILE, R2_FILE = stored(R1, "x_R1.fq", sample="S"), stored(R2, "x_R2.fq", sample="S")
BAM = stored(Alignment, "x.bam", sample="S", reference_cid="bafkref")
LONG = stored(LongReads, "long.bam", sample="S", reference_cid="bafkref")
FASTA = stored(Reference, "ref.fa", build="T")
BARE = Asset(cid="bafkfoo", record=IpFile(cid="bafkfoo", name="x.foo"), extra={"asset": "foo"})


def told(annotation: Any, value: Any) -> str:
    """What is said of a value; "" where it is taken."""

    async def task(value: Any) -> None: ...

    task.__annotations__ = {"value": annotation}
    try:
        bound = bound_arguments(task, (value,), {})
    except InvalidAssetError as error:
        return str(error)
    assert bound.arguments["value"] is value
    return ""


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (R1, R1_FILE),
        (Alignment, LONG),
        (Asset, R1_FILE),
        (Asset, BARE),
        (R1 | None, R1_FILE),
        (R1 | None, None),
        (Optional[R1], None),  # noqa: UP045
        (Union[R1, R2], R2_FILE),  # noqa: UP007
        (Annotated[R1, "of a lane"], R1_FILE),
        (list[Alignment], [BAM, LONG]),
        (list[Alignment], []),
        (list, [1, "a"]),
        (Sequence[Alignment], (BAM,)),
        (dict[str, R1 | R2], {"a": R1_FILE, "b": R2_FILE}),
        (Mapping[str, list[R1]], {"a": [R1_FILE], "b": []}),
        (tuple[R1, R2], (R1_FILE, R2_FILE)),
        (tuple[R1, ...], (R1_FILE, R1_FILE)),
        (Mates, Mates(R1_FILE, R2_FILE)),
        (Mates, (R1_FILE, R2_FILE)),  # as Flyte hands it on
        (Literal["bwa", 2], "bwa"),
        (Literal["bwa", 2], 2),
        (Strand, Strand.FORWARD),
        (Strand | str, "+"),
        (str, "12345"),
        (int, -1),
        (float, 1.0),
        (float | int, 1),
        (bool, True),
        (None, None),
        (list[dict[str, Any]], [{"a": object()}]),
        (Any, object()),
        (object, None),
        (T, "x"),
        (Reads, R2_FILE),
        (Bound, LONG),
        (SampleName, SampleName("S")),
        (list[SampleName], ["S"]),
        (Sequence[str], ["S"]),
        (Opens, "x"),
        (Options, {"depth": 1}),
        (Callable[[], int], len),
        ("Absent", 1),
    ],
)
def test_what_is_right_is_taken(annotation: Any, value: Any) -> None:
    assert told(annotation, value) == ""


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (R1, R2_FILE, "value takes an R1, got an R2 (x_R2.fq, bafkx_R2.fq)"),
        (Alignment, FASTA, "value takes an Alignment, got a Reference (ref.fa, bafkref.fa)"),
        (LongReads, BAM, "value takes a LongReads, got an Alignment (x.bam, bafkx.bam)"),
        (R1, BARE, "value takes an R1, got an Asset, unknown or malformed as 'foo' (x.foo, bafkfoo)"),
        (R1, R2(sample="S"), "value takes an R1, got an R2 (not stored)"),
        (R1, None, "value takes an R1, got None"),
        (R1, "bafkx", "value takes an R1, got a str ('bafkx')"),
        (R1, IpFile(cid="b"), "value takes an R1, got an IpFile (IpFile("),
        (R1 | None, R2_FILE, "value takes an R1 or None, got an R2"),
        (Union[R1, Alignment], R2_FILE, "value takes an R1 or an Alignment, got an R2"),  # noqa: UP007
        (Annotated[R1, "x"], R2_FILE, "value takes an R1, got an R2"),
        (list[R1], [R1_FILE, R2_FILE], "value[1] takes an R1, got an R2"),
        (
            list[R1],
            R1_FILE,
            "value takes a list of R1, got an R1 (x_R1.fq, bafkx_R1.fq): give a list, even of one",
        ),
        (list[R1] | None, [R2_FILE], "value[0] takes an R1, got an R2"),
        (list[R1], (R1_FILE,), "value takes a list of R1, got a tuple"),
        (list[str], "S", "value takes a list of str, got a str ('S'): give a list, even of one"),
        (Sequence[R1], [R2_FILE], "value[0] takes an R1, got an R2"),
        (dict[str, R1], {"a": R2_FILE}, "value['a'] takes an R1, got an R2"),
        (dict[str, int], {1: 1}, "the key 1 of value takes a str, got an int (1)"),
        (dict[str, list[R1]], {"a": [R1_FILE, None]}, "value['a'][1] takes an R1, got None"),
        (dict[str, R1], [R1_FILE], "value takes a dict of str, R1, got a list"),
        (tuple[R1, R2], (R2_FILE, R1_FILE), "value[0] takes an R1, got an R2"),
        (tuple[R1, R2], (R1_FILE,), "value takes a tuple of R1, R2, got a tuple"),
        (tuple[R1, ...], (R1_FILE, R2_FILE), "value[1] takes an R1, got an R2"),
        (Mates, Mates(R2_FILE, R1_FILE), "value.r1 takes an R1, got an R2"),
        (Mates, R1_FILE, "value takes a Mates, got an R1"),
        (Literal["bwa", 2], "bwamem", "value takes 'bwa' or 2, got a str ('bwamem')"),
        (Literal[1], True, "value takes 1, got a bool (True)"),
        (Strand, "+", "value takes a Strand (Strand.FORWARD, Strand.REVERSE), got a str ('+')"),
        (Strand, Other.FORWARD, "got an Other (<Other.FORWARD: '+'>)"),
        (str, 12345, "value takes a str, got an int (12345)"),
        (str, Path("x.fq"), "value takes a str, got a PosixPath"),
        (str, b"S", "value takes a str, got a bytes"),
        (int, True, "value takes an int, got a bool (True)"),
        (int, 1.0, "value takes an int, got a float (1.0)"),
        (int, "1", "value takes an int, got a str ('1')"),
        (float, 30, "value takes a float, got an int (30): give 30.0"),
        (float, True, "value takes a float, got a bool (True)"),
        (bool, 1, "value takes a bool, got an int (1)"),
        (int | None, "x" * 99, "value takes an int or None, got a str ('xxx"),
        (None, 1, "value takes None, got an int (1)"),
        (Sequence[Alignment], "bafkx", "value takes a Sequence of Alignment, got a str ('bafkx')"),
        (
            Sequence[str],
            "NA12878",
            "value takes a Sequence of str, got a str ('NA12878'): give a list, even of one",
        ),
        (
            Sequence[str] | None,
            "S",
            "value takes a Sequence of str or None, got a str ('S'): give a list, even of one",
        ),
        (SampleName, 7, "value takes a str, got an int (7)"),
        (list[SampleName], [7], "value[0] takes a str, got an int (7)"),
        (Reads, BAM, "value takes an R1 or an R2, got an Alignment"),
        (Bound, R1_FILE, "value takes an Alignment, got an R1"),
    ],
)
def test_what_is_wrong_is_named(annotation: Any, value: Any, expected: str) -> None:
    said = told(annotation, value)

    assert said.startswith("task: ")
    assert expected in said
    assert len(said) < 200


def test_a_name_that_is_not_there_at_run_time_takes_anything() -> None:
    async def task(share: Fraction) -> None: ...

    assert bound_arguments(task, (1,), {}).arguments == {"share": 1}


def test_a_default_is_the_authors_affair() -> None:
    async def task(intervals: str = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    assert bound_arguments(task, (), {}).arguments == {"intervals": None}


@env.task
async def paired(r1: R1, r2: R2, lanes: int = 1) -> QcReport:
    (workspace() / "made").touch()
    return QcReport(path=workspace() / "made", kind="made")


@flow.task
async def both(r1: R1, r2: R2, lanes: int = 1) -> QcReport:
    return await paired(r1, r2, lanes)


def awaited(task: Any, **inputs: Any) -> None:
    asyncio.run(task(**inputs))


def under_flyte(task: Any, **inputs: Any) -> None:
    flyte.with_runcontext(mode="local").run(task, **inputs)


@pytest.mark.parametrize("run", [awaited, under_flyte])
@pytest.mark.parametrize("task", [paired, both])
@pytest.mark.parametrize(
    "wrong", [{"r1": R2_FILE, "r2": R1_FILE}, {"r2": None}, {"r1": BARE}, {"lanes": True}, {"lanes": "1"}]
)
def test_a_task_and_a_workflow_refuse_it_either_way(
    run: Callable[..., None], task: Any, wrong: dict[str, Any]
) -> None:
    events: list[Event] = []
    with observe(events.append), pytest.raises((InvalidAssetError, TypeError, flyte.errors.RuntimeUserError)):
        run(task, **{"r1": R1_FILE, "r2": R2_FILE} | wrong)

    assert events == []
    assert not get_client().store.query({})  # type: ignore[attr-defined]


@pytest.mark.parametrize("task", [paired, both])
def test_reads_in_the_wrong_order_are_said_to_be(task: Any) -> None:
    with pytest.raises(InvalidAssetError) as refused:
        awaited(task, r1=R2_FILE, r2=R1_FILE)

    name = task.func.__name__
    assert str(refused.value) == f"{name}: r1 takes an R1, got an R2 (x_R2.fq, bafkx_R2.fq): it is for r2"


def test_the_tasks_of_the_catalogue_name_what_they_take() -> None:
    with pytest.raises(InvalidAssetError, match=re.escape("align_with_bwa_mem3: r1 takes an R1, got an R2")):
        awaited(align_with_bwa_mem3, r1=R2_FILE, r2=R1_FILE, index=FASTA)
    with pytest.raises(InvalidAssetError, match="flagstat: alignment takes an Alignment, got a Reference"):
        awaited(flagstat, alignment=FASTA)


def test_what_was_not_awaited_is_said_to_be() -> None:
    async def main() -> None:
        made = flow_of_one("x")
        try:
            await flow_of_one(made)
        finally:
            assert await made == "x"

    with pytest.raises(InvalidAssetError, match=r"text takes a str, got a coroutine .*: await it first"):
        asyncio.run(main())


@flow.task
async def flow_of_one(text: str) -> str:
    return text


KINDS: dict[str, Any] = {
    "int": int, "float": float, "str": str, "bool": bool, "optional": int | None, "either": int | str,
    "literal": Literal["x", "y"], "enum": Strand, "list": list[int], "optional_list": list[str] | None,
    "dict": dict[str, int], "tuple": tuple[int, str], "named": Named,
}  # fmt: skip
VALUES = [
    1,
    True,
    1.0,
    "x",
    "+",
    None,
    Strand.FORWARD,
    [1],
    [True],
    ["a"],
    (1,),
    (1, "a"),
    {"k": 1},
    {"k": "v"},
]
VALUES += [Named("S", 1)]


def taking(name: str, annotation: Any) -> Any:
    async def probe(value: Any) -> str:
        return type(value).__name__

    probe.__name__ = probe.__qualname__ = f"probe_{name}"
    probe.__annotations__ = {"value": annotation, "return": str}
    return flow.task(probe)


PROBES = {name: taking(name, annotation) for name, annotation in KINDS.items()}


@pytest.mark.parametrize("name", KINDS)
def test_a_plain_await_takes_what_flyte_takes(name: str) -> None:
    def taken(run: Callable[..., None]) -> list[Any]:
        found = []
        for value in VALUES:
            try:
                run(PROBES[name], value=value)
            except Exception:
                continue
            found.append(value)
        return found

    by_await = taken(awaited)
    assert by_await
    assert repr(by_await) == repr(taken(under_flyte))
