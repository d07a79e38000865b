"""Assets: strict when written, graceful when read, declared by anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from stargazer.assets import (
    R1,
    REGISTRY,
    Alignment,
    AlignmentIndex,
    Asset,
    Companion,
    Derived,
    InvalidAssetError,
    IpFile,
    Reference,
    Variants,
    asset,
    asset_class,
    fetch,
)
from stargazer.assets.declaration import MAX_FIELDS
from stargazer.assets.model import companions_of

from .memory_client import MemoryClient


@pytest.fixture(autouse=True)
def _registry_as_it_was() -> Iterator[None]:
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.fixture
def client(tmp_path: Path) -> MemoryClient:
    return MemoryClient(tmp_path)


# Writing


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({"sample": "s", "smaple": "t"}, ["unknown key 'smaple'", "did you mean 'sample'", "library"]),
        ({"sample": "s", "_secret": "x"}, ["'_secret' is reserved"]),
        ({"sample": "s", "cid": "bafk"}, ["unknown key 'cid'"]),
        ({"sample": "s", "sorted_by": "name"}, ["sorted_by", "'name'", "coordinate, queryname, unsorted"]),
        ({"sample": "s", "duplicates_marked": "yes"}, ["duplicates_marked", "'yes'", "true or false"]),
        ({"sample": "a\tb"}, ["sample", "'a\\tb'", "without tabs or line ends"]),
        ({"asset": "r1", "sample": "s"}, ["'r1'", "'alignment'"]),
        ({"lane": "1"}, ["alignment needs sample", "sample=..."]),
        ({"sample": 5}, ["sample", "expected text, got 5"]),
    ],
)
def test_metadata_that_breaks_a_rule_is_refused(pairs: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(InvalidAssetError) as error:
        Alignment.from_keyvalues(pairs)
    assert [words for words in said if words not in str(error.value)] == []


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Alignment(sample="s", sorted_by="name"), ["alignment: sorted_by", "'name'", "coordinate"]),  # type: ignore[arg-type]
        (Alignment(sample="s", duplicates_marked="no"), ["duplicates_marked", "'no'", "true or false"]),  # type: ignore[arg-type]
        (Alignment(sample="s", duplicates_marked=None), ["duplicates_marked", "None"]),  # type: ignore[arg-type]
        (R1(sample=None), ["r1: sample", "None", "text"]),  # type: ignore[arg-type]
        (AlignmentIndex(alignment_cid=None), ["alignment_cid", "None"]),  # type: ignore[arg-type]
        (AlignmentIndex(alignment_cid=Reference(build="b", cid="bafk")), ["alignment_cid", "reference"]),
        (AlignmentIndex(alignment_cid=Alignment(sample="s")), ["alignment_cid", "not stored yet"]),
        (Variants(samples=["a", 5]), ["samples", "5"]),  # type: ignore[list-item]
        (R1(sample="s", extra={"colour": "red"}), ["unknown key 'colour'"]),
    ],
)
def test_a_field_that_breaks_a_rule_is_refused_when_written(made: Asset, said: list[str]) -> None:
    with pytest.raises(InvalidAssetError) as error:
        _ = made.keyvalues
    assert [words for words in said if words not in str(error.value)] == []


def test_a_link_is_written_once_its_asset_is_stored() -> None:
    alignment = Alignment(sample="s")
    index = AlignmentIndex(alignment_cid=alignment)

    alignment.cid = "bafk1"

    assert index.keyvalues == {"asset": "alignment_index", "alignment_cid": "bafk1"}
    index.resolve_links()
    assert index.alignment_cid == "bafk1"


def test_a_derived_asset_starts_without_bytes_and_provenance() -> None:
    record = IpFile(cid="bafk1")
    stored = Alignment(
        sample="s",
        lane="1",
        cid="bafk1",
        path=Path("x"),
        provenance_cid="p",
        record=record,
        reference_cid="r",
    )

    marked = stored.evolve(duplicates_marked=True)

    assert (marked.cid, marked.path, marked.provenance_cid, marked.record) == (None, None, None, None)
    assert marked.values() == {**stored.values(), "duplicates_marked": True}
    assert marked.reference_cid == "r"


def test_path_and_provenance_are_no_part_of_an_assets_equality() -> None:
    assert R1(sample="s", cid="c", path=Path("a"), provenance_cid="p") == R1(sample="s", cid="c")
    assert R1(sample="s", cid="c") != R1(sample="t", cid="c")


# Reading


@pytest.mark.parametrize(
    "pairs",
    [
        {},
        {"asset": ""},
        {"asset": "hologram", "sample": "s"},
        {"asset": "alignment"},
        {"asset": "alignment", "sample": "s", "colour": "red"},
        {"asset": "alignment", "sample": "s", "sorted_by": "name"},
        {"asset": "alignment", "sample": "a\nb"},
        {"asset": "alignment", "sample": 5},
        {"asset": 7},
        {"asset": ["alignment"]},
        {"asset": "alignment", "sample": "s", **{f"k{n}": "v" for n in range(12)}},
    ],
)
def test_a_record_that_cannot_be_read_is_a_bare_asset_with_its_metadata(pairs: dict[str, Any]) -> None:
    record = IpFile(cid="bafk", id="r1", keyvalues={**pairs, "provenance_cid": "p"})

    with pytest.warns(UserWarning, match="record r1|unknown asset type"):
        found = Asset.from_record(record)

    assert type(found) is Asset
    assert (found.cid, found.record, found.provenance_cid) == ("bafk", record, "p")
    assert found.keyvalues == record.keyvalues


def test_a_bad_record_breaks_no_query(client: MemoryClient) -> None:
    client.put(b"1", {"asset": "r1", "sample": "s", "colour": "red"})
    good = client.store(R1(sample="s"))

    with pytest.warns(UserWarning, match="unknown key 'colour'"):
        found = asyncio.run(R1.all(client=client, sample="s"))

    assert found == [good]


def test_all_records_can_be_read_also_those_of_unknown_types(client: MemoryClient) -> None:
    client.store(R1(sample="s"))
    client.put(b"1", {"asset": "hologram"})

    with pytest.warns(UserWarning, match="unknown asset type 'hologram'"):
        found = asyncio.run(Asset.all(client=client))

    assert [type(one) for one in found] == [R1, Asset]


def test_unknown_metadata_survives_a_rewrite(client: MemoryClient) -> None:
    client.put(b"1", {"asset": "r1", "sample": "s", "colour": "red", "provenance_cid": "p"})
    with pytest.warns(UserWarning, match="colour"):
        bare = Asset.from_record(client.records[0])

    asyncio.run(client.upload_file(client.objects / str(bare.cid), bare.keyvalues))

    assert client.records[1].keyvalues == client.records[0].keyvalues


def test_new_metadata_of_a_bare_asset_has_to_fit() -> None:
    with pytest.raises(InvalidAssetError, match="12 metadata pairs, at most 10"):
        _ = Asset(extra={str(n): "v" for n in range(12)}).keyvalues


def test_a_foreign_validator_breaks_no_reading() -> None:
    @asset("fussy")
    class Fussy(Asset):
        size: str = attrs.field(validator=attrs.validators.in_(["s", "m"]))

    with pytest.warns(UserWarning, match="'size' must be in"):
        found = Asset.from_record(IpFile(cid="c", keyvalues={"asset": "fussy", "size": "xxl"}))
    assert type(found) is Asset


def test_an_unknown_type_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidAssetError, match=r"unknown asset type 'alignement'; known: alignment"):
        asset_class("alignement")


# Declaring


def test_a_class_of_ones_own_is_an_asset_type(client: MemoryClient) -> None:
    @asset("panel", suffix=".tsv")
    class Panel(Asset):
        name: str
        build: Literal["GRCh37", "GRCh38"] = "GRCh38"

    stored = client.store(Panel(name="cardio"))

    assert asset_class("panel") is Panel
    assert asyncio.run(Panel.one(client=client, build="GRCh38")) == stored


CELL = """
@asset("panel", suffix=".tsv")
class Panel(Asset):
    name: str
