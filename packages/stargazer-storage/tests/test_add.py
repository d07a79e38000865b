"""`await add(path, ...)`: typed values, several files at once, and the client that is used."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import (
    R1,
    R2,
    AssetNotFoundError,
    ConfigurationError,
    FormatError,
    InvalidAssetError,
    Reference,
    ReferenceIndex,
    use_client,
)
from stargazer.storage import LocalStorageClient, add

FASTQ = "@read/{}\nACGT\n+\nIIII\n"


@pytest.fixture
def client(tmp_path: Path) -> LocalStorageClient:
    return LocalStorageClient(tmp_path / "store")


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "x.fa"
    path.write_text(">c1\nACGT\n")
    return path


def added(*words: Any, **named: Any) -> Any:
    return asyncio.run(add(*words, **named))


def test_a_path_and_metadata_become_a_stored_asset(client: LocalStorageClient, fasta: Path) -> None:
    reference = added(str(fasta), client=client, build="tiny")

    assert isinstance(reference, Reference)
    assert reference.record is not None
    assert (reference.build, reference.record.name) == ("tiny", "x.fa")
    assert client.store.query({"asset": "reference"}) == [reference.record]


def test_the_current_client_is_used_by_default(client: LocalStorageClient, fasta: Path) -> None:
    with use_client(client):
        reference = added(fasta, build="tiny")

    assert client.store.query({"cid": reference.cid}) == [reference.record]


def test_a_link_takes_an_asset_and_a_type_its_class(
    client: LocalStorageClient, fasta: Path, tmp_path: Path
) -> None:
    reference = added(fasta, client=client, build="tiny")
    index = tmp_path / "x.fa.fai"
    index.write_text("c1\t4\t4\t4\t5\n")

    made = added(index, client=client, asset=ReferenceIndex, reference_cid=reference)

    assert isinstance(made, ReferenceIndex)
    assert made.reference_cid == reference.cid


def test_several_files_are_registered_together_and_mates_are_linked(
    client: LocalStorageClient, tmp_path: Path
) -> None:
    paths = [tmp_path / f"x_R{number}.fq" for number in (1, 2)]
    for number, path in enumerate(paths, 1):
        path.write_text(FASTQ.format(number))

    first, second = added(paths, client=client, sample="S", lane=None)

    assert isinstance(first, R1)
    assert isinstance(second, R2)
    assert second.r1_cid == first.cid
    assert (first.sample, first.lane) == ("S", None)


def test_one_bad_file_of_several_refuses_all(client: LocalStorageClient, tmp_path: Path) -> None:
    good, bad = tmp_path / "a_R1.fq", tmp_path / "b_R1.fq"
    good.write_text(FASTQ.format(1))
    bad.write_text("no reads")

    with pytest.raises(FormatError, match=r"b_R1\.fq"):
        added([good, bad], client=client, sample="S")

    assert client.store.query({}) == []


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"build": 38}, InvalidAssetError, "reference: build: expected text, got 38"),
        ({"build": "x", "sample": "S"}, InvalidAssetError, "sample"),
        ({}, InvalidAssetError, "'x.fa': reference needs build: give build=..."),
        (
            {"asset": "reference_index", "reference_cid": 5},
            InvalidAssetError,
            "expected the CID of a reference, got 5",
        ),
        (
            {
                "asset": "reference_index",
                "reference_cid": "bafkreib6vj3os7l4lqqytaw5vju46iorcknttfiwfnlbizjcqn7xd5hrvy",
            },
            AssetNotFoundError,
            "no reference bafkreib6vj",
        ),
    ],
)
def test_what_does_not_fit_a_type_is_refused(
    client: LocalStorageClient, fasta: Path, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        added(fasta, client=client, **fields)
    assert message in str(caught.value)


def test_a_missing_file_is_an_error(client: LocalStorageClient, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        added(tmp_path / "none.fa", client=client, build="x")


def test_a_client_without_a_store_is_told_so(fasta: Path) -> None:
    with pytest.raises(ConfigurationError, match="object has no store on this machine"):
        added(fasta, client=object(), build="x")
