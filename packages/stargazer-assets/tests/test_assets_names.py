"""Names as people write them: one form of Unicode, nothing that cannot be seen, one meaning of two keys, own types."""

from __future__ import annotations

import asyncio
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stargazer.assets import (
    R1,
    Alignment,
    Annotation,
    Asset,
    Intervals,
    InvalidAssetError,
    IpFile,
    KnownSites,
    Reference,
    Variants,
    assemble,
)
from stargazer.assets.keyvalues import composed, decode, list_text

from .memory_client import MemoryClient

COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"


@pytest.fixture
def client(tmp_path: Path) -> MemoryClient:
    return MemoryClient(tmp_path)


def found(client: MemoryClient, **filters: Any) -> list[Any]:
    return asyncio.run(assemble(client=client, **filters))


@pytest.mark.parametrize("name", [" A", "A ", " A ", "\u00a0A", "A\u3000"])
def test_blanks_at_the_ends_of_a_name_are_refused_with_what_to_write(name: str) -> None:
    with pytest.raises(InvalidAssetError, match=r"blanks at its ends.*write sample=A$"):
        R1(sample=name)
    with pytest.raises(InvalidAssetError, match=r"write build=A$"):
        Reference.from_keyvalues({"asset": "reference", "build": name})


@pytest.mark.parametrize("hidden", ["\u200b", "\u202e", "\u2066", "\ufeff", "\u00ad", "\u2028", "\u0085"])
@pytest.mark.parametrize(
    "make",
    [
        lambda name: R1(sample=name),
        lambda name: Alignment(sample="s", library=name),
        lambda name: KnownSites(name=name),
        lambda name: KnownSites(name="n", build=name),
        lambda name: Intervals(name=name),
        lambda name: Annotation(name=name, build="b"),
        lambda name: Variants(build=name),
    ],
)
def test_what_cannot_be_seen_is_refused_by_its_code(hidden: str, make: Any) -> None:
    with pytest.raises(InvalidAssetError, match=rf"with U\+{ord(hidden):04X} .*; write \w+=AB$"):
        make(f"A{hidden}B")


@pytest.mark.parametrize(
    "name", ["12", "a/b", "a b", "A,B", "\u00dcn\u00ef", "\u6771\u4eac", "a=b", "[x]", "-a", "O'Brien"]
)
def test_other_names_stay_as_they_are(name: str) -> None:
    assert R1(sample=name).keyvalues["sample"] == name
    assert R1.from_keyvalues({"asset": "r1", "sample": name}).sample == name


def test_a_record_that_a_store_has_already_can_be_read() -> None:
    record = IpFile(cid="bafk", id="r", keyvalues={"asset": "r1", "sample": " A ", "platform": "ILLUMINA"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Asset.from_record(record).sample == " A "  # type: ignore[attr-defined]


@settings(max_examples=30)
@given(st.text(st.characters(codec="utf-8")))
def test_text_has_one_form_wherever_it_comes_in(text: str) -> None:
    wanted = unicodedata.normalize("NFC", text)
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert {composed(each) for each in forms} == {wanted} == {decode(each, str) for each in forms}
    assert composed([text, 1]) == [wanted, 1]


@pytest.mark.parametrize(("stored", "asked"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_two_forms_of_a_name_find_each_other(client: MemoryClient, stored: str, asked: str) -> None:
    made = [client.store(R1(sample=stored)), client.store(Variants(samples=[stored, "x"]))]
    assert {asset.keyvalues.get("sample") for asset in made} == {COMPOSED, None}
    for key in ("sample", "samples"):
        assert found(client, **{key: asked}) == made
    made[0].sample = DECOMPOSED  # type: ignore[attr-defined]
    assert made[0].sample == COMPOSED  # type: ignore[attr-defined]


def test_sample_and_samples_mean_the_same(client: MemoryClient) -> None:
    reads = client.store(R1(sample="a"))
    calls = client.store(Variants(samples=["a", "b"]))
    client.store(Variants(samples=["b"]))
    client.store(R1(sample="c"))
    for key in ("sample", "samples"):
        assert found(client, **{key: "a"}) == [reads, calls]
        assert found(client, asset="variants", **{key: "a"}) == [calls]
        assert found(client, asset="r1", **{key: ["a", "z"]}) == [reads]
    assert found(client, sample="a", samples="b") == [calls]
    with pytest.raises(InvalidAssetError, match="unknown key 'sample'"):
        found(client, asset="reference", sample="a")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["A", "B"], "A,B"),
        (["A,B"], '["A,B"]'),
        (["[A"], '["[A"]'),
        ([" A"], '[" A"]'),
        (["Zo\u00eb,x"], '["Zo\u00eb,x"]'),
        ([], ""),
    ],
)
def test_a_list_is_written_so_that_it_is_read_as_the_same(names: list[str], text: str) -> None:
    assert list_text(names) == text


def test_a_type_that_is_not_installed_is_found_by_its_name_without_a_warning(client: MemoryClient) -> None:
    for number, colour in enumerate(["red", "blue", "Zoe\u0308"]):
        client.put(str(number).encode(), {"asset": "hologram", "colour": colour, "samples": '["a", "b"]'})
    client.store(R1(sample="a"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(found(client, asset="hologram")) == 3
        assert [one.extra["colour"] for one in found(client, asset="hologram", colour=["red", COMPOSED])] == [
            "red",
            DECOMPOSED,
        ]
        assert len(found(client, asset=["hologram", "r1"], sample="a")) == 4
        assert found(client, asset="hologram", shape="round") == []
    with pytest.raises(InvalidAssetError, match="unknown asset type 'hologran'"):
        found(client, asset="hologran")


def test_of_many_records_of_a_type_that_is_not_installed_one_warning_is_given(client: MemoryClient) -> None:
    for number in range(20):
        client.put(str(number).encode(), {"asset": "hologram"})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        assert len(found(client)) == 20
    assert [str(warning.message).partition(":")[0] for warning in said] == ["unknown asset type 'hologram'"]