"""


def run_cell(code: str, names: dict[str, Any]) -> Any:
    exec(code, names)  # noqa: S102
    return names["Panel"]


def test_running_a_cell_again_replaces_the_class(client: MemoryClient) -> None:
    names = {"asset": asset, "Asset": Asset, "__name__": __name__}
    old_class = run_cell(CELL, names)
    old = client.store(old_class(name="cardio"))

    new_class = run_cell(CELL + "    version: int = 1", names)

    assert REGISTRY["panel"] is new_class is not old_class
    assert asyncio.run(new_class.one(client=client, version=1)) == new_class(name="cardio", cid=old.cid)
    assert old.keyvalues == {"asset": "panel", "name": "cardio"}
    assert asyncio.run(old_class.one(client=client, name="cardio")) == old
    assert asyncio.run(fetch(old, client=client)).path is not None


def test_companions_find_a_replaced_class() -> None:
    names = {"asset": asset, "Asset": Asset, "__name__": __name__}
    panel_class = run_cell(CELL, names)

    @asset("panel_index", suffix=".idx")
    class PanelIndex(Asset):
        panel_cid: Companion[panel_class]  # type: ignore[valid-type]

    assert companions_of(run_cell(CELL, names)) == [(PanelIndex, "panel_cid")]


def test_a_subclass_has_fields_of_its_own_and_inherits_the_rest() -> None:
    @asset("long_read_alignment")
    class LongReadAlignment(Alignment):
        chemistry: str = "R10"

    made = LongReadAlignment(sample="s", reference_cid="r")

    assert LongReadAlignment.from_keyvalues(made.keyvalues) == made
    assert len(Alignment.fields()) == MAX_FIELDS  # all that an asset can store, had each a value
    assert (LongReadAlignment.suffix, LongReadAlignment.check) == (Alignment.suffix, Alignment.check)
    assert Alignment.asset_key == "alignment"
    assert (AlignmentIndex, "alignment_cid") in companions_of(LongReadAlignment)
    assert AlignmentIndex(alignment_cid=made.evolve(cid="c")).keyvalues["alignment_cid"] == "c"


def test_a_link_has_the_name_of_what_it_points_at() -> None:
    with pytest.raises(InvalidAssetError, match="genome_cid points at reference: call it reference_cid"):

        @asset("panel")
        class Panel(Asset):
            genome_cid: Derived[Reference]


def class_with(count: int) -> type[Asset]:
    fields = [f"f{number}" for number in range(count)]
    body = {
        "__annotations__": dict.fromkeys(fields, str),
        "__module__": __name__,
        **dict.fromkeys(fields, ""),
    }
    return type("Panel", (Asset,), body)


def test_eight_fields_fit_and_nine_do_not() -> None:
    assert len(asset("eight")(class_with(8))().keyvalues) == 9
    with pytest.raises(InvalidAssetError, match="nine: 9 fields, at most 8"):
        asset("nine")(class_with(9))


@pytest.mark.parametrize(
    "name", ["_hidden", "asset", "client", "latest", "path", "cid", "keyvalues", "fields", "one"]
)
def test_reserved_names_are_refused(name: str) -> None:
    body = {"__annotations__": {name: str}, "__module__": __name__}
    with pytest.raises(InvalidAssetError, match=f"panel: '{name}' is a reserved name"):
        asset("panel")(type("Panel", (Asset,), body))
    assert "panel" not in REGISTRY


@pytest.mark.parametrize("kind", [dict[str, str], Path, int | str, list[list[str]]])
def test_a_field_without_a_text_form_is_refused(kind: Any) -> None:
    body = {"__annotations__": {"field": kind}, "__module__": __name__}
    with pytest.raises(InvalidAssetError, match=r"panel: field: .* cannot be stored as text; use str"):
        asset("panel")(type("Panel", (Asset,), body))


def test_an_optional_field_defaults_to_none() -> None:
    with pytest.raises(InvalidAssetError, match="its default must be None"):

        @asset("panel")
        class Panel(Asset):
            build: str | None = "GRCh38"


def test_a_companion_needs_a_suffix() -> None:
    with pytest.raises(InvalidAssetError, match="a companion of reference needs a suffix"):

        @asset("mask")
        class Mask(Asset):
            reference_cid: Companion[Reference]


@pytest.mark.parametrize("key", ["", "a b", "a/b", "a-b"])
def test_a_key_is_one_word(key: str) -> None:
    with pytest.raises(InvalidAssetError, match="cannot name an asset type"):
        asset(key)(type("Panel", (Asset,), {"__module__": __name__}))
