"""The catalogue: tasks and workflows of installed distributions, with what signatures and docstrings say."""

from __future__ import annotations

from typing import Literal

import pytest
from stargazer.assets import Alignment, InvalidAssetError
from stargazer.workflows.catalogue import describe_type, entries, find_entry


def test_workflows_come_first_by_name() -> None:
    found = entries()
    kinds = [entry.kind for entry in found]
    assert kinds == sorted(kinds, reverse=True)
    names = [entry.name for entry in found if entry.kind == "workflow"]
    assert names == sorted(names)
    assert {"prepare_reference", "preprocess_sample", "germline_short_variant_discovery"} <= set(names)


def test_every_one_of_them_says_what_it_does() -> None:
    for entry in entries():
        assert entry.summary, entry.name
        assert entry.module.startswith("stargazer."), entry.name


def test_everything_that_has_to_be_given_is_explained() -> None:
    for entry in entries("workflow"):
        for parameter in entry.parameters:
            assert parameter.text or not parameter.required, (entry.name, parameter.name)


def test_what_a_module_only_imports_is_not_its_own() -> None:
    names = [entry.name for entry in entries()]
    assert len(names) == len(set(names))


def test_search_wants_every_word() -> None:
    assert [entry.name for entry in entries("task", "flag duplicate pairs")] == ["mark_duplicates", "markdup"]
    assert entries(search="duplicate nonsense") == []


def test_parameters_carry_type_default_and_text() -> None:
    build, contigs, *_ = find_entry("prepare_reference").parameters
    assert build.required
    assert not contigs.required
    assert contigs.default is None
    assert "GRCh38" in build.text


@pytest.mark.parametrize("name", ["prepare_refrence", "prepare", "PREPARE_REFERENCE"])
def test_a_name_that_is_nearly_one_is_suggested(name: str) -> None:
    with pytest.raises(InvalidAssetError, match="prepare_reference"):
        find_entry(name)


def test_a_task_is_no_workflow() -> None:
    with pytest.raises(InvalidAssetError, match="no workflow 'flagstat'"):
        find_entry("flagstat")


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (str, "text"),
        (bool, "true or false"),
        (list[str], "list of text"),
        (list[str] | None, "list of text or none"),
        (Literal["a", "b"], "one of a, b"),
        (Literal["a", "b"] | Literal["none"], "one of a, b, none"),
        (int | None, "whole number or none"),
        (list[Alignment], "list of alignment"),
        (dict[str, list[Alignment]], "dictionary of list of alignment"),
    ],
)
def test_types_in_words(annotation: object, words: str) -> None:
    assert describe_type(annotation) == words
