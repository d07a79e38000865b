"""Values of tasks: what goes into JSON comes back the same, whatever it is made of."""

from __future__ import annotations

import enum
import itertools
import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stargazer.assets import Asset, InvalidAssetError
from stargazer.assets.catalogue import QcReport
from stargazer.tasks.execution.values import assets_in, described, rebuilt, replaced


class Sex(enum.Enum):
    FEMALE = "female"
    MALE = "male"


class Pair(NamedTuple):
    report: QcReport | None
    sex: Sex
    parts: tuple[QcReport, ...] = ()


class Outer(NamedTuple):
    pair: Pair
    pairs: list[Pair]


reports = st.builds(QcReport, cid=st.sampled_from(["bafka", "bafkb", "bafkc"]), kind=st.text(max_size=3))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
keys = st.text(max_size=5) | st.sampled_from(["asset", "mapping"])
trees = st.recursive(
    scalars | reports,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
pairs = st.builds(Pair, st.none() | reports, st.sampled_from(Sex), st.lists(reports, max_size=2).map(tuple))


def there_and_back(value: Any, annotation: Any) -> Any:
    numbers = itertools.count()
    shape = json.loads(json.dumps(described(value, "result", lambda _: next(numbers))))
    return rebuilt(shape, [asset for _, asset in assets_in(value, "result")], annotation)


@given(trees)
def test_lists_and_mappings_come_back(value: Any) -> None:
    assert there_and_back(value, None) == value


@given(st.builds(Outer, pairs, st.lists(pairs, max_size=2)))
def test_named_tuples_and_enums_come_back_by_the_annotation(value: Outer) -> None:
    back = there_and_back(value, Outer)
    assert back == value
    assert type(back.pair) is Pair
    assert isinstance(back.pair.sex, Sex)
    assert isinstance(back.pair.parts, tuple)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Pair | None, Pair(None, Sex.MALE)),
        (Pair | None, None),
        (list[Pair] | None, [Pair(None, Sex.MALE)]),
        (tuple[int, str], (1, "a")),
        (tuple[int, ...], (1, 2, 3)),
        (tuple[int, ...], ()),
        (tuple, (1, 2)),
        (dict[str, Pair], {"a": Pair(None, Sex.FEMALE)}),
        (dict[str, tuple[int, int]] | None, {"asset": (1, 2), "mapping": (3, 4)}),
        (Sex | None, None),
        (Sex | str, "unknown"),
        (str | None, "x"),
        (list[int] | dict[str, list[Sex]], {"a": [Sex.MALE]}),
    ],
)  # fmt: skip
def test_the_annotation_says_what_a_list_was(annotation: Any, value: Any) -> None:
    back = there_and_back(value, annotation)
    assert back == value
    assert type(back) is type(value)


@given(trees, trees)
def test_different_values_have_different_json(one: Any, other: Any) -> None:
    def text(value: Any) -> str:
        return json.dumps(described(value, "", lambda asset: [asset.cid, asset.kind]), sort_keys=True)

    assert (text(one) == text(other)) == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value: Any) -> Any:
    """Mappings in the order of their keys, for a comparison that tells 1 from True and 1.0."""
    if isinstance(value, dict):
        return {key: _sorted(member) for key, member in sorted(value.items())}
    return [_sorted(member) for member in value] if isinstance(value, list) else value


def test_roles_name_the_place_of_each_asset() -> None:
    a, b = QcReport(cid="bafka", kind="a"), QcReport(cid="bafkb", kind="b")
    value = Outer(Pair(a, Sex.MALE, (b,)), [Pair(a, Sex.MALE)])
    roles = ["pair.report", "pair.parts[0]", "pairs[0].report"]
    assert [role for role, _ in assets_in(value, "")] == roles
    assert [role for role, _ in assets_in({"x": [a]}, "reads")] == ["reads['x'][0]"]


@given(trees)
def test_replacing_keeps_the_shape(value: Any) -> None:
    changed = replaced(value, (asset.evolve(cid="bafknew") for _, asset in assets_in(value, "")))
    assert {asset.cid for _, asset in assets_in(changed, "")} <= {"bafknew"}
    assert described(changed, "", lambda _: 0) == described(value, "", lambda _: 0)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (object(), r"x: a object is neither"),
        ({"a": [{1, 2}]}, r"x\['a'\]\[0\]: a set is neither"),
        ({1: "a"}, r"x: a dict with the key 1 is neither"),
        (b"bytes", r"x: a bytes is neither"),
    ],
)
def test_what_is_not_json_is_refused_by_its_place(value: Any, complaint: str) -> None:
    with pytest.raises(InvalidAssetError, match=complaint):
        described(value, "x", lambda _: 0)


def test_an_asset_is_never_confused_with_a_mapping() -> None:
    asset = Asset(cid="bafka")
    assert described({"asset": 0}, "x", lambda _: 0) != described(asset, "x", lambda _: 0)
