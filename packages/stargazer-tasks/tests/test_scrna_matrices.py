"""Counts of cells are read as scanpy reads them by hand, and what is wrong with a file is said before anything else."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flyte
import pytest
from stargazer.assets import (
    AnnData,
    ConfigurationError,
    FormatError,
    InvalidAssetError,
    StargazerError,
    use_client,
)
from stargazer.storage import add
from stargazer.tasks.scrna import matrices
from stargazer.tasks.scrna.counts import finished, keepable

from .cells_made import (
    BARCODES,
    GENES,
    N_CELLS,
    N_GENES,
    cells_of,
    some_counts,
    write_folder,
    write_h5,
    write_h5_of_version2,
)
from .conftest import Bench

for library in ("anndata", "h5py"):
    pytest.importorskip(library, reason="NOT TESTED: pip install 'stargazer-tasks[scrna]'")

pytestmark = pytest.mark.filterwarnings("ignore:(Observation|Variable) names are not unique")

SMALL = "scrna/10x_v3_small"


def read(
    what: str,
    source: Path,
    sample: str | None = "s",
    described: dict[str, str] | None = None,
    **options: Any,
) -> Any:
    """The cells that a reader makes of a file, as its task calls it in its child process.

    Args:
        described: what else is said of all cells.
    """
    import anndata

    target = source.with_name(f"{source.name}.read.h5ad")
    function = getattr(matrices, f"_read_{what}")
    given = {"genome": None, **({"cid": "bafy", "counts": "auto"} if what == "h5ad" else {}), **options}
    said = {"sample": sample, **(described or {})} if sample else described or {}
    fields = function(source=str(source), target=str(target), said=said, **given)
    cells = anndata.read_h5ad(target)
    assert (fields["n_obs"], fields["n_vars"]) == cells.shape
    return cells


def refused(what: str, source: Path, kind: type[StargazerError] = FormatError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        read(what, source, **options)
    return str(caught.value)


def written(path: Path, cells: Any) -> Path:
    cells.write_h5ad(path)
    return path


def notes(cells: Any, key: str = "reading") -> str:
    return "\n".join(json.loads(cells.uns["stargazer"][key])["notes"])


def same(found: Any, by_hand: Any) -> None:
    """Equal values, names and tables, and what all further steps expect."""
    import numpy as np
    from scipy import sparse

    assert isinstance(found.X, sparse.csr_matrix)
    assert found.X.dtype == np.float32
    assert found.shape == by_hand.shape
    assert (sparse.csr_matrix(by_hand.X) != found.X).nnz == 0
    assert list(found.obs_names) == list(by_hand.obs_names)
    assert list(found.var_names) == list(by_hand.var_names)
    assert found.var_names.is_unique
    for column in by_hand.var:
        assert list(found.var[column]) == list(by_hand.var[column])
    for column in by_hand.obs:
        assert list(found.obs[column]) == list(by_hand.obs[column])


# as by hand


def test_real_matrices_are_read_as_scanpy_reads_them(bench: Bench, test_data: Path, tmp_path: Path) -> None:
    import anndata
    import scanpy

    h5 = test_data / SMALL / "filtered_feature_bc_matrix.h5"
    folder = test_data / SMALL / "filtered_feature_bc_matrix"
    with use_client(bench.client):
        matrix, files = (bench_add(bench, path) for path in (h5, folder))

        first = bench.run(matrices.read_10x_h5, matrix)
        local = flyte.with_runcontext(mode="local").run
        second = local(matrices.read_10x_mtx, files).outputs()[0]
        third = local(matrices.read_h5ad, first).outputs()[0]
        together = local(matrices.concat, [first.copy(sample="small")]).outputs()[0]

    assert (first.sample, first.stage, first.n_obs, first.n_vars, first.layers) == (
        "small",
        "counts",
        1107,
        507,
        [],
    )
    cells, of_folder = anndata.read_h5ad(bench.path(first)), anndata.read_h5ad(bench.path(second))
    by_hand = scanpy.read_10x_h5(h5)
    by_hand.var_names_make_unique()
    same(cells, by_hand)
    same(of_folder, scanpy.read_10x_mtx(folder))
    same(anndata.read_h5ad(bench.path(third)), by_hand)
    assert list(cells.obs["sample"].cat.categories) == ["small"]
    assert (together.sample, together.n_obs) == ("small", 1107)


def bench_add(bench: Bench, path: Path) -> Any:
    async def main(client: Any) -> Any:
        return await add(path, client=client, sample="small")

    return bench.run(main, bench.client)


def test_a_strangers_real_h5ad_is_read_as_anndata_reads_it(test_data: Path, tmp_path: Path) -> None:
    import anndata

    source = test_data / "scrna" / "celltypist_sample.h5ad"
    (path := tmp_path / "celltypist.h5ad").symlink_to(source)

    same(read("h5ad", path), anndata.read_h5ad(source))


@pytest.mark.long
def test_the_real_brain_cells_are_read_as_they_are(mouse_brain: Path, tmp_path: Path) -> None:
    import anndata

    (path := tmp_path / "brain.h5ad").symlink_to(mouse_brain)

    by_hand = anndata.read_h5ad(mouse_brain)
    by_hand.var_names_make_unique()
    same(read("h5ad", path), by_hand)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
def test_a_folder_of_any_version_is_read(tmp_path: Path, version: int, compressed: bool) -> None:
    folder = write_folder(tmp_path / "m", compressed=compressed, version=version)

    cells = read("10x_mtx", folder)

    assert (cells.X.toarray() == some_counts()).all()
    assert list(cells.obs_names) == BARCODES
    assert list(cells.var_names) == GENES
    assert cells.var["gene_ids"].iloc[1] == "ENSG00000000001"
    assert ("feature_types" in cells.var) == (version == 3)


def test_a_folder_in_a_folder_is_read(tmp_path: Path) -> None:
    write_folder(tmp_path / "m" / "filtered")

    assert read("10x_mtx", tmp_path / "m").shape == (N_CELLS, N_GENES)


def test_an_h5_of_version_2_is_read_as_scanpy_reads_it(tmp_path: Path) -> None:
    import scanpy

    path = write_h5_of_version2(tmp_path / "v2.h5", {"GRCh38": some_counts()})

    same(read("10x_h5", path), scanpy.read_10x_h5(path))


def test_the_bytes_depend_on_content_alone(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / name / "x.h5ad", cells_of())
        for name in ("a", "b")
        if not (tmp_path / name).mkdir()
    ]
    for path in paths:
        read("h5ad", path)

    first, second = (path.with_name("x.h5ad.read.h5ad").read_bytes() for path in paths)
    assert first == second


# where counts are


def lognormal(cells: Any) -> Any:
    cells.X = cells.X.copy()
    cells.X.data = cells.X.data * 0.5 + 0.1
    return cells


def in_layer(cells: Any) -> Any:
    cells.layers["counts"] = cells.X.copy()
    return lognormal(cells)


def in_raw(cells: Any) -> Any:
    cells.raw = cells.copy()
    return lognormal(cells)[:, :5].copy()


def dense(cells: Any) -> Any:
    cells.X = cells.X.toarray()
    return cells


def by_column(cells: Any) -> Any:
    cells.X = cells.X.tocsc()
    return cells


def explicit_zeros(cells: Any) -> Any:
    cells.layers["counts"] = cells.X.copy()
    cells.layers["counts"].data[0] = 0
    return cells


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda cells: cells, "X"),
        (dense, "X"),
        (by_column, "X"),
        (in_raw, "raw/X"),
        (in_layer, "layers/counts"),
    ],
)
def test_counts_are_found(tmp_path: Path, change: Callable[[Any], Any], place: str) -> None:
    cells = read("h5ad", written(tmp_path / "x.h5ad", change(cells_of())))

    same(cells, cells_of())
    assert json.loads(cells.uns["stargazer"]["reading"])["format"] == f"h5ad {place}"
    assert {*cells.layers} <= {None}  # which is X, to anndata 0.13
    assert cells.raw is None


def test_counts_are_taken_from_where_it_is_said(tmp_path: Path) -> None:
    made = cells_of()
    made.layers["spliced"] = made.X + made.X
    path = written(tmp_path / "x.h5ad", made)

    assert (made.layers["spliced"] != read("h5ad", path, counts="spliced").X).nnz == 0
    assert (read("h5ad", path, counts="X").X != made.X).nnz == 0
    error = refused("h5ad", path, InvalidAssetError, counts="raw")
    assert error == "the h5ad of sample 's' has no counts='raw'; it has counts=spliced, counts=X"


def test_a_layer_that_holds_integers_is_named(tmp_path: Path) -> None:
    made = cells_of()
    made.layers["umis"] = made.X.copy()
    path = written(tmp_path / "x.h5ad", lognormal(made))

    for counts in ("auto", "X"):
        error = refused("h5ad", path, counts=counts)
        assert "X has values that are no integers, as 0.6" in error
        assert error.endswith("'umis' holds integers: give counts=umis")
    assert (made.layers["umis"] != read("h5ad", path, counts="umis").X).nnz == 0


def test_what_was_computed_of_other_counts_is_left_out(tmp_path: Path) -> None:
    made = in_layer(cells_of(cell_type="T", batch=["a", "b"] * 6))
    made.obsm["X_umap"] = some_counts(n_genes=2)
    made.var["highly_variable"] = True
    made.var["length"] = range(N_GENES)
    made.uns["log1p"] = {}

    cells = read("h5ad", written(tmp_path / "x.h5ad", made))

    assert not cells.obsm
    assert set(cells.uns) == {"stargazer"}
    assert list(cells.var) == ["length"]
    assert list(cells.obs) == ["cell_type", "batch", "sample"]
    assert "left out, for it is computed again: matrix X; obsm: X_umap; uns: log1p" in notes(cells)
    assert "columns of genes left out, for they are computed again: highly_variable" in notes(cells)


def test_what_later_steps_name_alike_is_kept_under_another_name(tmp_path: Path) -> None:
    made = cells_of(leiden=["T", "B"] * 6, original_leiden="x", predicted_doublet=True)
    made.obs["leiden_0.5"] = "T"

    cells = read("h5ad", written(tmp_path / "x.h5ad", made))

    assert list(cells.obs) == ["original_leiden", "original_original_leiden", "original_predicted_doublet",
                               "original_leiden_0.5", "sample"]  # fmt: skip
    assert list(cells.obs["original_original_leiden"]) == ["T", "B"] * 6
    assert "the column 'leiden' of the file is kept as 'original_original_leiden'" in notes(cells)


def test_explicit_zeros_are_no_counts(tmp_path: Path) -> None:
    cells = read("h5ad", written(tmp_path / "x.h5ad", explicit_zeros(cells_of())))

    assert cells.X.nnz == (some_counts() > 0).sum() - 1


def test_genes_are_called_by_their_names_as_in_cellxgene(tmp_path: Path) -> None:
    made = cells_of()
    made.var_names = [f"ENSG{number:011}" for number in range(N_GENES)]
    made.var["feature_name"] = ["MT-CO1", *GENES[1:]]

    cells = read("h5ad", written(tmp_path / "x.h5ad", made))

    assert list(cells.var_names) == ["MT-CO1", *GENES[1:]]
    assert list(cells.var["gene_ids"]) == list(made.var_names)


# samples


def test_the_sample_is_that_of_the_asset_or_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5ad", cells_of(sample=["a", "b"] * 6))

    assert list(read("h5ad", path, sample=None).obs["sample"]) == ["a", "b"] * 6
    given = read("h5ad", path, sample="c")
    assert set(given.obs["sample"]) == {"c"}
    assert list(given.obs["original_sample"]) == ["a", "b"] * 6
    assert "is kept as 'original_sample'" in notes(given)


def test_batch_and_condition_of_the_asset_are_columns_of_its_cells(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5ad", cells_of(batch=["a", "b"] * 6, condition="treated"))

    cells = read("h5ad", path, described={"batch": "c", "condition": "treated"})

    assert list(cells.obs) == ["batch", "condition", "original_batch", "sample"]
    assert set(cells.obs["batch"]) == {"c"}
    assert list(cells.obs["original_batch"]) == ["a", "b"] * 6
    assert "the column 'batch' of the file is kept as 'original_batch': the cells are of 'c'" in notes(cells)
    assert "condition" not in notes(cells)


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        ({}, "It has no column 'sample'"),
        ({"sample": ["a", None] * 6}, "It does not name the sample of each cell"),
        ({"sample": ["a", ""] * 6}, "It does not name the sample of each cell"),
    ],
)
def test_an_h5ad_of_no_sample_is_to_be_amended(tmp_path: Path, tables: dict[str, Any], why: str) -> None:
    path = written(tmp_path / "x.h5ad", cells_of(**tables))

    error = refused("h5ad", path, InvalidAssetError, sample=None)

    assert error == f"the h5ad bafy: of which sample? {why}: `stargazer amend bafy sample=NAME`"


# files that are none


def other_hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["weights"] = [1, 2]


def old_layout(path: Path) -> None:
    import h5py
    import numpy as np

    with h5py.File(path, "w") as file:
        for table, names in (("obs", BARCODES), ("var", GENES)):
            file[table] = np.array([(name.encode(),) for name in names], dtype=[("index", "S20")])
        file["X"] = some_counts()


def future_layout(path: Path) -> None:
    import h5py

    cells_of().write_h5ad(path)
    with h5py.File(path, "a") as file:
        file.attrs["encoding-version"] = "9.0"


def future_table(path: Path) -> None:
    import h5py

    cells_of().write_h5ad(path)
    with h5py.File(path, "a") as file:
        file["obs"].attrs["encoding-version"] = "9.0"


def truncated(path: Path) -> None:
    cells_of().write_h5ad(path)
    path.write_bytes(path.read_bytes()[:-2000])


def without_a_part(path: Path) -> None:
    import h5py

    cells_of().write_h5ad(path)
    with h5py.File(path, "a") as file:
        del file["X/indptr"]


def shorter_table(path: Path) -> None:
    import h5py

    cells_of().write_h5ad(path)
    with h5py.File(path, "a") as file:
        del file["obs/_index"]
        file["obs/_index"] = BARCODES[:5]
        file["obs/_index"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def no_matrix(path: Path) -> None:
    import h5py

    cells_of().write_h5ad(path)
    with h5py.File(path, "a") as file:
        del file["X"]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: path.write_text("cells,genes\n"), "is not HDF5: it begins with b'cells,ge'"),
        (lambda path: path.write_bytes(gzip.compress(b"x" * 99)), "is compressed, expected HDF5 as it is"),
        (other_hdf5, "it is HDF5, but no h5ad: it lacks 'obs' and has 'weights'"),
        (
            lambda path: write_h5(path),
            "it lacks 'obs' and has 'matrix'; this is Cell Ranger's: give asset=tenx_h5",
        ),
        (
            old_layout,
            "it was written by anndata 0.6 or older, whose layout is not read any more: write it again",
        ),
        (
            future_layout,
            "its layout has the version '9.0', and '0.1.0' is known: it is of a newer anndata; write",
        ),
        (future_table, "It is damaged, or of another version of anndata: copy it again, or write it again"),
        (truncated, "bytes; copy it again"),
        (without_a_part, "It is damaged, or of another version of anndata: copy it again"),
        (shorter_table, "is damaged: X has 12 cells and 9 genes, its tables 5 and 9"),
        (no_matrix, "it holds no matrix: neither X nor raw nor a layer"),
    ],
)
def test_what_is_no_h5ad_of_today_is_refused(tmp_path: Path, make: Callable[[Path], Any], error: str) -> None:
    make(tmp_path / "x.h5ad")

    found = refused("h5ad", tmp_path / "x.h5ad")

    assert found.startswith("the h5ad of sample 's'")
    assert error in found


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: path.write_text("barcodes"), "is not HDF5: it begins with b'barcodes'"),
        (other_hdf5, "it is HDF5, but no matrix of Cell Ranger: expected 'matrix', it has 'weights'"),
        (lambda path: cells_of().write_h5ad(path), "this is an h5ad: give asset=anndata"),
    ],
)
def test_what_is_no_h5_of_cell_ranger_is_refused(
    tmp_path: Path, make: Callable[[Path], Any], error: str
) -> None:
    make(tmp_path / "x.h5")

    found = refused("10x_h5", tmp_path / "x.h5")

    assert found.startswith("the 10x matrix of sample 's'")
    assert error in found


def test_a_damaged_h5_of_cell_ranger_is_refused(tmp_path: Path) -> None:
    import h5py

    path = write_h5(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        indices = file["matrix/indices"][:]
        indices[3] = 99
        file["matrix/indices"][:] = indices

    assert "cannot be read as Cell Ranger's HDF5: " in refused("10x_h5", path)


def removed(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def edited(name: str, change: Callable[[str], str]) -> Callable[[Path], Any]:
    def edit(folder: Path) -> None:
        path = folder / name
        path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()).decode()).encode()))

    return edit


def cut(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def transposed(folder: Path) -> None:
    write_folder(folder, some_counts().T, features=[("x", "x", "Gene Expression")] * N_GENES)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            removed("barcodes.tsv.gz"),
            "it lacks barcodes.tsv (plain or .gz); it holds 'features.tsv.gz', 'matrix.mtx.gz'",
        ),
        (
            removed("features.tsv.gz"),
            "it lacks features.tsv or genes.tsv (plain or .gz); it holds 'barcodes.tsv.gz',",
        ),
        (removed("matrix.mtx.gz"), "it lacks matrix.mtx (plain or .gz)"),
        (
            edited("barcodes.tsv.gz", lambda text: text.partition("\n")[2]),
            "matrix.mtx.gz has 9 rows and 12 columns, where features.tsv.gz has 9 genes and barcodes.tsv.gz 11 "
            "barcodes: they are not of one run; copy it again together",
        ),
        (
            transposed,
            "has 12 rows and 9 columns (it has cells as rows: transpose it), where features.tsv.gz has 9 genes",
        ),
        (
            edited("matrix.mtx.gz", lambda text: text[: len(text) // 2]),
            "matrix.mtx.gz cannot be read as Matrix Market: ",
        ),
        (edited("matrix.mtx.gz", lambda text: text[20:]), "matrix.mtx.gz cannot be read as Matrix Market: "),
        (cut("matrix.mtx.gz"), "matrix.mtx.gz' is a truncated or damaged gzip file"),
        (cut("features.tsv.gz"), "features.tsv.gz' is a truncated or damaged gzip file"),
        (
            edited("features.tsv.gz", lambda text: text.replace("\t", ",")),
            "line 1 of features.tsv.gz has 1 of 2 columns: expected identifier and name of a gene, with a tab between",
        ),
    ],
)
def test_a_folder_whose_files_do_not_fit_is_refused(
    tmp_path: Path, change: Callable[[Path], Any], error: str
) -> None:
    change(write_folder(tmp_path / "m"))

    found = refused("10x_mtx", tmp_path / "m")

    assert found.startswith("the 10x matrix of sample 's': ")
    assert error in found


# values that no count has


def with_value(value: float) -> Any:
    counts = some_counts()
    counts[0, 0] = value
    return counts


@pytest.mark.parametrize(
    ("counts", "error"),
    [
        (with_value(float("nan")), "X has missing values (NaN)"),
        (with_value(float("inf")), "X has infinite values"),
        (with_value(-2), "X has negative values, as -2"),
        (with_value(0.25), "X has values that are no integers, as 0.25"),
    ],
)
@pytest.mark.parametrize("make", [cells_of, lambda counts: dense(cells_of(counts))], ids=["sparse", "dense"])
def test_what_is_no_count_is_refused(
    tmp_path: Path, counts: Any, error: str, make: Callable[[Any], Any]
) -> None:
    assert error in refused("h5ad", written(tmp_path / "x.h5ad", make(counts)))


def test_values_that_are_no_counts_are_refused_in_a_folder(tmp_path: Path) -> None:
    error = refused("10x_mtx", write_folder(tmp_path / "m", with_value(0.25)))

    assert error == (
        "the 10x matrix of sample 's' has values that are no integers, as 0.25, and raw counts were expected: add the "
        "matrix before normalisation"
    )


@pytest.mark.parametrize(("shape", "what"), [((0, N_GENES), "cells"), ((N_CELLS, 0), "genes")])
def test_an_empty_matrix_is_refused(tmp_path: Path, shape: tuple[int, int], what: str) -> None:
    import numpy as np

    made = cells_of(np.zeros(shape, dtype=np.float32))
    path = written(tmp_path / "x.h5ad", made)

    assert f"is empty: it has no {what}. Look at what wrote it" in refused("h5ad", path)


def test_a_matrix_without_any_count_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5ad", cells_of(some_counts() * 0))

    assert "has no count above 0 in 12 cells and 9 genes" in refused("h5ad", path)


@pytest.mark.parametrize("shape", [(1, N_GENES), (N_CELLS, 1), (1, 1)])
def test_one_cell_or_one_gene_is_read(tmp_path: Path, shape: tuple[int, int]) -> None:
    made = cells_of(some_counts(*shape, seed=3) + 1)

    same(read("h5ad", written(tmp_path / "x.h5ad", made)), made)


def test_cells_without_counts_stay(tmp_path: Path) -> None:
    counts = some_counts()
    counts[3] = 0

    cells = read("10x_mtx", write_folder(tmp_path / "m", counts))

    assert cells.n_obs == N_CELLS
    assert cells.X[3].nnz == 0
    assert notes(cells) == "1 of 12 cells have no counts"
    counts[:8] = 0
    assert notes(read("10x_mtx", write_folder(tmp_path / "raw", counts))) == (
        "8 of 12 cells have no counts (all barcodes, as in raw_feature_bc_matrix?)"
    )


# names


def test_a_gene_named_twice_is_made_unique_as_scanpy_does(tmp_path: Path) -> None:
    import scanpy

    features = [(f"ENSG{number:011}", name, "Gene Expression")
                for number, name in enumerate(["A", "B", "A", "A", *GENES[4:]])]  # fmt: skip
    folder = write_folder(tmp_path / "m", features=features)

    cells = read("10x_mtx", folder)

    assert list(cells.var_names[:4]) == ["A", "B", "A-1", "A-2"]
    same(cells, scanpy.read_10x_mtx(folder))
    assert notes(cells) == "names that several genes have, made unique: 'A'"


def test_a_barcode_twice_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", barcodes=[*BARCODES[:-1], BARCODES[0]])

    error = refused("10x_mtx", folder)

    assert (
        f"has the barcode of more than one cell: {BARCODES[0]!r}. If samples were put together, add each"
        in error
    )


@pytest.mark.parametrize(
    ("obs", "var", "error"),
    [
        (GENES, [*BARCODES[:9]], "its genes are called as barcodes are ('AAACCCAAGGAA-1', "),
        (
            [f"ENSMUSG{number:011}.2" for number in range(N_CELLS)],
            GENES,
            "its cells are called as genes are ('ENSMUSG",
        ),
        (["Actb", "Gapdh", "Malat1", *BARCODES[3:]], GENES, "its cells are called as genes are ('Actb', "),
    ],
)
def test_genes_as_rows_are_refused(tmp_path: Path, obs: list[str], var: list[str], error: str) -> None:
    made = cells_of(some_counts(len(obs)))
    made.obs_names, made.var_names = obs, var

    found = refused("h5ad", written(tmp_path / "x.h5ad", made))

    assert f"has genes as rows and cells as columns: {error}" in found
    assert ".T.write_h5ad('transposed.h5ad')" in found


def test_features_that_are_no_genes_are_left_out(tmp_path: Path) -> None:
    import scanpy

    kinds = ["Gene Expression"] * 6 + ["Antibody Capture"] * 2 + ["CRISPR Guide Capture"]
    path = write_h5(tmp_path / "x.h5", features={"feature_type": kinds})
    folder = write_folder(
        tmp_path / "m", features=[(f"id{n}", name, kinds[n]) for n, name in enumerate(GENES)]
    )

    cells, of_folder = read("10x_h5", path), read("10x_mtx", folder)

    same(cells, scanpy.read_10x_h5(path))
    same(of_folder, scanpy.read_10x_mtx(folder))
    assert (
        notes(cells)
        == "features that are no genes, left out: 2 of Antibody Capture, 1 of CRISPR Guide Capture"
    )
    antibodies = write_h5(tmp_path / "y.h5", features={"feature_type": ["Antibody Capture"] * N_GENES})
    assert "has no gene expression: its features are 9 of Antibody Capture" in refused("10x_h5", antibodies)


# several organisms

HUMAN, MOUSE = ["GRCh38_MT-CO1", "GRCh38_ACTB"], [f"mm10___Gene{number}" for number in range(N_GENES - 2)]


def barnyard(tmp_path: Path, what: str) -> Path:
    """Genes of man and mouse, which are told apart by a column, by the beginnings of names, or by identifiers."""
    names = HUMAN + MOUSE
    if what == "10x_h5":
        genomes = ["GRCh38"] * 2 + ["mm10"] * 7
        return write_h5(tmp_path / "x.h5", features={"name": names, "genome": genomes})
    if what == "10x_mtx":
        return write_folder(tmp_path / "m", features=[(name, name, "Gene Expression") for name in names])
    made = cells_of()
    made.var_names = names
    return written(tmp_path / "x.h5ad", made)


@pytest.mark.parametrize("what", ["10x_h5", "10x_mtx", "h5ad"])
def test_of_several_organisms_one_is_to_be_chosen(tmp_path: Path, what: str) -> None:
    path = barnyard(tmp_path, what)

    error = refused(what, path, InvalidAssetError)
    cells = read(what, path, genome="GRCh38")

    assert (
        "has genes of several genomes, GRCh38 (2 genes), mm10 (7 genes): give genome=GRCh38 to keep those of"
        in error
    )
    assert list(cells.var_names) == ["MT-CO1", "ACTB"]
    assert (cells.X.toarray() == some_counts()[:, :2]).all()
    assert "genes of GRCh38 kept, 7 of other genomes left out" in notes(cells)
    assert list(read(what, path, genome="all").var_names) == HUMAN + MOUSE
    assert "has no genes of genome='hg19'; it has 'GRCh38', 'mm10'" in refused(
        what, path, InvalidAssetError, genome="hg19"
    )


def test_organisms_are_told_apart_by_identifiers(tmp_path: Path) -> None:
    made = cells_of()
    made.var_names = [f"ENSG{n:011}" for n in range(4)] + [f"ENSMUSG{n:011}" for n in range(5)]
    path = written(tmp_path / "x.h5ad", made)

    assert "ENSG (4 genes), ENSMUSG (5 genes)" in refused("h5ad", path, InvalidAssetError)
    assert read("h5ad", path, genome="ENSMUSG").n_vars == 5


def test_of_several_groups_of_version_2_one_is_to_be_chosen(tmp_path: Path) -> None:
    path = write_h5_of_version2(tmp_path / "x.h5", {"hg19": some_counts(), "mm10": some_counts(seed=1)})

    assert "has a matrix for each of 'hg19', 'mm10': give genome=hg19" in refused(
        "10x_h5", path, InvalidAssetError
    )
    assert (read("10x_h5", path, genome="mm10").X.toarray() == some_counts(seed=1)).all()


def test_a_genome_that_nothing_tells_of_is_refused(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "m")

    error = refused("10x_mtx", path, InvalidAssetError, genome="mm10")

    assert error.endswith("it does not say of which genome its genes are: leave genome out")


# columns


def test_columns_that_an_h5ad_cannot_keep_become_text(tmp_path: Path) -> None:
    made = cells_of(mixed=[1, "b", None] * 4, ok=["x", "y"] * 6)
    made.obs["a/b"] = 1

    found: list[str] = []
    keepable(made.obs, "cells", "x", found)

    assert list(made.obs["mixed"].fillna("none"))[:3] == ["1", "b", "none"]
    assert list(made.obs) == ["mixed", "ok", "a_b"]
    assert found == [
        "the column 'mixed' of cells has values of several types: converted to text",
        "the column 'a/b' of cells is called 'a_b': an h5ad cannot keep that name",
    ]
    made.write_h5ad(tmp_path / "x.h5ad")
    made.obs.columns = ["same", "same", "other"]
    with pytest.raises(FormatError, match="x has two columns 'same' in its table of cells: rename one"):
        keepable(made.obs, "cells", "x", found)


# several samples


def together(tmp_path: Path, *parts: Any) -> Any:
    """The cells of several samples after `concat`, as its task calls it in its child process."""
    import anndata

    sources = [str(written(tmp_path / f"{number}.h5ad", part)) for number, part in enumerate(parts)]
    target = tmp_path / "together.h5ad"
    titles = [f"part {number}" for number in range(len(parts))]
    matrices._concat(sources=sources, target=str(target), titles=titles)
    return anndata.read_h5ad(target)


def part(sample: str, n_genes: int = N_GENES, **tables: Any) -> Any:
    made = cells_of(some_counts(n_genes=n_genes, seed=len(sample)), sample=sample, **tables)
    made.var["gene_ids"] = [f"{sample}{number}" for number in range(n_genes)]
    return finished(made, "x", "made", None, [])


def test_samples_are_put_together_as_anndata_does(tmp_path: Path) -> None:
    import anndata

    first, second = part("a"), part("bb", 7)

    cells = together(tmp_path, second, first)

    first.obs_names = [f"a_{name}" for name in BARCODES]
    second.obs_names = [f"bb_{name}" for name in BARCODES]
    same(cells, anndata.concat([first, second], join="inner"))
    assert list(cells.obs["sample"].cat.categories) == ["a", "bb"]
    assert list(cells.var["gene_ids"]) == [f"a{number}" for number in range(7)]
    assert notes(cells, "concat").splitlines() == [
        "a: 2 of 9 genes left out, which not all samples have",
        "7 genes have another identifier in another sample: 'GENE0', 'GENE1', 'GENE2', ...",
    ]
    assert json.loads(cells.uns["stargazer"]["samples"])["bb"]["reading"]["n_vars"] == 7


def test_columns_that_not_all_samples_have_are_said(tmp_path: Path) -> None:
    cells = together(tmp_path, part("a", donor="x", age=1.0), part("b", age=2.0))

    assert list(cells.obs) == ["sample", "age"]
    assert "columns of cells left out, which not all samples have: donor" in notes(cells, "concat")


def test_a_column_of_numbers_here_and_words_there_becomes_text(tmp_path: Path) -> None:
    cells = together(tmp_path, part("a", score=1.5), part("b", score="high"))

    assert set(cells.obs["score"]) == {"1.5", "high"}
    assert "the column 'score' of cells has values of several types: converted to text" in notes(
        cells, "concat"
    )


def test_samples_that_cannot_be_put_together_are_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidAssetError, match=r"'a' in two of the matrices: give the cells of a sample once"
    ):
        together(tmp_path, part("a"), part("a"))
    other = part("b")
    other.var_names = [f"ENSG{number:011}" for number in range(N_GENES)]
    with pytest.raises(
        InvalidAssetError, match=r"no gene in common: a has 'GENE0', .*; b has 'ENSG00000000000'"
    ):
        together(tmp_path, part("a"), other)
    with pytest.raises(InvalidAssetError, match=r"part 0 has no column 'sample': read it with read_h5ad"):
        together(tmp_path, cells_of())
    stored = [
        bench.add(written(tmp_path / f"{stage}.h5ad", part(stage)), AnnData(sample=stage, stage=stage))
        for stage in ("counts", "filtered")
    ]
    with pytest.raises(InvalidAssetError, match=r"at different stages \(counts, filtered\)"):
        bench.run(matrices.concat, stored)
    with pytest.raises(InvalidAssetError, match="give at least one sample"):
        bench.run(matrices.concat, [])


# as tasks


def test_an_error_and_a_lack_of_memory_arrive_from_the_child(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "x.h5ad", lognormal(cells_of()))
    cells = bench.add(path, AnnData(sample="s"))

    with pytest.raises(FormatError, match="the h5ad of sample 's': raw counts were expected"):
        bench.run(matrices.read_h5ad, cells)
    monkeypatch.setenv("STARGAZER_MEMORY", "100M")
    with pytest.raises(
        ConfigurationError, match=r"reading of 12 cells by 9 genes .* and 0.1 GB are available"
    ):
        bench.run(matrices.read_h5ad, cells)
