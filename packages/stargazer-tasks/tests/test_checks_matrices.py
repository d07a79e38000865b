"""Files of Cell Ranger are looked at when they are added: their groups, lengths and lines."""

from __future__ import annotations

import gzip
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import Asset, FormatError, TenxH5, TenxMtx
from stargazer.storage import Addition, Store, write_tar

from .cells_made import some_counts, write_folder, write_h5, write_h5_of_version2

h5py = pytest.importorskip("h5py")
pytest.importorskip("scipy")


def packed(folder: Path) -> Path:
    return write_tar(folder.with_suffix(".tar"), [(path.name, path) for path in sorted(folder.iterdir())])


def checks(store: Store, path: Path, asset: Asset) -> list[str]:
    """The checks that looked at a file when it was added."""
    (record,) = store.add([Addition(path, asset)])
    return [check.partition(" ")[0] for check in store.document(record.keyvalues["provenance_cid"]).checks]


def refused(store: Store, path: Path, asset: Asset) -> str:
    with pytest.raises(FormatError) as caught:
        store.add([Addition(path, asset)])
    return str(caught.value)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
def test_a_folder_that_fits_is_taken(tmp_path: Path, store: Store, version: int, compressed: bool) -> None:
    path = packed(write_folder(tmp_path / "m", version=version, compressed=compressed))

    assert checks(store, path, TenxMtx(sample="s")) == ["tenx_mtx.matrix"]


def test_a_tar_that_somebody_made_of_the_folder_is_taken(tmp_path: Path, store: Store) -> None:
    write_folder(tmp_path / "m")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "m", "./m")

    assert checks(store, tmp_path / "x.tar", TenxMtx(sample="s")) == ["tenx_mtx.matrix"]


def replaced(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(gzip.compress(text.encode()))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda folder: (folder / "barcodes.tsv.gz").unlink(), "it lacks barcodes.tsv (plain or .gz)"),
        (replaced("barcodes.tsv.gz", "A\nB\n"), "barcodes.tsv.gz has 2 lines, and matrix.mtx.gz 12 barcodes"),
        (replaced("features.tsv.gz", "E\tA\n"), "features.tsv.gz has 1 lines, and matrix.mtx.gz 9 genes"),
        (
            replaced("matrix.mtx.gz", "gene,cell\n"),
            "matrix.mtx.gz begins with b'gene,cell\\n', expected '%%MatrixM",
        ),
        (
            replaced("matrix.mtx.gz", "%%MatrixMarket matrix coordinate integer general\n%\n9 12\n"),
            "matrix.mtx.gz has no sizes: expected rows, columns and entries, got b'9 12\\n'",
        ),
        (
            lambda folder: (folder / "features.tsv.gz").write_bytes(
                (folder / "features.tsv.gz").read_bytes()[:-9]
            ),
            "cannot be read as a matrix of Cell Ranger: Compressed file ended",
        ),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    tmp_path: Path, store: Store, change: Callable[[Path], Any], error: str
) -> None:
    change(write_folder(tmp_path / "m"))

    found = refused(store, packed(tmp_path / "m"), TenxMtx(sample="s"))

    assert found.startswith("'m.tar' ")
    assert error in found


def test_an_h5_that_fits_is_taken(tmp_path: Path, store: Store) -> None:
    first = write_h5(tmp_path / "3.h5")
    second = write_h5_of_version2(tmp_path / "2.h5", {"hg19": some_counts(), "mm10": some_counts()})

    for path in (first, second):
        assert checks(store, path, TenxH5(sample=path.stem)) == ["tenx_h5.matrix"]


def other(file: Any) -> None:
    del file["matrix"]
    file["weights"] = [1]


def molecules(file: Any) -> None:
    del file["matrix"]
    file["barcode_idx"] = [1]


def cells(file: Any) -> None:
    del file["matrix"]
    file.create_group("obs")
    file.create_group("var")


def without(part: str) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[part]

    return change


def fewer(part: str) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        values = file[part][:-1]
        del file[part]
        file[part] = values

    return change


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (other, "it is HDF5, but no matrix of Cell Ranger: expected 'matrix', it has 'weights'"),
        (molecules, "it has 'barcode_idx'; this is molecule_info.h5: give filtered_feature_bc_matrix.h5"),
        (cells, "it has 'obs', 'var'; this is an h5ad: give asset=anndata"),
        (without("matrix/indptr"), "'matrix' lacks 'indptr'; copy it again"),
        (without("matrix/features"), "'matrix' lacks 'features/name'; copy it again"),
        (
            fewer("matrix/barcodes"),
            "its matrix has 9 genes and 12 cells, and 'barcodes' 11 entries where 12 were",
        ),
        (fewer("matrix/features/id"), "and 'features/id' 8 entries where 9 were expected; copy it again"),
    ],
)
def test_an_h5_that_does_not_fit_is_refused(
    tmp_path: Path, store: Store, change: Callable[[Any], None], error: str
) -> None:
    path = write_h5(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        change(file)

    found = refused(store, path, TenxH5(sample="s"))

    assert found.startswith("'x.h5': it")
    assert error in found


def test_without_h5py_it_is_said_that_nothing_was_looked_at(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_h5(tmp_path / "x.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)

    with pytest.warns(
        UserWarning, match=r"'x.h5' is registered without a check of what it holds: h5py is not inst"
    ):
        store.add([Addition(path, TenxH5(sample="s"))])
