"""Finding assets: filters, exactly one, all of a kind, and errors that say how to go on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import (
    R1,
    R2,
    Alignment,
    AlignmentIndex,
    AmbiguousAssetError,
    AnnData,
    AssetNotFoundError,
    InvalidAssetError,
    QcReport,
    Reference,
    Variants,
    assemble,
)
from stargazer.assets.provenance import Execution, dump

from .memory_client import MemoryClient


@pytest.fixture
def client(tmp_path: Path) -> MemoryClient:
    return MemoryClient(tmp_path)


def found(client: MemoryClient, **filters: Any) -> list[Any]:
    return asyncio.run(assemble(client=client, **filters))


def test_all_filters_hold(client: MemoryClient) -> None:
    wanted = client.store(R1(sample="a", lane="1"))
    client.store(R1(sample="a", lane="2"))
    client.store(R1(sample="b", lane="1"))
    assert found(client, asset="r1", sample="a", lane="1") == [wanted]


def test_a_list_means_any_of_these(client: MemoryClient) -> None:
    a, b, _ = (client.store(R1(sample=sample)) for sample in "abc")
    assert found(client, asset="r1", sample=["b", "a", "a", "z"]) == [a, b]
    assert found(client, asset="r1", sample=[]) == []


def test_many_values_are_few_queries(client: MemoryClient) -> None:
    wanted = [client.store(R1(sample=f"s{n}", lane=f"{n % 2}")) for n in range(3)]
    client.store(R1(sample="other", lane="0"))
    names = [f"s{n}" for n in range(3_000)]
    assert found(client, asset="r1", sample=names) == wanted
    assert found(client, asset="r1", sample=names, lane=["0", "9"], library=names) == []
    assert found(client, asset="r1", sample=names, lane=["0", "9"]) == [wanted[0], wanted[2]]
    assert found(client, asset="r1", sample=names, cid=[wanted[1].cid]) == [wanted[1]]
    assert len(client.queries) <= 20


def test_several_types_are_found_oldest_first(client: MemoryClient) -> None:
    r2, r1 = client.store(R2(sample="a")), client.store(R1(sample="a"))
    client.store(Alignment(sample="a"))
    assert found(client, asset=["r1", "r2"], sample="a") == [r2, r1]


def test_all_types_are_searched_when_none_is_named(client: MemoryClient) -> None:
    r1, alignment = client.store(R1(sample="a")), client.store(Alignment(sample="a"))
    client.store(Reference(build="b"))
    assert found(client, sample="a") == [r1, alignment]


def test_an_asset_is_found_by_its_cid(client: MemoryClient) -> None:
    client.store(R1(sample="a"))
    wanted = client.store(R1(sample="b"))
    assert found(client, cid=wanted.cid) == [wanted]
    assert asyncio.run(R1.one(client=client, cid=wanted.cid)) == wanted


def test_a_link_is_filtered_by_the_asset_or_its_cid(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"))
    wanted = client.store(Alignment(sample="a", reference_cid=reference))
    client.store(Alignment(sample="a"))
    assert [a.cid for a in found(client, asset="alignment", reference_cid=reference)] == [wanted.cid]
    assert [a.cid for a in found(client, asset="alignment", reference_cid=reference.cid)] == [wanted.cid]
    with pytest.raises(InvalidAssetError, match="reference_cid: this reference has no CID"):
        found(client, asset="alignment", reference_cid=Reference(build="c"))


@pytest.mark.parametrize("value", [5, "5", [5], ["5", 7]])
def test_numbers_are_typed_like_their_field(client: MemoryClient, value: Any) -> None:
    wanted = client.store(AnnData(n_obs=5))
    client.store(AnnData(n_obs=55))
    assert found(client, asset="anndata", n_obs=value) == [wanted]


@pytest.mark.parametrize("value", [False, "false", "False", [False]])
def test_booleans_are_typed_like_their_field(client: MemoryClient, value: Any) -> None:
    wanted = client.store(Alignment(sample="a"))
    client.store(Alignment(sample="a", duplicates_marked=True))
    assert found(client, asset="alignment", duplicates_marked=value) == [wanted]
    assert len(found(client, asset="alignment", duplicates_marked=[True, False])) == 2


def test_a_default_that_a_record_leaves_unsaid_is_found(client: MemoryClient) -> None:
    client.put(b"bam", {"asset": "alignment", "sample": "a"})
    assert len(found(client, asset="alignment", duplicates_marked=False, sorted_by="unsorted")) == 1
    assert found(client, asset="alignment", duplicates_marked=True) == []


def test_a_list_field_matches_on_membership(client: MemoryClient) -> None:
    trio, single = client.store(Variants(samples=["a", "b", "c"])), client.store(Variants(samples=["a"]))
    client.store(Variants())
    assert found(client, asset="variants", samples="a") == [trio, single]
    assert found(client, asset="variants", samples=["b", "z"]) == [trio]
    assert found(client, asset="variants", samples="ab") == []


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"asset": "r1", "smaple": "a"}, "r1: unknown key 'smaple'; did you mean 'sample'"),
        ({"asset": ["r1", "r2"], "build": "b"}, "none of r1, r2 has a field 'build'"),
        ({"colour": "red"}, "no asset type has a field 'colour'"),
        ({"asset": "hologram"}, "unknown asset type 'hologram'"),
        ({"asset": "vcf"}, "unknown asset type 'vcf'; did you mean variants?"),
        ({"asset": ".FASTQ.gz"}, "did you mean r1 or r2?"),
        ({"asset": "anndata", "n_obs": "many"}, "anndata: n_obs: expected a whole number, got 'many'"),
        ({"asset": "alignment", "duplicates_marked": 1}, "duplicates_marked: expected true or false, got 1"),
        ({"asset": "alignment", "sorted_by": "name"}, "expected one of coordinate, queryname, unsorted"),
        ({"asset": "variants", "samples": 5}, "variants: samples: expected text, got 5"),
        ({"asset": "r1", "lane": None}, "r1: lane: expected text, got None"),
    ],
)
def test_a_filter_that_cannot_match_is_an_error(
    client: MemoryClient, filters: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidAssetError) as error:
        found(client, **filters)
    assert said in str(error.value)


def test_a_type_without_the_field_has_no_match_beside_one_that_has_it(client: MemoryClient) -> None:
    client.store(Reference(build="b"))
    wanted = client.store(R1(sample="a"))
    assert found(client, asset=["reference", "r1"], sample="a") == [wanted]


# Exactly one


def test_one_is_the_one(client: MemoryClient) -> None:
    wanted = client.store(Reference(build="GRCh38"))
    client.store(Reference(build="GRCh37"))
    assert asyncio.run(Reference.one(client=client, build="GRCh38")) == wanted


def test_the_latest_of_several_on_request(client: MemoryClient) -> None:
    client.store(R1(sample="a", lane="1"))
    latest = client.store(R1(sample="a", lane="2"))
    assert asyncio.run(R1.one(client=client, sample="a", latest=True)) == latest


def test_none_in_an_empty_store_says_how_to_add_one(client: MemoryClient) -> None:
    with pytest.raises(
        AssetNotFoundError, match=r"holds no reference at all; add one with `stargazer add FILE"
    ):
        asyncio.run(Reference.one(client=client, build="GRCh38", latest=True))


def test_none_lists_what_there_is(client: MemoryClient) -> None:
    for number in range(12):
        client.store(Reference(build=f"build{number}"))
    with pytest.raises(AssetNotFoundError) as error:
        asyncio.run(Reference.one(client=client, build="GRCh38"))
    assert "no reference build=GRCh38; the store holds 12 reference" in str(error.value)
    assert "build=build0" in str(error.value)
    assert "... and 2 more" in str(error.value)


def test_several_are_listed_with_what_separates_them(client: MemoryClient) -> None:
    client.store(R1(sample="a", library="L"))
    client.store(R1(sample="a", library="L", lane="2"))
    with pytest.raises(AmbiguousAssetError) as error:
        asyncio.run(R1.one(client=client, sample="a"))
    first, *candidates, remedy = str(error.value).splitlines()
    assert first == "2 assets match r1 sample=a, exactly one is needed:"
    assert [record.cid in line for record, line in zip(client.records, candidates, strict=True)] == [
        True,
        True,
    ]
    assert all("2026-01-01T00:00:0" in line and "library" not in line for line in candidates)
    assert remedy == (
        "add a filter, for example lane=2, ask for the latest, or take the others back with `stargazer rm CID`"
    )


@pytest.mark.parametrize(
    ("assets", "remedy"),
    [
        ([Variants(samples=["a", "b"]), Variants(samples=["a"])], "samples=b"),
        ([Variants(filtered=True), Variants()], "filtered=False"),
        ([R1(sample="a", lane="1", library="x"), R1(sample="a", lane="1", library="y"),
          R1(sample="a", lane="2", library="x")], "library=y"),
    ],
)  # fmt: skip
def test_the_filter_to_add_selects_exactly_one(client: MemoryClient, assets: list[Any], remedy: str) -> None:
    for made in assets:
        client.store(made)
    with pytest.raises(AmbiguousAssetError) as error:
        asyncio.run(type(assets[0]).one(client=client))
    assert f"for example {remedy}, ask" in str(error.value)
    name, value = remedy.split("=")
    assert asyncio.run(type(assets[0]).one(client=client, **{name: value})).cid


def test_the_parameters_that_made_them_separate_equal_assets(client: MemoryClient) -> None:
    for quality in (20, 30):
        made = dump(Execution(task="call", parameters={"min_quality": quality, "ploidy": 2}))
        document = client.put(made, {"asset": "provenance", "kind": "execution"})
        client.store(Variants(provenance_cid=document.cid), str(quality).encode())
    with pytest.raises(AmbiguousAssetError) as error:
        asyncio.run(Variants.one(client=client))
    lines = str(error.value).splitlines()
    assert [
        line.endswith(f"(made with min_quality={q})") for q, line in zip((20, 30), lines[1:3], strict=True)
    ]
    assert "ploidy" not in str(error.value)
    assert "for example cid=bafk" in lines[-1]


@pytest.mark.parametrize(
    "document", [b"", b"[]", json.dumps({"stargazer": "provenance/99", "kind": "x"}).encode()]
)
def test_unreadable_provenance_hides_no_candidate(client: MemoryClient, document: bytes) -> None:
    cid = client.put(document, {}).cid
    for data in (b"1", b"2"):
        client.store(Variants(provenance_cid=cid), data)
    client.store(Variants(provenance_cid="bafk-not-here"), b"3")
    with pytest.raises(AmbiguousAssetError, match="3 assets match variants"):
        asyncio.run(Variants.one(client=client))


def test_companions_are_no_candidates(client: MemoryClient) -> None:
    alignment = client.store(Alignment(sample="a"))
    client.store(AlignmentIndex(alignment_cid=alignment))
    assert asyncio.run(Alignment.one(client=client)) == alignment


def test_a_value_that_only_one_of_several_types_takes_selects_its_assets(client: MemoryClient) -> None:
    """`kind` of variants is one of a few words, of a report any text."""
    report = client.store(QcReport(kind="flagstat"))
    assert found(client, kind="flagstat") == [report]
