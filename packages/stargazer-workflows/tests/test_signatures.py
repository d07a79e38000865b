"""Signatures that are kept: what is known to fit is what a workflow takes, and whatever may not fit is looked at."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer.workflows import is_known_to_fit, keep_signature
from stargazer.workflows.arguments import convert
from stargazer.workflows.catalogue import Entry, Parameter

KINDS: dict[str, Any] = {
    "text": str,
    "texts": list[str],
    "choice": Literal["gatk", "deepvariant"],
    "number": int,
    "switch": bool,
    "optional": str | None,
    "either": Literal["auto"] | int,
}
TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["", " ", "none", "gatk", "auto", "true", "Yes", "7", "[", "[1]", '["a"]', "a,b", ",", "a, "]
    ),
)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path))
    module = ModuleType("flows")
    module.__file__ = str(tmp_path / "flows.py")
    Path(module.__file__).touch()
    monkeypatch.setitem(sys.modules, "flows", module)
    parameters = tuple(
        Parameter(name, kind, inspect.Parameter.empty if name == "text" else None)
        for name, kind in KINDS.items()
    )
    entry = Entry("flow", "workflow", "flows", "Does it.", "", parameters, lambda: None)
    keep_signature(entry)
    return entry


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(values=st.dictionaries(st.sampled_from([*KINDS, "unknown"]), TEXTS | st.lists(TEXTS, max_size=2)))
def test_what_is_known_to_fit_is_taken(kept: Entry, values: dict[str, Any]) -> None:
    if is_known_to_fit("flow", values):
        convert(kept, values)


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ({"text": "a"}, True),
        ({"text": ["a"], "choice": ["gatk"]}, True),
        ({"text": ["a", "b"]}, False),
        (
            {
                "text": "a",
                "texts": "a,b",
                "choice": "gatk",
                "switch": "no",
                "optional": "none",
                "either": "auto",
            },
            True,
        ),
        ({}, False),
        ({"text": "a", "choice": "gakt"}, False),
        ({"text": "a", "texts": '["a,b"]'}, False),
        ({"text": "a", "number": "7"}, False),
        ({"text": "a", "unknown": "x"}, False),
    ],
)
def test_choices_and_names_are_known(kept: Entry, values: dict[str, Any], fits: bool) -> None:
    assert is_known_to_fit("flow", values) is fits


def test_nothing_is_known_of_a_module_that_has_changed_or_of_another_workflow(kept: Entry) -> None:
    assert is_known_to_fit("flow", {"text": "a"})
    assert not is_known_to_fit("other", {"text": "a"})
    assert not is_known_to_fit("../flow", {"text": "a"})
    Path(str(sys.modules["flows"].__file__)).write_text("# another one")
    assert not is_known_to_fit("flow", {"text": "a"})
