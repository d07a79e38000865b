"""Every asset type of the catalogue keeps the rules, and its metadata comes back exactly."""

from __future__ import annotations

import subprocess
import sys
import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import stargazer.assets as assets
from hypothesis import given
from hypothesis import strategies as st
from stargazer.assets import REGISTRY, Asset, File, InvalidAssetError, catalogue, record_id
from stargazer.assets.declaration import MAX_KEYVALUES, LinkKind, hints_of
from stargazer.assets.keyvalues import plain

CATALOGUE = {cls.asset_key: cls for cls in (getattr(catalogue, name) for name in catalogue.__all__)}
DESIGNED = [
    "reference",
    "reference_index",
    "sequence_dict",
    "aligner_index",
    "r1",
    "r2",
    "alignment",
    "alignment_index",
    "duplicate_metrics",
    "bqsr_report",
    "intervals",
    "known_sites",
    "known_sites_index",
    "variants",
    "variants_index",
    "vqsr_model",
    "vqsr_tranches",
    "annotation",
    "anndata",
    "qc_report",
    "provenance",
]

every_type = pytest.mark.parametrize("key", sorted(CATALOGUE))

header = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp"]), min_size=1)
    .map(str.strip)
    .filter(bool)
)


@pytest.mark.parametrize(
    "code",
    [
        "from stargazer.assets import asset_class; asset_class('r1')",
        "from stargazer.assets import REGISTRY; REGISTRY['r1']",
        "from stargazer.assets import Query; Query('r1', {}).select([])",
        "from stargazer.assets import Asset, IpFile; "
        "Asset.from_record(IpFile(cid='c', keyvalues={'asset': 'r1', 'sample': 's'})).sample",
    ],
)
def test_its_types_are_known_whatever_is_imported_first(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type, made from the annotation alone."""
    if get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind):
        return st.none() | values_of(plain(kind))
    kind = plain(kind)
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is list:
        return st.lists(values_of(get_args(kind)[0]), max_size=4)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    return {
        str: header,
        bool: st.booleans(),
        int: st.integers(min_value=0),
        float: st.floats(allow_nan=False, allow_infinity=False),
    }[kind]


def instances_of(cls: type[Asset]) -> st.SearchStrategy[Asset]:
    values = {name: values_of(hints_of(cls)[name]) for name in cls.fields()}
    if cls is File:
        values["name"] = values["name"].filter(lambda name: "/" not in name and name not in (".", ".."))
    return st.builds(cls, **values)


def test_the_catalogue_of_the_design_is_there() -> None:
    assert set(DESIGNED) <= CATALOGUE.keys()
    assert all(REGISTRY[key] is cls for key, cls in CATALOGUE.items())


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in assets.__all__ if not hasattr(assets, name)] == []


@every_type
def test_a_record_fits_into_ten_pairs(key: str) -> None:
    cls = CATALOGUE[key]
    assert 2 + len(cls.fields()) <= MAX_KEYVALUES


@every_type
def test_links_are_named_for_what_they_point_at(key: str) -> None:
    for name, link in CATALOGUE[key].links().items():
        assert name == f"{link.target.asset_key}_cid"
        assert REGISTRY[link.target.asset_key] is link.target


@every_type
def test_fields_that_end_in_cid_are_links(key: str) -> None:
    cls = CATALOGUE[key]
    assert {name for name in cls.fields() if name.endswith("_cid")} == cls.links().keys()


@every_type
def test_suffixes_name_every_file(key: str) -> None:
    suffix = CATALOGUE[key].suffix
    suffixes = [suffix] if isinstance(suffix, str) else list(suffix.values())
    assert key == "file" or all(text.removeprefix("^").startswith((".", "_R2.")) for text in suffixes)
    assert isinstance(suffix, str) or list(suffix)[-1] == b""


@every_type
def test_every_type_is_documented(key: str) -> None:
    assert (CATALOGUE[key].__doc__ or "").strip().endswith(".")


def test_only_companions_are_fetched_along() -> None:
    kinds = {(key, name): link.kind for key, cls in CATALOGUE.items() for name, link in cls.links().items()}
    companions = {pair for pair, kind in kinds.items() if kind is LinkKind.COMPANION}
    assert companions == {
        ("reference_index", "reference_cid"),
        ("reference_gzi", "reference_cid"),
        ("sequence_dict", "reference_cid"),
        ("r2", "r1_cid"),
        ("alignment_index", "alignment_cid"),
        ("variants_index", "variants_cid"),
        ("known_sites_index", "known_sites_cid"),
    }


@every_type
@given(data=st.data())
def test_metadata_comes_back_exactly(key: str, data: st.DataObject) -> None:
    cls = CATALOGUE[key]
    made = data.draw(instances_of(cls))

    pairs = made.keyvalues

    assert all(isinstance(text, str) for text in pairs.values())
    assert cls.from_keyvalues(pairs) == made
    assert cls.from_keyvalues(pairs).keyvalues == pairs


@given(data=st.data())
def test_the_identity_of_a_record_ignores_provenance_and_nothing_else(data: st.DataObject) -> None:
    cls = CATALOGUE[data.draw(st.sampled_from(sorted(CATALOGUE)))]
    one, other = data.draw(instances_of(cls)), data.draw(instances_of(cls))
    one_pairs, other_pairs = one.keyvalues, other.keyvalues

    assert record_id("bafk1", {**one_pairs, "provenance_cid": "p"}) == record_id("bafk1", one_pairs)
    assert record_id("bafk1", dict(reversed(one_pairs.items()))) == record_id("bafk1", one_pairs)
    assert record_id("bafk2", one_pairs) != record_id("bafk1", one_pairs)
    assert (record_id("bafk1", one_pairs) == record_id("bafk1", other_pairs)) == (one_pairs == other_pairs)


@pytest.mark.parametrize("sample", ["", "   ", "a\tb", "a\nb", "a\x00b", "a\x7f"])
@pytest.mark.parametrize("key", ["r1", "r2", "alignment", "duplicate_metrics", "bqsr_report"])
def test_names_that_would_break_a_header_are_refused(key: str, sample: str) -> None:
    links = dict.fromkeys(CATALOGUE[key].links(), "bafk")
    with pytest.raises(InvalidAssetError, match="sample: expected text without tabs or line ends") as error:
        CATALOGUE[key](sample=sample, **links)
    assert repr(sample) in str(error.value)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(InvalidAssetError, match="n_obs: expected 0 or more, got -1"):
        catalogue.AnnData(n_obs=-1)
