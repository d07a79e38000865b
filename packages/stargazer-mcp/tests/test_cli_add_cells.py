"""`stargazer add` of Cell Ranger's files and folders."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from stargazer.mcp.cli import main

FILES = {
    "matrix.mtx.gz": "%%MatrixMarket matrix coordinate integer general\n2 1 1\n1 1 5\n",
    "barcodes.tsv.gz": "AAACCCAAGGAGAGTA-1\n",
    "features.tsv.gz": "E1\tA\tGene Expression\nE2\tB\tGene Expression\n",
}


def test_a_folder_and_an_h5_are_added_by_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    h5py = pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    Path("outs").mkdir()
    for name, text in FILES.items():
        Path("outs", name).write_bytes(gzip.compress(text.encode()))
    with h5py.File("raw.h5", "w") as file:
        file["weights"] = [1]

    assert main(["add", "outs", "sample=pbmc", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    again = main(["add", "outs/", "sample=pbmc"])
    said = capsys.readouterr()
    refused = main(["add", "raw.h5", "sample=pbmc"])
    error = capsys.readouterr().err

    assert record["keyvalues"] | {"provenance_cid": ""} == {
        "asset": "tenx_mtx",
        "sample": "pbmc",
        "provenance_cid": "",
    }
    assert record["name"] == "outs.tar"
    assert again == 0
    assert "already registered: outs.tar as sample=pbmc" in said.err
    assert refused == 1
    assert "'raw.h5': it is HDF5, but no matrix of Cell Ranger: expected 'matrix', it has 'weights'" in error


def test_a_folder_cannot_stay_in_place_and_needs_its_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m").mkdir()
    for name, text in FILES.items():
        Path("m", name).write_bytes(gzip.compress(text.encode()))

    assert main(["add", "--in-place", "m", "sample=s"]) == 1
    assert (
        "'m' is a folder, which is packed into one file: it cannot stay in place" in capsys.readouterr().err
    )
    assert main(["add", "m"]) == 1
    assert "'m': tenx_mtx needs sample" in capsys.readouterr().err
