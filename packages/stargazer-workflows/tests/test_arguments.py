"""Arguments: what people type and what programs send becomes what a signature asks for, or a useful refusal."""

from __future__ import annotations

import enum
import inspect
from typing import Any, Literal

import pytest
from stargazer.assets import InvalidAssetError
from stargazer.workflows.arguments import command_line, convert, sample_arguments, usage
from stargazer.workflows.catalogue import Entry, Parameter


class Strand(enum.Enum):
    FORWARD = "forward"
    REVERSE = "reverse"


def entry(**annotations: Any) -> Entry:
    """A workflow with these parameters, all required."""
    parameters = tuple(Parameter(name, kind, inspect.Parameter.empty) for name, kind in annotations.items())
    return Entry("flow", "workflow", "somewhere", "Does it.", "", parameters, lambda: None)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (str, "x", "x"),
        (str, ["x"], "x"),
        (str, "a,b", "a,b"),
        (int, "7", 7),
        (int, 7, 7),
        (int, 7.0, 7),
        (float, "0.5", 0.5),
        (float, 2, 2.0),
        (bool, "true", True),
        (bool, "No", False),
        (bool, False, False),
        (list[str], "a,b", ["a", "b"]),
        (list[str], "a", ["a"]),
        (list[str], ["a", "b"], ["a", "b"]),
        (list[str], ["a,b", "c"], ["a", "b", "c"]),
        (list[str], '["a,b", "c"]', ["a,b", "c"]),
        (list[str], "chr1, chr2", ["chr1", "chr2"]),
        (list[str], "", []),
        (list[int], "1,2", [1, 2]),
        (tuple[str, ...], "a,b", ("a", "b")),
        (Literal["a", "b"], "b", "b"),
        (Literal[1, 2], "2", 2),
        (Literal["a"] | Literal["none"], None, "none"),
        (Strand, "reverse", Strand.REVERSE),
        (str | None, None, None),
        (str | None, "none", None),
        (str | None, ["none"], None),
        (str | None, "x", "x"),
        (list[str] | None, ["none"], None),
        (list[str] | None, "a,b", ["a", "b"]),
        (int | str, "7", 7),
        (int | str, "x", "x"),
    ],
)
def test_values_are_converted(kind: Any, given: Any, value: Any) -> None:
    found = convert(entry(x=kind), {"x": given})["x"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (str, 5),
        (str, ["a", "b"]),
        (str, ""),
        (int, "seven"),
        (int, 7.5),
        (int, True),
        (float, "half"),
        (float, "nan"),
        (float, "1e999"),
        (float, 10**400),
        (int, float("inf")),
        (int, 10**400),
        (bool, "maybe"),
        (bool, 2),
        (list[str], 5),
        (list[int], "1,x"),
        (list[str], {"a": 1}),
        (Literal["a", "b"], "c"),
        (Literal["a", "b"], None),
        (Strand, "up"),
        (str, None),
    ],
)
def test_values_that_do_not_fit_are_refused(kind: Any, given: Any) -> None:
    with pytest.raises(InvalidAssetError, match="x: expected "):
        convert(entry(x=kind), {"x": given})


def test_the_refusal_shows_everything_that_is_wrong_and_an_example() -> None:
    flow = entry(samples=list[str], build=str, depth=int)
    with pytest.raises(InvalidAssetError) as raised:
        convert(flow, {"sample": "A", "depth": "deep"})
    text = str(raised.value)
    assert "unknown argument 'sample' (did you mean 'samples'?)" in text
    assert "samples is missing; build is missing" in text
    assert "depth: expected whole number, got 'deep'" in text
    assert text.endswith("for example: stargazer run flow samples=NA12878,NA12891 build=GRCh38 depth=1")


def test_the_example_can_be_of_another_kind() -> None:
    with pytest.raises(InvalidAssetError, match="for example: call me flow"):
        convert(entry(x=str), {}, example=lambda flow: f"call me {flow.name}")


def test_defaults_are_left_to_the_workflow() -> None:
    flow = Entry("flow", "workflow", "m", "s", "", (Parameter("x", int, 3, "how many."),), lambda: None)
    assert convert(flow, {}) == {}
    assert usage(flow) == ["  x (whole number; default 3): how many."]
    assert command_line(flow) == "stargazer run flow"


def test_the_example_of_every_workflow_can_be_given() -> None:
    from stargazer.workflows.catalogue import entries

    for flow in entries("workflow"):
        assert convert(flow, sample_arguments(flow)) == sample_arguments(flow)
