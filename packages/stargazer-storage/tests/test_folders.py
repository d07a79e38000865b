"""Folders that are one asset: recognised by their files, packed into bytes that depend on these alone."""

from __future__ import annotations

import asyncio
import gzip
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import FormatError, InvalidAssetError, TenxH5, TenxMtx
from stargazer.storage import LocalStorageClient, add
from stargazer.storage.filenames import folder_parts, guess_type

MATRIX = "%%MatrixMarket matrix coordinate integer general\n2 1 1\n1 1 5\n"
FILES = {
    "matrix.mtx": MATRIX,
    "barcodes.tsv": "AAACCCAAGGAGAGTA-1\n",
    "features.tsv": "E1\tA\tGene Expression\nE2\tB\tGene Expression\n",
}
VERSION2 = {"matrix.mtx": MATRIX, "barcodes.tsv": FILES["barcodes.tsv"], "genes.tsv": "E1\tA\nE2\tB\n"}


@pytest.fixture
def client(tmp_path: Path) -> LocalStorageClient:
    return LocalStorageClient(tmp_path / "store")


def write(folder: Path, files: Mapping[str, str] = FILES, prefix: str = "", *, packed: bool = True) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        if packed:
            (folder / f"{prefix}{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            (folder / f"{prefix}{name}").write_text(text)
    return folder


def added(*words: Any, **named: Any) -> Any:
    return asyncio.run(add(*words, **named))


def refused(client: LocalStorageClient, *words: Any, **named: Any) -> str:
    """The error of an `add` that leaves nothing behind."""
    with pytest.raises(InvalidAssetError) as caught:
        added(*words, client=client, sample="s", **named)
    assert not client.store.index_path.exists()
    work = client.store.objects.work
    assert not work.exists() or not list(work.glob("packed*"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("files", "packed", "names"),
    [
        (FILES, True, ["barcodes.tsv.gz", "features.tsv.gz", "matrix.mtx.gz"]),
        (FILES, False, ["barcodes.tsv", "features.tsv", "matrix.mtx"]),
        (VERSION2, False, ["barcodes.tsv", "genes.tsv", "matrix.mtx"]),
    ],
)
def test_a_folder_becomes_one_file_with_the_three_in_it(
    client: LocalStorageClient, tmp_path: Path, files: Mapping[str, str], packed: bool, names: list[str]
) -> None:
    folder = write(tmp_path / "filtered_feature_bc_matrix", files, packed=packed)
    (folder / "notes.txt").write_text("of somebody")
    (folder / ".DS_Store").write_text("x")

    matrix = added(folder, client=client, sample="s")

    assert isinstance(matrix, TenxMtx)
    assert matrix.record is not None
    assert (matrix.sample, matrix.record.name) == ("s", "filtered_feature_bc_matrix.tar")
    with tarfile.open(client.store.read(matrix.cid)) as tar:
        assert tar.getnames() == names
        assert {(member.mtime, member.uid, member.mode) for member in tar.getmembers()} == {(0, 0, 0o644)}
    document = client.store.document(matrix.provenance_cid)
    assert [file.origin for file in document.files] == ["filtered_feature_bc_matrix"]
    assert not list(client.store.objects.work.glob("packed*"))


def test_equal_files_are_equal_bytes_wherever_they_lie(client: LocalStorageClient, tmp_path: Path) -> None:
    first = added(write(tmp_path / "a"), client=client, sample="s")
    (folder := write(tmp_path / "b" / "c", prefix="GSM1_pbmc_")).touch()
    os.utime(folder / "GSM1_pbmc_matrix.mtx.gz", (1, 1))
    again = added(tmp_path / "a", client=client, sample="s")
    second = added(folder, client=client, sample="t")

    assert again.record == first.record
    assert second.cid == first.cid
    assert len(client.store.query({"asset": "tenx_mtx"})) == 2


def test_compressed_files_come_before_plain_ones() -> None:
    names = ["matrix.mtx", "matrix.mtx.gz", "barcodes.tsv.gz", "genes.tsv", "features.tsv"]

    assert folder_parts("tenx_mtx", names) == {
        "matrix.mtx.gz": "matrix.mtx.gz",
        "barcodes.tsv.gz": "barcodes.tsv.gz",
        "features.tsv": "features.tsv",
    }


@pytest.mark.parametrize("missing", ["barcodes.tsv", "features.tsv"])
def test_a_missing_file_is_named(client: LocalStorageClient, tmp_path: Path, missing: str) -> None:
    folder = write(tmp_path / "m", {name: text for name, text in FILES.items() if name != missing})

    error = refused(client, folder)

    assert error.startswith(f"{str(folder)!r} is no tenx_mtx: it lacks {missing}")
    assert "(plain or .gz); it holds '" in error


def test_several_matrices_in_a_folder_are_to_be_parted(client: LocalStorageClient, tmp_path: Path) -> None:
    folder = write(tmp_path / "geo", prefix="GSM1_")
    (folder / "GSM2_matrix.mtx.gz").write_bytes(b"x")

    error = refused(client, folder)

    assert (
        "it holds 2 matrices ('GSM1_matrix.mtx', 'GSM2_matrix.mtx'): give each a folder of its own" in error
    )


def test_a_file_that_is_none_is_refused(client: LocalStorageClient, tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    (folder / "barcodes.tsv.gz").unlink()
    (folder / "barcodes.tsv.gz").mkdir()
    assert "barcodes.tsv.gz' is a folder" in refused(client, folder)
    (folder / "barcodes.tsv.gz").rmdir()
    (folder / "barcodes.tsv.gz").symlink_to("nowhere")
    assert "no such file: " in refused(client, folder)


def test_other_folders_are_no_files(client: LocalStorageClient, tmp_path: Path) -> None:
    (tmp_path / "reads").mkdir()
    assert (
        refused(client, tmp_path / "reads")
        == f"{str(tmp_path / 'reads')!r} is a folder: give the files in it"
    )
    folder = write(tmp_path / "run" / "outs" / "filtered_feature_bc_matrix")
    error = refused(client, tmp_path / "run")
    assert error.endswith(
        f"is a folder with a tenx_mtx in it: give {str(folder)!r}, or the files that you want"
    )
    assert refused(client, folder, in_place=True).endswith(
        "which is packed into one file: it cannot stay in place"
    )
    error = refused(client, folder, asset="tenx_h5")
    assert error.endswith("is a folder, a tenx_mtx as it looks: leave asset= out")


def test_a_folder_is_added_with_files_all_or_none(client: LocalStorageClient, tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    (tmp_path / "x.h5").write_text("no HDF5")

    assert "'x.h5' is not HDF5" in refused(client, [folder, tmp_path / "x.h5"])
    assert client.store.query({}) == []


def test_single_files_of_a_folder_lead_to_it() -> None:
    for name in ("matrix.mtx.gz", "barcodes.tsv", "GSM1_features.tsv.gz", "genes.tsv"):
        with pytest.raises(
            InvalidAssetError, match=f"{name}' is one of the 3 files of a tenx_mtx: give the folder"
        ):
            guess_type(name)
    assert guess_type("raw_feature_bc_matrix.h5") == TenxH5.asset_key


def test_a_folder_that_cannot_be_listed_is_refused(client: LocalStorageClient, tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root lists every folder")
    folder = write(tmp_path / "m")
    folder.chmod(0)
    try:
        with pytest.raises(FormatError, match="cannot be listed"):
            added(folder, client=client, sample="s")
    finally:
        folder.chmod(0o755)
