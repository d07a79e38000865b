"""Typed values and their text: exact both ways, strict in both, and errors that say what is allowed."""

from __future__ import annotations

import math
from enum import Enum, IntEnum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stargazer.assets import Companion, Derived, InvalidAssetError, Reference
from stargazer.assets.declaration import LinkKind, link_of
from stargazer.assets.keyvalues import composed, decode, describe, encode, optional, plain, storable


class Strand(Enum):
    FORWARD = "+"
    REVERSE = "-"


class Named(str, Enum):  # noqa: UP042
    A = "a"


class Ploidy(IntEnum):
    HAPLOID = 1
    DIPLOID = 2


text = st.text(st.characters(codec="utf-8")).map(composed)
number = st.floats(allow_nan=False, allow_infinity=False)
KINDS: dict[Any, st.SearchStrategy[Any]] = {
    str: text,
    bool: st.booleans(),
    int: st.integers(),
    float: number,
    Strand: st.sampled_from(Strand),
    Named: st.sampled_from(Named),
    Ploidy: st.sampled_from(Ploidy),
    Literal["a", "b c"]: st.sampled_from(["a", "b c"]),
    Literal[1, 2]: st.sampled_from([1, 2]),
    list[str]: st.lists(text),
    list[int]: st.lists(st.integers()),
    list[float]: st.lists(number),
    list[bool]: st.lists(st.booleans()),
    list[Strand]: st.lists(st.sampled_from(Strand)),
    list[Literal["x", "y"]]: st.lists(st.sampled_from(["x", "y"])),
    tuple[str, ...]: st.lists(text).map(tuple),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(data=st.data())
def test_a_value_comes_back_exactly(kind: Any, data: st.DataObject) -> None:
    value = data.draw(KINDS[kind])
    back = decode(encode(value, kind), kind)
    assert back == value
    assert type(back) is type(value)
    assert decode(encode(value, kind | None), kind | None) == value


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("a b", str, "a b"),
        ("", str, ""),
        (True, bool, "true"),
        (False, bool, "false"),
        (5, int, "5"),
        (0.1, float, "0.1"),
        (5, float, "5.0"),
        (Strand.REVERSE, Strand, "-"),
        (Ploidy.DIPLOID, Ploidy, "2"),
        (["é", "b"], list[str], '["é", "b"]'),
        ([], list[str], "[]"),
    ],
)
def test_the_text_is_plain(value: Any, kind: Any, expected: str) -> None:
    assert encode(value, kind) == expected


@pytest.mark.parametrize(
    ("value", "kind", "allowed"),
    [
        (5, str, "text"),
        (b"bytes", str, "text"),
        ("\udcff", str, "not valid Unicode"),
        (None, str, "text"),
        ("true", bool, "true or false"),
        (1, bool, "true or false"),
        (True, int, "a whole number"),
        (5.0, int, "a whole number"),
        ("5", int, "a whole number"),
        (math.nan, float, "a finite number"),
        (math.inf, float, "a finite number"),
        (True, float, "a finite number"),
        (10**400, float, "a finite number"),
        ("b", Literal["a", "c"], "one of a, c"),
        (True, Literal[1, 2], "one of 1, 2"),
        ("+", Strand, "one of +, -"),
        ("abc", list[str], "a JSON list of text"),
        (["a", 5], list[str], "text"),
        (["z"], list[Literal["x", "y"]], "one of x, y"),
    ],
)
def test_a_value_of_another_type_is_refused_with_what_is_allowed(value: Any, kind: Any, allowed: str) -> None:
    with pytest.raises(InvalidAssetError) as error:
        encode(value, kind)
    assert allowed in str(error.value)


def test_a_number_too_large_for_text_is_refused() -> None:
    with pytest.raises(InvalidAssetError, match="a whole number, got one too large to store"):
        encode(10**5000, int)


@pytest.mark.parametrize(
    ("given_text", "kind", "allowed"),
    [
        ("yes", bool, "true or false"),
        ("", bool, "true or false"),
        ("five", int, "a whole number"),
        ("5.0", int, "a whole number"),
        ("1_000", int, "a whole number"),
        (" 5", int, "a whole number"),
        ("٥", int, "a whole number"),
        ("nan", float, "a finite number"),
        ("1e999", float, "a finite number"),
        ("1..2", float, "a finite number"),
        ("b", Literal["a", "c"], "one of a, c"),
        ("", Strand, "one of +, -"),
        ("a,b", list[str], "a JSON list of text"),
        ('"a"', list[str], "a JSON list of text"),
        ("[1]", list[str], "text"),
        ("[true]", list[int], "a whole number"),
        ("[NaN]", list[float], "a finite number"),
        ('["?"]', list[Strand], "one of +, -"),
    ],
)
def test_text_of_no_value_is_refused_with_what_is_allowed(given_text: str, kind: Any, allowed: str) -> None:
    with pytest.raises(InvalidAssetError) as error:
        decode(given_text, kind)
    assert f"expected {allowed}" in str(error.value) or f"expected {describe(kind)}" in str(error.value)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidAssetError, match="expected text, got 5"):
        decode(5, int)  # type: ignore[arg-type]


@pytest.mark.parametrize("spelling", ["true", "True", "TRUE"])
def test_booleans_are_read_as_people_type_them(spelling: str) -> None:
    assert decode(spelling, bool) is True


@pytest.mark.parametrize(
    "kind", [*KINDS, str | None, Companion[Reference], Derived[Reference] | None], ids=str
)
def test_these_types_can_be_fields(kind: Any) -> None:
    assert storable(kind)


@pytest.mark.parametrize(
    "kind", [dict[str, str], bytes, int | str, list[list[str]], list, tuple[str, int], Any, object], ids=str
)
def test_other_types_cannot(kind: Any) -> None:
    assert not storable(kind)


def test_a_link_is_text_and_knows_what_it_points_at() -> None:
    companion, derived = link_of(Companion[Reference]), link_of(Derived[Reference] | None)
    assert companion is not None
    assert derived is not None
    assert (companion.kind, companion.target) == (LinkKind.COMPANION, Reference)
    assert (derived.kind, derived.target) == (LinkKind.DERIVED, Reference)
    assert plain(Companion[Reference]) is plain(Derived[Reference] | None) is str
    assert link_of(str) is link_of(str | None) is None
    assert optional(Derived[Reference] | None)
    assert not optional(Companion[Reference])
